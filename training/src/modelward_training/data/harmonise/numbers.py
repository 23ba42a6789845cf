"""Numbers: from text in a dialect, or from a typed column, to Float64."""

from __future__ import annotations

import re

import polars as pl

from modelward_api.resources.columns import BOOLEANS
from modelward_api.resources.data import Dialect

SIGN = r"^[<>≤≥]=?\s*"
_SPACES = "\u00a0\u202f\u2009"
"""Spaces that do not break, as programs write them between thousands."""


def number(text: pl.Expr, dialect: Dialect) -> pl.Expr:
    """Return the number that a text means, or null. Groups of digits must be groups of three: 1.5 is not 15."""
    if dialect.decimal == "." and dialect.thousands is None:
        return text.cast(pl.Float64, strict=False)
    decimal, group = re.escape(dialect.decimal), r"\d+"
    plain = text
    if dialect.thousands is not None:
        group = rf"(?:\d{{1,3}}(?:{re.escape(dialect.thousands)}\d{{3}})+|\d+)"
    if dialect.thousands == " ":
        plain = text.str.replace_all(f"[{_SPACES}]", " ")
    form = rf"^[+-]?(?:{group}(?:{decimal}\d*)?|{decimal}\d+)(?:[eE][+-]?\d+)?$"
    digits = plain if dialect.thousands is None else plain.str.replace_all(dialect.thousands, "", literal=True)
    if dialect.decimal != ".":
        digits = digits.str.replace(dialect.decimal, ".", literal=True)
    return pl.when(plain.str.contains(form)).then(digits.cast(pl.Float64, strict=False))


def boolean(text: pl.Expr) -> pl.Expr:
    """Return 1 or 0 for a text that means true or false, or null."""
    return text.str.to_lowercase().replace_strict(BOOLEANS, default=None, return_dtype=pl.Float64)


def is_right(value: pl.Expr, *, is_whole: bool) -> pl.Expr:
    """Return whether a value is a finite number, and an integer where it must be; false where it is null."""
    finite = value.is_finite()
    return ((finite & (value == value.round())) if is_whole else finite).fill_null(value=False)
