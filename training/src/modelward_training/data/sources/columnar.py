"""Parquet and NDJSON files: typed columns."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

import polars as pl

from modelward_api.csv_errors import MAX_LINE, UTF8_MARK, MalformedError
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


def scan_ndjson(spool: Spool, wanted: Collection[str], *, is_plain: bool) -> Columns:
    """Return the wanted columns of a file with one object a line. They are kept as Parquet.

    They are text. If texts are in a dialect (not is_plain), columns of numbers are numbers, which are in none.

    Raises:
        MalformedError: a line is too long, or one column has numbers and texts that are in a dialect.
        polars.exceptions.PolarsError: a line is not an object of JSON.
    """
    lines = _Lines()
    spool.is_copied = spool.is_copied or spool.head.startswith(UTF8_MARK)  # the copy has no mark, which polars refuses
    spool.decode("utf-8")
    path = spool.keep(lines.feed)
    if not lines.has_content:
        return (), pl.LazyFrame()
    schema = pl.scan_ndjson(path, infer_schema_length=None).collect_schema()
    if len(schema) > MAX_COLUMNS:
        raise MalformedError(f"the objects have more than {MAX_COLUMNS} names")
    names = tuple(schema.names())
    kept = {
        name: kind if kind.is_nested() or (kind.is_numeric() and not is_plain) else pl.String()
        for name, kind in schema.items()
        if name in wanted
    }
    if not is_plain:
        _require_one_kind(path, {name for name, kind in kept.items() if kind == pl.String})
    target = spool.target.with_suffix(".parquet")
    frame = pl.scan_ndjson(path, schema=kept)
    frame.rename({name: str(names.index(name)) for name in kept}).sink_parquet(target)
    return names, pl.scan_parquet(target)


def _require_one_kind(path: Path, names: set[str]) -> None:
    """Refuse a column of numbers and texts: as text, 1.234 is another number in a dialect.

    Raises:
        MalformedError
    """
    kinds: dict[str, bool] = {}
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            try:
                record = json.loads(line) if line.strip() else {}
            except (ValueError, RecursionError):
                raise MalformedError(f"line {number} is not an object of JSON: correct it") from None
            for name in names & (record.keys() if isinstance(record, dict) else set()):
                value = record[name]
                if not isinstance(value, str | int | float) or isinstance(value, bool):
                    continue
                if kinds.setdefault(name, isinstance(value, str)) != isinstance(value, str):
                    has, other = ("a text", "a number") if isinstance(value, str) else ("a number", "a text")
                    raise MalformedError(
                        f"line {number} has {has} where another line has {other}, and the dialect is of texts only: write "
                        "all values of a column as numbers, and remove decimal and thousands"
                    )


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
