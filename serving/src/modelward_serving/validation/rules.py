"""Rules for rows, shared by requests and batches: validity and plausibility."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from modelward_api.resources.columns import Column, Range
from modelward_api.resources.reasons import Reason

MAX_TEXT = 256
NO_TEXT = MAX_TEXT + 1
"""Length that stands for a value other than text."""


@dataclass(frozen=True, slots=True)
class Fault:
    """A rule that some rows of a column break."""

    reason: str
    rule: str
    rows: np.ndarray
    """[n] of bool: the rows."""


def no_number(column: Column) -> str:
    """Return the rule for a value that must be a number."""
    return f"{column.name} is {column.kind}: must be numbers, or null if missing"


def is_whole(values: np.ndarray) -> np.ndarray:
    """Return which numbers are integers; NaN, for missing, counts as one."""
    whole: np.ndarray = (values == np.round(values)) | np.isnan(values)
    return whole


def of_kind(column: Column, values: np.ndarray) -> Iterator[Fault]:
    """Check [n] numbers against the column's kind, before rounding. NaN is missing."""
    if column.kind == "integer":
        broken = ~is_whole(values)
        if broken.any():
            yield Fault(
                Reason.WRONG_KIND, f"{column.name} is integer: must be whole numbers, or null if missing", broken
            )
    elif column.kind == "boolean":
        broken = ~((values == 0) | (values == 1) | np.isnan(values))
        if broken.any():
            yield Fault(
                Reason.WRONG_KIND, f"{column.name} is boolean: must be 0, 1, true or false, or null if missing", broken
            )


def of_numbers(column: Column, values: np.ndarray) -> Iterator[Fault]:
    """Check [n] of float32; NaN is missing."""
    if not column.nullable:
        missing = np.isnan(values)
        if missing.any():
            yield Fault(Reason.MISSING_VALUE, f"{column.name} must not be missing", missing)
    infinite = np.isinf(values)
    if infinite.any():
        yield Fault(Reason.WRONG_KIND, f"{column.name} must be finite and fit FP32", infinite)


def of_texts(column: Column, lengths: np.ndarray) -> Iterator[Fault]:
    """Check texts by their lengths; the empty text is missing."""
    if not column.nullable:
        missing = lengths == 0
        if missing.any():
            yield Fault(Reason.MISSING_VALUE, f"{column.name} must not be missing", missing)
    wrong = lengths > MAX_TEXT
    if wrong.any():
        rule = f"{column.name} is categorical: must be texts of at most {MAX_TEXT} characters, or null if missing"
        yield Fault(Reason.WRONG_KIND, rule, wrong)


def plausible(column: Column) -> str:
    """Describe the column's plausible values."""
    if column.kind == "categorical":
        return f"one of {', '.join(column.allowed_values)}"
    limits = column.range or Range()
    low, high = limits.minimum, limits.maximum
    unit = f" {column.unit}" if column.unit else ""
    if low is None or high is None:
        return f"at most {_written(high)}{unit}" if high is not None else f"at least {_written(low)}{unit}"
    return f"from {_written(low)} to {_written(high)}{unit}"


def _written(limit: float | None) -> str:
    """Format a limit as declared: 16777216, not 1.67772e+07 or 16777216.0."""
    if limit is None:
        return "any"
    return str(int(limit)) if limit == int(limit) and abs(limit) < 1e15 else repr(limit)


def limits(column: Column) -> tuple[np.float32, np.float32]:
    """Return the minimum and the maximum plausible number."""
    low, high = (column.range.minimum, column.range.maximum) if column.range else (None, None)
    return np.float32(-np.inf if low is None else low), np.float32(np.inf if high is None else high)


def implausible_texts(column: Column, texts: np.ndarray) -> np.ndarray:
    """Return which of [n] texts are not an allowed category; missing texts are not."""
    allowed = {"", *column.allowed_values}
    return np.array([bool(column.allowed_values) and text not in allowed for text in texts], dtype=bool)


def implausible_numbers(column: Column, values: np.ndarray) -> np.ndarray:
    """Return which of [n] of float32 are outside the column's range."""
    low, high = limits(column)
    return (values < low) | (values > high)


def of_plausibility(column: Column, rows: np.ndarray) -> Iterator[Fault]:
    """Check plausibility, for columns that refuse or abstain from implausible rows."""
    if column.out_of_range in ("reject", "abstain") and rows.any():
        yield Fault(Reason.OUT_OF_RANGE, f"{column.name} must be {plausible(column)}", rows)
