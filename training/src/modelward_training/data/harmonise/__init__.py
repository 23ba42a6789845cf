"""Harmonising: declared names, units and kinds, and flags that say what was changed and what breaks a rule."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import polars as pl

from modelward_api.resources.data import Data
from modelward_training.data.frame import ROW, SITE, SOURCE, Flag, Harmonised
from modelward_training.data.harmonise import times
from modelward_training.data.harmonise.cells import NEVER
from modelward_training.data.harmonise.part import harmonised
from modelward_training.data.harmonise.recording import Ways, ways
from modelward_training.data.parts import Parts


def harmonise(data: Data, parts: Parts) -> Harmonised:
    """Return the rows of all parts as declared.

    Of the data only the first time of each timestamp column is read here: it tells whether times are instants or local.

    Raises:
        InvalidInputError: UnknownColumn, DuplicateColumn, WrongKind, InvalidUnit, InvalidMapping, InvalidSpec.
    """
    recorded = ways(data, parts.mappings)
    aware = {
        name: _is_aware(found, parts) for name, found in recorded.items() if found.default.column.kind == "timestamp"
    }
    made = [(part, *harmonised(part, data, recorded, aware)) for part in parts.parts]
    flags = {flag.name: flag for _, _, found in made for flag in found}
    columns = [SITE, *recorded, *flags]
    sources = []
    for index in sorted({part.index for part, _, _ in made}):
        frames = [_complete(f, found, flags).select(columns) for part, f, found in made if part.index == index]
        source = pl.concat(frames).with_row_index(ROW, offset=1)
        sources.append(source.with_columns(pl.lit(index, dtype=pl.Int32).alias(SOURCE), pl.col(ROW).cast(pl.Int64)))
    frame = pl.concat(sources).select(SITE, SOURCE, ROW, *recorded, *flags)
    return Harmonised(frame, tuple(flags.values()), parts.digest, parts.notes)


def _complete(frame: pl.LazyFrame, found: Iterable[Flag], flags: Mapping[str, Flag]) -> pl.LazyFrame:
    has = {flag.name for flag in found}
    return frame.with_columns(NEVER.alias(name) for name in flags if name not in has)


def _is_aware(found: Ways, parts: Parts) -> bool:
    """Return whether the times of a column are instants: if any source has a time zone, or else as the first time is."""
    if any(part.source.time_zone is not None for part in parts.parts):
        return True
    for part in parts.parts:
        way = found.of(part.source.site)
        if way.source not in part.names:
            continue
        place = str(part.names.index(way.source))
        kind = part.frame.collect_schema()[place]
        if isinstance(kind, pl.Datetime):
            return kind.time_zone is not None
        if kind == pl.String:
            text = pl.col(place).str.strip_chars()
            first = part.frame.select(text).filter(~text.is_in(["", *way.missing])).head(1)
            moment = times.parsed(pl.col(place), part.dialect.date_formats)
            answer = first.select(moment.struct.field("offset")).collect().to_series()
            if len(answer):
                return bool(answer[0])
    return False
