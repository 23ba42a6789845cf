"""From a stream to a file that polars can scan: hashed, decompressed, decoded, and checked on the way."""

from __future__ import annotations

import codecs
import hashlib
import re
import shutil
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

from modelward_api.csv_errors import MAX_LINE, UTF8_MARK, UTF16, MalformedError
from modelward_api.resources.reasons import Reason
from modelward_training.data.sources.compression import BombError, TornError, decompressed, name
from modelward_training.data.sources.files import File
from modelward_training.errors import InvalidInputError

CODECS = {"utf-8": "utf-8", "utf-16": "utf-16", "windows-1252": "cp1252", "iso-8859-1": "latin-1"}
HEAD = 256 * 1024
"""Bytes in which the first lines are looked for, unless they are longer."""
MIN_FREE = 64 * 1024**2
"""Bytes that stay free in the pod's temporary folder."""


class Spool:
    """One file on its way."""

    def __init__(self, file: File, folder: Path, number: int) -> None:
        self.file = file
        self.target = folder / f"{number}"
        self.digest = hashlib.sha256()
        self.blocks = self._blocks()
        self.head = self._peek(HEAD)
        self.is_copied = file.path is None or self.is_compressed

    def _blocks(self) -> Iterator[bytes]:
        """The bytes of the file, hashed as they are and decompressed.

        Raises:
            InvalidInputError: TooLarge, UnreadableFile, and those of the file.
        """
        self.is_compressed = False
        try:
            yield from decompressed(self._hashed())
        except BombError:
            message = f"{self.file.where} is too large when decompressed: store it uncompressed"
            raise InvalidInputError(Reason.TOO_LARGE, message, self.file.field) from None
        except TornError:
            message = f"{self.file.where} is damaged or incomplete: its compression cannot be undone; upload it again"
            raise InvalidInputError(Reason.UNREADABLE_FILE, message, self.file.field) from None

    def _hashed(self) -> Iterator[bytes]:
        is_first = True
        for block in self.file.blocks():
            if is_first:
                self.is_compressed, is_first = name(block[:4]) is not None, False
            self.digest.update(block)
            yield block

    def _peek(self, size: int) -> bytes:
        read = bytearray()
        for block in self.blocks:
            read += block
            if len(read) >= size:
                break
        self.is_all = len(read) < size
        """Whether the head is the whole file."""
        found = bytes(read)
        self.blocks = chain([found] if found else [], self.blocks)
        return found

    def look_further(self) -> bool:
        """Read more of the beginning; False if there is no more."""
        before = len(self.head)
        self.head = self._peek(min(2 * before, 2 * MAX_LINE))
        return len(self.head) > before

    def keep(self, check: Callable[[bytes], None] = lambda _: None) -> Path:
        """Read to the end, and return where the content is.

        Args:
            check: is called with each block.
        """
        if not self.is_copied and self.file.path is not None:
            for block in self.blocks:
                check(block)
            return self.file.path
        with self.target.open("wb") as target:
            for block in self.blocks:
                check(block)
                if not self.has_room(len(block)):
                    raise self._no_room()
                target.write(block)
        return self.target

    def has_room(self, size: int) -> bool:
        """Return whether so many bytes fit into the temporary folder."""
        return shutil.disk_usage(self.target.parent).free >= MIN_FREE + size

    def drop(self) -> None:
        """Remove the content, which is kept in another form."""
        if self.is_copied:
            self.target.unlink()

    def _no_room(self) -> InvalidInputError:
        message = (
            f"{self.file.where} does not fit into the pod's temporary folder: use a node with more room, or store CSV as "
            "Parquet"
        )
        return InvalidInputError(Reason.TOO_LARGE, message, self.file.field)

    def decode(self, encoding: str | None) -> str | None:
        """Turn the content into UTF-8 without a mark, and return the encoding if the mark told it.

        Args:
            encoding: the declared one.

        Raises:
            MalformedError: the content is in another encoding. Also while blocks are read.
        """
        marked = "utf-16" if self.head.startswith(UTF16) else None
        if marked is not None and encoding not in (None, marked):
            raise MalformedError(
                f"the file begins with the byte-order mark of {marked}: set dialect.encoding: {marked}"
            )
        used = encoding or marked or "utf-8"
        if used == "utf-8":
            self.blocks = _utf8(self.blocks)
        else:
            self.is_copied = True
            self.blocks = _recoded(self.blocks, used)
        self.head = self._peek(HEAD)
        return None if encoding is not None else marked

    def blank_comments(self, prefix: str, quote: str) -> None:
        """Empty the lines that begin with a prefix outside quoted fields."""
        self.is_copied = True
        self.blocks = _without_comments(self.blocks, prefix.encode(), quote.encode())
        self.head = self._peek(HEAD)


def _utf8(blocks: Iterator[bytes]) -> Iterator[bytes]:
    decoder, lines = codecs.getincrementaldecoder("utf-8")(), 1
    is_first = True
    for block in blocks:
        if not block.isascii() or decoder.getstate()[0]:
            held = decoder.getstate()[0]
            try:
                decoder.decode(block)
            except UnicodeDecodeError as error:
                line = lines + (held + block)[: error.start].count(b"\n")
                raise MalformedError(
                    f"line {line} is not UTF-8, possibly Latin-1: set dialect.encoding (windows-1252 or iso-8859-1), or save "
                    "the file as UTF-8"
                ) from None
            lines += block.count(b"\n")
        else:
            lines += block.count(b"\n")
        yield block.removeprefix(UTF8_MARK) if is_first else block
        is_first = False
    if decoder.getstate()[0]:
        raise MalformedError(f"line {lines} is not UTF-8: the file ends within a character; it may be incomplete")


def _recoded(blocks: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    decoder, lines = codecs.getincrementaldecoder(CODECS[encoding])(), 1
    wrong = "line {} is not " + encoding + ": set dialect.encoding to what the file was saved as"
    try:
        for block in blocks:
            text = decoder.decode(block)
            lines += text.count("\n")
            yield text.encode()
        yield decoder.decode(b"", final=True).encode()
    except UnicodeError:  # also of a lone surrogate, or of UTF-16 without its mark
        raise MalformedError(wrong.format(f"{lines} or later")) from None


def _without_comments(blocks: Iterator[bytes], prefix: bytes, quote: bytes) -> Iterator[bytes]:
    comment = re.compile(rb"(?m)^" + re.escape(prefix) + rb"[^\r\n]*")
    rest, is_inside = b"", False
    for block in chain(blocks, [b""]):
        content = rest + block
        end = content.rfind(b"\n") + 1 if block else len(content)
        lines, rest = content[:end], content[end:]
        if len(rest) >= 2 * MAX_LINE:
            yield lines
            yield rest  # the check of lines refuses it
            rest = b""
            continue
        if not is_inside and quote not in lines:
            yield comment.sub(b"", lines)
            continue
        kept = []
        for line in lines.splitlines(keepends=True):
            is_comment = not is_inside and line.startswith(prefix)
            kept.append(line[len(line.rstrip(b"\r\n")) :] if is_comment else line)
            is_inside ^= not is_comment and line.count(quote) % 2 == 1
        yield b"".join(kept)
