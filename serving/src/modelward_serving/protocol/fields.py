"""HTTP fields: valid names and values, and the only place that writes header lines for another server.

An unchecked value that is forwarded to another server can smuggle a request: CR and LF end a header line, and the smuggler gets
the next client's response. So fields are checked on arrival (RFC 9113 section 8.2.1) and again when they are written.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

_LETTERS = b"abcdefghijklmnopqrstuvwxyz"
_NAME = b"!#$%&'*+-.^_`|~0123456789" + _LETTERS
"""Characters of a lower-case token (RFC 9110 section 5.6.2)."""
_NAME_OR_COLON = b":" + _NAME
VISIBLE = bytes(range(0x21, 0x7F))
_VALUE = b"\t " + VISIBLE + bytes(range(0x80, 0x100))
_WRITTEN = b"\t " + VISIBLE
"""Characters that we write: servers disagree on bytes beyond ASCII."""
_OF_THE_MESSAGE = frozenset(
    b"connection content-length expect host keep-alive te trailer transfer-encoding upgrade".split()
)
"""Fields that frame or route a message: set by whoever builds it, never copied from a client."""


class UnsendableError(ValueError):
    """A field, path or address that must not be sent. The message names it without its content."""


def are_of_names(names: Iterable[bytes]) -> bool:
    """Return whether all are valid field names; a colon is allowed for HTTP/2's pseudo-headers."""
    return not b"".join(names).translate(None, _NAME_OR_COLON)


def are_of_values(values: Iterable[bytes]) -> bool:
    """Return whether all are valid field values."""
    return not b"".join(values).translate(None, _VALUE)


def are_visible(texts: Iterable[bytes]) -> bool:
    """Return whether all consist of visible ASCII, as methods, schemes, paths and authorities must."""
    return not b"".join(texts).translate(None, VISIBLE)


def sendable(headers: Mapping[bytes, bytes], names: Iterable[bytes]) -> dict[bytes, bytes]:
    """Return the named headers that may be forwarded; omit those that cannot be written."""
    return {name: headers[name] for name in names if name in headers and _is_written(headers[name])}


def lines(headers: Mapping[bytes, bytes]) -> bytes:
    """Return headers as lines of a request.

    Raises:
        UnsendableError: a header would write more than its own line, or frame the request.
    """
    for name, value in headers.items():
        if not name or name.translate(None, _NAME) or name in _OF_THE_MESSAGE:
            raise UnsendableError("a name that must not be written")
        if not _is_written(value):
            raise UnsendableError(f"the value of {name.decode()} must not be written")
    return b"".join([b"%b: %b\r\n" % header for header in headers.items()])


def beginning(path: str, host: str) -> bytes:
    """Return the first two lines of a POST request.

    Raises:
        UnsendableError: the path or the host is invalid.
    """
    if not path.startswith("/") or not path.isascii() or not are_visible((path.encode(),)):
        raise UnsendableError("a path that must not be written")
    if not host or not host.isascii() or not are_visible((host.encode(),)):
        raise UnsendableError("a host that must not be written")
    return f"POST {path} HTTP/1.1\r\nhost: {host}\r\n".encode()


def _is_written(value: bytes) -> bool:
    return value.strip() == value and not value.translate(None, _WRITTEN)
