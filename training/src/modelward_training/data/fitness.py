"""Whether the data are fit to train on: how old, how mature, how repeated, how balanced, and how alike its sites are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import sqrt
from statistics import NormalDist

import numpy as np
import polars as pl

from modelward_api.base import seconds
from modelward_api.resources.data import Data
from modelward_api.resources.reasons import FindingCode, Reason
from modelward_training.data.dataset import Dataset
from modelward_training.data.findings import Finding
from modelward_training.data.times import in_utc, instant
from modelward_training.errors import InvalidInputError

MIN_CLASS_SHARE = 0.02
"""A rarer class is told: most measures of quality hardly see it."""
MAX_MISSING_SHARE = 0.95
MIN_SITE_ROWS = 50
"""Rows of a site below which nothing is said about it."""
SITE_Z = NormalDist().inv_cdf(0.995)
"""Of the 99% intervals of sites' event rates."""
MIN_ODDS_RATIO = 2.0
"""Between a site and the others: sites may differ, and with many rows any difference shows."""
ZONES = timedelta(hours=14)
"""The most that a local time is ahead of UTC."""


@dataclass(frozen=True, slots=True)
class SiteRate:
    """The event rate of a site, with its 99% interval."""

    site: str
    rows: int
    events: int
    lower: float
    upper: float


def require_times(data: Data) -> None:
    """Refuse limits of time without a column of times.

    Raises:
        InvalidInputError: NoTimeColumn, WrongKind, InvalidTime, MixedOffsets.
    """
    needing = {"spec.data.label.horizon": data.label.horizon, "spec.data.quality.maxAge": data.quality.max_age}
    time = next((column for column in data.columns if column.role == "time"), None)
    for field, wanted in needing.items():
        if wanted is not None and (time is None or time.kind != "timestamp"):
            message = (
                f"{field.rsplit('.', 1)[1]} needs a column with role: time and kind: timestamp in spec.data.columns"
            )
            raise InvalidInputError(Reason.NO_TIME_COLUMN, message, field)
    if data.label.extracted is not None and instant(data.label.extracted) is None:
        message = "extracted must be ISO 8601, such as 2024-03-28 or 2024-03-28T12:00:00Z"
        raise InvalidInputError(Reason.INVALID_TIME, message, "spec.data.label.extracted")


def mature(data: Data, times: pl.Series | None, *, has_offset: bool) -> pl.Series | None:
    """Return which rows are old enough for their outcome to be known, or None if nothing is declared.

    Rows without a time stay: they break a rule.

    Raises:
        InvalidInputError: MixedOffsets.
    """
    extracted = None if data.label.extracted is None else instant(data.label.extracted)
    if times is not None and extracted is not None and (extracted.tzinfo is not None) != has_offset:
        message = "extracted must name an offset from UTC (Z or +01:00) if and only if the time column does"
        raise InvalidInputError(Reason.MIXED_OFFSETS, message, "spec.data.label.extracted")
    if data.label.horizon is None or times is None:
        return None
    latest = times.max() if extracted is None else in_utc(extracted)
    if not isinstance(latest, datetime):
        return None
    return (times <= latest - timedelta(seconds=seconds(data.label.horizon))).fill_null(value=True)


def fresh(data: Data, times: pl.Series | None, now: datetime, *, has_offset: bool) -> list[Finding]:
    """Fail on data that are too old, and tell of rows from the future.

    Args:
        data: spec.data.
        times: of the rows, in UTC, or in local time if the data name no offset.
        now: with its offset.
        has_offset: whether the times are in UTC.

    Raises:
        InvalidInputError: DataTooOld.
    """
    if times is None or not isinstance(latest := times.max(), datetime):
        return []
    today = now.astimezone(UTC).replace(tzinfo=None)
    limit = data.quality.max_age
    if limit is not None and today - latest > timedelta(seconds=seconds(limit)):
        message = (
            f"the latest row is older than spec.data.quality.maxAge, which is {limit}: load newer data, or raise maxAge"
        )
        raise InvalidInputError(Reason.DATA_TOO_OLD, message, "spec.data.quality.maxAge")
    extracted = None if data.label.extracted is None else instant(data.label.extracted)
    end = in_utc(extracted) if extracted is not None else today if has_offset else today + ZONES
    rows = int((times > end).sum())
    if not rows:
        return []
    name = next(column.name for column in data.columns if column.role == "time")
    index = [column.name for column in data.columns].index(name)
    message = f"column {name} has times after the data were extracted: correct them, or the extraction's time"
    return [Finding(FindingCode.FUTURE_VALUE, "error", message, f"spec.data.columns[{index}]", name, rows=rows)]


def duplicates(frame: pl.DataFrame, whole_row: str, without_group: str) -> list[Finding]:
    """Tell of rows that repeat another, by the hashes of their values."""
    has_group = without_group in frame.columns
    if has_group and frame[without_group].n_unique() == frame.height:
        return []  # equal rows would be equal without their group, too
    repeated = frame.height - frame[whole_row].n_unique()
    findings = []
    if repeated:
        message = "rows repeat another row in every declared column: remove copies, or declare quality.key"
        # Without a column that tells patients apart, two patients may well have the same values.
        findings.append(
            Finding(
                FindingCode.DUPLICATE_ROW,
                "warning" if has_group else "info",
                message,
                "spec.data.sources",
                rows=repeated,
            )
        )
    if has_group and (others := frame.height - frame[without_group].n_unique() - repeated) > 0:
        message = (
            "rows have the values of another row under another group: if one patient has two numbers, its rows may be on "
            "both sides of the split"
        )
        findings.append(Finding(FindingCode.DUPLICATE_GROUP, "info", message, "spec.data.columns", rows=others))
    return findings


def variety(data: Dataset, where: Mapping[str, str]) -> list[Finding]:
    """Tell of features with one value, or with hardly any."""
    findings = []
    for column in data.features:
        present = _present(data, column.name)
        missing = len(data) - int(present.sum())
        field = where[column.name]
        if missing > MAX_MISSING_SHARE * len(data):
            message = (
                f"column {column.name} is missing in more than {MAX_MISSING_SHARE:.0%} of the rows: set role: ignore"
            )
            findings.append(Finding(FindingCode.NEARLY_EMPTY, "warning", message, field, column.name, rows=missing))
        if missing < len(data) and _is_constant(data, column.name, present):
            message = f"column {column.name} has one value: set role: ignore"
            findings.append(
                Finding(FindingCode.CONSTANT_FEATURE, "error", message, field, column.name, rows=len(data) - missing)
            )
    return findings


def _present(data: Dataset, name: str) -> np.ndarray:
    values = data.columns[name]
    if values.dtype == object:
        names, codes = data.coded(name)
        present: np.ndarray = (
            codes != int(np.flatnonzero(names == "")[0]) if (names == "").any() else np.ones(len(codes), dtype=bool)
        )
        return present
    is_there: np.ndarray = ~np.isnat(values) if values.dtype.kind == "M" else ~np.isnan(values)
    return is_there


def _is_constant(data: Dataset, name: str, present: np.ndarray) -> bool:
    values = data.columns[name]
    if values.dtype == object:
        return len(np.unique(data.coded(name)[1][present])) == 1
    kept = values[present]
    return bool(kept.min() == kept.max())


def balance(data: Dataset) -> list[Finding]:
    """Tell of a rare class."""
    events = int(data.label.sum())
    rare = min(events, len(data) - events)
    if rare >= MIN_CLASS_SHARE * len(data):
        return []
    which = "events" if events == rare else "rows without an event"
    message = (
        f"fewer than {MIN_CLASS_SHARE:.0%} of the rows are {which}: look at precision and recall, and at intervals"
    )
    return [Finding(FindingCode.CLASS_IMBALANCE, "warning", message, "spec.data.label", rows=rare)]


def site_rates(data: Dataset) -> tuple[SiteRate, ...]:
    """Return the event rate of each site that has rows."""
    if data.site is None:
        return ()
    names, codes = data.site
    rows = np.bincount(codes, minlength=len(names))
    events = np.bincount(codes, weights=data.label, minlength=len(names)).astype(int)
    return tuple(
        SiteRate(str(name), int(n), int(e), *wilson(int(e), int(n), SITE_Z))
        for name, n, e in zip(names, rows, events, strict=True)
        if n and name
    )


def site_labels(data: Dataset, labels: np.ndarray) -> list[Finding]:
    """Tell of sites whose labels are unlike those of the others: another event rate, or values that they never use.

    Args:
        data: the rows.
        labels: [n], the code of each row's label as it is declared.
    """
    rates = [rate for rate in site_rates(data) if rate.rows >= MIN_SITE_ROWS]
    if data.site is None or len(rates) < 2:
        return []
    names, codes = data.site
    findings = []
    for rate in rates:
        is_here = codes == int(np.flatnonzero(names == rate.site)[0])
        others = len(data) - rate.rows
        elsewhere = int(data.label.sum()) - rate.events
        if _differs(rate, elsewhere, others):
            message = (
                f"the event rate of site {rate.site} differs from the other sites': check that its label means the same"
            )
        elif not _uses_the_same(labels[is_here], labels[~is_here]):
            message = f"site {rate.site} never uses a label that the other sites use often: check its coding"
        else:
            continue
        code, field = FindingCode.SITE_LABEL_DIFFERS, "spec.data.label"
        findings.append(Finding(code, "warning", message, field, site=rate.site, rows=rate.rows))
    return findings


def _differs(rate: SiteRate, events: int, rows: int) -> bool:
    """Whether a site's event rate is unlike that of the other sites: in evidence and in size."""
    lower, upper = wilson(events, rows, SITE_Z)
    if rate.upper >= lower and rate.lower <= upper:
        return False
    odds = (rate.events + 0.5) / (rate.rows - rate.events + 0.5) * (rows - events + 0.5) / (events + 0.5)
    return max(odds, 1 / odds) >= MIN_ODDS_RATIO


def _uses_the_same(here: np.ndarray, elsewhere: np.ndarray) -> bool:
    """Whether no label is missing here that elsewhere is so frequent that it could not be missing by chance."""
    values, counts = np.unique(elsewhere, return_counts=True)
    absent = counts[~np.isin(values, here)]
    return len(absent) == 0 or bool((1 - absent.max() / len(elsewhere)) ** len(here) > 1e-4)


def wilson(events: int, rows: int, z: float) -> tuple[float, float]:
    """Return Wilson's score interval of a rate (Wilson 1927)."""
    if rows == 0:
        return 0.0, 1.0
    rate, spread = events / rows, z * z / rows
    centre = (rate + spread / 2) / (1 + spread)
    half = z / (1 + spread) * sqrt(rate * (1 - rate) / rows + spread / (4 * rows))
    return max(0.0, centre - half), min(1.0, centre + half)
