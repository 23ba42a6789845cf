"""The reference profile: the training data as counts in frozen bins, against which drift is measured."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise

import numpy as np

from modelward_api.bundle.documents import FeatureReference, ReferenceProfile
from modelward_api.names import SCORE
from modelward_api.resources.columns import Column
from modelward_training.data.dataset import Dataset

BINS = 10
MIN_BIN_ROWS = 20
"""Rows on each side of an edge: an edge between groups of patients reveals none of them."""
BOOLEAN_EDGES = (0.5,)
"""False and true each have a bin, whether or not training has seen both."""
MIN_STRATUM_ROWS = 100
"""Minimum rows of a stratum's reference. With fewer, a shift could not be distinguished from chance."""
MIN_MEDIAN_ROWS = 22
"""Rows that are too few for two bins of the usual size, but enough for a median with eleven on each side."""
MAX_EDGE_ROWS = 2**18
"""Rows that edges are learned from. Of more rows every n-th is taken; all of them are counted."""
BLOCK = 2**16
"""Rows that are counted at once, few enough to stay in the processor's cache."""
SCORE_TOLERANCE = 1e-5
"""Maximum difference between two machines' scores of one row. A score that many rows share is a spike of this width."""


def reference_profile(
    data: Dataset, score: np.ndarray, members: Mapping[str, np.ndarray] | None = None
) -> ReferenceProfile:
    """Return the reference of every feature and of the score, over all training rows and over those of each stratum.

    Args:
        data: the training rows.
        score: [n], each by a model that has not seen the row.
        members: by stratum, which of the rows are in it, [n] of bool.
    """
    features = tuple(feature_reference(column, data) for column in data.features)
    whole = _numeric(SCORE, score, _edges(_plausible(score, None, None), SCORE_TOLERANCE))
    strata = {
        stratum: {f.name: counts_in(f, data, rows) for f in features} | {whole.name: _cells(whole, score[rows])}
        for stratum, rows in (members or {}).items()
        if rows.sum() >= MIN_STRATUM_ROWS
    }
    return ReferenceProfile(rows=len(data), features=features, score=whole, strata=strata)


def plausible_numbers(column: Column, reference: FeatureReference) -> list[float]:
    """Return a number for each bin, made from its limits and valid for the column; none is a patient's."""
    if column.kind == "boolean":
        return [0.0, 1.0]
    edges = reference.edges or (0.0,)
    numbers = [edges[0], *((a + b) / 2 for a, b in pairwise(edges)), edges[-1]] if reference.edges else [0.0]
    if column.kind == "integer":
        numbers = [float(np.floor(number)) for number in numbers]
    low = -np.inf if reference.minimum is None else reference.minimum
    return [float(np.clip(n, low, np.inf if reference.maximum is None else reference.maximum)) for n in numbers]


def feature_reference(column: Column, data: Dataset) -> FeatureReference:
    """Return a feature's bins and how many of the rows are in each."""
    if column.kind != "categorical":
        values = data.columns[column.name]
        low = column.range.minimum if column.range else None
        high = column.range.maximum if column.range else None
        edges = BOOLEAN_EDGES if column.kind == "boolean" else _edges(_plausible(values, low, high), 0.0)
        return _numeric(column.name, values, edges, low, high)
    names, codes = data.coded(column.name)
    seen = names[np.unique(codes)]
    categories = column.allowed_values or tuple(sorted(str(name) for name in seen if name))
    bins = FeatureReference(name=column.name, kind="categorical", categories=categories, counts=())
    return bins.model_copy(update={"counts": counts_in(bins, data, slice(None))})


def counts_in(bins: FeatureReference, data: Dataset, rows: np.ndarray | slice) -> tuple[int, ...]:
    """Count the rows of a feature in its bins, as serving does: then missing, out of range and unknown ones.

    Args:
        bins: of a feature of the data.
        data: the rows.
        rows: which of them, as a mask or indices.
    """
    if bins.kind != "categorical":
        return _cells(bins, data.columns[bins.name][rows])
    names, codes = data.coded(bins.name)
    found = dict(zip(names, np.bincount(codes[rows], minlength=len(names)).tolist(), strict=True))
    counts, missing = [found.get(category, 0) for category in bins.categories], found.get("", 0)
    return (*counts, missing, 0, sum(found.values()) - missing - sum(counts))


def _numeric(
    name: str, values: np.ndarray, edges: tuple[float, ...], low: float | None = None, high: float | None = None
) -> FeatureReference:
    bins = FeatureReference(name=name, kind="numeric", edges=edges, minimum=low, maximum=high, counts=())
    return bins.model_copy(update={"counts": _cells(bins, values)})


def _cells(bins: FeatureReference, values: np.ndarray) -> tuple[int, ...]:
    """Count the numbers in each cell."""
    low = np.float32(-np.inf if bins.minimum is None else bins.minimum)
    high = np.float32(np.inf if bins.maximum is None else bins.maximum)
    limits = np.array((low, *bins.edges), dtype=np.float32)
    at_least, above, present = np.zeros(len(limits), dtype=np.int64), 0, 0
    for start in range(0, len(values), BLOCK):
        block = values[start : start + BLOCK].astype(np.float32, copy=False)  # NaN is in no comparison
        at_least += [np.count_nonzero(block >= limit) for limit in limits]
        above += int(np.count_nonzero(block > high))
        present += int(np.count_nonzero(block == block))
    inside = int(at_least[0]) - above
    # An edge may lie outside the plausible range: then all of its values, or none, are on one side.
    reached = [inside, *(min(max(int(count) - above, 0), inside) for count in at_least[1:]), 0]
    return (*(a - b for a, b in pairwise(reached)), len(values) - present, present - inside, 0)


def _plausible(values: np.ndarray, low: float | None, high: float | None) -> np.ndarray:
    """The numbers that are present and within their limits, as FP32, or enough of them to learn edges from."""
    values = values[:: -(-len(values) // MAX_EDGE_ROWS) or 1]
    present = values[~np.isnan(values)].astype(np.float32)
    inside = np.ones(len(present), dtype=bool)
    inside &= True if low is None else present >= np.float32(low)
    inside &= True if high is None else present <= np.float32(high)
    kept: np.ndarray = present[inside]
    return kept


def _edges(values: np.ndarray, tolerance: float) -> tuple[float, ...]:
    """Return the edges of a number's bins: each spike has a bin of its own, and the other values have quantiles.

    A spike is a value with at least a bin's share of the rows. If the number has few different values, every value with enough
    rows is a spike, and so is a constant. Edges come from spikes and from rounded quantiles with enough rows on both sides, so
    none reveals a single patient's value.

    Args:
        values: [n] of float32, none missing.
        tolerance: values within this distance of a spike belong to it.
    """
    distinct, counts = np.unique(values, return_counts=True)
    if len(distinct) == 0:
        return ()
    share = MIN_BIN_ROWS if len(distinct) <= BINS else max(MIN_BIN_ROWS, len(values) / BINS)
    is_spike = (counts >= share) | (counts == len(values)) | ((counts > len(values) / 2) & (counts == counts.max()))
    around = [edge for i in np.flatnonzero(is_spike) for edge in _around(distinct, is_spike, int(i), tolerance)]
    rest = values[~np.isin(values, distinct[is_spike])]
    edges = {float(np.float32(edge)): edge for edge in (*_quantiles(rest, BINS - int(is_spike.sum())), *around)}
    return tuple(edges[edge] for edge in sorted(edges))


def _around(distinct: np.ndarray, is_spike: np.ndarray, i: int, tolerance: float) -> list[float]:
    """Return the edges around spike i among the distinct values: where its bin begins, and where the next one does."""
    value, edges = float(distinct[i]), []
    is_alone = len(distinct) == 1
    if i > 0 or is_alone:
        edges.append(value - tolerance)
    if is_alone or (i + 1 < len(distinct) and not is_spike[i + 1]):
        gap = max(abs(value), 1.0) / 100 if is_alone else float(distinct[i + 1]) - value
        above = value + max(10.0 ** np.floor(np.log10(gap / 2)), tolerance)
        edges.append(
            float(above) if np.float32(above) > distinct[i] else float(np.nextafter(distinct[i], np.float32(np.inf)))
        )
    return edges


def _quantiles(values: np.ndarray, max_bins: int) -> list[float]:
    """Return quantiles with enough rows on both sides, at three significant digits or as many as keep them distinct."""
    bins = min(max_bins, max(len(values) // MIN_BIN_ROWS, 2 if len(values) >= MIN_MEDIAN_ROWS else 1))
    if bins < 2:
        return []
    quantiles = np.unique(np.quantile(values, np.arange(1, bins) / bins))
    for digits in range(3, 10):
        rounded = {float(f"{edge:.{digits}g}") for edge in quantiles}
        inside = sorted(edge for edge in rounded if values.min() < np.float32(edge) <= values.max())
        if len(inside) == len(quantiles):
            break
    return inside
