"""What a reader is asked for, and what it gives: some rows at a time, each with its verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from modelward_api import csv_errors
from modelward_api.resources.columns import Column
from modelward_serving.batch.columns import Values
from modelward_serving.batch.errors import InvalidInputError
from modelward_serving.counting.dictionary import DictionaryArray
from modelward_serving.validation.rules import Fault

ROWS = 65_536
"""Rows a chunk, about: enough that a call of the model costs little, few enough that its columns stay in the cache."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is read of a file."""

    features: tuple[Column, ...]
    keep: tuple[str, ...] = ()
    skip_malformed: bool = False
    """Whether a line without its fields is left out; else the file cannot be read."""
    rows: int = ROWS
    """At a time, where the reader can choose."""

    @property
    def names(self) -> list[str]:
        """All columns, each once."""
        return list(dict.fromkeys([*(column.name for column in self.features), *self.keep]))

    def check(self, told: str, present: Iterable[str]) -> None:
        """Raise MissingColumn, or DuplicateColumn, when a file has not what is wanted; ``told`` names the file for people."""
        counts = Counter(present)
        for column in self.features:
            self._check(told, counts, column.name, "spec.input.uri", "an input of the model")
        for index, name in enumerate(self.keep):
            self._check(told, counts, name, f"spec.keepColumns[{index}]", "to be kept")

    def _check(self, told: str, counts: Counter[str], name: str, where: str, role: str) -> None:
        if counts[name] == 0:
            hint = csv_errors.present(list(counts), self.names, name)
            message = f"{told} has no column {name}, which is {role}; {hint}"
            raise InvalidInputError("MissingColumn", message, where)
        if counts[name] > 1:
            raise InvalidInputError("DuplicateColumn", f"{told} has column {name} twice: rename or remove one", where)


@dataclass(slots=True)
class Chunk:
    """Some rows: their features, what is kept of them, and which of them may be scored."""

    rows: int
    values: dict[str, Values]
    kept: list[pa.Array]
    valid: np.ndarray
    """[rows] of bool."""
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By column and reason: rows refused for it. A row counts for the first rule that it breaks."""
    malformed: int = 0
    """Lines that were no rows, beside those that are counted in ``rows``."""

    @classmethod
    def of(
        cls, rows: int, checked: Mapping[str, tuple[Values, list[Fault]]], kept: list[pa.Array], malformed: int = 0
    ) -> Chunk:
        """The verdict on each row."""
        chunk = cls(rows, {name: values for name, (values, _) in checked.items()}, kept, np.ones(rows, bool))
        chunk.malformed = malformed
        for name, (_, faults) in checked.items():
            for fault in faults:
                chunk.refuse(name, fault.reason, fault.rows)
        return chunk

    def refuse(self, column: str, reason: str, rows: np.ndarray) -> None:
        """Those rows are not scored, or must not have been."""
        new = int(np.count_nonzero(rows & self.valid))
        if new:
            self.reasons[column, reason] += new
            self.valid &= ~rows

    def scorable(self) -> dict[str, Values]:
        """The features of the valid rows."""
        if self.valid.all():
            return self.values
        return {
            name: v.take(self.valid) if isinstance(v, DictionaryArray) else v[self.valid]
            for name, v in self.values.items()
        }
