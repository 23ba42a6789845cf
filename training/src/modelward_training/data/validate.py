"""Step 2: the data are what the columns declare, or it is said where they are not."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import polars as pl

from modelward_api.resources.columns import BOOLEANS, Column
from modelward_api.resources.reasons import Reason
from modelward_api.resources.trainingjob import TrainingJobSpec
from modelward_training.errors import InvalidInputError

NUMERIC_KINDS = frozenset({"numeric", "integer", "boolean"})
LARGEST = float(np.finfo(np.float32).max)
"""Models compute in float32: what is larger would be infinite."""
FEWEST_ROWS, FEWEST_OF_A_CLASS = 50, 10
UNIT = re.compile(r"^[A-Za-z0-9%\[\]{}()'\"*^._/+-]+$")
"""The characters of a UCUM unit."""


@dataclass(frozen=True)
class Dataset:
    """Checked rows."""

    features: tuple[Column, ...]
    columns: dict[str, np.ndarray]
    """Per feature [n]: float64 with NaN for missing, or object (str) with '' for missing."""
    label: np.ndarray
    """[n] of 0 and 1."""
    time: np.ndarray | None
    """[n] of float64, or of datetime64 in UTC (in local time if the data name no offset)."""
    group: np.ndarray | None
    warnings: tuple[str, ...] = ()
    has_offset: bool = False
    """Whether the times name their offset from UTC."""

    def __len__(self) -> int:
        return len(self.label)

    def take(self, rows: np.ndarray) -> Dataset:
        """Those rows only."""
        return Dataset(
            self.features,
            {name: values[rows] for name, values in self.columns.items()},
            self.label[rows],
            None if self.time is None else self.time[rows],
            None if self.group is None else self.group[rows],
            self.warnings,
            self.has_offset,
        )


def check(spec: TrainingJobSpec, frame: pl.DataFrame) -> Dataset:
    """Type, range, category and completeness of every column.

    Raises:
        InvalidInputError: AllMissing, MissingValues, WrongKind, TooLarge, Constant, UnknownCategory, UnknownLabel, InvalidTime,
            MixedOffsets, InvalidUnit, NoFeatures, OneClass, TooFewRows.
    """
    where = {column.name: f"spec.data.columns[{i}]" for i, column in enumerate(spec.data.columns)}
    features = tuple(c for c in spec.data.columns if c.role == "feature")
    if not features:
        raise InvalidInputError(Reason.NO_FEATURES, "no column has the role feature", "spec.data.columns")
    _check_units(spec.data.columns, where)
    label = _label(spec, frame, where)
    columns, warnings = {}, []
    for column in features:
        values, warning = _feature(column, frame[column.name], where[column.name])
        columns[column.name] = values
        warnings += warning
        warnings += _leak(column, values, label)
    time = next((c for c in spec.data.columns if c.role == "time"), None)
    group = next((c for c in spec.data.columns if c.role == "group"), None)
    times, has_offset = (None, False) if time is None else _time(time, frame[time.name], where[time.name])
    return Dataset(
        features,
        columns,
        label,
        times,
        None if group is None else frame[group.name].fill_null("").to_numpy(),
        tuple(warnings),
        has_offset,
    )


def check_variation(spec: TrainingJobSpec, data: Dataset) -> None:
    """Every feature has two values at least, in float32: what is constant tells nothing, and cannot be scaled.

    Raises:
        InvalidInputError: Constant.
    """
    for index, column in enumerate(spec.data.columns):
        if column.role != "feature":
            continue
        values = data.columns[column.name]
        given = values if values.dtype == object else values[~np.isnan(values)].astype(np.float32)
        if len(given) == 0:
            message = (
                f"column {column.name} is missing in every training row: set role: ignore, or choose another split"
            )
            raise InvalidInputError(Reason.ALL_MISSING, message, f"spec.data.columns[{index}].role")
        if (given == given[0]).all():
            message = f"column {column.name} has one value in all {len(data)} training rows: set role: ignore"
            raise InvalidInputError(Reason.CONSTANT, message, f"spec.data.columns[{index}].role")


def _check_units(columns: tuple[Column, ...], where: dict[str, str]) -> None:
    for column in columns:
        if column.unit is not None and not (UNIT.match(column.unit) and _balanced(column.unit)):
            message = f"{column.unit!r} is no UCUM unit; write for example mm[Hg], mmol/L, Cel, a or 1"
            raise InvalidInputError(Reason.INVALID_UNIT, message, f"{where[column.name]}.unit")


def _balanced(unit: str) -> bool:
    return all(unit.count(a) == unit.count(b) for a, b in ("[]", "{}", "()"))


def _label(spec: TrainingJobSpec, frame: pl.DataFrame, where: dict[str, str]) -> np.ndarray:
    name = spec.data.label.column
    if name not in where:
        raise InvalidInputError(
            Reason.UNKNOWN_COLUMN, f"label column {name!r} is not declared", "spec.data.label.column"
        )
    values = frame[name]
    if (missing := values.null_count()) > 0:
        message = f"the label is missing in {missing} of {len(values)} rows: remove them, or complete them"
        raise InvalidInputError(Reason.MISSING_LABEL, message, where[name])
    label = _events(spec, values, where[name])
    positives = int(label.sum())
    if positives in (0, len(label)):
        found = "no row has" if positives == 0 else "all rows have"
        message = f"{found} the positive value {spec.data.label.positive!r} in {name}: there is nothing to tell apart"
        raise InvalidInputError(Reason.ONE_CLASS, message, "spec.data.label.positive")
    if len(label) < FEWEST_ROWS or min(positives, len(label) - positives) < FEWEST_OF_A_CLASS:
        message = (
            f"{len(label)} rows with {positives} events: at least {FEWEST_ROWS} rows, {FEWEST_OF_A_CLASS} of each class"
        )
        raise InvalidInputError(Reason.TOO_FEW_ROWS, message, "spec.data.sources")
    return label


def _events(spec: TrainingJobSpec, values: pl.Series, field: str) -> np.ndarray:
    """1 for the positive value, 0 for a negative one, [n]. What is neither is an error: it must not count as no event."""
    column = next(c for c in spec.data.columns if c.name == spec.data.label.column)
    positive: str | float = spec.data.label.positive
    if column.kind in NUMERIC_KINDS:
        found = pl.Series(_numbers(column, values, field)[0])
        as_number = _as_number(column, spec.data.label.positive)
        if as_number is None:
            message = f"the positive value is no {column.kind}, as column {column.name} is declared"
            raise InvalidInputError(Reason.WRONG_KIND, message, "spec.data.label.positive")
        values, positive = found, as_number
    if column.allowed_values:
        wrong = int((~values.is_in(list(column.allowed_values))).sum())
        if wrong:
            message = (
                f"column {column.name} has other values than allowedValues in {wrong} of {len(values)} rows: "
                "correct them, declare them (all but the positive are negatives), or remove the rows"
            )
            raise InvalidInputError(Reason.UNKNOWN_LABEL, message, f"{field}.allowedValues")
    elif (different := values.n_unique()) > 2:
        message = (
            f"column {column.name} has {different} different values, and only one is the positive: which of the others are "
            "negatives? List all of them in allowedValues (kind: categorical), and correct the rest"
        )
        raise InvalidInputError(Reason.UNKNOWN_LABEL, message, f"{field}.allowedValues")
    return (values == positive).cast(pl.Int8).to_numpy()


def _as_number(column: Column, text: str) -> float | None:
    if column.kind == "boolean":
        return BOOLEANS.get(text.lower())
    try:
        return float(text)
    except ValueError:
        return None


def _feature(column: Column, values: pl.Series, field: str) -> tuple[np.ndarray, list[str]]:
    missing = values.null_count()
    if missing == len(values):
        raise InvalidInputError(Reason.ALL_MISSING, f"column {column.name} is missing in every row: remove it", field)
    if missing and not column.nullable:
        message = (
            f"column {column.name} is missing in {missing} of {len(values)} rows: set nullable: true, or complete it"
        )
        raise InvalidInputError(Reason.MISSING_VALUES, message, f"{field}.nullable")
    if column.kind in NUMERIC_KINDS:
        return _numbers(column, values, field)
    return _categories(column, values, field), []


def _numbers(column: Column, values: pl.Series, field: str) -> tuple[np.ndarray, list[str]]:
    if column.kind == "boolean":
        numbers = values.str.to_lowercase().replace_strict(BOOLEANS, default=None, return_dtype=pl.Float64)
    else:
        numbers = values.cast(pl.Float64, strict=False)
    found = numbers.fill_null(np.nan).to_numpy().astype(np.float64)
    given = ~np.isnan(found)
    wrong = int(values.is_not_null().sum()) - int(given.sum()) + int(np.isinf(found).sum())
    if column.kind == "integer":
        wrong += int((found[given] != np.round(found[given])).sum())
    if wrong:
        message = (
            f"column {column.name} is no {column.kind} in {wrong} of {len(values)} rows: correct kind or missingValues"
        )
        raise InvalidInputError(Reason.WRONG_KIND, message, f"{field}.kind")
    if large := int((np.abs(found[given]) > LARGEST).sum()):
        message = (
            f"column {column.name} has values beyond {LARGEST:.1e}, the largest of a model's numbers, in {large} of "
            f"{len(values)} rows: correct them, list them in missingValues, or convert the unit"
        )
        raise InvalidInputError(Reason.TOO_LARGE, message, field)
    outside = _outside(column, found[given])
    text = f"{column.name}: {outside} of {len(values)} rows are outside the declared range"
    return found, [text] if outside else []


def _outside(column: Column, values: np.ndarray) -> int:
    if column.range is None:
        return 0
    low, high = column.range.minimum, column.range.maximum
    below = 0 if low is None else int((values < low).sum())
    return below + (0 if high is None else int((values > high).sum()))


def _categories(column: Column, values: pl.Series, field: str) -> np.ndarray:
    if column.allowed_values:
        unknown = int((~values.drop_nulls().is_in(list(column.allowed_values))).sum())
        if unknown:
            message = (
                f"column {column.name} has other values than allowedValues in {unknown} of {len(values)} rows: "
                "declare them, or list them in missingValues"
            )
            raise InvalidInputError(Reason.UNKNOWN_CATEGORY, message, f"{field}.allowedValues")
    elif values.n_unique() > 256:
        message = f"column {column.name} has more than 256 different values: it is no category (an identifier?)"
        raise InvalidInputError(Reason.TOO_MANY_CATEGORIES, message, field)
    return values.fill_null("").to_numpy().astype(object)


def _leak(column: Column, values: np.ndarray, label: np.ndarray) -> list[str]:
    """A feature that tells the label all by itself is usually one that is known only afterwards."""
    if values.dtype == object:
        codes = {value: label[values == value].mean() for value in np.unique(values.astype(str))}
        perfect = len(codes) > 1 and all(rate in (0.0, 1.0) for rate in codes.values())
    else:
        ones, zeros = values[(label == 1) & ~np.isnan(values)], values[(label == 0) & ~np.isnan(values)]
        perfect = bool(len(ones) and len(zeros) and (ones.min() > zeros.max() or ones.max() < zeros.min()))
    text = f"{column.name} alone separates the classes perfectly (AUROC 1.0): is it known before the outcome?"
    return [text] if perfect else []


def _time(column: Column, values: pl.Series, field: str) -> tuple[np.ndarray, bool]:
    """What orders the rows, [n], and whether it names an offset."""
    if missing := values.null_count():
        message = f"column {column.name} with the role time is missing in {missing} of {len(values)} rows: complete it"
        raise InvalidInputError(Reason.MISSING_VALUES, message, field)
    if column.kind in ("numeric", "integer"):
        return _numbers(column, values, field)[0], False
    if column.kind != "timestamp":
        message = f"column {column.name} with the role time sorts as text: set kind: timestamp (ISO 8601) or a number"
        raise InvalidInputError(Reason.WRONG_KIND, message, f"{field}.kind")
    texts = values.to_list()
    known = {text: instant(text) for text in set(texts)}
    if wrong := [row for row, text in enumerate(texts, 1) if known[text] is None]:
        message = (
            f"column {column.name} is no ISO 8601 timestamp in {len(wrong)} of {len(texts)} rows, first in row {wrong[0]}: "
            "write 2016-03-28, 2016-03-28T14:30:00 or 2016-03-28T14:30:00+01:00"
        )
        raise InvalidInputError(Reason.INVALID_TIME, message, field)
    moments = [known[text] for text in texts]
    aware = [moment is not None and moment.tzinfo is not None for moment in moments]
    if any(aware) and not all(aware):
        message = (
            f"column {column.name} names an offset from UTC in {sum(aware)} of {len(texts)} rows and none in the others, so "
            "that they cannot be ordered: give all of them one (Z or +01:00), or none"
        )
        raise InvalidInputError(Reason.MIXED_OFFSETS, message, field)
    return np.array([plain(m) for m in moments if m is not None], dtype="datetime64[us]"), all(aware)


def instant(text: str) -> datetime | None:
    """An ISO 8601 date or time; a year and a month alone are their first moment. None if it is none."""
    text = f"{text}-01" if re.fullmatch(r"[0-9]{4}(-[0-9]{2})?", text) else text
    text = f"{text}-01" if re.fullmatch(r"[0-9]{4}-[0-9]{2}", text) else text
    try:
        return datetime.fromisoformat(text.replace(" UTC", "Z"))
    except ValueError:
        return None


def plain(moment: datetime) -> datetime:
    """The moment in UTC without saying so, as numpy takes it."""
    try:
        return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)
    except OverflowError:
        return moment.replace(tzinfo=None)
