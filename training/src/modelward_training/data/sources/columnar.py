"""Parquet and NDJSON files: typed columns."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import polars as pl

from modelward_api.csv_errors import MAX_LINE, MalformedError
from modelward_training.data.sources.spool import Spool

MAX_COLUMNS = 16_384
Columns = tuple[tuple[str, ...], pl.LazyFrame]
"""The names in the data, and the columns, called 0, 1, 2 and so on."""


def scan_parquet(path: Path) -> Columns:
    """Return the columns of a file.

    Raises:
        polars.exceptions.PolarsError, OSError: the file is not Parquet, or incomplete.
    """
    frame = pl.scan_parquet(path, glob=False, hive_partitioning=False)
    names = frame.collect_schema().names()
    if len(names) > MAX_COLUMNS:
        raise MalformedError(f"the file has more than {MAX_COLUMNS} columns")
    return tuple(names), frame.rename({name: str(place) for place, name in enumerate(names)})


def scan_ndjson(spool: Spool, wanted: Collection[str]) -> Columns:
    """Return the wanted columns of a file with one object a line, as text. They are kept as Parquet.

    Raises:
        MalformedError: a line is too long.
        polars.exceptions.PolarsError: a line is not an object of JSON.
    """
    lines = _Lines()
    spool.decode("utf-8")
    path = spool.keep(lines.feed)
    if not lines.has_content:
        return (), pl.LazyFrame()
    schema = pl.scan_ndjson(path, infer_schema_length=None).collect_schema()
    if len(schema) > MAX_COLUMNS:
        raise MalformedError(f"the objects have more than {MAX_COLUMNS} names")
    names = tuple(schema.names())
    kept = {name: kind if kind.is_nested() else pl.String() for name, kind in schema.items() if name in wanted}
    target = spool.target.with_suffix(".parquet")
    frame = pl.scan_ndjson(path, schema=kept)
    frame.rename({name: str(names.index(name)) for name in kept}).sink_parquet(target)
    return names, pl.scan_parquet(target)


class _Lines:
    """Checks that lines are of bounded length."""

    def __init__(self) -> None:
        self.line, self.length, self.has_content = 1, 0, False

    def feed(self, block: bytes) -> None:
        """Check a block.

        Raises:
            MalformedError: a line is too long.
        """
        self.has_content = self.has_content or bool(block.strip())
        begin, end = block.find(b"\n"), block.rfind(b"\n")
        longest = self.length + (len(block) if begin < 0 else begin)
        if longest >= MAX_LINE:
            raise MalformedError(f"line {self.line} is longer than {MAX_LINE} bytes: write one object a line")
        self.line += block.count(b"\n")
        self.length = self.length + len(block) if end < 0 else len(block) - end - 1
