"""Step 3: which rows the model is tested on. It never sees them before."""

from __future__ import annotations

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold, train_test_split

from modelward_api.resources.reasons import Reason
from modelward_api.resources.trainingjob import Split
from modelward_training.data.validate import Dataset, instant, plain
from modelward_training.errors import InvalidInputError


def divide(split: Split, data: Dataset) -> tuple[Dataset, Dataset]:
    """Training and test rows.

    Raises:
        InvalidInputError: NoTimeColumn, WrongKind, InvalidTime, MixedOffsets, EmptySplit, OneClass.
    """
    test = _by_time(split, data) if split.method == "time" else _by_chance(split, data)
    parts = data.take(~test), data.take(test)
    for name, part in zip(("training", "test"), parts, strict=True):
        if len(part) == 0:
            raise InvalidInputError(Reason.EMPTY_SPLIT, f"no row is left for the {name} part", "spec.split")
        if part.label.min() == part.label.max():
            message = f"the {name} part has one class only: choose another split"
            raise InvalidInputError(Reason.ONE_CLASS, message, "spec.split")
    return parts


def _by_time(split: Split, data: Dataset) -> np.ndarray:
    if data.time is None:
        message = "time needs a column with role: time in spec.data.columns"
        raise InvalidInputError(Reason.NO_TIME_COLUMN, message, "spec.split.method")
    if split.test_from is not None:
        return data.time >= _start(split.test_from, data)
    moments, counts = np.unique(data.time, return_counts=True)
    later = np.cumsum(counts[::-1])[::-1] / len(data)
    return data.time >= moments[np.argmin(np.abs(later - split.test_fraction))]


def _start(text: str, data: Dataset) -> float | np.datetime64:
    """The first time of the test part, as the column has times."""
    field = "spec.split.testFrom"
    if data.time is not None and data.time.dtype.kind == "f":
        try:
            return float(text)
        except ValueError:
            message = "testFrom must be a number, as the time column is one"
            raise InvalidInputError(Reason.WRONG_KIND, message, field) from None
    moment = instant(text)
    if moment is None:
        raise InvalidInputError(Reason.INVALID_TIME, "testFrom must be ISO 8601, such as 2016-03-28", field)
    if (moment.tzinfo is not None) != data.has_offset:
        message = "testFrom must name an offset from UTC (Z or +01:00) if the time column does, and else none"
        raise InvalidInputError(Reason.MIXED_OFFSETS, message, field)
    return np.datetime64(plain(moment))


def _by_chance(split: Split, data: Dataset) -> np.ndarray:
    if data.group is not None:  # a patient's rows stay together
        folds = StratifiedGroupKFold(max(2, round(1 / split.test_fraction)), shuffle=True, random_state=split.seed)
        rows = next(iter(folds.split(data.label, data.label, data.group)))[1]
    else:
        _, rows = train_test_split(
            np.arange(len(data)), test_size=split.test_fraction, stratify=data.label, random_state=split.seed
        )
    test = np.zeros(len(data), dtype=bool)
    test[rows] = True
    return test
