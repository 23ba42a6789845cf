"""Dictionary-encoded texts: few distinct values, many rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class DictionaryArray:
    """Texts as distinct values, and one index per row."""

    values: np.ndarray
    """[k] of object (str); '' is missing."""
    indices: np.ndarray
    """[n] of integers into ``values``."""

    def item(self, row: int) -> str:
        """Return the text of one row."""
        return str(self.values[self.indices[row]])

    def take(self, rows: np.ndarray) -> DictionaryArray:
        """Return the array of some rows."""
        return DictionaryArray(self.values, self.indices[rows])

    def plain(self) -> np.ndarray:
        """Return [n, 1] of object. Rows share the texts: creating ten million of them would cost more than the model."""
        found: np.ndarray = self.values[self.indices].reshape(-1, 1)
        return found
