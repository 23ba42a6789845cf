"""gRPC over HTTP/2: statuses, message framing, deadlines. https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md"""

from __future__ import annotations

from enum import IntEnum
from urllib.parse import quote

from modelward_api.resources.reasons import Reason
from modelward_serving.errors import RefusedError
from modelward_serving.limits import MAX_BODY
from modelward_serving.protocol.compression import decompress
from modelward_serving.transport.http2 import Stream, literal

PREFIX = 5
"""Bytes before each message: compression flag and length."""
TIMEOUT = b"grpc-timeout"
_PRINTABLE = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")
_UNITS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_STATUS_200 = b"\x88"  # RFC 7541, appendix A, entry 8
HEAD = (
    _STATUS_200
    + literal(b"content-type", b"application/grpc")
    + literal(b"grpc-accept-encoding", b"identity,deflate,gzip")
)
WELL = literal(b"grpc-status", b"0")
NOT_GRPC = literal(b":status", b"415") + literal(b"content-type", b"text/plain")


class Code(IntEnum):
    """gRPC status codes."""

    OK = 0
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    UNAUTHENTICATED = 16


class StatusError(Exception):
    """A call that ends with an error status."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    def trailers(self) -> bytes:
        """Return the status as trailers."""
        message = quote(self.message, safe=_PRINTABLE).encode()
        return literal(b"grpc-status", b"%d" % self.code) + literal(b"grpc-message", message)


def refuse(stream: Stream, error: StatusError) -> None:
    """End a call with an error status."""
    stream.end(error.trailers() if stream.has_begun else HEAD + error.trailers())


def framed(message: bytes) -> bytes:
    """Return a message with its prefix."""
    return b"\0" + len(message).to_bytes(4) + message


def message_of(stream: Stream) -> bytes:
    """Return the only message of a unary call.

    Raises:
        StatusError: there is no message, or more than one.
    """
    found = next_message(stream)
    if found is None or stream.body:
        raise StatusError(Code.INVALID_ARGUMENT, f"{Reason.NOT_A_REQUEST}: the call takes exactly one complete message")
    return found


def next_message(stream: Stream, largest: int = MAX_BODY) -> bytes | None:
    """Take the next complete message off the stream; None if there is none yet.

    Raises:
        StatusError: unknown compression, or a message over the limit.
    """
    body = stream.body
    if len(body) < PREFIX:
        return None
    end = PREFIX + int.from_bytes(body[1:PREFIX])
    if end > PREFIX + largest:
        raise StatusError(Code.RESOURCE_EXHAUSTED, f"{Reason.TOO_LARGE}: a message may have at most {largest} bytes")
    if len(body) < end:
        return None
    content = bytes(body[PREFIX:end])
    is_compressed = body[0]
    del body[:end]
    return _decompressed(stream, content, largest) if is_compressed else content


def _decompressed(stream: Stream, content: bytes, largest: int) -> bytes:
    try:
        return decompress(content, stream.head.headers.get(b"grpc-encoding", b"identity"), largest)
    except RefusedError as error:
        codes = {415: Code.UNIMPLEMENTED, 413: Code.RESOURCE_EXHAUSTED}
        raise StatusError(codes.get(error.status, Code.INVALID_ARGUMENT), f"{error.reason}: {error.rule}") from error


def declared_timeout(stream: Stream) -> float | None:
    """Return the client's timeout in seconds from the call's start; None for no timeout.

    Raises:
        StatusError: the timeout is invalid.
    """
    value = stream.head.headers.get(TIMEOUT)
    if value is None:
        return None
    if value[-1:] not in _UNITS or not value[:-1].isdigit() or len(value) > 9:
        raise StatusError(
            Code.INVALID_ARGUMENT,
            f"{Reason.NOT_A_REQUEST}: grpc-timeout: must be up to eight digits and a unit (H, M, S, m, u or n)",
        )
    return int(value[:-1]) * _UNITS[value[-1:]]
