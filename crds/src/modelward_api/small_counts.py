"""Counts of people's rows for messages and statuses: small ones, and those that leave few, are not told exactly."""

from __future__ import annotations

MIN_SHOWN_COUNT = 11
"""Counts from 1 to 10 might point to a person."""


def is_shown(count: int, whole: int) -> bool:
    """Whether a part of a published number may be told exactly: neither it nor the rest is from 1 to 10."""
    return not _is_small(count) and not _is_small(whole - count)


def of_rows(count: int, whole: int, what: str = "rows") -> str:
    """Return a part of all rows, for people: '23 of 80 rows', 'fewer than 11 of 80 rows' or 'at least 70 of 80 rows'."""
    if _is_small(whole):
        return f"some of fewer than {MIN_SHOWN_COUNT} {what}" if count else f"none of the {what}"
    if whole < 2 * MIN_SHOWN_COUNT - 1 and 0 < count < whole:  # part and rest would narrow each other down
        return f"some of {whole} {what}"
    if _is_small(count):
        return f"fewer than {MIN_SHOWN_COUNT} of {whole} {what}"
    if _is_small(whole - count):
        return f"at least {whole - MIN_SHOWN_COUNT + 1} of {whole} {what}"
    return f"{count} of {whole} {what}"


def of(count: int, what: str) -> str:
    """Return a number of rows whose whole is not told: '23 rows' or 'fewer than 11 rows'."""
    return f"fewer than {MIN_SHOWN_COUNT} {what}" if _is_small(count) else f"{count} {what}"


def _is_small(count: int) -> bool:
    return 0 < count < MIN_SHOWN_COUNT
