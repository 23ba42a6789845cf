"""Counts of what was served, in the frozen bins of the reference profile. No value is kept."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from modelward_api.bundle import FeatureReference, ReferenceProfile
from modelward_api.names import SCORE
from modelward_api.wire import ProfileCounts
from modelward_serving.coded import Coded

MOST_AT_ONCE = 1024
"""Rows that are binned at once: more would only need more memory."""


class NumberCounter:
    """The cells of several numeric features at once, each in the order of FeatureReference.counts."""

    def __init__(self, references: list[FeatureReference]) -> None:
        width = max((len(r.edges) for r in references), default=0)
        self._edges = np.full((len(references), 1, width), np.inf, dtype=np.float32)
        for row, reference in enumerate(references):
            self._edges[row, 0, : len(reference.edges)] = reference.edges
        self._low = _column([-np.inf if r.minimum is None else r.minimum for r in references], np.float32)
        self._high = _column([np.inf if r.maximum is None else r.maximum for r in references], np.float32)
        sizes = np.array([r.bins + 3 for r in references], dtype=np.intp)
        self._offsets = (np.cumsum(sizes) - sizes).reshape(-1, 1)
        self._missing = self._offsets + _column([r.bins for r in references], np.intp)
        self._cells = np.zeros(int(sizes.sum()), dtype=np.int64)
        self._slices = {
            r.name: slice(int(start), int(start + size))
            for r, start, size in zip(references, self._offsets[:, 0], sizes, strict=True)
        }

    def count(self, values: np.ndarray) -> None:
        """Count [features, rows] of float32, NaN for missing."""
        for start in range(0, values.shape[1], MOST_AT_ONCE):
            part = values[:, start : start + MOST_AT_ONCE]
            # How many edges are not above the value: searchsorted(side="right"), for every feature in one step.
            cells = (self._edges <= part[:, :, None]).sum(axis=2) + self._offsets
            beyond = (part < self._low) | (part > self._high)
            missing = part != part
            if beyond.any():
                cells = np.where(beyond, self._missing + 1, cells)
            if missing.any():
                cells = np.where(missing, self._missing, cells)
            if part.shape[1] == 1:
                self._cells[cells] += 1  # no cell comes twice: each feature has its own
            else:
                self._cells += np.bincount(cells.reshape(-1), minlength=len(self._cells))

    def read(self) -> dict[str, tuple[int, ...]]:
        """The cells by feature."""
        return {name: tuple(self._cells[where].tolist()) for name, where in self._slices.items()}


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


def _column(values: list[float], dtype: type) -> np.ndarray:
    return np.array(values, dtype=dtype).reshape(-1, 1)
