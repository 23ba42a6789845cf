"""Counts of what was served, in the frozen bins of the reference profile. No value is kept."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

import numpy as np

from modelward_api.bundle import FeatureReference, ReferenceProfile
from modelward_api.names import SCORE
from modelward_api.wire import ProfileCounts
from modelward_serving.coded import Coded

MOST_AT_ONCE = 255
"""Rows that are compared at once: how many of them reach a cut fits a byte."""


class NumberCounter:
    """The cells of several numeric features at once, each in the order of FeatureReference.counts.

    The limits of a feature's range and the edges of its bins cut the line into pieces. While serving, only how many values reach
    each cut is counted; what lies between two cuts is the difference, and a table says which cell that is. A value that reaches
    no cut lies below the range, or is missing.
    """

    def __init__(self, references: list[FeatureReference]) -> None:
        cuts = [_cuts(reference) for reference in references]
        width = max(map(len, cuts), default=1)
        self._cuts = np.full((width, len(references)), np.inf, dtype=np.float32)
        self._table = np.zeros((width + 1, len(references)), dtype=np.intp)
        sizes = [reference.bins + 3 for reference in references]
        starts = np.cumsum([0, *sizes]).tolist()
        for row, (reference, found) in enumerate(zip(references, cuts, strict=True)):
            self._cuts[: len(found), row] = found
            cells = [starts[row] + cell for cell in _cells_of_pieces(reference, found)]
            self._table[:, row] = cells + cells[-1:] * (width - len(found))
        self._missing_cells = np.array([s + r.bins for s, r in zip(starts, references, strict=False)], dtype=np.intp)
        self._size = starts[-1]
        self._slices = {r.name: slice(s, s + n) for r, s, n in zip(references, starts, sizes, strict=False)}
        self._rows = 0
        self._reached = np.zeros(self._cuts.shape, dtype=np.int64)
        self._missing = np.zeros(len(references), dtype=np.int64)
        self._only_cuts = self._cuts[:, 0].tolist() if len(references) == 1 else None
        self._of_single_rows = [0] * (width + 1)
        """By piece."""

    def count(self, values: np.ndarray) -> None:
        """Count [features, rows] of float32, NaN for missing."""
        rows = values.shape[1]
        if rows == 1 and self._only_cuts is not None and (value := values.item()) == value:
            self._of_single_rows[bisect_right(self._only_cuts, value)] += 1
            return
        for start in range(0, rows, MOST_AT_ONCE):
            self._count(values[:, start : start + MOST_AT_ONCE].T)
        self._rows += rows

    def _count(self, part: np.ndarray) -> None:
        """Count [rows, features], at most MOST_AT_ONCE."""
        if len(part) == 1:
            reached = self._cuts <= part
            all_reach = np.count_nonzero(reached[0])
        else:
            reaching = self._cuts <= np.ascontiguousarray(part)[:, None, :]
            reached = np.add.reduce(reaching.view(np.uint8), axis=0, dtype=np.uint8)
            all_reach = np.count_nonzero(reached[0] == len(part))
        np.add(self._reached, reached, out=self._reached)
        if all_reach < part.shape[1]:
            self._missing += np.isnan(part).sum(axis=0)

    def read(self) -> dict[str, tuple[int, ...]]:
        """The cells by feature."""
        at_least = np.vstack([np.full_like(self._missing, self._rows), self._reached, np.zeros_like(self._missing)])
        pieces = at_least[:-1] - at_least[1:]
        pieces[0] -= self._missing
        if self._only_cuts is not None:
            pieces[:, 0] += np.array(self._of_single_rows, dtype=np.int64)
        cells = np.zeros(self._size, dtype=np.int64)
        np.add.at(cells, self._table, pieces)
        cells[self._missing_cells] += self._missing
        return {name: tuple(cells[where].tolist()) for name, where in self._slices.items()}


class TextCounter:
    """The cells of one categorical feature, in the order of FeatureReference.counts."""

    def __init__(self, reference: FeatureReference) -> None:
        self._cells = np.zeros(reference.bins + 3, dtype=np.int64)
        self._other = reference.bins + 2
        self._where = {category: i for i, category in enumerate(reference.categories)}
        self._where.setdefault("", reference.bins)

    def count(self, values: np.ndarray | Coded) -> None:
        """Count [n, 1] or [n] texts, '' for missing."""
        if isinstance(values, Coded):
            cells = np.array([self._where.get(text, self._other) for text in values.texts], dtype=np.intp)
            self._cells += np.bincount(cells[values.codes], minlength=len(self._cells))
            return
        for value in values.reshape(-1):
            self._cells[self._where.get(value, self._other)] += 1

    def read(self) -> tuple[int, ...]:
        """The cells."""
        return tuple(self._cells.tolist())


class ProfileCounter:
    """All features and the score of one model."""

    def __init__(self, reference: ReferenceProfile, numeric: list[str], categorical: list[str]) -> None:
        features = {feature.name: feature for feature in reference.features}
        self._numbers = NumberCounter([features[name] for name in numeric])
        self._texts = {name: TextCounter(features[name]) for name in categorical}
        self._score = NumberCounter([reference.score])
        self._rows = 0

    def count(self, numbers: np.ndarray, texts: Sequence[np.ndarray | Coded], scores: np.ndarray) -> None:
        """Count the rows of one request, or of a part of a batch, as they came: [features, n], texts by column, [n]."""
        self._numbers.count(numbers)
        for counter, values in zip(self._texts.values(), texts, strict=True):
            counter.count(values)
        self._score.count(scores.reshape(1, -1))
        self._rows += len(scores)

    def read(self) -> ProfileCounts:
        """All counts since the start."""
        texts = {name: counter.read() for name, counter in self._texts.items()}
        return ProfileCounts(
            rows=self._rows, features={**self._numbers.read(), **texts, SCORE: self._score.read()[SCORE]}
        )


def _cuts(reference: FeatureReference) -> np.ndarray:
    low = np.float32(-np.inf if reference.minimum is None else reference.minimum)
    above = np.nextafter(np.float32(np.inf if reference.maximum is None else reference.maximum), np.float32(np.inf))
    return np.sort(np.array([low, *reference.edges, above], dtype=np.float32))


def _cells_of_pieces(reference: FeatureReference, cuts: np.ndarray) -> list[int]:
    """The cell of each piece, by the value that it begins with."""
    low = -np.inf if reference.minimum is None else np.float32(reference.minimum)
    high = np.inf if reference.maximum is None else np.float32(reference.maximum)
    edges = np.array(reference.edges, dtype=np.float32)
    cells = [reference.bins + 1]
    for value in cuts:
        within = low <= value <= high
        cells.append(int(np.searchsorted(edges, value, side="right")) if within else reference.bins + 1)
    return cells
