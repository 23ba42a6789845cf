"""Shapley values of a request's columns, on the margin's scale, as an Explainer document defines them.

Training proves with this code what serving answers with it. It needs NumPy (``modelward-api[attribution]``), and nothing else
of the API needs it.

Sources: Shapley values for models, Štrumbelj and Kononenko 2014; path-dependent TreeSHAP, Lundberg et al. 2020; antithetic
permutations, Mitchell et al. 2022.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from modelward_api.bundle import curves
from modelward_api.bundle.documents import (
    Explainer,
    LinearExplainer,
    LinearPart,
    LinearTerm,
    SampledExplainer,
    ScoreLink,
    TreeExplainer,
)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]
Columns = Mapping[str, NDArray[Any]]
"""By feature: [n] or [n, 1], numbers with NaN for missing, or texts with '' for missing."""
Score = Callable[[dict[str, NDArray[Any]]], NDArray[Any]]
"""The graph: columns of [n, 1] in, P(positive) [n] out."""

CELLS = 1 << 17
"""Path conditions times rows that are worked on at a time: the fastest of 2^14 to 2^18 where it was measured."""
SAMPLED_CELLS = 1 << 14
"""Rows per call of the graph."""
MIN_PROBABILITY = 1e-6
"""A sampled margin is the log-odds of a score in [MIN_PROBABILITY, 1 - MIN_PROBABILITY]."""


@dataclass(frozen=True)
class Attribution:
    """base + contributions.sum(axis=1) is the margin."""

    base: float
    contributions: Floats
    """[n, features]."""
    standard_error: Floats | None = None
    """[n, features] when sampled."""


class Attributor(Protocol):
    """One model's explanations."""

    def explain(self, columns: Columns) -> Attribution:
        """Explain rows."""


def attributor(document: Explainer, score: Score) -> Attributor:
    """Return the attributor of a document. Only the sampled method calls the graph."""
    if isinstance(document.model, LinearExplainer):
        return LinearAttributor(document.features, document.model)
    if isinstance(document.model, TreeExplainer):
        return TreeAttributor(document.features, document.model)
    return SampledAttributor(document.features, document.model, score)


def linked(link: ScoreLink, margin: Floats) -> Floats:
    """Scores of margins, elementwise."""
    if link.kind == "piecewise":
        return np.interp(margin, link.knots, link.values)
    return 1.0 / (1.0 + np.exp(-(link.slope * margin + link.intercept)))


def _numbers(values: NDArray[Any]) -> Floats:
    """[n] of what the graph sees, which is FP32."""
    return values.reshape(-1).astype(np.float32).astype(np.float64)


def _codes(values: NDArray[Any], categories: tuple[str, ...]) -> Ints:
    """[n] of indices into the categories; len(categories) for an unknown category."""
    known = {category: code for code, category in enumerate(categories)}
    return np.array([known.get(value, len(known)) for value in values.reshape(-1).tolist()], dtype=np.int64)


class LinearAttributor:
    """Exact: what a column adds to a sum is its Shapley value."""

    def __init__(self, features: tuple[str, ...], model: LinearExplainer) -> None:
        self._terms = list(zip(features, model.terms, strict=True))
        self._base = model.base

    def explain(self, columns: Columns) -> Attribution:
        """Explain rows."""
        parts = []
        for name, term in self._terms:
            if term.categories:
                each = np.array([*term.categories.values(), term.other])
                parts.append(each[_codes(columns[name], tuple(term.categories))])
            else:
                parts.append(added(term, columns[name]))
        return Attribution(self._base, np.column_stack(parts))


def added(term: LinearTerm, values: NDArray[Any]) -> Floats:
    """What a column of numbers adds to the margin, [n]."""
    x = _numbers(values)
    total: Floats = term.weight * (x - term.centre) + term.offset
    for part in term.parts:
        total = total + _part(part, x)
    return np.where(np.isnan(x), term.missing, total)


def _part(part: LinearPart, x: Floats) -> Floats:
    """What a derived feature of one column adds, [n]."""
    values = curves.evaluate(part.feature, x.astype(np.float32)).astype(np.float64)
    weighted: Floats = np.where(np.isnan(values), part.undefined, values) @ np.array(part.weights)
    return weighted


@dataclass(frozen=True)
class _Paths:
    """The ways from a root to a leaf that ask the same number of columns: [columns, paths], a condition each."""

    span: slice
    """Positions of its conditions among all."""
    share: Floats
    """[columns, paths, 1]: the share of rows, by cover, that follow the path at the splits on that column."""
    value: Floats
    """[paths, 1]: the leaf's."""
    nodes: Floats
    weights: Floats
    """Of a Gauss-Legendre rule on [0, 1] that is exact for the polynomials here."""


class TreeAttributor:
    """Exact path-dependent TreeSHAP whose players are the columns of a request.

    On one path to a leaf of value v, column j of d contributes v (o_j - z_j) times the sum over the subsets S of the others of
    |S|! (d - |S| - 1)! / d! prod_{S} o prod_{not S} z, where o is 1 when the row meets the path's conditions on that column and
    z is the share of the training rows that does. The factor is Beta's integral of t^|S| (1 - t)^(d - 1 - |S|), so the sum is
    the integral over t of prod_{k != j} (o_k t + z_k (1 - t)): a polynomial of degree d - 1, and ceil(d / 2) Gauss points give
    it exactly. All paths and rows are done at once.
    """

    def __init__(self, features: tuple[str, ...], model: TreeExplainer) -> None:
        self._features = features
        self._categories = model.categories
        left, column = np.array(model.left, dtype=np.int64), np.array(model.column, dtype=np.int64)
        parent = _parents(left, np.array(model.right, dtype=np.int64))
        leaves = np.flatnonzero(left < 0)
        path, child = _climb(parent, leaves)
        split = parent[child]
        order = np.lexsort((column[split], path))
        path, child, split = path[order], child[order], split[order]
        cover = np.array(model.cover)
        ratio, went_left = cover[child] / cover[split], left[split] == child
        value = np.array(model.value)[leaves]
        reached = np.ones(len(leaves))
        np.multiply.at(reached, path, ratio)
        self._base = model.offset + float(value @ reached)
        # Splits of one path on one column are one condition.
        first = np.flatnonzero(np.diff(path * len(features) + column[split], prepend=-1)) if len(path) else path
        conditions = np.bincount(path[first], minlength=len(leaves))
        share = np.multiply.reduceat(ratio, first) if len(first) else ratio
        self._groups, places = _grouped(path[first], conditions, share, value)
        self._size = len(places)
        self._meets = [
            self._condition(model, index, split, went_left, column, first, places) for index in range(len(features))
        ]

    def _condition(
        self,
        model: TreeExplainer,
        index: int,
        split: Ints,
        went_left: Flags,
        column: Ints,
        first: Ints,
        places: Ints,
    ) -> _OfColumn:
        """Which values of one column meet its conditions."""
        own = np.flatnonzero(column[split[first]] == index) if len(first) else first
        mine = column[split] == index
        if not len(own):  # the trees never ask it
            return _OfColumn(own, table=np.empty((0, 1)))
        starts = np.searchsorted(np.flatnonzero(mine), first[own])
        at, to_left = split[mine], went_left[mine]
        where = places[own]
        if categories := self._categories[index]:
            asked = np.array(model.category)[at]
            codes = np.arange(len(categories) + 1)
            table = np.logical_and.reduceat(to_left[:, None] == (asked[:, None] != codes), starts, axis=0)
            return _OfColumn(where, table=table.astype(np.float64))
        threshold = np.array(model.threshold)[at]
        return _OfColumn(
            where,
            np.maximum.reduceat(np.where(to_left, -np.inf, threshold), starts),
            np.minimum.reduceat(np.where(to_left, threshold, np.inf), starts),
            np.logical_and.reduceat(to_left == np.array(model.missing_left)[at], starts),
        )

    def explain(self, columns: Columns) -> Attribution:
        """Explain rows."""
        given = [
            _codes(columns[name], categories) if categories else _numbers(columns[name])
            for name, categories in zip(self._features, self._categories, strict=True)
        ]
        count = len(given[0])
        found = np.empty((count, len(given)))
        step = max(1, CELLS // max(1, self._size))
        for start in range(0, count, step):
            part = slice(start, start + step)
            found[part] = self._explained([values[part] for values in given]).T
        return Attribution(self._base, found)

    def _explained(self, given: list[Any]) -> Floats:
        """[features, rows]."""
        rows = len(given[0])
        met = np.empty((self._size, rows))
        for values, condition in zip(given, self._meets, strict=True):
            met[condition.where] = condition.met(values)
        added = np.empty_like(met)
        for group in self._groups:
            o = met[group.span].reshape((*group.share.shape[:2], rows))
            total = np.zeros_like(o)
            for t, weight in zip(group.nodes, group.weights, strict=True):
                factor = o * t
                factor += group.share * (1 - t)
                product = factor.prod(axis=0)
                product *= weight
                total += np.divide(product, factor, out=factor)
            total *= o - group.share
            total *= group.value
            added[group.span] = total.reshape(-1, rows)
        return np.array([added[condition.where].sum(axis=0) for condition in self._meets])


@dataclass(frozen=True)
class _OfColumn:
    """The conditions on one column: an interval and the missing value, or a table over its categories."""

    where: Ints
    """Places among all conditions."""
    low: Floats | None = None
    high: Floats | None = None
    missing: Flags | None = None
    table: Floats | None = None
    """[conditions, categories and the unknown one]."""

    def met(self, values: NDArray[Any]) -> NDArray[Any]:
        """[conditions, rows]."""
        if not len(self.where):
            return np.empty((0, len(values)))
        if self.table is not None:
            return self.table[:, values]
        if self.low is None or self.high is None or self.missing is None:
            raise TypeError("a column's conditions are an interval or a table")
        met: Flags = (self.low[:, None] < values) & (values <= self.high[:, None])
        lost = np.isnan(values)
        if lost.any():
            met[:, lost] = self.missing[:, None]
        return met


def _parents(left: Ints, right: Ints) -> Ints:
    parent = np.full(len(left), -1, dtype=np.int64)
    inner = np.flatnonzero(left >= 0)
    parent[left[inner]] = inner
    parent[right[inner]] = inner
    return parent


def _climb(parent: Ints, leaves: Ints) -> tuple[Ints, Ints]:
    """The steps from the leaves to their roots: of which leaf (its index), and to which node one comes by the step."""
    paths, nodes = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)]
    path, node = np.arange(len(leaves)), leaves
    while len(node):
        below = parent[node] >= 0
        path, node = path[below], node[below]
        paths.append(path)
        nodes.append(node)
        node = parent[node]
    return np.concatenate(paths), np.concatenate(nodes)


def _grouped(path: Ints, conditions: Ints, share: Floats, value: Floats) -> tuple[list[_Paths], Ints]:
    """The paths by their number of conditions, and each condition's place in that order."""
    groups, places, begin = [], np.empty(len(path), dtype=np.int64), 0
    length = conditions[path]
    for size in sorted(set(length.tolist())):
        # Conditions stand by path: a row of the transposed table is one path's.
        own = np.flatnonzero(length == size).reshape(-1, size).T
        span = slice(begin, begin + own.size)
        places[own.reshape(-1)] = np.arange(begin, begin + own.size)
        nodes, weights = np.polynomial.legendre.leggauss((size + 1) // 2)
        groups.append(_Paths(span, share[own][:, :, None], value[path[own[0]]][:, None], (nodes + 1) / 2, weights / 2))
        begin += own.size
    return groups, places


class SampledAttributor:
    """Permutations through the graph: each background row with one order of the columns and with its reverse.

    Every background row is used for every explained row, so that base + contributions is the margin exactly, and what varies
    between background rows gives the standard error.
    """

    def __init__(self, features: tuple[str, ...], model: SampledExplainer, score: Score) -> None:
        self._features = features
        self._score = score
        self._background = {name: _drawn(model.background[name]) for name in features}
        self._pairs = len(self._background[features[0]])
        draw = np.random.default_rng(model.seed)
        ranks = np.array([draw.permutation(len(features)) for _ in range(self._pairs)])
        self._ranks = np.stack([ranks, len(features) - 1 - ranks], axis=1).reshape(-1, len(features))
        """[orders, features]: when a column's background value gives way to the row's."""
        self._start = self._margin({name: values.reshape(-1, 1) for name, values in self._background.items()})

    def explain(self, columns: Columns) -> Attribution:
        """Explain rows."""
        given = {name: columns[name].reshape(-1) for name in self._features}
        count = len(given[self._features[0]])
        step = max(1, SAMPLED_CELLS // (len(self._ranks) * len(self._features)))
        parts = [
            self._explained({name: values[start : start + step] for name, values in given.items()})
            for start in range(0, count, step)
        ]
        means, errors = zip(*parts, strict=True)
        return Attribution(float(self._start.mean()), np.concatenate(means), np.concatenate(errors))

    def _explained(self, given: dict[str, NDArray[Any]]) -> tuple[Floats, Floats]:
        """Means and standard errors, [rows, features] each."""
        orders, size = self._ranks.shape
        rows = len(given[self._features[0]])
        known = self._ranks[:, None, :] < np.arange(1, size)[:, None]  # [orders, steps between, features]
        asked = {}
        for index, name in enumerate(self._features):
            background = np.repeat(self._background[name], 2)[:, None, None]
            mixed = np.where(known[:, :, index, None], given[name], background)
            asked[name] = mixed.reshape(-1, 1)
        chain = np.empty((orders, size + 1, rows))
        chain[:, 0] = np.repeat(self._start, 2)[:, None]
        chain[:, size] = self._margin({name: values.reshape(-1, 1) for name, values in given.items()})
        if size > 1:
            chain[:, 1:size] = self._margin(asked).reshape(orders, size - 1, rows)
        added = np.take_along_axis(np.diff(chain, axis=1), self._ranks[:, :, None], axis=1)
        pairs = added.reshape(self._pairs, 2, size, rows).mean(axis=1)
        error = pairs.std(axis=0, ddof=1) / np.sqrt(self._pairs)
        return pairs.mean(axis=0).T, error.T

    def _margin(self, columns: dict[str, NDArray[Any]]) -> Floats:
        p = np.clip(np.asarray(self._score(columns), dtype=np.float64), MIN_PROBABILITY, 1 - MIN_PROBABILITY)
        return np.log(p / (1 - p))


def _drawn(values: tuple[float | str | None, ...]) -> NDArray[Any]:
    if any(isinstance(value, str) for value in values):
        return np.array(["" if value is None else value for value in values], dtype=object)
    return np.array([np.nan if value is None else value for value in values], dtype=np.float32)
