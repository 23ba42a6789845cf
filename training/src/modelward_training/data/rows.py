"""Features as encoders take them: a block of numbers and, for each categorical column, codes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from modelward_api.resources.columns import Column

Coded = Callable[[str], tuple[np.ndarray, np.ndarray]]
"""From a column's name to its different texts [k] and their codes [n]."""


@dataclass(frozen=True, eq=False)
class Texts:
    """One categorical column."""

    codes: np.ndarray
    """[n] of int32: index in the vocabulary."""
    vocabulary: tuple[str, ...]
    """Every text of the column, sorted; '' is missing. Selected rows keep the vocabulary of all."""


@dataclass(frozen=True, eq=False)
class Rows:
    """Features of rows."""

    numbers: np.ndarray
    """[n, columns that are not categorical] of float32, NaN for missing, in the order of the declaration."""
    texts: tuple[Texts, ...]
    """Categorical columns in the order of the declaration."""

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, rows: np.ndarray | slice) -> Rows:
        """Return the selected rows, given as indices, a mask or a slice."""
        return Rows(self.numbers[rows], tuple(Texts(text.codes[rows], text.vocabulary) for text in self.texts))


def rows_of(features: tuple[Column, ...], columns: Mapping[str, np.ndarray], coded: Coded, count: int) -> Rows:
    """Return features as rows, from the numbers [n] in ``columns`` and the categories that ``coded`` gives."""
    numeric = [column.name for column in features if column.kind != "categorical"]
    numbers = np.empty((count, len(numeric)), dtype=np.float32)
    with np.errstate(over="ignore"):
        for index, name in enumerate(numeric):
            numbers[:, index] = columns[name]
    return Rows(numbers, tuple(_texts(*coded(column.name)) for column in features if column.kind == "categorical"))


def _texts(names: np.ndarray, codes: np.ndarray) -> Texts:
    """Number the texts that occur in their order."""
    present = np.flatnonzero(np.bincount(codes, minlength=len(names)))
    ordered = present[np.argsort(names[present].astype(str))]
    number = np.zeros(len(names), dtype=np.int32)
    number[ordered] = np.arange(len(ordered))
    return Texts(number[codes], tuple(str(name) for name in names[ordered]))
