"""Decompression of bodies and messages, up to a size limit."""

from __future__ import annotations

import zlib

from modelward_api.resources.reasons import Reason
from modelward_serving.errors import RefusedError
from modelward_serving.limits import MAX_BODY


def plain(body: bytes | bytearray, encoding: bytes | None) -> bytes | bytearray:
    """Decompress a body, if Content-Encoding is set.

    Raises:
        RefusedError: see decompress().
    """
    if encoding is None or encoding.strip().lower() == b"identity":
        return body
    return decompress(bytes(body), encoding)


def decompress(body: bytes, encoding: bytes, largest: int = MAX_BODY) -> bytes:
    """Decompress a body. Names of encodings are case-insensitive (RFC 9110, 8.4.1).

    Raises:
        RefusedError: unknown encoding, corrupt data, or too large when decompressed.
    """
    encoding = encoding.strip().lower().removeprefix(b"x-")
    if encoding not in (b"gzip", b"deflate"):
        raise RefusedError(415, Reason.UNSUPPORTED_ENCODING, "Content-Encoding", "must be gzip, deflate or identity")
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 32)
    try:
        content = unpacker.decompress(body, largest)
    except zlib.error as error:
        raise RefusedError(
            400, Reason.NOT_A_REQUEST, "Content-Encoding", f"the body is not valid {encoding.decode()}"
        ) from error
    if unpacker.unconsumed_tail:
        raise RefusedError(413, Reason.TOO_LARGE, "", f"a body may have at most {largest} bytes")
    if not unpacker.eof:
        raise RefusedError(
            400, Reason.NOT_A_REQUEST, "Content-Encoding", f"the body is not valid {encoding.decode()}: it is truncated"
        )
    return content
