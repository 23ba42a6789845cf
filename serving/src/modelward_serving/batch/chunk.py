"""Chunks of rows between a reader and the scorer, each row with its verdict."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa

from modelward_api import csv_errors
from modelward_api.resources.columns import Column
from modelward_api.resources.reasons import Reason
from modelward_serving.batch.columns import Values
from modelward_serving.batch.errors import InvalidInputError
from modelward_serving.counting.dictionary import DictionaryArray
from modelward_serving.validation.rules import Fault

ROWS = 65_536
"""Approximate rows per chunk: enough to amortise a call of the model, few enough for the columns to stay in the cache."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """The columns to read from a file, and how."""

    features: tuple[Column, ...]
    keep: tuple[str, ...] = ()
    skip_malformed: bool = False
    """Skip lines with a wrong number of fields, instead of failing."""
    rows: int = ROWS
    """Rows per chunk, where the reader can choose."""

    @property
    def names(self) -> list[str]:
        """All columns, each once."""
        return list(dict.fromkeys([*(column.name for column in self.features), *self.keep]))

    def check(self, told: str, present: Iterable[str]) -> None:
        """Raise MissingColumn or DuplicateColumn if the file, named ``told``, lacks a column or has it twice."""
        counts = Counter(present)
        for column in self.features:
            self._check(told, counts, column.name, "spec.input.uri", "an input of the model")
        for index, name in enumerate(self.keep):
            self._check(told, counts, name, f"spec.keepColumns[{index}]", "to be kept")

    def _check(self, told: str, counts: Counter[str], name: str, where: str, role: str) -> None:
        if counts[name] == 0:
            hint = csv_errors.present(list(counts), self.names, name)
            message = f"{told} has no column {name}, which is {role}; {hint}"
            raise InvalidInputError(Reason.MISSING_COLUMN, message, where)
        if counts[name] > 1:
            raise InvalidInputError(
                Reason.DUPLICATE_COLUMN, f"{told} has column {name} twice. Rename or remove one", where
            )


@dataclass(slots=True)
class Chunk:
    """Rows of a file: their features, the columns to keep, and which rows are valid."""

    rows: int
    values: dict[str, Values]
    kept: list[pa.Array]
    valid: np.ndarray
    """[rows] of bool."""
    reasons: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Refused rows by column and reason. A row counts for the first rule that it breaks."""
    malformed: int = 0
    """Lines that are not rows; ``rows`` does not count them."""

    @classmethod
    def of(
        cls, rows: int, checked: Mapping[str, tuple[Values, list[Fault]]], kept: list[pa.Array], malformed: int = 0
    ) -> Chunk:
        """Build a chunk from its checked columns."""
        chunk = cls(rows, {name: values for name, (values, _) in checked.items()}, kept, np.ones(rows, bool))
        chunk.malformed = malformed
        for name, (_, faults) in checked.items():
            for fault in faults:
                chunk.refuse(name, fault.reason, fault.rows)
        return chunk

    def refuse(self, column: str, reason: str, rows: np.ndarray) -> None:
        """Mark rows as invalid, with a reason."""
        new = int(np.count_nonzero(rows & self.valid))
        if new:
            self.reasons[column, reason] += new
            self.valid &= ~rows

    def scorable(self) -> dict[str, Values]:
        """Return the features of the valid rows."""
        if self.valid.all():
            return self.values
        return {
            name: v.take(self.valid) if isinstance(v, DictionaryArray) else v[self.valid]
            for name, v in self.values.items()
        }
