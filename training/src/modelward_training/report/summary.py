"""From exact counts in memory to a report that may leave the pod."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from modelward_api.bundle.data_report import (
    ColumnReport,
    DataReport,
    Distribution,
    PartCount,
    PeriodCount,
    ReportedFinding,
    RuleCount,
    SiteCount,
)
from modelward_api.resources.columns import Column
from modelward_api.resources.trainingjob import TrainingJobSpec
from modelward_training.data.dataset import Dataset
from modelward_training.data.findings import SEVERITIES, Finding
from modelward_training.data.frame import Tally
from modelward_training.errors import InvalidInputError
from modelward_training.report.published import alone, published

BINS = 10
MAX_PERIODS = 120


@dataclass
class Facts:
    """What the steps have found so far. A job that fails in the middle reports what it has."""

    data_digest: str | None = None
    rows: dict[str | None, int] = field(default_factory=dict)
    """Rows that were read, by site."""
    notes: tuple[str, ...] = ()
    tallies: tuple[Tally, ...] = ()
    findings: list[Finding] = field(default_factory=list)
    data: Dataset | None = None
    """The rows that passed validation."""
    parts: dict[str, Dataset] = field(default_factory=dict)
    """By name of the part: training, calibration, test."""
    report: str | None = None
    """Address of the report, once it is written."""

    def count(self, rows: dict[str | None, int], tallies: Sequence[Tally]) -> None:
        """Take the rows that were read, by site, and what each rule counted."""
        self.rows, self.tallies = rows, tuple(tallies)


def summarise(spec: TrainingJobSpec, facts: Facts, error: InvalidInputError | None = None) -> DataReport:
    """Return the report.

    Args:
        spec: what was declared.
        facts: what the steps found.
        error: why the data were refused, or None.
    """
    data = facts.data
    return DataReport(
        model=spec.model,
        version=spec.version,
        data_digest=facts.data_digest,
        outcome="accepted" if error is None else "refused",
        reason=None if error is None else str(error.reason),
        message="" if error is None else str(error),
        rows=_by_site(facts.rows),
        notes=facts.notes,
        rules=_rules(facts.tallies),
        findings=tuple(_finding(found) for found in worst_first(facts.findings)),
        columns=() if data is None else tuple(_column(column, data) for column in data.features),
        time=() if data is None or data.time is None else _periods(data.time, data.label),
        parts=tuple(_parts(facts.parts)),
    )


def worst_first(findings: Iterable[Finding]) -> list[Finding]:
    """Order findings by severity, then by how many rows they are about."""
    return sorted(findings, key=lambda found: (SEVERITIES.index(found.severity), -(found.rows or 0), found.code))


def _by_site(counts: dict[str | None, int]) -> tuple[SiteCount, ...]:
    return tuple(SiteCount(site=site, rows=rows) for site, rows in published(counts).items())


def _rules(tallies: Sequence[Tally]) -> tuple[RuleCount, ...]:
    flags = dict.fromkeys(tally.flag for tally in tallies)
    return tuple(
        RuleCount(
            rule=flag.rule,
            column=flag.column,
            field=flag.field,
            effect=flag.effect,
            sites=tuple(SiteCount(site=t.site, rows=alone(t.rows)) for t in tallies if t.flag == flag and t.rows),
        )
        for flag in flags
        if any(t.flag == flag and t.rows for t in tallies)
    )


def _finding(found: Finding) -> ReportedFinding:
    return ReportedFinding(
        code=found.code,
        severity=found.severity,
        message=found.message,
        field=found.field,
        column=found.column,
        site=found.site,
        rows=None if found.rows is None else alone(found.rows),
    )


def _column(column: Column, data: Dataset) -> ColumnReport:
    values = data.columns[column.name]
    if column.kind == "categorical":
        names = column.allowed_values or tuple(sorted(str(name) for name in data.coded(column.name)[0] if name))
        places = {name: i for i, name in enumerate(names)}
        found, codes = data.coded(column.name)
        cells = np.array([places.get(str(name), -1) for name in found])[codes]
        shown: tuple[str, ...] = (
            names if column.allowed_values else tuple(f"category {i}" for i in range(1, len(names) + 1))
        )
    else:
        edges = _edges(values)
        cells = np.where(np.isnan(values), -1, np.searchsorted(edges, values, side="right"))
        shown = _bins(edges)
    sites = tuple(_distribution(site, cells[rows], len(shown)) for site, rows in _sites(data))
    return ColumnReport(name=column.name, kind=column.kind, unit=column.unit, cells=shown, sites=sites)


def _distribution(site: str | None, cells: np.ndarray, count: int) -> Distribution:
    counts = {cell: int((cells == cell).sum()) for cell in (*range(count), -1)}
    shown = published(counts)
    return Distribution(site=site, counts=tuple(shown[cell] for cell in range(count)), missing=shown[-1])


def _edges(values: np.ndarray) -> np.ndarray:
    """Return interior edges of bins, rounded to two digits so that no edge is a patient's value."""
    present = values[~np.isnan(values)]
    if len(present) == 0:
        return np.empty(0)
    quantiles = np.quantile(present, np.linspace(0, 1, BINS + 1)[1:-1])
    return np.unique([float(f"{q:.2g}") for q in quantiles])


def _bins(edges: np.ndarray) -> tuple[str, ...]:
    if len(edges) == 0:
        return ("all",)
    between = [f"{low:g} to {high:g}" for low, high in pairwise(edges)]
    return (f"below {edges[0]:g}", *between, f"{edges[-1]:g} and above")


def _sites(data: Dataset) -> list[tuple[str | None, np.ndarray]]:
    """Return each site and its rows as a mask; one nameless site if the data name none."""
    column = next((c for c in data.breakdown_columns if c.role == "site"), None)
    if column is None:
        return [(None, np.ones(len(data), dtype=bool))]
    values = data.breakdowns[column.name]
    return [(name, values == name) for name in column.allowed_values]


def _periods(time: np.ndarray, label: np.ndarray) -> tuple[PeriodCount, ...]:
    """Count rows and events by month, or by year if there are many months.

    A numeric time is a patient's value, so numeric periods are named only if none has few rows. The first and the last
    period would tell of single rows, so they are not named while their counts are withheld.
    """
    if time.dtype.kind == "M":
        months = time.astype("datetime64[M]")
        unit = "M" if (months.max() - months.min()).astype(int) < MAX_PERIODS else "Y"
        periods = time.astype(f"datetime64[{unit}]").astype(str)
    else:
        periods = np.floor(time).astype(int).astype(str)
    names, codes = np.unique(periods, return_inverse=True)
    if len(names) > MAX_PERIODS:
        return ()
    rows = {name: int((codes == i).sum()) for i, name in enumerate(names)}
    events = {name: int(label[codes == i].sum()) for i, name in enumerate(names)}
    shown_rows, shown_events = published(rows), published(events)
    told = [i for i, name in enumerate(names) if shown_rows[name] is not None]
    if not told or (time.dtype.kind != "M" and len(told) < len(names)):
        return ()
    between = names[told[0] : told[-1] + 1]
    shown = [(str(n), shown_rows[n], None if shown_rows[n] is None else shown_events[n]) for n in between]
    return tuple(PeriodCount(period=name, rows=count, events=hits) for name, count, hits in shown)


def _parts(parts: dict[str, Dataset]) -> Iterable[PartCount]:
    for name, part in parts.items():
        sites = _sites(part)
        rows = published({site: int(mask.sum()) for site, mask in sites})
        events = published({site: int(part.label[mask].sum()) for site, mask in sites})
        for site, _ in sites:
            hits = None if rows[site] is None else events[site]
            yield PartCount.model_validate({"part": name, "site": site, "rows": rows[site], "events": hits})
