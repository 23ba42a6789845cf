"""The split into training rows and test rows, which the model never sees before its evaluation."""

from __future__ import annotations

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold, train_test_split

from modelward_api.resources.reasons import Reason
from modelward_api.resources.trainingjob import Split
from modelward_training.data.dataset import Dataset
from modelward_training.data.times import in_utc, instant
from modelward_training.errors import InvalidInputError


def split(spec: Split, data: Dataset) -> tuple[Dataset, Dataset]:
    """Return training and test rows.

    Raises:
        InvalidInputError: NoTimeColumn, WrongKind, InvalidTime, MixedOffsets, EmptySplit, OneClass.
    """
    test = _by_time(spec, data) if spec.method == "time" else _at_random(spec, data)
    parts = data.take(~test), data.take(test)
    for name, part in zip(("training", "test"), parts, strict=True):
        if len(part) == 0:
            raise InvalidInputError(
                Reason.EMPTY_SPLIT, f"the {name} part has no rows: choose another split", "spec.split"
            )
        if part.label.min() == part.label.max():
            message = f"the {name} part has only one class: choose another split"
            raise InvalidInputError(Reason.ONE_CLASS, message, "spec.split")
    return parts


def _by_time(spec: Split, data: Dataset) -> np.ndarray:
    if data.time is None:
        message = "a split by time needs a column with role: time in spec.data.columns"
        raise InvalidInputError(Reason.NO_TIME_COLUMN, message, "spec.split.method")
    if spec.test_from is not None:
        later: np.ndarray = data.time >= _start(spec.test_from, data)
        return later
    moments, counts = np.unique(data.time, return_counts=True)
    share = np.cumsum(counts[::-1])[::-1] / len(data)
    latest: np.ndarray = data.time >= moments[np.argmin(np.abs(share - spec.test_fraction))]
    return latest


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


def _at_random(spec: Split, data: Dataset) -> np.ndarray:
    if data.group is not None:  # a patient's rows stay together
        folds = StratifiedGroupKFold(max(2, round(1 / spec.test_fraction)), shuffle=True, random_state=spec.seed)
        rows = next(iter(folds.split(data.label, data.label, data.group)))[1]
    else:
        _, rows = train_test_split(
            np.arange(len(data)), test_size=spec.test_fraction, stratify=data.label, random_state=spec.seed
        )
    test = np.zeros(len(data), dtype=bool)
    test[rows] = True
    return test
