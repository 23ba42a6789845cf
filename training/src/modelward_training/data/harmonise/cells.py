"""One column of one part, recorded in one way: its value, and what happened to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import polars as pl

from modelward_api.resources.data import Dialect
from modelward_training.data.harmonise import numbers, times
from modelward_training.data.harmonise.recording import Way
from modelward_training.data.units import IDENTITY

NEVER = pl.lit(False)


@dataclass(frozen=True)
class Cell:
    """Expressions in stages, each on the columns of the stages before. Polars computes no stage twice."""

    stages: tuple[Mapping[str, pl.Expr], ...]
    value: pl.Expr
    rules: Mapping[str, pl.Expr] = field(default_factory=dict)
    """Whether a rule applies to the row, by rule."""


@dataclass(frozen=True, slots=True)
class Raw:
    """A column as it was read."""

    name: str
    """Its name in the table."""
    kind: pl.DataType
    dialect: Dialect
    is_trimmed: bool
    time_zone: str | None
    is_aware: bool
    """Whether the column's times are instants: they name their offset from UTC, or the source its time zone."""


def cell(raw: Raw, way: Way, prefix: str) -> Cell:
    """Return the value of a column, and the rules that it breaks or that changed it.

    Args:
        raw: the column as it was read.
        way: how it is recorded.
        prefix: of the names of the stages' columns.
    """
    kind = way.column.kind
    if kind == "timestamp":
        return _timestamp(raw, way, prefix)
    if raw.kind.is_numeric() and kind in ("numeric", "integer") and not way.values:
        return _measured(raw, way, prefix)
    if kind == "boolean" and (raw.kind.is_numeric() or raw.kind == pl.Boolean) and not way.values:
        return _flagged(raw, way, prefix)
    return _from_text(raw, way, prefix)


def as_text(raw: Raw) -> pl.Expr:
    """Return the column as the text that a CSV file would hold."""
    column = pl.col(raw.name)
    if raw.kind == pl.String:
        return column
    if isinstance(raw.kind, pl.Datetime) and raw.kind.time_zone is not None:
        return column.dt.convert_time_zone("UTC").dt.strftime("%Y-%m-%dT%H:%M:%S%.6fZ")
    if raw.kind.is_float():
        is_whole = (column == column.round()) & (column.abs() < 2**53)
        return (
            pl.when(is_whole)
            .then(column.cast(pl.Int64, strict=False).cast(pl.String))
            .otherwise(column.cast(pl.String))
        )
    return column.cast(pl.String)


def _present(raw: Raw, way: Way) -> pl.Expr:
    """Return the text without spaces around it, or null where it means 'missing'."""
    text = as_text(raw)
    is_plain = raw.is_trimmed or raw.kind != pl.String
    if not is_plain:
        text = text.str.strip_chars()
    missing = [*([] if is_plain else [""]), *way.missing]
    return text if not missing else pl.when(~text.is_in(missing)).then(text)


def _mapped(text: pl.Expr, way: Way) -> pl.Expr:
    """Return the target of a text, or null if the mapping does not have it."""
    key = text.str.to_lowercase() if way.ignore_case else text
    return key.replace_strict(dict(way.values), default=None, return_dtype=pl.String)


def _from_text(raw: Raw, way: Way, prefix: str) -> Cell:
    text, mapped, plain = f"{prefix}text", f"{prefix}mapped", f"{prefix}plain"
    stages: list[Mapping[str, pl.Expr]] = [{text: _present(raw, way)}]
    rules: dict[str, pl.Expr] = {}
    value = pl.col(text)
    if way.values:
        stages += [{mapped: _mapped(pl.col(text), way)}]
        rules["values"] = (pl.col(mapped) != pl.col(text)).fill_null(value=False)
        target = pl.coalesce(pl.col(mapped), pl.col(text))
        stages += [{plain: pl.when(~target.is_in(["", *way.missing])).then(target)}]
        value = pl.col(plain)
    if way.column.kind == "categorical" and raw.kind.is_float():
        wrong = ((~pl.col(raw.name).is_finite()) & value.is_in(["NaN", "inf", "-inf"])).fill_null(value=False)
        return Cell(tuple(stages), pl.when(~wrong).then(value), {**rules, "kind": wrong})
    if way.column.kind == "categorical":
        return Cell(tuple(stages), value, rules)
    number = f"{prefix}number"
    if way.column.kind == "boolean":
        stages += [{number: numbers.boolean(value)}]
        return Cell(tuple(stages), pl.col(number), {**rules, "kind": value.is_not_null() & pl.col(number).is_null()})
    sign: pl.Expr | None = None
    rest = value
    if way.censored is not None:
        stages += [
            {f"{prefix}sign": value.str.extract(r"^([<>≤≥])", 1), f"{prefix}rest": value.str.replace(numbers.SIGN, "")}
        ]
        sign, rest = pl.col(f"{prefix}sign"), pl.col(f"{prefix}rest")
    stages += [{number: numbers.number(rest, Dialect() if raw.kind.is_numeric() else raw.dialect)}]
    present, found = value.is_not_null(), pl.col(number)
    if codes := _codes(way):  # 9999.0 is the code 9999, as where the whole file could be read as numbers
        is_code = found.is_in(codes).fill_null(value=False)
        is_code = is_code if sign is None else is_code & sign.is_null()
        present, found = present & ~is_code, pl.when(~is_code).then(found)
    return _converted(way, stages, present, found, rules, prefix, sign)


def _measured(raw: Raw, way: Way, prefix: str) -> Cell:
    """A typed number. A text that means 'missing' is compared as a number."""
    number, codes = f"{prefix}number", _codes(way)
    column = pl.col(raw.name).cast(pl.Float64)
    present = column if not codes else pl.when(~column.is_in(codes)).then(column)
    return _converted(way, [{number: present}], pl.col(number).is_not_null(), pl.col(number), {}, prefix)


def _flagged(raw: Raw, way: Way, prefix: str) -> Cell:
    """A typed boolean, or a number that must be 0 or 1."""
    number, codes = f"{prefix}number", _codes(way)
    column = pl.col(raw.name).cast(pl.Float64)
    present = column if not codes else pl.when(~column.is_in(codes)).then(column)
    wrong = (~pl.col(number).is_in([0.0, 1.0])).fill_null(value=False)
    return Cell(({number: present},), pl.when(~wrong).then(pl.col(number)), {"kind": wrong})


def _codes(way: Way) -> list[float]:
    """Return the numbers that mean 'missing'."""
    return [code for code in map(_as_number, way.missing) if code is not None]


def _as_number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _converted(
    way: Way,
    stages: list[Mapping[str, pl.Expr]],
    present: pl.Expr,
    number: pl.Expr,
    rules: dict[str, pl.Expr],
    prefix: str,
    sign: pl.Expr | None = None,
) -> Cell:
    """Check the kind, apply the sign of a censored value, then the unit."""
    is_right = f"{prefix}right"
    stages = [*stages, {is_right: numbers.is_right(number, is_whole=way.column.kind == "integer")}]
    right = pl.col(is_right)
    rules["kind"] = present & ~right
    value: pl.Expr = pl.when(right).then(number)
    if sign is not None:
        rules["censored"] = sign.is_not_null() & right
        if way.censored == "missing":
            value = pl.when(right & sign.is_null()).then(number)
        if way.censored == "half":
            value = pl.when(sign.is_in(["<", "≤"])).then(value / 2).otherwise(value)
    if way.conversion != IDENTITY:
        value = value * way.conversion.factor + way.conversion.offset
        rules["unit"] = value.is_not_null()
    return Cell(tuple(stages), value, rules)


def _timestamp(raw: Raw, way: Way, prefix: str) -> Cell:
    """Instants in UTC, or local times if the data name no offset and the source no time zone."""
    text, parsed, at, instant = (f"{prefix}{name}" for name in ("text", "parsed", "at", "instant"))
    if isinstance(raw.kind, pl.Datetime) or raw.kind == pl.Date:
        zone = raw.kind.time_zone if isinstance(raw.kind, pl.Datetime) else None
        column = pl.col(raw.name)
        moment = column if zone is None else column.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        stages: list[Mapping[str, pl.Expr]] = [{text: column, at: moment.cast(pl.Datetime("us"))}]
        has_offset: pl.Expr = pl.lit(zone is not None)
    else:
        cell = _from_text(raw, replace(way, column=way.column.model_copy(update={"kind": "categorical"})), prefix)
        stages = [*cell.stages, {text: cell.value}]
        stages += [{parsed: times.parsed(pl.col(text), raw.dialect.date_formats)}]
        stages += [{at: pl.col(parsed).struct.field("at")}]
        has_offset = pl.col(parsed).struct.field("offset")
    plausible = times.is_plausible(pl.col(at)).fill_null(value=False)
    rules = {"kind": pl.col(text).is_not_null() & ~plausible}
    value: pl.Expr = pl.when(plausible).then(pl.col(at))
    if raw.time_zone is not None:
        local = (
            pl.when(plausible & ~has_offset)
            .then(pl.col(at))
            .dt.replace_time_zone(raw.time_zone, ambiguous="null", non_existent="null")
        )
        stages += [
            {
                instant: pl.when(has_offset)
                .then(value.dt.replace_time_zone("UTC"))
                .otherwise(local.dt.convert_time_zone("UTC"))
            }
        ]
        rules["daylight"] = plausible & pl.col(instant).is_null()
        return Cell(tuple(stages), pl.col(instant), rules)
    rules["offset"] = plausible & (has_offset != raw.is_aware)
    value = pl.when(plausible & (has_offset == raw.is_aware)).then(pl.col(at))
    return Cell(tuple(stages), value.dt.replace_time_zone("UTC") if raw.is_aware else value, rules)
