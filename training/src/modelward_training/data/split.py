"""The split into training, calibration and test rows, and folds within the training rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from sklearn.model_selection import GroupKFold, StratifiedGroupKFold, StratifiedKFold, train_test_split

from modelward_api.resources.reasons import Reason
from modelward_api.resources.trainingjob import Split
from modelward_training.data.dataset import Dataset
from modelward_training.data.times import in_utc, instant
from modelward_training.errors import InvalidInputError

Method = Literal["time", "random", "site", "group"]
MAX_STRATIFIED_GROUPS = 20_000
"""Of more groups, whole ones are drawn at random: the classes' shares then hold by their number."""
Fold = tuple[np.ndarray, np.ndarray]
"""Indices of the rows to fit on, and of the rows that are held out."""


@dataclass(frozen=True)
class Parts:
    """The rows, each in one part."""

    training: Dataset
    calibration: Dataset | None
    """None: calibration cross-fits on the training rows."""
    test: Dataset

    @property
    def by_name(self) -> dict[str, Dataset]:
        """The parts that there are, by name."""
        parts = {"training": self.training, "calibration": self.calibration, "test": self.test}
        return {name: part for name, part in parts.items() if part is not None}


def split(spec: Split, data: Dataset) -> Parts:
    """Split the rows.

    Raises:
        InvalidInputError: NoTimeColumn, NoSiteColumn, NoGroupColumn, UnknownSite, WrongKind, InvalidTime, MixedOffsets,
            EmptySplit, OneClass.
    """
    test = _test_rows(spec, data)
    rest = data.take(~test)
    parts = Parts(rest, None, data.take(test))
    if spec.calibration_fraction and len(rest):
        share = spec.calibration_fraction * len(data) / len(rest)
        if share >= 1:
            message = "calibrationFraction leaves no training rows: lower it, or testFraction"
            raise InvalidInputError(Reason.EMPTY_SPLIT, message, "spec.split.calibrationFraction")
        held_out = _latest(rest, share) if spec.method == "time" else _drawn(spec, rest, share)
        parts = Parts(rest.take(~held_out), rest.take(held_out), parts.test)
    for name, part in parts.by_name.items():
        if len(part) == 0:
            raise InvalidInputError(
                Reason.EMPTY_SPLIT, f"the {name} part has no rows: choose another split", "spec.split"
            )
        if part.label.min() == part.label.max():
            message = f"the {name} part has only one class: choose another split"
            raise InvalidInputError(Reason.ONE_CLASS, message, "spec.split")
    return parts


def folds(data: Dataset, method: Method, k: int, seed: int) -> list[Fold]:
    """Return folds for cross-validation, which respect groups and time.

    random, group: stratified; every row is held out once, and the rows of a group together. site: whole sites are held out, one
    at a time if there are at most k. time: each of the k latest pieces of equal size is held out from all rows before it, without
    the groups that it has itself.

    Raises:
        InvalidInputError: NoTimeColumn, NoSiteColumn, NoGroupColumn, EmptySplit.
    """
    made = _folds_in_time(data, k) if method == "time" else _folds_in_space(data, method, k, seed)
    if any(len(fit) == 0 or np.ptp(data.label[fit]) == 0 or len(held_out) == 0 for fit, held_out in made):
        message = (
            f"a fold by {method} has no rows, or rows of one class only, to fit on: use fewer folds, or another method"
        )
        raise InvalidInputError(Reason.EMPTY_SPLIT, message, "spec.split.method")
    return made


def nested_folds(data: Dataset, method: Method, outer: int, inner: int, seed: int) -> list[tuple[Fold, list[Fold]]]:
    """Return the outer folds, each with the inner folds of its rows to fit on: for choosing parameters and judging the choice."""
    nested = []
    for number, (fit, held_out) in enumerate(folds(data, method, outer, seed)):
        within = folds(data.take(fit), method, inner, seed + 1 + number)
        nested.append(((fit, held_out), [(fit[inside], fit[outside]) for inside, outside in within]))
    return nested


def _test_rows(spec: Split, data: Dataset) -> np.ndarray:
    if spec.method == "time":
        times = _require_time(data)
        if spec.test_from is not None:
            later: np.ndarray = times >= _start(spec.test_from, data)
            return later
        return _latest(data, spec.test_fraction)
    if spec.method == "site":
        return _of_sites(spec, data)
    if spec.method == "group":
        _require_group(data)
    return _drawn(spec, data, spec.test_fraction)


def _require_time(data: Dataset) -> np.ndarray:
    if data.time is None:
        message = "a split by time needs a column with role: time in spec.data.columns"
        raise InvalidInputError(Reason.NO_TIME_COLUMN, message, "spec.split.method")
    return data.time


def _require_group(data: Dataset) -> np.ndarray:
    if data.group is None:
        message = "a split by group needs a column with role: group in spec.data.columns"
        raise InvalidInputError(Reason.NO_GROUP_COLUMN, message, "spec.split.method")
    return data.group


def _require_site(data: Dataset) -> tuple[np.ndarray, np.ndarray]:
    if data.site is None:
        message = "a split by site needs a column with role: site in spec.data.columns"
        raise InvalidInputError(Reason.NO_SITE_COLUMN, message, "spec.split.method")
    return data.site


def _latest(data: Dataset, share: float) -> np.ndarray:
    """The latest rows, about this share of them; rows of the same time stay together."""
    times = _require_time(data)
    moments, counts = np.unique(times, return_counts=True)
    later = np.cumsum(counts[::-1])[::-1] / len(data)
    latest: np.ndarray = times >= moments[np.argmin(np.abs(later - share))]
    return latest


def _of_sites(spec: Split, data: Dataset) -> np.ndarray:
    names, codes = _require_site(data)
    if not spec.test_sites:
        message = "testSites must list at least one site to test on"
        raise InvalidInputError(Reason.UNKNOWN_SITE, message, "spec.split.testSites")
    present = set(names[np.unique(codes)])
    for i, site in enumerate(spec.test_sites):
        if site not in present:
            message = f"no row has the site {site!r}: name a site of the data, as the column with role: site has it"
            raise InvalidInputError(Reason.UNKNOWN_SITE, message, f"spec.split.testSites[{i}]")
    listed: np.ndarray = np.isin(names, spec.test_sites)[codes]
    return listed


def _start(text: str, data: Dataset) -> float | np.datetime64:
    """Return the first time of the test part, in the type of the time column."""
    field = "spec.split.testFrom"
    if data.time is not None and data.time.dtype.kind == "f":
        try:
            return float(text)
        except ValueError:
            message = "testFrom must be a number, because the time column is numeric"
            raise InvalidInputError(Reason.WRONG_KIND, message, field) from None
    moment = instant(text)
    if moment is None:
        raise InvalidInputError(Reason.INVALID_TIME, "testFrom must be ISO 8601, such as 2016-03-28", field)
    if (moment.tzinfo is not None) != data.has_offset:
        message = "testFrom must name an offset from UTC (Z or +01:00) if and only if the time column does"
        raise InvalidInputError(Reason.MIXED_OFFSETS, message, field)
    return np.datetime64(in_utc(moment))


def _drawn(spec: Split, data: Dataset, share: float) -> np.ndarray:
    """Rows at random, about this share of them and of each class; a patient's rows stay together."""
    drawn = np.zeros(len(data), dtype=bool)
    if data.group is not None:
        is_small = share <= 0.5
        pieces = max(2, round(1 / (share if is_small else 1 - share)))
        kept, held_out = _grouped(data.label, data.group, pieces, spec.seed)[0]
        drawn[held_out if is_small else kept] = True
        return drawn
    rows = train_test_split(np.arange(len(data)), test_size=share, stratify=data.label, random_state=spec.seed)[1]
    drawn[rows] = True
    return drawn


def _grouped(label: np.ndarray, group: np.ndarray, k: int, seed: int) -> list[Fold]:
    """Return folds that keep groups together and, as far as that goes, the classes' shares."""
    groups, of_row = np.unique(group, return_inverse=True)
    _require_groups(len(groups), k)
    if len(groups) <= MAX_STRATIFIED_GROUPS:
        makes = StratifiedGroupKFold(k, shuffle=True, random_state=seed)
        return list(makes.split(label, label, group))
    sizes = np.bincount(of_row)
    order = np.random.default_rng(seed).permutation(len(groups))
    place = np.empty(len(groups), dtype=np.int64)
    place[order] = np.minimum(np.cumsum(sizes[order]) * k // (len(label) + 1), k - 1)
    fold = place[of_row]
    return [(np.flatnonzero(fold != number), np.flatnonzero(fold == number)) for number in range(k)]


def _require_groups(groups: int, count: int) -> None:
    if groups < count:
        message = (
            f"the split needs at least {count} groups in the column with role: group: choose another method or fraction"
        )
        raise InvalidInputError(Reason.EMPTY_SPLIT, message, "spec.split")


def _folds_in_time(data: Dataset, k: int) -> list[Fold]:
    times = _require_time(data)
    moments, place = np.unique(times, return_inverse=True)
    if len(moments) <= k:
        message = f"{k} folds by time need more than {k} different times: use fewer folds, or another method"
        raise InvalidInputError(Reason.EMPTY_SPLIT, message, "spec.split.method")
    share = np.cumsum(np.bincount(place)) / len(data)
    piece = np.minimum((share - 1e-12) * (k + 1), k).astype(int)[place]
    made = []
    for number in range(1, k + 1):
        held_out = piece == number
        fit = piece < number
        if data.group is not None:
            fit &= ~np.isin(data.group, data.group[held_out])
        made.append((np.flatnonzero(fit), np.flatnonzero(held_out)))
    return made


def _folds_in_space(data: Dataset, method: Method, k: int, seed: int) -> list[Fold]:
    rows = np.arange(len(data))
    if method == "site":
        _, codes = _require_site(data)
        sites = len(np.unique(codes))
        if sites < 2:
            message = "folds by site need at least two sites in the data: choose another method"
            raise InvalidInputError(Reason.EMPTY_SPLIT, message, "spec.split.method")
        return list(GroupKFold(min(k, sites)).split(rows, groups=codes))
    if method == "group":
        _require_group(data)
    if data.group is not None:
        return _grouped(data.label, data.group, k, seed)
    return list(StratifiedKFold(k, shuffle=True, random_state=seed).split(rows, data.label))
