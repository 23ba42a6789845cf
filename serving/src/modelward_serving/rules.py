"""What a row must be like to be scored, and what is plausible: one place, for requests and for batches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from modelward_api.columns import Column, Range

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
        yield Fault("WrongKind", f"{column.name} must be finite, and fit FP32", infinite)


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


def plausible(column: Column) -> str:
    """What the column's values should be, in words."""
    if column.kind == "categorical":
        return f"one of {', '.join(column.allowed_values)}"
    limits = column.range or Range()
    low, high = limits.minimum, limits.maximum
    unit = f" {column.unit}" if column.unit else ""
    if low is None or high is None:
        return f"at least {low:g}{unit}" if high is None else f"at most {high:g}{unit}"
    return f"from {low:g} to {high:g}{unit}"


def limits(column: Column) -> tuple[np.float32, np.float32]:
    """The least and the greatest plausible number."""
    low, high = (column.range.minimum, column.range.maximum) if column.range else (None, None)
    return np.float32(-np.inf if low is None else low), np.float32(np.inf if high is None else high)


def implausible_texts(column: Column, texts: np.ndarray) -> np.ndarray:
    """Which of [n] texts are no category that the column allows; missing is none of its concern."""
    allowed = {"", *column.allowed_values}
    return np.array([bool(column.allowed_values) and text not in allowed for text in texts], dtype=bool)


def implausible_numbers(column: Column, values: np.ndarray) -> np.ndarray:
    """Which of [n] of float32 are beyond the column's range."""
    low, high = limits(column)
    return (values < low) | (values > high)


def of_plausibility(column: Column, rows: np.ndarray) -> Iterator[Fault]:
    """The rule that implausible rows break, where the column has them refused or abstained from."""
    if column.out_of_range in ("reject", "abstain") and rows.any():
        yield Fault("OutOfRange", f"{column.name} must be {plausible(column)}", rows)
