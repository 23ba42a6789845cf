"""Step 8: what the training data look like, as counts in frozen bins; and golden rows that no patient is in."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from modelward_api.bundle.documents import FeatureReference, Golden, ReferenceProfile, Subgroup
from modelward_api.names import SCORE
from modelward_api.resources.columns import Column
from modelward_training.data.validate import Dataset
from modelward_training.evaluation.subgroups import members
from modelward_training.export import infer

BINS = 10
FEWEST_IN_A_BIN = 20
"""Rows behind an edge: an edge between groups of patients tells nothing of one."""
BOOLEAN_EDGES = (0.5,)
"""False and true are bins, whether training has seen both or not."""
FEWEST_OF_A_STRATUM = 100
"""Rows behind a stratum's reference: fewer are too uncertain for anything to be a shift from them."""
FEWEST_BEHIND_A_MEDIAN = 22
"""Rows of a number that are too few for two bins of the usual size, and enough for a median with eleven on both sides."""
GOLDEN_ROWS = 8
SCORE_TOLERANCE = 1e-5
"""How far two machines' scores of one row may differ: a score that many rows share is a spike of this width."""


def reference_profile(data: Dataset, score: np.ndarray, subgroups: tuple[Subgroup, ...] = ()) -> ReferenceProfile:
    """The reference of every feature and of the score, over the training rows, and over those of each stratum."""
    features = tuple(_feature(column, data.columns[column.name]) for column in data.features)
    whole = _numeric(SCORE, score, _edges(_plausible(score, None, None), SCORE_TOLERANCE))
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
        choices: list[float | str | None] = [*(reference.categories or plausible_numbers(column, reference))]
        picked = [choices[int(i)] for i in draw.integers(0, len(choices), GOLDEN_ROWS)]
        if column.nullable:
            picked[-1] = None
        inputs[column.name] = tuple(picked)
    scores = infer(graph, {c.name: as_array(c, inputs[c.name]) for c in data.features})
    return Golden(inputs=inputs, scores=tuple(float(s) for s in scores))


def plausible_numbers(column: Column, reference: FeatureReference) -> list[float]:
    """A number for each bin, made of its limits, such as the column may have: no patient's."""
    if column.kind == "boolean":
        return [0.0, 1.0]
    edges = reference.edges or (0.0,)
    numbers = [edges[0], *((a + b) / 2 for a, b in pairwise(edges)), edges[-1]] if reference.edges else [0.0]
    if column.kind == "integer":
        numbers = [float(np.floor(number)) for number in numbers]
    low = -np.inf if reference.minimum is None else reference.minimum
    return [float(np.clip(n, low, np.inf if reference.maximum is None else reference.maximum)) for n in numbers]


def as_array(column: Column, values: tuple[float | str | None, ...]) -> np.ndarray:
    """A column's values as the graph takes them: missing is NaN or the empty text."""
    if column.kind == "categorical":
        return np.array(["" if v is None else v for v in values], dtype=object)
    return np.array([np.nan if v is None else v for v in values], dtype=np.float64)


def _feature(column: Column, values: np.ndarray) -> FeatureReference:
    if column.kind != "categorical":
        low = column.range.minimum if column.range else None
        high = column.range.maximum if column.range else None
        edges = BOOLEAN_EDGES if column.kind == "boolean" else _edges(_plausible(values, low, high), 0.0)
        return _numeric(column.name, values, edges, low, high)
    categories = column.allowed_values or tuple(sorted(set(values) - {""}))
    bins = FeatureReference(name=column.name, kind="categorical", categories=categories, counts=())
    return bins.model_copy(update={"counts": _cells(bins, values)})


def _numeric(
    name: str, values: np.ndarray, edges: tuple[float, ...], low: float | None = None, high: float | None = None
) -> FeatureReference:
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
    """The numbers that are there and within their limits, as FP32: compared as serving compares them."""
    given = values[~np.isnan(values)].astype(np.float32)
    inside = np.ones(len(given), dtype=bool)
    inside &= True if low is None else given >= np.float32(low)
    inside &= True if high is None else given <= np.float32(high)
    return given[inside]


def _edges(values: np.ndarray, tolerance: float) -> tuple[float, ...]:
    """Where the bins of a number begin: a spike has a bin of its own, what lies beside the spikes has quantiles.

    A spike is a value that holds a bin's share of the rows; of a number with few different values, each that enough rows have. A
    constant is one: what is not it will be told from it. Edges are made of spikes and of rounded quantiles with enough rows
    on both sides, so none tells of one patient.

    Args:
        values: [n] of float32, none missing.
        tolerance: how far from a spike a value still belongs to it.
    """
    known, counts = np.unique(values, return_counts=True)
    if len(known) == 0:
        return ()
    share = FEWEST_IN_A_BIN if len(known) <= BINS else max(FEWEST_IN_A_BIN, len(values) / BINS)
    is_spike = (counts >= share) | (counts == len(values)) | ((counts > len(values) / 2) & (counts == counts.max()))
    around = [edge for i in np.flatnonzero(is_spike) for edge in _around(known, is_spike, int(i), tolerance)]
    rest = values[~np.isin(values, known[is_spike])]
    edges = {float(np.float32(edge)): edge for edge in (*_quantiles(rest, BINS - int(is_spike.sum())), *around)}
    return tuple(edges[edge] for edge in sorted(edges))


def _around(known: np.ndarray, is_spike: np.ndarray, i: int, tolerance: float) -> list[float]:
    """The edges of the bin of one spike among the known values: where it begins, and where what is above it does."""
    value, edges = float(known[i]), []
    is_alone = len(known) == 1
    if i > 0 or is_alone:
        edges.append(value - tolerance)
    if is_alone or (i + 1 < len(known) and not is_spike[i + 1]):
        gap = max(abs(value), 1.0) / 100 if is_alone else float(known[i + 1]) - value
        above = value + max(10.0 ** np.floor(np.log10(gap / 2)), tolerance)
        edges.append(
            float(above) if np.float32(above) > known[i] else float(np.nextafter(known[i], np.float32(np.inf)))
        )
    return edges


def _quantiles(values: np.ndarray, most: int) -> list[float]:
    """Quantiles with enough rows on both sides, at three significant digits, or at as many as tell them apart."""
    bins = min(most, max(len(values) // FEWEST_IN_A_BIN, 2 if len(values) >= FEWEST_BEHIND_A_MEDIAN else 1))
    if bins < 2:
        return []
    wanted = np.unique(np.quantile(values, np.arange(1, bins) / bins))
    for digits in range(3, 10):
        found = {float(f"{edge:.{digits}g}") for edge in wanted}
        inside = sorted(edge for edge in found if values.min() < np.float32(edge) <= values.max())
        if len(inside) == len(wanted):
            break
    return inside
