"""Validated rows, as every later step takes them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from modelward_api.resources.columns import Column


@dataclass(frozen=True)
class Dataset:
    """Validated rows."""

    features: tuple[Column, ...]
    columns: dict[str, np.ndarray]
    """Per feature [n]: float64 with NaN for missing, or object (str) with '' for missing."""
    label: np.ndarray
    """[n] of 0 and 1."""
    time: np.ndarray | None
    """[n] of float64, or of datetime64 in UTC (in local time if the data name no offset)."""
    group: np.ndarray | None
    warnings: tuple[str, ...] = ()
    has_offset: bool = False
    """Whether the times name their offset from UTC."""
    breakdown_columns: tuple[Column, ...] = ()
    """The columns with the role site or subgroup."""
    breakdowns: dict[str, np.ndarray] = field(default_factory=dict)
    """Per breakdown column [n]: object (str) with '' for missing."""

    def __len__(self) -> int:
        return len(self.label)

    def take(self, rows: np.ndarray) -> Dataset:
        """Return the selected rows, given as indices or as a mask."""
        return replace(
            self,
            columns={name: values[rows] for name, values in self.columns.items()},
            label=self.label[rows],
            time=None if self.time is None else self.time[rows],
            group=None if self.group is None else self.group[rows],
            breakdowns={name: values[rows] for name, values in self.breakdowns.items()},
        )

    def matrix(self) -> np.ndarray:
        """The features as one [n, k] array of objects, in the order of the declaration."""
        return np.column_stack([self.columns[column.name].astype(object) for column in self.features])

    def as_served(self) -> Dataset:
        """The same rows rounded to float32, as serving receives them: otherwise a tree's edge would count as a difference."""
        columns = {
            name: values if values.dtype == object else values.astype(np.float32).astype(np.float64)
            for name, values in self.columns.items()
        }
        return replace(self, columns=columns)
