"""Rows that a graph gets wrong first: missing values, unknown categories, extremes, and both sides of every edge."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from modelward_api.bundle.curves import MAX
from modelward_training.data.dataset import Dataset
from modelward_training.estimators.base import FittedModel

BASES = 8
"""Rows of the data that are changed, in turn."""
UNKNOWN = "\x00unknown"
"""A category that no data have: texts with NUL are refused. NumPy would drop a NUL at the end."""
TINY = float(np.finfo(np.float32).smallest_subnormal)
EXTREMES = (MAX, -MAX, 0.0, -0.0, TINY, -TINY, 1.0, -1.0, 1e6, -1e6)

Change = dict[str, float | str]


def probing_rows(model: FittedModel, data: Dataset) -> Dataset:
    """Return rows of the data with changed features; their labels mean nothing."""
    changes = [*_changes(model, data)]
    rows = data.take(np.arange(len(changes)) % min(len(data), BASES))
    columns = {column.name: rows.columns[column.name].copy() for column in data.features}
    for position, change in enumerate(changes):
        for name, value in change.items():
            columns[name][position] = value
    return replace(rows, columns=columns)


def _changes(model: FittedModel, data: Dataset) -> Iterator[Change]:
    numbers = [column.name for column in data.features if column.kind != "categorical"]
    missing: Change = {c.name: "" if c.kind == "categorical" else np.nan for c in data.features}
    unknown: Change = {c.name: UNKNOWN for c in data.features if c.kind == "categorical"}
    yield from [missing, unknown, {**missing, **unknown}]
    for changed in (missing, unknown):
        for name, value in changed.items():
            yield from [{name: value}] * BASES
    for extreme in EXTREMES:
        yield dict.fromkeys(numbers, extreme)
        yield {**missing, **dict.fromkeys(numbers, extreme)}
        for name in numbers:
            yield {name: extreme}
    edges = model.edges
    for index, column in enumerate(data.features):
        at = np.unique(np.array(edges.get(index, ()), dtype=np.float32))
        at = at[np.abs(at) < np.float32(MAX)]
        for values in (np.nextafter(at, np.float32(-np.inf)), at, np.nextafter(at, np.float32(np.inf))):
            yield from ({column.name: value} for value in values.tolist())
