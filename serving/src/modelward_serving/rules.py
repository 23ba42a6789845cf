"""What a row must be like to be scored: one place, for requests and for batches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from modelward_api.columns import Column

LONGEST_TEXT = 256
NO_TEXT = LONGEST_TEXT + 1
"""Stands for the length of what is no text."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A rule that some rows of a column break."""

    reason: str
    rule: str
    rows: np.ndarray
    """[n] of bool: which."""


def no_number(column: Column) -> str:
    """What is said of a value that is no number where one must be."""
    return f"{column.name} is {column.kind}: numbers, or null for missing"


def of_numbers(column: Column, values: np.ndarray) -> Iterator[Fault]:
    """The rules that [n] of float32 break; NaN is missing."""
    if not column.nullable:
        missing = np.isnan(values)
        if missing.any():
            yield Fault("MissingValue", f"{column.name} must not be missing", missing)
    infinite = np.isinf(values)
    if infinite.any():
        yield Fault("WrongKind", f"{column.name} must be finite", infinite)


def of_texts(column: Column, lengths: np.ndarray) -> Iterator[Fault]:
    """The rules that texts of these lengths break; the empty text is missing."""
    if not column.nullable:
        missing = lengths == 0
        if missing.any():
            yield Fault("MissingValue", f"{column.name} must not be missing", missing)
    wrong = lengths > LONGEST_TEXT
    if wrong.any():
        rule = f"{column.name} is categorical: texts of at most {LONGEST_TEXT} characters, or null for missing"
        yield Fault("WrongKind", rule, wrong)
