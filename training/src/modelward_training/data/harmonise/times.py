"""Timestamps: from text by declared formats or ISO 8601, or from a typed column, to instants."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime

import polars as pl

ISO = (
    "%Y-%m-%dT%H:%M:%S%.f",
    "%Y-%m-%d",
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%dT%H:%M:%S%.f%#z",
    "%Y-%m-%d %H:%M:%S%.f%#z",
    "%Y-%m-%d %H:%M:%S%.f UTC",
    "%Y-%m-%dT%H:%M",
    "%Y-%m-%d %H:%M",
    "%Y-%m-%dT%H:%M%#z",
    "%Y-%m-%d %H:%M%#z",
    "%Y%m%d",
    "%Y%m%dT%H%M%S",
    "%Y%m%dT%H%M%S%#z",
)
"""ISO 8601 and what ISO 8601's readers take, the usual first."""
PARTIAL = {"-01": r"^\d{4}-\d{2}$", "-01-01": r"^\d{4}$"}
"""What is added to a month or a year alone, which is its first moment."""
MIN_YEAR, MAX_YEAR = 1800, 2999
"""A year outside was written with two digits, or stands for 'never'."""
PARSED = pl.Struct({"at": pl.Datetime("us"), "offset": pl.Boolean})
_OFFSET = re.compile(r"%[:#]*z|%\+|%[-_0]?s| UTC")
"""What makes a time an instant: an offset, or seconds since 1970 in UTC."""


def names_offset(form: str) -> bool:
    """Return whether times in a format name their offset from UTC."""
    return _OFFSET.search(form.replace("%%", "")) is not None


def parsed(text: pl.Expr, formats: Sequence[str]) -> pl.Expr:
    """Return for each text the moment and whether it names an offset, or null for what is not a time.

    Moments with an offset are in UTC.
    """
    declared = tuple(formats)
    return text.map_batches(lambda texts: _parsed(texts, declared), return_dtype=PARSED, is_elementwise=True)


def _parsed(texts: pl.Series, formats: tuple[str, ...]) -> pl.Series:
    """Try the formats in order, each on what is left."""
    at = pl.Series([None], dtype=pl.Datetime("us")).new_from_index(0, len(texts))
    offset = pl.Series([False]).new_from_index(0, len(texts))
    for form in formats or (*ISO, *PARTIAL):
        left = (at.is_null() & texts.is_not_null()).arg_true()
        if len(left) == 0:
            break
        moments = _moments(texts.gather(left), form)
        at = at.scatter(left, moments)
        if names_offset(form):
            offset = offset.scatter(left, moments.is_not_null())
    return pl.DataFrame({"at": at, "offset": offset}).to_struct()


def _moments(texts: pl.Series, form: str) -> pl.Series:
    if form in PARTIAL:
        texts = pl.select(pl.when(texts.str.contains(PARTIAL[form])).then(texts + form)).to_series()
        form = "%Y-%m-%d"
    found = texts.str.to_datetime(form, strict=False, time_unit="us")
    return found.dt.replace_time_zone(None) if found.dtype == pl.Datetime("us", "UTC") else found


def is_format(form: str) -> bool:
    """Return whether a text is a format of a date, or of a date and a time.

    Names of zones (%Z) are read but not applied, so a format with them is none.
    """
    if "%Z" in form.replace("%%", ""):
        return False
    try:
        moment = datetime(2001, 2, 3, 4, 5, 6, tzinfo=UTC)
        probe = pl.Series([moment]).dt.strftime(form)
        return bool((_moments(probe, form).dt.date() == moment.date()).all())
    except (pl.exceptions.PolarsError, ValueError):
        return False


def is_zone(name: str) -> bool:
    """Return whether a text is the name of a time zone."""
    try:
        pl.Series([datetime(2001, 2, 3)]).dt.replace_time_zone(name)
    except (pl.exceptions.PolarsError, ValueError):
        return False
    return True


def is_plausible(at: pl.Expr) -> pl.Expr:
    """Return whether the year was written with four digits and does not stand for 'never'."""
    return at.dt.year().is_between(MIN_YEAR, MAX_YEAR)
