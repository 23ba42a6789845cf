"""The declared subgroups and strata of a row. Names come from the declaration, never from a request."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from modelward_api.bundle.documents import Signature, Subgroup
from modelward_api.resources.columns import Column
from modelward_serving.counting.dictionary import DictionaryArray
from modelward_serving.validation import rules

Texts = Sequence[np.ndarray | DictionaryArray]
"""By categorical column: [n, 1] or [n] of texts, '' for missing."""


class Strata:
    """The subgroups of one signature.

    Counters have one slot per stratum, and one more per subgroup for rows in none of its strata. So each row is in one slot of
    each subgroup, and the slots of one subgroup add up to all rows. Without subgroups there is one slot.
    """

    def __init__(self, signature: Signature) -> None:
        columns = {column.name: column for column in signature.inputs}
        numeric = [c.name for c in signature.inputs if c.kind != "categorical"]
        categorical = [c.name for c in signature.inputs if c.kind == "categorical"]
        self.names = signature.strata
        self.slots: list[str | None] = []
        """Stratum of each slot, or None."""
        self._subgroups: list[_ByText | _ByNumber] = []
        for subgroup in signature.subgroups:
            name, first = subgroup.column, len(self.slots)
            if subgroup.categories:
                self._subgroups.append(_ByText.of(subgroup, categorical.index(name), first))
            else:
                self._subgroups.append(_ByNumber.of(subgroup, columns[name], numeric.index(name), first))
            self.slots += [*subgroup.strata, None]
        self.slots = self.slots or [None]
        self.whole = range(len(signature.subgroups[0].strata) + 1 if signature.subgroups else 1)
        """Slots that together contain each row once."""

    def of_row(self, numbers: np.ndarray, texts: Texts) -> list[int]:
        """Return the slots of the first row, one per subgroup."""
        return [subgroup.of_row(numbers, texts) for subgroup in self._subgroups] or [0]

    def of_rows(self, numbers: np.ndarray, texts: Texts, count: int) -> list[np.ndarray]:
        """Return the slots of all ``count`` rows, [n] per subgroup."""
        return [s.of_rows(numbers, texts) for s in self._subgroups] or [np.zeros(count, dtype=np.intp)]

    def names_of_row(self, numbers: np.ndarray, texts: Texts) -> tuple[str, ...]:
        """Return the strata of the first row."""
        found = (self.slots[slot] for slot in self.of_row(numbers, texts))
        return tuple(name for name in found if name is not None)


@dataclass(frozen=True, slots=True)
class _ByText:
    column: int
    where: dict[str, int]
    none: int

    @classmethod
    def of(cls, subgroup: Subgroup, column: int, first: int) -> _ByText:
        where = {category: first + i for i, category in enumerate(subgroup.categories)}
        return cls(column, where, first + len(where))

    def of_row(self, _: np.ndarray, texts: Texts) -> int:
        return self.where.get(texts[self.column].item(0), self.none)

    def of_rows(self, _: np.ndarray, texts: Texts) -> np.ndarray:
        values = texts[self.column]
        if isinstance(values, DictionaryArray):
            slots: np.ndarray = self._slots(values.values)[values.indices]
            return slots
        return self._slots(values.reshape(-1))

    def _slots(self, texts: np.ndarray) -> np.ndarray:
        return np.array([self.where.get(text, self.none) for text in texts], dtype=np.intp)


@dataclass(frozen=True, slots=True)
class _ByNumber:
    column: int
    cuts: list[float]
    """Rounded to FP32, as the values are."""
    low: float
    high: float
    first: int

    @classmethod
    def of(cls, subgroup: Subgroup, column: Column, row: int, first: int) -> _ByNumber:
        low, high = rules.limits(column)
        return cls(row, np.array(subgroup.cuts, dtype=np.float32).tolist(), float(low), float(high), first)

    def of_row(self, numbers: np.ndarray, _: Texts) -> int:
        value = numbers.item(0, self.column)
        is_plausible = self.low <= value <= self.high  # false for NaN, too
        return self.first + (bisect_right(self.cuts, value) if is_plausible else len(self.cuts) + 1)

    def of_rows(self, numbers: np.ndarray, _: Texts) -> np.ndarray:
        values = numbers[:, self.column]
        slots = self.first + np.searchsorted(np.array(self.cuts, dtype=np.float32), values, side="right")
        slots[~((values >= self.low) & (values <= self.high))] = self.first + len(self.cuts) + 1
        return slots
