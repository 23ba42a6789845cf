"""HTTP fields: which names and values there are, and the only way in which lines for another server are written.

A caller's value that reaches another server's connection raw is a request of the caller's own making there: CR and LF end a line,
and the next caller's answer is lost to whoever wrote it. So what comes is checked where it comes in (RFC 9113 section 8.2.1), and
what goes out is checked where it is written, whoever checked it before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

_LETTERS = b"abcdefghijklmnopqrstuvwxyz"
_NAME = b"!#$%&'*+-.^_`|~0123456789" + _LETTERS
"""Characters of a token (RFC 9110 section 5.6.2), without capitals: HTTP/2 has none, and we write none."""
_NAME_OR_COLON = b":" + _NAME
VISIBLE = bytes(range(0x21, 0x7F))
_VALUE = b"\t " + VISIBLE + bytes(range(0x80, 0x100))
_WRITTEN = b"\t " + VISIBLE
"""What we write: bytes beyond ASCII mean something else to every reader."""
_OF_THE_MESSAGE = frozenset(
    b"connection content-length expect host keep-alive te trailer transfer-encoding upgrade".split()
)
"""Names that say where a message ends and whom it is for: whoever makes the message says so, and no caller."""


class UnsendableError(ValueError):
    """A field, path or address that must not be written; it says which, and never what is in it."""


def are_of_names(names: Iterable[bytes]) -> bool:
    """Whether these have no characters but those of names, and the colon of HTTP/2's own."""
    return not b"".join(names).translate(None, _NAME_OR_COLON)


def are_of_values(values: Iterable[bytes]) -> bool:
    """Whether these have no characters but those of values: no control characters."""
    return not b"".join(values).translate(None, _VALUE)


def are_visible(texts: Iterable[bytes]) -> bool:
    """Whether there is nothing but visible ASCII: methods, schemes, paths and authorities."""
    return not b"".join(texts).translate(None, VISIBLE)


def sendable(headers: Mapping[bytes, bytes], names: Iterable[bytes]) -> dict[bytes, bytes]:
    """Of these headers those that may be passed on: one that cannot be written is left out."""
    return {name: headers[name] for name in names if name in headers and _is_written(headers[name])}


def lines(headers: Mapping[bytes, bytes]) -> bytes:
    """Headers as lines of a request.

    Raises:
        UnsendableError: one would write anything but its own line, or say where the request ends.
    """
    for name, value in headers.items():
        if not name or name.translate(None, _NAME) or name in _OF_THE_MESSAGE:
            raise UnsendableError("a name that must not be written")
        if not _is_written(value):
            raise UnsendableError(f"the value of {name.decode()} must not be written")
    return b"".join([b"%b: %b\r\n" % header for header in headers.items()])


def beginning(path: str, host: str) -> bytes:
    """A POST's first two lines.

    Raises:
        UnsendableError: a path or a host that would write anything else.
    """
    if not path.startswith("/") or not path.isascii() or not are_visible((path.encode(),)):
        raise UnsendableError("a path that must not be written")
    if not host or not host.isascii() or not are_visible((host.encode(),)):
        raise UnsendableError("a host that must not be written")
    return f"POST {path} HTTP/1.1\r\nhost: {host}\r\n".encode()


def _is_written(value: bytes) -> bool:
    return value.strip() == value and not value.translate(None, _WRITTEN)
