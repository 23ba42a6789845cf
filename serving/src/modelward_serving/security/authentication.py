"""Who may ask for inference: callers with a bearer token that an issuer signed, verified offline by its public keys."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import aiohttp
import jwt

from modelward_serving.protocol.tensors import RefusedError

log = logging.getLogger("modelward.serving")

AUTHORIZATION = b"authorization"
"""The header that has the token."""
ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
"""Signatures by a private key alone: a secret that both know, or none at all, proves nothing here."""
SKEW = 10.0
"""Seconds that clocks may differ."""
REMEMBERED = 60.0
"""Seconds for which a token is not verified again."""
MOST_REMEMBERED = 10_000
PERIOD = 60.0
"""Seconds between two fetches of an issuer's keys."""
SOON = 2.0
"""The same while there are none."""
LARGEST_SET = 256 * 1024


@dataclass(frozen=True)
class Rules:
    """What a token must say."""

    issuer: str
    audiences: tuple[str, ...]
    """One of these."""
    subjects: tuple[str, ...] = ()
    """One of these, if there are any."""
    file: Path | None = None
    """Where the issuer's keys are (JWKS),"""
    url: str | None = None
    """or where they are fetched."""


class Keys(Protocol):
    """An issuer's public keys."""

    def all(self) -> Mapping[str, jwt.PyJWK]:
        """Those known now, by their ids; empty when none were ever read."""

    async def follow(self) -> None:
        """Keep them up to date, for ever."""


class KeysInFile:
    """Keys from a file, read again when it changes. One that is away or broken changes nothing."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._version: object = None
        self._keys: dict[str, jwt.PyJWK] = {}

    def all(self) -> Mapping[str, jwt.PyJWK]:
        """Those known now."""
        try:
            found = os.stat(self._path)  # noqa: PTH116
            version = (found.st_mtime_ns, found.st_ino, found.st_size)
            if version != self._version:
                self._keys = parse(self._path.read_bytes())
                self._version = version
        except (OSError, ValueError) as error:
            log.warning("callers: the keys in %s cannot be read: %s", self._path, type(error).__name__)
        return self._keys

    async def follow(self) -> None:
        """The file is looked at whenever a token is verified."""


class KeysAtUrl:
    """Keys that are fetched now and then. A failure changes nothing."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._keys: dict[str, jwt.PyJWK] = {}

    def all(self) -> Mapping[str, jwt.PyJWK]:
        """Those known now."""
        return self._keys

    async def follow(self) -> None:
        """Fetch, for ever."""
        timeout = aiohttp.ClientTimeout(total=10)
        async with aiohttp.ClientSession(timeout=timeout) as session:
            while True:
                try:
                    async with session.get(self._url) as answer:
                        answer.raise_for_status()
                        self._keys = parse(await answer.content.read(LARGEST_SET))
                except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
                    log.warning("callers: the keys at %s cannot be fetched: %s", self._url, type(error).__name__)
                await asyncio.sleep(PERIOD if self._keys else SOON)


def parse(content: bytes) -> dict[str, jwt.PyJWK]:
    """A JSON Web Key Set (RFC 7517); keys of kinds that are not known are left out.

    Raises:
        ValueError: it is none.
    """
    try:
        listed = json.loads(content)["keys"]
        keys = jwt.PyJWKSet(listed).keys
    except (KeyError, TypeError, AttributeError, jwt.PyJWTError) as error:
        raise ValueError("no JSON Web Key Set") from error
    return {str(key.key_id): key for key in keys}


class Callers:
    """Judges callers. A token that was verified is remembered for a minute, by its hash."""

    def __init__(self, rules: Rules, keys: Keys, clock: Callable[[], float] = time.time) -> None:
        self._rules = rules
        self._keys = keys
        self._clock = clock
        self._known: dict[bytes, float] = {}

    def check(self, authorization: bytes | None) -> None:
        """Let a request through.

        Raises:
            RefusedError: 401 without a token that holds, 403 for a subject that may not ask, 503 without the issuer's keys.
        """
        if authorization is None or not authorization[:7].lower() == b"bearer ":
            raise _refused("NoToken", "a bearer token is needed")
        name = hashlib.sha256(authorization).digest()
        now = self._clock()
        if self._known.get(name, 0.0) > now:
            return
        claims = self._claims(authorization[7:].strip())
        if self._rules.subjects and claims.get("sub") not in self._rules.subjects:
            raise RefusedError(403, "WrongSubject", "authorization", "the token's subject may not ask this model")
        if len(self._known) >= MOST_REMEMBERED:
            self._known.clear()
        self._known[name] = min(float(claims["exp"]) + SKEW, now + REMEMBERED)

    def _claims(self, token: bytes) -> Mapping[str, Any]:
        keys = self._keys.all()
        if not keys:
            raise RefusedError(503, "NoKeys", "authorization", "the issuer's keys are not known yet")
        try:
            key = keys.get(str(jwt.get_unverified_header(token).get("kid")))
            if key is None:
                raise _refused("UnknownKey", "the token is not signed with one of the issuer's keys")
            return jwt.decode(
                token,
                key,
                algorithms=ALGORITHMS,
                issuer=self._rules.issuer,
                audience=self._rules.audiences,
                leeway=SKEW,
                options={"require": ["exp", "iss", "aud", "sub"]},
            )
        except (jwt.ExpiredSignatureError, jwt.ImmatureSignatureError) as error:
            raise _refused("OutOfTime", "the token does not hold any more, or not yet") from error
        except jwt.InvalidAudienceError as error:
            raise _refused("WrongAudience", f"the token is not for {' or '.join(self._rules.audiences)}") from error
        except jwt.InvalidIssuerError as error:
            raise _refused("WrongIssuer", f"the token is not from {self._rules.issuer}") from error
        except (jwt.InvalidTokenError, TypeError, ValueError) as error:
            raise _refused("BadToken", "the token cannot be verified") from error


def _refused(reason: str, rule: str) -> RefusedError:
    return RefusedError(401, reason, "authorization", rule)


def callers(rules: Rules) -> tuple[Callers, Keys]:
    """Who judges by these rules, and the keys that have to be followed."""
    keys: Keys = KeysInFile(rules.file) if rules.file is not None else KeysAtUrl(rules.url or "")
    return Callers(rules, keys), keys
