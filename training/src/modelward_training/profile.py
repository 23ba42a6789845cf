"""Step 8: what the training data look like, as counts in frozen bins; and golden rows that no patient is in."""

from __future__ import annotations

import numpy as np

from modelward_api.bundle import FeatureReference, Golden, ReferenceProfile
from modelward_api.columns import Column
from modelward_api.names import SCORE
from modelward_training.check import Dataset
from modelward_training.export import infer

BINS = 10
FEWEST_IN_A_BIN = 20
"""Rows behind an edge: an edge between groups of patients tells nothing of one."""
GOLDEN_ROWS = 8


def reference_profile(data: Dataset, score: np.ndarray) -> ReferenceProfile:
    """The reference of every feature and of the score, over the training rows."""
    features = tuple(_feature(column, data.columns[column.name]) for column in data.features)
    return ReferenceProfile(rows=len(data), features=features, score=_numeric(SCORE, score, None, None))


def golden_rows(graph: bytes, data: Dataset, profile: ReferenceProfile) -> Golden:
    """Synthetic rows from bin limits and categories, with the scores that the graph gives them."""
    draw = np.random.default_rng(0)
    inputs: dict[str, tuple[float | str | None, ...]] = {}
    for column, reference in zip(data.features, profile.features, strict=True):
        choices: list[float | str | None] = list(reference.categories or reference.edges or (0.0,))
        picked = [choices[int(i)] for i in draw.integers(0, len(choices), GOLDEN_ROWS)]
        if column.nullable:
            picked[-1] = None
        inputs[column.name] = tuple(picked)
    scores = infer(graph, {c.name: as_array(c, inputs[c.name]) for c in data.features})
    return Golden(inputs=inputs, scores=tuple(float(s) for s in scores))


def as_array(column: Column, values: tuple[float | str | None, ...]) -> np.ndarray:
    """A column's values as the graph takes them: missing is NaN or the empty text."""
    if column.kind == "categorical":
        return np.array(["" if v is None else v for v in values], dtype=object)
    return np.array([np.nan if v is None else v for v in values], dtype=np.float64)


def _feature(column: Column, values: np.ndarray) -> FeatureReference:
    if column.kind != "categorical":
        low = column.range.minimum if column.range else None
        high = column.range.maximum if column.range else None
        return _numeric(column.name, values, low, high)
    categories = column.allowed_values or tuple(sorted(set(values) - {""}))
    cells = [int((values == category).sum()) for category in categories]
    missing = int((values == "").sum())
    return FeatureReference(
        name=column.name,
        kind="categorical",
        categories=categories,
        counts=(*cells, missing, 0, len(values) - missing - sum(cells)),
    )


def _numeric(name: str, values: np.ndarray, low: float | None, high: float | None) -> FeatureReference:
    given = values[~np.isnan(values)]
    inside = np.ones(len(given), dtype=bool)
    inside &= True if low is None else given >= low
    inside &= True if high is None else given <= high
    kept = given[inside].astype(np.float32)
    edges = _edges(kept)
    counts = np.bincount(
        np.searchsorted(np.array(edges, dtype=np.float32), kept, side="right"), minlength=len(edges) + 1
    )
    return FeatureReference(
        name=name,
        kind="numeric",
        edges=edges,
        minimum=low,
        maximum=high,
        counts=(*(int(c) for c in counts), len(values) - len(given), int((~inside).sum()), 0),
    )


def _edges(values: np.ndarray) -> tuple[float, ...]:
    """Quantiles, rounded to three significant digits, each with enough rows on both sides."""
    if len(values) == 0:
        return ()
    bins = max(1, min(BINS, len(values) // FEWEST_IN_A_BIN))
    wanted = np.quantile(values, np.arange(1, bins) / bins)
    rounded = sorted({float(f"{edge:.3g}") for edge in wanted})
    return tuple(e for e in rounded if values.min() < e <= values.max())
