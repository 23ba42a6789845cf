"""Compressed bodies and messages, unpacked up to a limit."""

from __future__ import annotations

import zlib

from modelward_serving.errors import RefusedError
from modelward_serving.limits import MAX_BODY


def plain(body: bytes | bytearray, encoding: bytes | None) -> bytes | bytearray:
    """A body, without the encoding that Content-Encoding names.

    Raises:
        RefusedError: see decompress().
    """
    if encoding is None or encoding.strip().lower() == b"identity":
        return body
    return decompress(bytes(body), encoding)


def decompress(body: bytes, encoding: bytes, largest: int = MAX_BODY) -> bytes:
    """A body in the encoding that Content-Encoding names; names are the same in any case (RFC 9110, 8.4.1).

    Raises:
        RefusedError: another encoding, damaged, or too large when unpacked.
    """
    encoding = encoding.strip().lower().removeprefix(b"x-")
    if encoding not in (b"gzip", b"deflate"):
        raise RefusedError(415, "UnsupportedEncoding", "Content-Encoding", "gzip, deflate or identity")
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 32)
    try:
        content = unpacker.decompress(body, largest)
    except zlib.error as error:
        raise RefusedError(400, "NotARequest", "Content-Encoding", f"the body is no {encoding.decode()}") from error
    if unpacker.unconsumed_tail:
        raise RefusedError(413, "TooLarge", "", f"a body may have {largest} bytes at most")
    if not unpacker.eof:
        raise RefusedError(
            400, "NotARequest", "Content-Encoding", f"the body is no {encoding.decode()}: it ends too early"
        )
    return content
