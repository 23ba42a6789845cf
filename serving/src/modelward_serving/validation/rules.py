"""What a row must be like to be scored, and what is plausible: one place, for requests and for batches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from modelward_api.resources.columns import Column, Range

MAX_TEXT = 256
NO_TEXT = MAX_TEXT + 1
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


def is_whole(values: np.ndarray) -> np.ndarray:
    """Which of the numbers are integers, however they are stored; NaN, which is missing, counts as one."""
    whole: np.ndarray = (values == np.round(values)) | np.isnan(values)
    return whole


def of_kind(column: Column, values: np.ndarray) -> Iterator[Fault]:
    """The rule of the column's kind that [n] numbers break, as they came: rounding may hide it. NaN is missing."""
    if column.kind == "integer":
        broken = ~is_whole(values)
        if broken.any():
            yield Fault("WrongKind", f"{column.name} is integer: whole numbers, or null for missing", broken)
    elif column.kind == "boolean":
        broken = ~((values == 0) | (values == 1) | np.isnan(values))
        if broken.any():
            yield Fault("WrongKind", f"{column.name} is boolean: 0, 1, true or false, or null for missing", broken)


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
    wrong = lengths > MAX_TEXT
    if wrong.any():
        rule = f"{column.name} is categorical: texts of at most {MAX_TEXT} characters, or null for missing"
        yield Fault("WrongKind", rule, wrong)


def plausible(column: Column) -> str:
    """What the column's values should be, in words."""
    if column.kind == "categorical":
        return f"one of {', '.join(column.allowed_values)}"
    limits = column.range or Range()
    low, high = limits.minimum, limits.maximum
    unit = f" {column.unit}" if column.unit else ""
    if low is None or high is None:
        return f"at most {_written(high)}{unit}" if high is not None else f"at least {_written(low)}{unit}"
    return f"from {_written(low)} to {_written(high)}{unit}"


def _written(limit: float | None) -> str:
    """A limit as it was declared: 16777216, and neither 1.67772e+07 nor 16777216.0."""
    if limit is None:
        return "any"
    return str(int(limit)) if limit == int(limit) and abs(limit) < 1e15 else repr(limit)


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
