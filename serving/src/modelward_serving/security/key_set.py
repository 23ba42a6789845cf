"""Public keys that sign tokens: a JSON Web Key Set (RFC 7517), and a file of one that is read again when it changes."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from pathlib import Path

import jwt

log = logging.getLogger("modelward.serving")

Keys = Mapping[str, jwt.PyJWK]
"""By key id."""


def parse(content: bytes) -> dict[str, jwt.PyJWK]:
    """Return the keys of a set by their ids; keys of unknown types are left out.

    Raises:
        ValueError: the content is not a key set, or none of its keys can be used.
    """
    try:
        listed = json.loads(content)["keys"]
        keys = jwt.PyJWKSet(listed).keys
    except (KeyError, TypeError, AttributeError, jwt.PyJWTError) as error:
        raise ValueError("not a JSON Web Key Set") from error
    return {str(key.key_id): key for key in keys}


class KeySetFile:
    """A key set in a file. While the file is missing or broken, the keys that were read last stay in force."""

    def __init__(self, path: Path, whose: str) -> None:
        self._path = path
        self._whose = whose
        """Names the keys in the log."""
        self._version: object = None
        self._keys: dict[str, jwt.PyJWK] = {}

    def current(self) -> Keys:
        """Return the keys of now; none until the file was read once."""
        try:
            found = os.stat(self._path)  # noqa: PTH116
            version = (found.st_mtime_ns, found.st_ino, found.st_size)
            if version != self._version:
                self._keys = parse(self._path.read_bytes())
                self._version = version
                log.info("%s: %d keys read from %s", self._whose, len(self._keys), self._path)
        except (OSError, ValueError) as error:
            log.warning("%s: cannot read the keys in %s: %s", self._whose, self._path, type(error).__name__)
        return self._keys
