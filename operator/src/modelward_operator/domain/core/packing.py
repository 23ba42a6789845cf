"""Compressed content that somebody else may have written."""

from __future__ import annotations

import zlib

_GZIP_OR_ZLIB = zlib.MAX_WBITS | 32


def unpacked(packed: bytes, largest: int) -> bytes:
    """Return the content of a gzip file or a zlib stream, behind which there may be zeros.

    Raises:
        ValueError: it is neither, damaged, cut off, or has more than ``largest`` bytes.
    """
    unpacker = zlib.decompressobj(_GZIP_OR_ZLIB)
    try:
        content = unpacker.decompress(packed, largest)
    except zlib.error as error:
        raise ValueError("damaged") from error
    if not unpacker.eof:
        raise ValueError("too long, or cut off")
    return content
