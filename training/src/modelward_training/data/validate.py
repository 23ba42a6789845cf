"""Validation of the data against the declared columns: kinds, ranges, categories, completeness, the label, times."""

from __future__ import annotations

import re

import numpy as np
import polars as pl

from modelward_api.resources.columns import BOOLEANS, Column
from modelward_api.resources.reasons import Reason
from modelward_api.resources.trainingjob import TrainingJobSpec
from modelward_training.data.dataset import Dataset
from modelward_training.errors import InvalidInputError

NUMERIC_KINDS = frozenset({"numeric", "integer", "boolean"})
MAX_NUMBER = float(np.finfo(np.float32).max)
"""Models compute in float32, in which larger numbers are infinite."""
MIN_ROWS, MIN_CLASS_ROWS = 50, 10
MAX_CATEGORIES = 256
UNIT = re.compile(r"^[A-Za-z0-9%\[\]{}()'\"*^._/+-]+$")
"""The characters of a UCUM unit."""


def validate(spec: TrainingJobSpec, frame: pl.DataFrame) -> Dataset:
    """Return the rows as a dataset.

    Raises:
        InvalidInputError: AllMissing, MissingValues, WrongKind, TooLarge, Constant, UnknownCategory, UnknownLabel, InvalidTime,
            MixedOffsets, InvalidUnit, NoFeatures, OneClass, TooFewRows.
    """
    where = {column.name: f"spec.data.columns[{i}]" for i, column in enumerate(spec.data.columns)}
    features = tuple(c for c in spec.data.columns if c.role == "feature")
    if not features:
        raise InvalidInputError(Reason.NO_FEATURES, "no column has the role feature", "spec.data.columns")
    _validate_units(spec.data.columns, where)
    label = _label(spec, frame, where)
    columns, warnings = {}, []
    for column in features:
        values, warning = _feature(column, frame, where[column.name])
        columns[column.name] = values
        warnings += warning
        warnings += _leak(column, values, label)
    time = next((c for c in spec.data.columns if c.role == "time"), None)
    group = next((c for c in spec.data.columns if c.role == "group"), None)
    times, has_offset = (None, False) if time is None else _time(time, frame, where[time.name])
    breakdown_columns = tuple(c for c in spec.data.columns if c.role in ("site", "subgroup"))
    return Dataset(
        features,
        columns,
        label,
        times,
        None if group is None else frame[group.name].fill_null("").to_numpy(),
        tuple(warnings),
        has_offset,
        breakdown_columns,
        {column.name: _breakdown(column, frame, where[column.name]) for column in breakdown_columns},
    )


def validate_variation(spec: TrainingJobSpec, data: Dataset) -> None:
    """Require at least two values of every feature, in float32: a constant carries no information and cannot be scaled.

    Raises:
        InvalidInputError: AllMissing, Constant.
    """
    for index, column in enumerate(spec.data.columns):
        if column.role != "feature":
            continue
        values = data.columns[column.name]
        present = values if values.dtype == object else values[~np.isnan(values)].astype(np.float32)
        if len(present) == 0:
            message = (
                f"column {column.name} is missing in every training row: set role: ignore, or choose another split"
            )
            raise InvalidInputError(Reason.ALL_MISSING, message, f"spec.data.columns[{index}].role")
        if (present == present[0]).all():
            message = f"column {column.name} has the same value in all {len(data)} training rows: set role: ignore"
            raise InvalidInputError(Reason.CONSTANT, message, f"spec.data.columns[{index}].role")


def _validate_units(columns: tuple[Column, ...], where: dict[str, str]) -> None:
    for column in columns:
        if column.unit is not None and not (UNIT.match(column.unit) and _balanced(column.unit)):
            message = f"{column.unit!r} is not a UCUM unit: write for example mm[Hg], mmol/L, Cel, a or 1"
            raise InvalidInputError(Reason.INVALID_UNIT, message, f"{where[column.name]}.unit")


def _balanced(unit: str) -> bool:
    return all(unit.count(a) == unit.count(b) for a, b in ("[]", "{}", "()"))


def _label(spec: TrainingJobSpec, frame: pl.DataFrame, where: dict[str, str]) -> np.ndarray:
    name = spec.data.label.column
    if name not in where:
        message = f"the label column {name!r} is not declared: add it to spec.data.columns"
        raise InvalidInputError(Reason.UNKNOWN_COLUMN, message, "spec.data.label.column")
    values = frame[name]
    if (missing := values.null_count() - _broken(frame, name).sum()) > 0:
        message = f"the label is missing in {missing} of {len(values)} rows: complete or remove those rows"
        raise InvalidInputError(Reason.MISSING_LABEL, message, where[name])
    label = _events(spec, frame, where[name])
    positives = int(label.sum())
    if positives in (0, len(label)):
        rows = "no row has" if positives == 0 else "every row has"
        message = (
            f"{rows} the positive value {spec.data.label.positive!r} in {name}: training needs rows of both classes"
        )
        raise InvalidInputError(Reason.ONE_CLASS, message, "spec.data.label.positive")
    if len(label) < MIN_ROWS or min(positives, len(label) - positives) < MIN_CLASS_ROWS:
        message = (
            f"the data have {len(label)} rows with {positives} events: training needs at least {MIN_ROWS} rows, and "
            f"{MIN_CLASS_ROWS} of each class"
        )
        raise InvalidInputError(Reason.TOO_FEW_ROWS, message, "spec.data.sources")
    return label


def _broken(frame: pl.DataFrame, name: str, rule: str = "kind") -> pl.Series:
    """Return which rows break a rule, [n]."""
    flag = f"\x00{rule}\x00{name}"
    return frame[flag] if flag in frame.columns else pl.Series([False]).new_from_index(0, frame.height)


def _events(spec: TrainingJobSpec, frame: pl.DataFrame, field: str) -> np.ndarray:
    """Return 1 for the positive value and 0 for a negative one, [n]. Any other value is an error, never a negative."""
    values = frame[spec.data.label.column]
    column = next(c for c in spec.data.columns if c.name == spec.data.label.column)
    positive: str | float = spec.data.label.positive
    if column.kind in NUMERIC_KINDS:
        numbers = pl.Series(_numbers(column, frame, field)[0])
        as_number = _as_number(column, spec.data.label.positive)
        if as_number is None:
            message = (
                f"the positive value is not {_a(column.kind)}, as column {column.name} is declared: correct one of them"
            )
            raise InvalidInputError(Reason.WRONG_KIND, message, "spec.data.label.positive")
        values, positive = numbers, as_number
    if column.allowed_values:
        wrong = int((~values.is_in(list(column.allowed_values))).sum())
        if wrong:
            message = (
                f"column {column.name} has values that are not in allowedValues in {wrong} of {len(values)} rows: "
                "correct them, declare them (all but the positive are negatives), or remove the rows"
            )
            raise InvalidInputError(Reason.UNKNOWN_LABEL, message, f"{field}.allowedValues")
    elif (different := values.n_unique()) > 2:
        message = (
            f"column {column.name} has {different} different values, of which one is the positive: list the positive and all "
            "negatives in allowedValues (kind: categorical), and correct the other rows"
        )
        raise InvalidInputError(Reason.UNKNOWN_LABEL, message, f"{field}.allowedValues")
    return (values == positive).cast(pl.Int8).to_numpy()


def _a(kind: str) -> str:
    return {"integer": "an integer", "boolean": "a boolean"}.get(kind, "a number")


def _as_number(column: Column, text: str) -> float | None:
    if column.kind == "boolean":
        return BOOLEANS.get(text.lower())
    try:
        return float(text)
    except ValueError:
        return None


def _feature(column: Column, frame: pl.DataFrame, field: str) -> tuple[np.ndarray, list[str]]:
    values = frame[column.name]
    missing = values.null_count() - int(_broken(frame, column.name).sum())
    if missing == len(values):
        message = f"column {column.name} is missing in every row: set role: ignore, or remove it"
        raise InvalidInputError(Reason.ALL_MISSING, message, field)
    if missing and not column.nullable:
        message = (
            f"column {column.name} is missing in {missing} of {len(values)} rows: set nullable: true, or complete them"
        )
        raise InvalidInputError(Reason.MISSING_VALUES, message, f"{field}.nullable")
    if column.kind in NUMERIC_KINDS:
        return _numbers(column, frame, field)
    return _categories(column, values, field), []


def _breakdown(column: Column, frame: pl.DataFrame, field: str) -> np.ndarray:
    """Return the site or subgroup of each row. Its names are published, so they must be declared."""
    if column.kind != "categorical" or not column.allowed_values:
        message = f"column {column.name} with the role {column.role} needs kind: categorical and allowedValues"
        raise InvalidInputError(Reason.INVALID_SUBGROUP, message, f"{field}.allowedValues")
    return _feature(column, frame, field)[0]


def _numbers(column: Column, frame: pl.DataFrame, field: str) -> tuple[np.ndarray, list[str]]:
    values = frame[column.name]
    parsed = values.fill_null(np.nan).to_numpy().astype(np.float64)
    present = parsed[~np.isnan(parsed)]
    if wrong := int(_broken(frame, column.name).sum()):
        message = f"column {column.name} is not {_a(column.kind)} in {wrong} of {len(values)} rows: correct kind or missingValues"
        raise InvalidInputError(Reason.WRONG_KIND, message, f"{field}.kind")
    if large := int((np.abs(present) > MAX_NUMBER).sum()):
        message = (
            f"column {column.name} has values beyond ±{MAX_NUMBER:.1e}, the limit of float32, in {large} of "
            f"{len(values)} rows: correct them, list them in missingValues, or convert the unit"
        )
        raise InvalidInputError(Reason.TOO_LARGE, message, field)
    outside = _outside(column, present)
    text = f"{column.name}: {outside} of {len(values)} rows are outside the declared range"
    return parsed, [text] if outside else []


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
                f"column {column.name} has values that are not in allowedValues in {unknown} of {len(values)} rows: "
                "declare them, or list them in missingValues"
            )
            raise InvalidInputError(Reason.UNKNOWN_CATEGORY, message, f"{field}.allowedValues")
    elif values.n_unique() > MAX_CATEGORIES:
        message = f"column {column.name} has more than {MAX_CATEGORIES} different values: set role: ignore, or group the values"
        raise InvalidInputError(Reason.TOO_MANY_CATEGORIES, message, field)
    return values.fill_null("").to_numpy().astype(object)


def _leak(column: Column, values: np.ndarray, label: np.ndarray) -> list[str]:
    """Warn of a feature that separates the classes by itself: usually it is known only after the outcome."""
    if values.dtype == object:
        codes = {value: label[values == value].mean() for value in np.unique(values.astype(str))}
        perfect = len(codes) > 1 and all(rate in (0.0, 1.0) for rate in codes.values())
    else:
        ones, zeros = values[(label == 1) & ~np.isnan(values)], values[(label == 0) & ~np.isnan(values)]
        perfect = bool(len(ones) and len(zeros) and (ones.min() > zeros.max() or ones.max() < zeros.min()))
    text = f"{column.name} alone separates the classes perfectly (AUROC 1.0): is it known before the outcome?"
    return [text] if perfect else []


def _time(column: Column, frame: pl.DataFrame, field: str) -> tuple[np.ndarray, bool]:
    """Return the times that order the rows, [n], and whether they name an offset from UTC."""
    values, broken = frame[column.name], _broken(frame, column.name)
    mixed = _broken(frame, column.name, "offset")
    if missing := values.null_count() - int((broken | mixed).sum()):
        message = f"column {column.name} with the role time is missing in {missing} of {len(values)} rows: complete those rows"
        raise InvalidInputError(Reason.MISSING_VALUES, message, field)
    if column.kind in ("numeric", "integer"):
        return _numbers(column, frame, field)[0], False
    if column.kind != "timestamp":
        message = f"column {column.name} with the role time would sort as text: set kind: timestamp, numeric or integer"
        raise InvalidInputError(Reason.WRONG_KIND, message, f"{field}.kind")
    if wrong := int(broken.sum()):
        message = (
            f"column {column.name} is not an ISO 8601 timestamp in {wrong} of {len(values)} rows, first in row "
            f"{broken.arg_true()[0] + 1}: write 2016-03-28, 2016-03-28T14:30:00 or 2016-03-28T14:30:00+01:00"
        )
        raise InvalidInputError(Reason.INVALID_TIME, message, field)
    if different := int(mixed.sum()):
        message = (
            f"column {column.name} differs in {different} of {len(values)} rows from its first row in that it names an offset "
            "from UTC or none, so the rows cannot be ordered: name an offset (Z or +01:00) in all of them or in none"
        )
        raise InvalidInputError(Reason.MIXED_OFFSETS, message, field)
    is_aware = isinstance(values.dtype, pl.Datetime) and values.dtype.time_zone is not None
    return values.dt.replace_time_zone(None).to_numpy().astype("datetime64[us]"), is_aware
