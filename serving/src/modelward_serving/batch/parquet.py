"""Parquet files, sharded by row groups: a group belongs to the shard that contains its first row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from modelward_serving.batch.chunk import Chunk, Wanted
from modelward_serving.batch.columns import from_typed
from modelward_serving.batch.errors import unreadable
from modelward_serving.batch.store import File, Input


@dataclass(frozen=True, slots=True)
class Groups:
    """Row groups of one file."""

    file: File
    source: pq.ParquetFile
    numbers: list[int]


def chunks(given: Input, wanted: Wanted, shard: int, shards: int) -> Iterator[Chunk]:
    """Yield the rows of one shard.

    Raises:
        InvalidInputError: UnreadableFile, MissingColumn, DuplicateColumn, WrongKind.
    """
    texts = [column.name for column in wanted.features if column.kind == "categorical"]
    opened = [(file, _open(file, texts)) for file in given.files]
    file, source = opened[0]
    wanted.check(file.told, source.schema_arrow.names)
    kept = [source.schema_arrow.field(name).type for name in wanted.keep]
    yield Chunk.of(0, {}, [_plain(pa.array([], type_)) for type_ in kept])  # a shard may be without rows
    for part in share(opened, shard, shards):
        wanted.check(part.file.told, part.source.schema_arrow.names)
        yield from _read(part, wanted)


def share(opened: list[tuple[File, pq.ParquetFile]], shard: int, shards: int) -> list[Groups]:
    """Return the row groups of one shard, in order."""
    total, before, found = sum(source.metadata.num_rows for _, source in opened), 0, []
    for file, source in opened:
        numbers = []
        for number in range(source.metadata.num_row_groups):
            if before * shards // max(total, 1) == shard:
                numbers.append(number)
            before += source.metadata.row_group(number).num_rows
        if numbers:
            found.append(Groups(file, source, numbers))
    return found


def _open(file: File, texts: list[str]) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(file.open(), read_dictionary=texts, pre_buffer=True)
    except (pa.ArrowException, ValueError, OSError) as error:  # its message may hold anything of the file
        raise unreadable(file.told, "parquet", type(error).__name__) from None


def _read(part: Groups, wanted: Wanted) -> Iterator[Chunk]:
    source, names = part.source, wanted.names
    try:
        for batch in source.iter_batches(wanted.rows, row_groups=part.numbers, columns=names, use_threads=False):
            yield _chunk(batch, wanted, part.file.told)
    except (pa.ArrowException, ValueError, OSError) as error:
        raise unreadable(part.file.told, "parquet", type(error).__name__) from None


def _chunk(batch: pa.RecordBatch, wanted: Wanted, told: str) -> Chunk:
    checked = {column.name: from_typed(column, batch.column(column.name), told) for column in wanted.features}
    kept = [_plain(batch.column(name)) for name in wanted.keep]
    return Chunk.of(batch.num_rows, checked, kept)


def _plain(array: pa.Array) -> pa.Array:
    return array.dictionary_decode() if pa.types.is_dictionary(array.type) else array
