"""Harmonising: declared names, units and kinds, and flags that say what was changed and what breaks a rule."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import polars as pl

from modelward_api.resources.data import Data
from modelward_api.resources.reasons import Reason
from modelward_training.data.frame import ROW, SITE, SOURCE, Flag, Harmonised
from modelward_training.data.harmonise import times
from modelward_training.data.harmonise.cells import NEVER
from modelward_training.data.harmonise.part import harmonised
from modelward_training.data.harmonise.recording import Ways, ways
from modelward_training.data.parts import Parts
from modelward_training.errors import InvalidInputError


def harmonise(data: Data, parts: Parts) -> Harmonised:
    """Return the rows of all parts as declared.

    Of the data only the first time of each timestamp column is read here: it tells whether times are instants or local.

    Raises:
        InvalidInputError: UnknownColumn, DuplicateColumn, WrongKind, UnknownSite, InvalidUnit, InvalidMapping, InvalidSpec.
    """
    recorded = ways(data, parts.mappings)
    _check_sites(data)
    _check_dialects(data)
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


def _check_sites(data: Data) -> None:
    """Require that every declared site is one of the data, and the other way round: a misspelt one would convert nothing."""
    column = next((c for c in data.columns if c.role == "site"), None)
    for index, source in enumerate(data.sources):
        field = f"spec.data.sources[{index}].site"
        if source.site is not None and column is None:
            message = "site needs a column with role: site in spec.data.columns"
            raise InvalidInputError(Reason.UNKNOWN_COLUMN, message, field)
        if source.site is not None and data.sites and source.site not in {site.name for site in data.sites}:
            message = f"site {source.site} is not declared: add it to spec.data.sites, without columns if it records as declared"
            raise InvalidInputError(Reason.UNKNOWN_SITE, message, field)
    used = {source.site for source in data.sources}
    if None in used and column is not None:
        used |= set(column.allowed_values)
    for index, site in enumerate(data.sites):
        if site.name not in used:
            message = f"no source and no allowed value of the column with role: site has the site {site.name}: correct the name"
            raise InvalidInputError(Reason.UNKNOWN_SITE, message, f"spec.data.sites[{index}].name")


def _check_dialects(data: Data) -> None:
    for index, source in enumerate(data.sources):
        path = f"spec.data.sources[{index}]"
        for i, form in enumerate(source.dialect.date_formats):
            if not times.is_format(form):
                message = "is not a format of a date: write for example %d.%m.%Y or %d.%m.%Y %H:%M"
                raise InvalidInputError(Reason.INVALID_SPEC, message, f"{path}.dialect.dateFormats[{i}]")
        if source.time_zone is not None and not times.is_zone(source.time_zone):
            message = "is not the name of a time zone: write for example Europe/Berlin"
            raise InvalidInputError(Reason.INVALID_SPEC, message, f"{path}.timeZone")


def _is_aware(found: Ways, parts: Parts) -> bool:
    """Return whether the first time of a column is an instant: the others must be as it is."""
    for part in parts.parts:
        if part.source.time_zone is not None:
            return True
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
