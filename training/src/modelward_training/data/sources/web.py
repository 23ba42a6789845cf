"""https: files at web servers. The host is checked, and the connection goes to the address that was checked."""

from __future__ import annotations

from collections.abc import Iterator


def blocks(address: str, size: int) -> Iterator[bytes]:
    """Read a file."""
    raise NotImplementedError
    yield b""
