"""Counts of what was served, in the frozen bins of the reference profile. No value is kept."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

import numpy as np

from modelward_api.bundle import FeatureReference, ReferenceProfile
from modelward_api.names import SCORE
from modelward_api.wire import ProfileCounts
from modelward_serving.coded import Coded

MOST_AT_ONCE = 1024
"""Rows that are binned at once: more would only need more memory."""


class NumberCounter:
    """The cells of several numeric features at once, each in the order of FeatureReference.counts.

    The limits of a feature's range and the edges of its bins cut the line into pieces. How many cuts are not above a value says
    in which piece it lies, and a table says which cell that is. A value above no cut lies below the range, or is missing.
    """

    def __init__(self, references: list[FeatureReference]) -> None:
        cuts = [_cuts(reference) for reference in references]
        width = max(map(len, cuts), default=0) + 1
        self._cuts = np.full((len(references), 1, width), np.inf, dtype=np.float32)
        self._table = np.zeros((len(references), width + 1), dtype=np.intp)
        sizes = [reference.bins + 3 for reference in references]
        starts = np.cumsum([0, *sizes]).tolist()
        for row, (reference, found) in enumerate(zip(references, cuts, strict=True)):
            self._cuts[row, 0, : len(found)] = found
            cells = [starts[row] + cell for cell in _cells_of_pieces(reference, found)]
            self._table[row] = cells + cells[-1:] * (width - len(found))
        self._missing = np.array([s + r.bins for s, r in zip(starts, references, strict=False)], np.intp).reshape(-1, 1)
        self._rows = np.arange(len(references)).reshape(-1, 1)
        self._cells = np.zeros(starts[-1], dtype=np.int64)
        self._of_single_rows = [0] * starts[-1]
        self._row_cuts, self._row_table = self._cuts[:, 0, :], self._table.reshape(-1)
        self._row_starts = np.arange(len(references)) * (width + 1)
        self._only_cuts = self._cuts[0, 0].tolist() if len(references) == 1 else None
        self._slices = {r.name: slice(s, s + n) for r, s, n in zip(references, starts, sizes, strict=False)}

    def count(self, values: np.ndarray) -> None:
        """Count [features, rows] of float32, NaN for missing."""
        if values.shape[1] == 1 and self._count_row(values):
            return
        for start in range(0, values.shape[1], MOST_AT_ONCE):
            part = values[:, start : start + MOST_AT_ONCE]
            pieces = (self._cuts <= part[:, :, None]).sum(axis=2)
            cells = self._table[self._rows, pieces]
            if not pieces.all():
                cells = np.where(part != part, self._missing, cells)
            self._cells += np.bincount(cells.reshape(-1), minlength=len(self._cells))

    def _count_row(self, values: np.ndarray) -> bool:
        """Count a row alone in few steps; False if one of its values lies above no cut, or is infinite."""
        if self._only_cuts is not None:
            value = values.item()
            piece = bisect_right(self._only_cuts, value)
            if not 0 < piece < len(self._only_cuts) or value != value:
                return False
            self._of_single_rows[self._row_table.item(piece)] += 1
            return True
        # The first cut that is above a value has as many before it as are not; where there is none, argmax says 0, too.
        pieces = (self._row_cuts > values).argmax(axis=1)
        if np.count_nonzero(pieces) != len(pieces):
            return False
        counts = self._of_single_rows
        for cell in self._row_table.take(pieces + self._row_starts).tolist():
            counts[cell] += 1
        return True

    def read(self) -> dict[str, tuple[int, ...]]:
        """The cells by feature."""
        cells = self._cells + np.array(self._of_single_rows, dtype=np.int64)
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
