"""Step 2: the data are what the columns declare, or it is said where they are not."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import polars as pl

from modelward_api.columns import BOOLEANS, Column
from modelward_api.trainingjob import TrainingJobSpec
from modelward_training.errors import InvalidInputError

NUMERIC_KINDS = frozenset({"numeric", "integer", "boolean"})
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
    """[n] of float64, or text that sorts."""
    group: np.ndarray | None
    warnings: tuple[str, ...] = ()

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
        )


def check(spec: TrainingJobSpec, frame: pl.DataFrame) -> Dataset:
    """Type, range, category and completeness of every column.

    Raises:
        InvalidInputError: AllMissing, MissingValues, WrongKind, UnknownCategory, InvalidUnit, NoFeatures, OneClass, TooFewRows.
    """
    where = {column.name: f"spec.data.columns[{i}]" for i, column in enumerate(spec.data.columns)}
    features = tuple(c for c in spec.data.columns if c.role == "feature")
    if not features:
        raise InvalidInputError("NoFeatures", "no column has the role feature", "spec.data.columns")
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
    return Dataset(
        features,
        columns,
        label,
        None if time is None else _time(time, frame[time.name], where[time.name]),
        None if group is None else frame[group.name].fill_null("").to_numpy(),
        tuple(warnings),
    )


def _check_units(columns: tuple[Column, ...], where: dict[str, str]) -> None:
    for column in columns:
        if column.unit is not None and not (UNIT.match(column.unit) and _balanced(column.unit)):
            message = f"{column.unit!r} is no UCUM unit; write for example mm[Hg], mmol/L, Cel, a or 1"
            raise InvalidInputError("InvalidUnit", message, f"{where[column.name]}.unit")


def _balanced(unit: str) -> bool:
    return all(unit.count(a) == unit.count(b) for a, b in ("[]", "{}", "()"))


def _label(spec: TrainingJobSpec, frame: pl.DataFrame, where: dict[str, str]) -> np.ndarray:
    name = spec.data.label.column
    if name not in where:
        raise InvalidInputError("UnknownColumn", f"label column {name!r} is not declared", "spec.data.label.column")
    values = frame[name]
    if (missing := values.null_count()) > 0:
        message = f"the label is missing in {missing} of {len(values)} rows: remove them, or complete them"
        raise InvalidInputError("MissingLabel", message, where[name])
    label = (values == spec.data.label.positive).cast(pl.Int8).to_numpy()
    positives = int(label.sum())
    if positives in (0, len(label)):
        found = "no row has" if positives == 0 else "all rows have"
        message = f"{found} the positive value {spec.data.label.positive!r} in {name}: there is nothing to tell apart"
        raise InvalidInputError("OneClass", message, "spec.data.label.positive")
    if len(label) < FEWEST_ROWS or min(positives, len(label) - positives) < FEWEST_OF_A_CLASS:
        message = (
            f"{len(label)} rows with {positives} events: at least {FEWEST_ROWS} rows, {FEWEST_OF_A_CLASS} of each class"
        )
        raise InvalidInputError("TooFewRows", message, "spec.data.sources")
    return label


def _feature(column: Column, values: pl.Series, field: str) -> tuple[np.ndarray, list[str]]:
    missing = values.null_count()
    if missing == len(values):
        raise InvalidInputError("AllMissing", f"column {column.name} is missing in every row: remove it", field)
    if missing and not column.nullable:
        message = (
            f"column {column.name} is missing in {missing} of {len(values)} rows: set nullable: true, or complete it"
        )
        raise InvalidInputError("MissingValues", message, f"{field}.nullable")
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
        raise InvalidInputError("WrongKind", message, f"{field}.kind")
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
            raise InvalidInputError("UnknownCategory", message, f"{field}.allowedValues")
    elif values.n_unique() > 256:
        message = f"column {column.name} has more than 256 different values: it is no category (an identifier?)"
        raise InvalidInputError("TooManyCategories", message, field)
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


def _time(column: Column, values: pl.Series, field: str) -> np.ndarray:
    if values.null_count():
        raise InvalidInputError("MissingValues", f"column {column.name} with the role time has missing values", field)
    if column.kind in NUMERIC_KINDS:
        return _numbers(column, values, field)[0]
    return values.to_numpy().astype(str)
