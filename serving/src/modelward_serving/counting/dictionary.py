"""Texts of many rows, most of them the same."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Coded:
    """Texts as few texts and one code a row."""

    texts: np.ndarray
    """[k] of object (str); '' is missing."""
    codes: np.ndarray
    """[n] of integers into ``texts``."""

    def item(self, row: int) -> str:
        """The text of one row, as NumPy's arrays tell it."""
        return str(self.texts[self.codes[row]])

    def take(self, rows: np.ndarray) -> Coded:
        """Those rows only."""
        return Coded(self.texts, self.codes[rows])

    def plain(self) -> np.ndarray:
        """[n, 1] of object. The texts are shared: making ten million of them would cost more than the model."""
        found: np.ndarray = self.texts[self.codes].reshape(-1, 1)
        return found
