"""The text of all sources as typed columns, with a flag for what cannot be read."""

from __future__ import annotations

import polars as pl

from modelward_api.resources.columns import BOOLEANS
from modelward_api.resources.data import Data
from modelward_api.resources.reasons import Reason
from modelward_training.data.frame import ROW, SITE, SOURCE, Flag, Harmonised
from modelward_training.data.sources import Table
from modelward_training.data.times import in_utc, instant
from modelward_training.errors import InvalidInputError


def harmonised(data: Data, table: Table) -> Harmonised:
    """Return the rows with every value as its kind."""
    frame, flags = table.frame, []
    columns: list[pl.Expr | pl.Series] = [pl.lit(None, pl.String).alias(SITE), pl.lit(0).alias(SOURCE)]
    for i, column in enumerate(data.columns):
        if column.role == "ignore":
            continue
        text, field = frame[column.name], f"spec.data.columns[{i}]"
        if column.kind == "categorical":
            columns.append(text)
            continue
        remedy, reason = "correct kind or missingValues", Reason.WRONG_KIND
        if column.kind == "boolean":
            typed = text.str.to_lowercase().replace_strict(BOOLEANS, default=None, return_dtype=pl.Float64)
        elif column.kind == "timestamp":
            typed, reason = _times(text, column.name, field), Reason.INVALID_TIME
            remedy = "write 2016-03-28, 2016-03-28T14:30:00 or 2016-03-28T14:30:00+01:00"
        else:
            typed = text.cast(pl.Float64, strict=False)
        flag = Flag(
            column.name, "kind", "breaks", field if reason == Reason.INVALID_TIME else f"{field}.kind", reason, remedy
        )
        flags.append(flag)
        columns += [typed.alias(column.name), (text.is_not_null() & typed.is_null()).alias(flag.name)]
    made = frame.select(columns).with_row_index(ROW, 1)
    return Harmonised(made.lazy(), tuple(flags), table.digest)


def _times(text: pl.Series, name: str, field: str) -> pl.Series:
    moments = [None if value is None else instant(value) for value in text.to_list()]
    aware = [moment.tzinfo is not None for moment in moments if moment is not None]
    if any(aware) and not all(aware):
        message = (
            f"column {name} names an offset from UTC in {sum(aware)} of {len(text)} rows and not in the others, so the rows "
            "cannot be ordered: name an offset (Z or +01:00) in all of them or in none"
        )
        raise InvalidInputError(Reason.MIXED_OFFSETS, message, field)
    plain = pl.Series([None if moment is None else in_utc(moment) for moment in moments], dtype=pl.Datetime("us"))
    return plain.dt.replace_time_zone("UTC") if any(aware) else plain
