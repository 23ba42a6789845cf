"""Findings: what each step learns about the data, for the report, the status and the gates.

A finding never holds a value of the data. ``rows`` is exact and stays in the process: what is published goes through
``report``, which withholds counts from 1 to 10.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from modelward_api import small_counts
from modelward_api.resources.reasons import FindingCode, Reason
from modelward_training.errors import InvalidInputError

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


def require_allowed(findings: Iterable[Finding], forbidden: Sequence[FindingCode]) -> None:
    """Fail if there is a finding that ``quality.forbid`` lists.

    Raises:
        InvalidInputError: ForbiddenFinding.
    """
    found = [finding for finding in findings if finding.code in forbidden]
    if not found:
        return
    codes = ", ".join(dict.fromkeys(finding.code for finding in found))
    message = (
        f"{found[0].message}. The data have {codes}, which spec.data.quality.forbid lists: correct the data, or remove "
        "the finding from the list"
    )
    raise InvalidInputError(Reason.FORBIDDEN_FINDING, message, found[0].field)


def warnings(findings: Iterable[Finding], rows: int) -> list[str]:
    """Return what a person should read of the findings, worst first.

    Args:
        findings: of all steps.
        rows: number of rows that were read.
    """
    worst_first = sorted(findings, key=lambda finding: SEVERITIES.index(finding.severity))
    return [_sentence(finding, rows) for finding in worst_first if finding.severity != "info"]


def _sentence(finding: Finding, rows: int) -> str:
    if finding.rows is None:
        return finding.message
    return f"{finding.message} ({small_counts.of_rows(finding.rows, rows)})"
