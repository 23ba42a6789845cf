"""The table between harmonising and validating: what its columns are called, and what its flags mean."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import polars as pl

from modelward_api.resources.reasons import Reason

SITE, SOURCE, ROW = "\x00site", "\x00source", "\x00row"
"""Columns beside the declared ones: the site or null, the index of the source, and the row's number in it, from 1. Declared names
cannot begin with NUL."""


@dataclass(frozen=True, slots=True)
class Flag:
    """A boolean column: which rows break a rule, or were changed by one. It is never null."""

    column: str
    """Declared column that it is about, or the name of a rule over several."""
    rule: str
    """What happened, such as kind, unit, values, censored, range."""
    effect: Literal["breaks", "changed", "told", "excluded"]
    """breaks: the row is quarantined. changed: the value was converted. told: counted, and the row stays. excluded: the row does
    not belong to the data."""
    field: str
    """Path in the TrainingJob, such as spec.data.columns[3].kind."""
    reason: Reason | None = None
    """For effect breaks: the reason of the job's failure if too many rows break it."""
    remedy: str = ""
    """What to do, as the end of a sentence: declare them, or list them in missingValues."""

    @property
    def name(self) -> str:
        """The name of the column in the table."""
        return f"\x00{self.rule}\x00{self.column}"


@dataclass(frozen=True, slots=True)
class Tally:
    """In how many rows of one site a flag is set. Exact: the report publishes it in tens."""

    flag: Flag
    site: str | None
    rows: int


@dataclass(frozen=True)
class Harmonised:
    """The rows of all sources in declared names, units and kinds."""

    frame: pl.LazyFrame
    """SITE, SOURCE, ROW; a column for each declared column but ignored ones: Float64 for numeric, integer and boolean, String
    for categorical, Datetime (microseconds, UTC, or without a zone if the data name no offset) for timestamp, null for
    missing and for a value that breaks its kind; and the columns of flags."""
    flags: tuple[Flag, ...]
    digest: str
    """SHA-256 over the bytes of the sources, in the order of the declaration."""
    notes: tuple[str, ...] = field(default=())
    """What was recognised instead of declared, such as a separator."""
