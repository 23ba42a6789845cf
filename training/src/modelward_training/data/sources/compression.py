"""gzip and zstd, recognised by their first bytes, and bounded: a small file must not become an endless one."""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable, Iterator
from itertools import chain

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

GZIP, ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
MAX_BYTES = 256 * 1024**3
"""Of one file, after decompression."""
MAX_RATIO, FREE_BYTES = 200, 256 * 1024**2
"""A file that becomes larger than FREE_BYTES must not become more than MAX_RATIO times as large as it was."""
MAX_WINDOW_LOG = 27
"""Memory of a zstd decoder: what zstd's own command allows unless it is told otherwise."""
_STEP = 4 * 1024**2


class BombError(Exception):
    """A file becomes too large when it is decompressed."""


class TornError(Exception):
    """A compressed file is damaged, or ends too early."""


def name(begin: bytes) -> str | None:
    """Return the compression of a file by its first four bytes, or None."""
    return "gzip" if begin.startswith(GZIP) else "zstd" if begin.startswith(ZSTD) else None


def decompressed(blocks: Iterator[bytes]) -> Iterator[bytes]:
    """Decompress a file if it is compressed.

    Raises:
        BombError, TornError
    """
    first = b""
    for block in blocks:
        first += block
        if len(first) >= len(ZSTD):
            break
    whole = chain([first] if first else [], blocks)
    counted = _Counted(whole)
    read: Callable[[_Counted], Iterator[bytes]] = {"gzip": _gzip, "zstd": _zstd, None: _plain}[name(first)]
    given = 0
    for block in read(counted):
        given += len(block)
        if given > MAX_BYTES or (given > FREE_BYTES and given > MAX_RATIO * counted.bytes):
            raise BombError
        yield block


class _Counted:
    def __init__(self, blocks: Iterator[bytes]) -> None:
        self.blocks, self.bytes = blocks, 0

    def __iter__(self) -> Iterator[bytes]:
        for block in self.blocks:
            self.bytes += len(block)
            yield block


def _plain(blocks: _Counted) -> Iterator[bytes]:
    yield from blocks


def _gzip(blocks: _Counted) -> Iterator[bytes]:
    decoder = zlib.decompressobj(31)
    try:
        for block in blocks:
            rest = block
            while rest:
                if decoder.eof:  # another member, or padding
                    if not rest.strip(b"\0"):
                        break
                    decoder = zlib.decompressobj(31)
                yield decoder.decompress(rest, _STEP)
                rest = decoder.unused_data if decoder.eof else decoder.unconsumed_tail
        yield decoder.flush() if not decoder.eof else b""
    except zlib.error:
        raise TornError from None
    if not decoder.eof:
        raise TornError


def _zstd(blocks: _Counted) -> Iterator[bytes]:
    decoder = _zstd_decoder()
    try:
        for block in blocks:
            rest = block
            while rest or not (decoder.needs_input or decoder.eof):
                if decoder.eof:  # another frame
                    decoder = _zstd_decoder()
                yield decoder.decompress(rest, _STEP)
                rest = decoder.unused_data if decoder.eof else b""
    except zstd.ZstdError:
        raise TornError from None
    if not decoder.eof:
        raise TornError


def _zstd_decoder() -> zstd.ZstdDecompressor:
    return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: MAX_WINDOW_LOG})
