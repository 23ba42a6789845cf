"""CSV files, sharded by bytes: a row belongs to the shard that contains its first byte.

A line break inside quotes does not end a row. A byte is inside quotes if the number of quotes before it is odd, so a shard counts
the quotes before its own bytes; that is as fast as reading them.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import BinaryIO, cast

import pyarrow as pa
import pyarrow.csv as pc

from modelward_api import csv_errors
from modelward_api.resources.columns import Column
from modelward_api.resources.reasons import Reason
from modelward_api.small_counts import of
from modelward_serving.batch.chunk import Chunk, Wanted
from modelward_serving.batch.columns import Values, from_numbers, from_text, texts_for_missing
from modelward_serving.batch.errors import InvalidInputError, unreadable
from modelward_serving.batch.store import File, Input
from modelward_serving.validation.rules import Fault

BLOCK = 16 * 1024 * 1024
"""Bytes per read, and so the longest row."""
MARK = b"\xef\xbb\xbf"


def chunks(given: Input, wanted: Wanted, shard: int, shards: int) -> Iterator[Chunk]:
    """Yield the rows of one shard.

    Raises:
        InvalidInputError: UnreadableFile, EmptyFile, MissingColumn, DuplicateColumn.
    """
    names, _ = _header(given.files[0])
    wanted.check(given.files[0].told, names)
    yield Chunk.of(0, {}, [pa.array([], pa.string()) for _ in wanted.keep])  # a shard may be without rows
    total, before = sum(file.size for file in given.files), 0
    first, last = shard * total // shards, (shard + 1) * total // shards
    for file in given.files:
        start, end = max(first - before, 0), min(last - before, file.size)
        before += file.size
        if start < end:
            names, body = _header(file)
            wanted.check(file.told, names)
            for content in rows_between(file, max(start, body), end):
                yield _chunk(content, names, wanted, file)


def rows_between(file: File, start: int, end: int) -> Iterator[bytes]:
    """Yield blocks of whole rows whose first byte is in [start, end). The header must lie before ``start``."""
    position, quoted = _row_start(file, start)
    rest = b""
    while position < end:
        content = rest + file.read(position + len(rest), min(position + len(rest) + BLOCK, file.size))
        is_last = position + len(content) >= file.size
        # The last row is the one with the byte before `end`.
        cut = _row_end(content, quoted, end - position - 1)
        if cut is None and is_last:
            cut = len(content)
        done = cut is not None
        if cut is None:
            cut = _last_row_end(content, quoted)
        if cut is None:
            raise _malformed(file, f"a row is longer than {BLOCK} bytes, or has an unclosed quote")
        if cut:
            yield content[:cut]
        position, rest = position + cut, content[cut:]
        if done:
            return


def _row_start(file: File, start: int) -> tuple[int, bool]:
    """Return where the first row at or after ``start`` begins. Rows begin outside quotes."""
    quoted, position = False, 0
    while position < start - 1:
        content = file.read(position, min(position + BLOCK, start - 1))
        quoted ^= bool(content.count(b'"') & 1)
        position += len(content)
    while position < file.size:
        content = file.read(position, min(position + BLOCK, file.size))
        cut = _row_end(content, quoted, 0)
        if cut is not None:
            return position + cut, False
        quoted ^= bool(content.count(b'"') & 1)
        position += len(content)
    return file.size, False


def _row_end(content: bytes, quoted: bool, after: int) -> int | None:
    """Return the position after the first unquoted line break at or after an index."""
    if after >= len(content):
        return None
    inside, position = quoted ^ bool(content.count(b'"', 0, max(after, 0)) & 1), max(after, 0)
    while (found := content.find(b"\n", position)) >= 0:
        inside ^= bool(content.count(b'"', position, found) & 1)
        if not inside:
            return found + 1
        position = found + 1
    return None


def _last_row_end(content: bytes, quoted: bool) -> int | None:
    """Return the position after the last unquoted line break."""
    inside, position = quoted ^ bool(content.count(b'"') & 1), len(content)
    while (found := content.rfind(b"\n", 0, position)) >= 0:
        inside ^= bool(content.count(b'"', found, position) & 1)
        if not inside:
            return found + 1
        position = found
    return None


def _header(file: File) -> tuple[list[str], int]:
    """Return the column names, and where the rows begin."""
    content = file.read(0, min(BLOCK, file.size))
    end = _row_end(content, False, 0) or len(content)
    try:
        text = content[:end].removeprefix(MARK).decode()
        names = next(csv.reader(io.StringIO(text, newline="")), [])
    except (UnicodeDecodeError, csv.Error):
        raise _malformed(file, "the header is not valid UTF-8") from None
    if not names:
        raise InvalidInputError(Reason.EMPTY_FILE, f"{file.told} is empty: it must have a header", "spec.input.uri")
    if "\0" in text or (len(names) == 1 and csv_errors.separator(names[0])):
        raise _malformed(file, "the header has a NUL byte or another separator than a comma")
    return names, end


def _malformed(file: File, otherwise: str) -> InvalidInputError:
    """Return the error with its line number, by reading the file again from the start."""
    try:
        csv_errors.check(cast(BinaryIO, file.open()))
    except csv_errors.MalformedError as error:
        return unreadable(file.told, "csv", str(error))
    return unreadable(file.told, "csv", otherwise)


def _chunk(content: bytes, names: list[str], wanted: Wanted, file: File) -> Chunk:
    texts = _read_as_text(wanted)
    if b"\0" in content:
        raise _malformed(file, "it contains a NUL byte")
    try:
        table, malformed = _parse(content, names, wanted, texts)
    except pa.ArrowInvalid:  # some value is not a number: read all columns as text
        texts = {column.name for column in wanted.features} | texts
        try:
            table, malformed = _parse(content, names, wanted, texts)
        except pa.ArrowInvalid as error:
            raise _malformed(file, f"it is not UTF-8 text in columns ({type(error).__name__})") from None
    if malformed and not wanted.skip_malformed:
        raise _malformed(file, f"{of(malformed, 'lines')} have more or fewer fields than the header")
    checked = {column.name: _check(column, table, texts) for column in wanted.features}
    return Chunk.of(table.num_rows, checked, [_one(table, name) for name in wanted.keep], malformed)


def _read_as_text(wanted: Wanted) -> set[str]:
    """Return the columns to read as text."""
    odd = (c.name for c in wanted.features if c.kind in ("categorical", "boolean") or texts_for_missing(c))
    return {*odd, *wanted.keep}


def _parse(content: bytes, names: list[str], wanted: Wanted, texts: set[str]) -> tuple[pa.Table, int]:
    malformed = 0

    def leave_out(_: object) -> str:
        nonlocal malformed
        malformed += 1
        return "skip"

    coded, kept = pa.dictionary(pa.int32(), pa.string()), set(wanted.keep)
    types = {name: pa.string() if name in kept else coded if name in texts else pa.float64() for name in wanted.names}
    table = pc.read_csv(
        pa.BufferReader(content),
        pc.ReadOptions(use_threads=False, block_size=len(content) + 1, column_names=names),
        pc.ParseOptions(newlines_in_values=b'"' in content, invalid_row_handler=leave_out),
        pc.ConvertOptions(
            column_types=types, include_columns=wanted.names, null_values=[""], strings_can_be_null=False
        ),
    )
    return table, malformed


def _one(table: pa.Table, name: str) -> pa.Array:
    column = table.column(name)
    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.unify_dictionaries().chunks)


def _check(column: Column, table: pa.Table, texts: set[str]) -> tuple[Values, list[Fault]]:
    array = _one(table, column.name)
    return from_text(column, array) if column.name in texts else from_numbers(column, array)
