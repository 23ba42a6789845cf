"""Step 8: what the training data look like, as counts in frozen bins; and golden rows that no patient is in."""

from __future__ import annotations

import numpy as np

from modelward_api.bundle import FeatureReference, Golden, ReferenceProfile, Subgroup
from modelward_api.columns import Column
from modelward_api.names import SCORE
from modelward_training.check import Dataset
from modelward_training.export import infer
from modelward_training.subgroups import members

BINS = 10
FEWEST_IN_A_BIN = 20
"""Rows behind an edge: an edge between groups of patients tells nothing of one."""
FEWEST_OF_A_STRATUM = 100
"""Rows behind a stratum's reference: fewer are too uncertain for anything to be a shift from them."""
GOLDEN_ROWS = 8


def reference_profile(data: Dataset, score: np.ndarray, subgroups: tuple[Subgroup, ...] = ()) -> ReferenceProfile:
    """The reference of every feature and of the score, over the training rows, and over those of each stratum."""
    features = tuple(_feature(column, data.columns[column.name]) for column in data.features)
    whole = _numeric(SCORE, score, None, None)
    strata = {
        stratum: {f.name: _cells(f, (score if f is whole else data.columns[f.name])[rows]) for f in (*features, whole)}
        for stratum, rows in members(subgroups, data).items()
        if rows.sum() >= FEWEST_OF_A_STRATUM
    }
    return ReferenceProfile(rows=len(data), features=features, score=whole, strata=strata)


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
    bins = FeatureReference(name=column.name, kind="categorical", categories=categories, counts=())
    return bins.model_copy(update={"counts": _cells(bins, values)})


def _numeric(name: str, values: np.ndarray, low: float | None, high: float | None) -> FeatureReference:
    edges = _edges(_plausible(values, low, high))
    bins = FeatureReference(name=name, kind="numeric", edges=edges, minimum=low, maximum=high, counts=())
    return bins.model_copy(update={"counts": _cells(bins, values)})


def _cells(bins: FeatureReference, values: np.ndarray) -> tuple[int, ...]:
    """How many of the values are in each cell."""
    if bins.kind == "categorical":
        known = [int((values == category).sum()) for category in bins.categories]
        missing = int((values == "").sum())
        return (*known, missing, 0, len(values) - missing - sum(known))
    kept, missing = _plausible(values, bins.minimum, bins.maximum), int(np.isnan(values).sum())
    places = np.searchsorted(np.array(bins.edges, dtype=np.float32), kept, side="right")
    counts = np.bincount(places, minlength=bins.bins)
    return (*(int(c) for c in counts), missing, len(values) - missing - len(kept), 0)


def _plausible(values: np.ndarray, low: float | None, high: float | None) -> np.ndarray:
    """The numbers that are there and within their limits, as FP32."""
    given = values[~np.isnan(values)]
    inside = np.ones(len(given), dtype=bool)
    inside &= True if low is None else given >= low
    inside &= True if high is None else given <= high
    return given[inside].astype(np.float32)


def _edges(values: np.ndarray) -> tuple[float, ...]:
    """Quantiles, rounded to three significant digits, each with enough rows on both sides."""
    if len(values) == 0:
        return ()
    bins = max(1, min(BINS, len(values) // FEWEST_IN_A_BIN))
    wanted = np.quantile(values, np.arange(1, bins) / bins)
    rounded = sorted({float(f"{edge:.3g}") for edge in wanted})
    return tuple(e for e in rounded if values.min() < e <= values.max())
