"""Findings: what each step learns about the data, for the report, the status and the gates.

A finding never holds a value of the data. ``rows`` is exact and stays in the process: what is published goes through
``report``, which withholds counts from 1 to 10.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from modelward_api.resources.reasons import FindingCode

Severity = Literal["error", "warning", "info"]
SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")
"""From worst to mildest."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a person should know about the data."""

    code: FindingCode
    severity: Severity
    message: str
    """What is wrong and what to do, in declared words only, without the count."""
    field: str
    """Path in the TrainingJob, such as spec.data.columns[3]."""
    column: str | None = None
    site: str | None = None
    rows: int | None = None
    """Number of rows that it is about."""
