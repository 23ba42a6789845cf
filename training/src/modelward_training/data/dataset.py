"""Validated rows, as every later step takes them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from modelward_api.resources.columns import Column
from modelward_training.data.rows import Rows, rows_of


@dataclass(frozen=True)
class Categories:
    """A column of texts, held as codes: ten million rows of a category take some MB."""

    names: np.ndarray
    """[k] of str, each once; the first is '', for missing."""
    codes: np.ndarray
    """[n] of indices into names."""

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, rows: np.ndarray) -> Categories:
        return Categories(self.names, self.codes[rows])

    @property
    def texts(self) -> np.ndarray:
        """[n] of object (str)."""
        texts: np.ndarray = self.names[self.codes]
        return texts


class Columns(Mapping[str, np.ndarray]):
    """Arrays by name: numbers as they are, categories made into texts when they are asked for."""

    def __init__(self, stored: Mapping[str, np.ndarray | Categories]) -> None:
        self._stored = dict(stored)

    def __getitem__(self, name: str) -> np.ndarray:
        values = self._stored[name]
        return values.texts if isinstance(values, Categories) else values

    def __iter__(self) -> Iterator[str]:
        return iter(self._stored)

    def __len__(self) -> int:
        return len(self._stored)

    def coded(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Return a column of texts as its different texts [k] and their codes [n]."""
        values = self._stored[name]
        if isinstance(values, Categories):
            return values.names, values.codes
        names, codes = np.unique(values.astype(str), return_inverse=True)
        return names.astype(object), codes

    def take(self, rows: np.ndarray) -> Columns:
        """Return the selected rows, given as indices or as a mask."""
        return Columns({name: values[rows] for name, values in self._stored.items()})


@dataclass(frozen=True)
class Dataset:
    """Validated rows."""

    features: tuple[Column, ...]
    columns: Mapping[str, np.ndarray]
    """Per feature [n]: float32 with NaN for missing, as serving receives them, or object (str) with '' for missing."""
    label: np.ndarray
    """[n] of 0 and 1."""
    time: np.ndarray | None
    """[n] of float64, or of datetime64 in UTC (in local time if the data name no offset)."""
    group: np.ndarray | None
    """[n]: rows of one group, such as a patient, have the same number."""
    has_offset: bool = False
    """Whether the times name their offset from UTC."""
    breakdown_columns: tuple[Column, ...] = ()
    """The columns with the role site or subgroup."""
    breakdowns: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Per breakdown column [n]: object (str) with '' for missing."""

    def __len__(self) -> int:
        return len(self.label)

    def take(self, rows: np.ndarray) -> Dataset:
        """Return the selected rows, given as indices or as a mask."""
        return replace(
            self,
            columns=_columns(self.columns).take(rows),
            label=self.label[rows],
            time=None if self.time is None else self.time[rows],
            group=None if self.group is None else self.group[rows],
            breakdowns=_columns(self.breakdowns).take(rows),
        )

    def rows(self) -> Rows:
        """The features as encoders take them, rounded to float32."""
        return rows_of(self.features, self.columns, self.coded, len(self))

    def coded(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Return a categorical feature as its different texts [k] and their codes [n]."""
        return _columns(self.columns).coded(name)

    @property
    def site(self) -> tuple[np.ndarray, np.ndarray] | None:
        """The sites' names [k] and the code of each row [n], or None without a column with the role site."""
        column = next((column for column in self.breakdown_columns if column.role == "site"), None)
        return None if column is None else _columns(self.breakdowns).coded(column.name)


def _columns(columns: Mapping[str, np.ndarray]) -> Columns:
    return columns if isinstance(columns, Columns) else Columns(columns)
