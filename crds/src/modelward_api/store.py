"""Addresses in the artifact store. Pure: who fetches uses the resolved address with a library."""

from __future__ import annotations

from pathlib import PurePosixPath
from urllib.parse import unquote

SCHEME = "store://"
_FULL = ("No space left on device", "Disk quota exceeded")
"""The operating system's words; those of object stores are as many as there are stores."""


class InvalidAddressError(ValueError):
    """The address leaves the store, or there is no store to resolve it against."""


def resolve(uri: str, store: str | None) -> str:
    """The address that a client can fetch: ``store://PATH`` below the store, others as they are.

    Args:
        uri: an address of the API's type Uri.
        store: where the store is, such as ``file:///var/lib/modelward/store`` or ``s3://bucket/prefix``.

    Raises:
        InvalidAddressError: the path leaves the store, or store is not set.
    """
    if not uri.startswith(SCHEME):
        return uri
    path = PurePosixPath(unquote(uri.removeprefix(SCHEME)))
    if path.is_absolute() or ".." in path.parts or not path.parts:
        raise InvalidAddressError(f"{uri}: a store address is a relative path without '..'")
    if not store:
        raise InvalidAddressError(f"{uri}: no artifact store is configured; set store in the chart's values")
    return f"{store.rstrip('/')}/{path}"


def split(address: str) -> tuple[str, str]:
    """The address of the folder, and the file's name in it."""
    folder, _, name = address.rpartition("/")
    return folder, name


def is_full(error: Exception) -> bool:
    """Whether a store refused to write because there is no room: its client says so in words only."""
    return any(words in str(error) for words in _FULL)
