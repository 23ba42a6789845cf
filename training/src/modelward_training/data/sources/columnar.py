"""Parquet and NDJSON files: typed columns."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from modelward_api.csv_errors import MalformedError

MAX_COLUMNS = 16_384
SAMPLE = 1000
"""Lines from which the columns of an NDJSON file are taken."""


def scan_parquet(path: Path) -> tuple[tuple[str, ...], pl.LazyFrame]:
    """Return the names and the columns of a file.

    Raises:
        polars.exceptions.PolarsError, OSError: the file is not Parquet, or incomplete.
    """
    frame = pl.scan_parquet(path, glob=False, hive_partitioning=False)
    return _by_place(frame, frame.collect_schema().names())


def _by_place(frame: pl.LazyFrame, names: list[str]) -> tuple[tuple[str, ...], pl.LazyFrame]:
    if len(names) > MAX_COLUMNS:
        raise MalformedError(f"the file has more than {MAX_COLUMNS} columns")
    return tuple(names), frame.rename({name: str(place) for place, name in enumerate(names)})
