"""What training says about its data: validation.json in a bundle, and in the store.

Every count is published in tens. Absent counts are withheld: they, or their difference from a total, are from 1 to 10.
"""

from __future__ import annotations

from typing import Literal

from modelward_api.base import Document
from modelward_api.resources.reasons import FindingCode


class SiteCount(Document):
    """Rows of one site. The site is absent if the data name none."""

    site: str | None = None
    rows: int | None = None


class RuleCount(Document):
    """Rows that a rule was applied to, by site."""

    rule: str
    """What happened, such as unit, values, censored, kind, or the name of a rule over several columns."""
    column: str
    field: str
    """Path in the TrainingJob."""
    effect: Literal["breaks", "changed", "told", "excluded"]
    sites: tuple[SiteCount, ...]


class ReportedFinding(Document):
    """A finding. ``rows`` is absent if it is not about rows, or withheld."""

    code: FindingCode
    severity: Literal["error", "warning", "info"]
    message: str
    field: str
    column: str | None = None
    site: str | None = None
    rows: int | None = None


class Distribution(Document):
    """One feature at one site."""

    site: str | None = None
    counts: tuple[int | None, ...]
    """Rows by cell, in the order of the column's cells."""
    missing: int | None = None


class ColumnReport(Document):
    """One feature by site."""

    name: str
    kind: str
    unit: str | None = None
    cells: tuple[str, ...]
    """Names of bins or categories. Edges of bins are rounded quantiles of all rows."""
    sites: tuple[Distribution, ...]


class PeriodCount(Document):
    """Rows and events of a calendar period, such as 2024-03."""

    period: str
    rows: int | None = None
    events: int | None = None


class PartCount(Document):
    """Rows and events of a part of the split at one site."""

    part: Literal["training", "calibration", "test"]
    site: str | None = None
    rows: int | None = None
    events: int | None = None


class DataReport(Document):
    """The report on one TrainingJob's data."""

    format: Literal[1] = 1
    model: str
    version: str
    data_digest: str | None = None
    outcome: Literal["accepted", "refused"]
    reason: str | None = None
    message: str = ""
    """Why the data were refused."""
    rows: tuple[SiteCount, ...] = ()
    """Rows that were read, by site."""
    notes: tuple[str, ...] = ()
    """What was recognised instead of declared."""
    rules: tuple[RuleCount, ...] = ()
    findings: tuple[ReportedFinding, ...] = ()
    """The worst first."""
    columns: tuple[ColumnReport, ...] = ()
    time: tuple[PeriodCount, ...] = ()
    parts: tuple[PartCount, ...] = ()
