"""Texts of many rows, most of them the same."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class DictionaryArray:
    """Texts as few texts and one code a row."""

    values: np.ndarray
    """[k] of object (str); '' is missing."""
    indices: np.ndarray
    """[n] of integers into ``values``."""

    def item(self, row: int) -> str:
        """The text of one row, as NumPy's arrays tell it."""
        return str(self.values[self.indices[row]])

    def take(self, rows: np.ndarray) -> DictionaryArray:
        """Those rows only."""
        return DictionaryArray(self.values, self.indices[rows])

    def plain(self) -> np.ndarray:
        """[n, 1] of object. The texts are shared: making ten million of them would cost more than the model."""
        found: np.ndarray = self.values[self.indices].reshape(-1, 1)
        return found
