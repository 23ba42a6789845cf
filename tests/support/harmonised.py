"""Harmonised rows made by hand, and the spec that declares their columns."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import polars as pl

from modelward_api.resources.reasons import Reason
from modelward_api.resources.trainingjob import TrainingJobSpec
from modelward_training.data.frame import ROW, SITE, SOURCE, Flag, Harmonised

ROWS = 400
START = datetime(2023, 1, 1)
NOW = datetime(2024, 3, 1, tzinfo=UTC)
COLUMNS = {
    "age": {"kind": "numeric"},
    "crp": {"kind": "numeric", "nullable": True},
    "smoker": {"kind": "boolean"},
    "sex": {"kind": "categorical", "allowedValues": ["f", "m"]},
    "patient": {"kind": "categorical", "role": "group"},
    "admitted": {"kind": "timestamp", "role": "time"},
    "discharged": {"kind": "timestamp", "role": "context", "nullable": True},
    "hospital": {"kind": "categorical", "role": "site", "allowedValues": ["north", "south"]},
    "outcome": {"kind": "categorical", "role": "label", "allowedValues": ["live", "dead"]},
}
VALUES = {
    "age": lambda i: 40.0 + i * 7 % 31,
    "crp": lambda i: None if i % 10 == 0 else float(i * 13 % 50),
    "smoker": lambda i: float(i % 3 == 0),
    "sex": lambda i: "fm"[i * 5 % 7 % 2],
    "patient": lambda i: f"p{i // 2}",
    "admitted": lambda i: START + timedelta(days=i),
    "discharged": lambda i: START + timedelta(days=i + 3),
    "hospital": lambda i: "north" if i % 2 else "south",
    "outcome": lambda i: "dead" if i % 4 == 0 else "live",
}
TYPES = {
    "numeric": pl.Float64,
    "integer": pl.Float64,
    "boolean": pl.Float64,
    "categorical": pl.String,
    "timestamp": pl.Datetime("us"),
}


def declared(columns=None, quality=None, label=None, split=None, **changes):
    """The spec; a dict under a column's name changes its declaration, or declares one more."""
    columns = COLUMNS if columns is None else columns
    listed = {name: {**columns.get(name, {}), **changes.get(name, {})} for name in dict.fromkeys([*columns, *changes])}
    return TrainingJobSpec.model_validate(
        {
            "model": "m",
            "version": "1.0.0",
            "data": {
                "sources": [{"uri": "store://data.csv"}],
                "columns": [{"name": name, **how} for name, how in listed.items()],
                "label": {"column": "outcome", "positive": "dead", **(label or {})},
                "quality": quality or {},
            },
            "split": split or {"method": "time"},
            "output": {"uri": "store://models"},
        }
    )


def table(spec, rows=ROWS, unread=None, **changes):
    """The rows; a function of the row's number changes a column.

    Args:
        spec: declares the columns.
        rows: how many.
        unread: by column, a function that says which rows' values could not be read.
        changes: by column.
    """
    made = {**VALUES, **changes}
    frame = {SITE: pl.Series([None] * rows, dtype=pl.String), SOURCE: pl.Series([0] * rows)}
    frame[ROW] = pl.Series(range(1, rows + 1))
    for column in spec.data.columns:
        if column.role != "ignore":
            values = [made[column.name](i) for i in range(rows)]
            frame[column.name] = pl.Series(values, dtype=TYPES[column.kind])
    flags = []
    for name, is_unread in (unread or {}).items():
        flag = Flag(name, "kind", "breaks", f"spec.data.columns[{name}].kind", Reason.WRONG_KIND, "correct kind")
        flags.append(flag)
        frame[flag.name] = pl.Series([bool(is_unread(i)) for i in range(rows)])
    return Harmonised(pl.LazyFrame(frame), tuple(flags), "sha256:" + "0" * 64)
