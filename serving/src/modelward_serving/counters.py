"""Counts of what was served, in the frozen bins of the reference profile. No value is kept."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from modelward_api.bundle import FeatureReference, ReferenceProfile
from modelward_api.names import SCORE
from modelward_api.wire import ProfileCounts
from modelward_serving.coded import Coded


class FeatureCounter:
    """Cells of one feature, in the order of FeatureReference.counts."""

    def __init__(self, reference: FeatureReference) -> None:
        self.cells = np.zeros(reference.bins + 3, dtype=np.int64)
        self._bins = reference.bins
        self._edges = np.array(reference.edges, dtype=np.float32)
        self._categories = {category: i for i, category in enumerate(reference.categories)}
        self._numeric = reference.kind == "numeric"
        self._low = np.float32(-np.inf if reference.minimum is None else reference.minimum)
        self._high = np.float32(np.inf if reference.maximum is None else reference.maximum)

    def count(self, values: np.ndarray | Coded) -> None:
        """Count [n, 1] or [n] values."""
        if isinstance(values, Coded):
            cells = self._texts(values.texts)[values.codes]
        else:
            cells = self._numbers(values.reshape(-1)) if self._numeric else self._texts(values.reshape(-1))
        self.cells += np.bincount(cells, minlength=len(self.cells))

    def _numbers(self, values: np.ndarray) -> np.ndarray:
        cells = np.searchsorted(self._edges, values, side="right")
        cells[(values < self._low) | (values > self._high)] = self._bins + 1
        cells[np.isnan(values)] = self._bins
        return cells

    def _texts(self, values: np.ndarray) -> np.ndarray:
        missing, other = self._bins, self._bins + 2
        return np.array([missing if v == "" else self._categories.get(v, other) for v in values], dtype=np.intp)


class ProfileCounter:
    """All features and the score of one model."""

    def __init__(self, reference: ReferenceProfile) -> None:
        self._features = {feature.name: FeatureCounter(feature) for feature in reference.features}
        self._score = FeatureCounter(reference.score)
        self._rows = 0

    def count(self, columns: Mapping[str, np.ndarray | Coded], scores: np.ndarray) -> None:
        """Count the rows of one request, or of a part of a batch."""
        for name, counter in self._features.items():
            counter.count(columns[name])
        self._score.count(scores)
        self._rows += len(scores)

    def read(self) -> ProfileCounts:
        """All counts since the start."""
        cells = {name: tuple(c.cells.tolist()) for name, c in self._features.items()}
        return ProfileCounts(rows=self._rows, features={**cells, SCORE: tuple(self._score.cells.tolist())})
