"""Rows and events of each site and subgroup, without the counts that could point to a patient."""

from __future__ import annotations

import numpy as np

from modelward_api.bundle.documents import GroupCount
from modelward_api.small_counts import MIN_SHOWN_COUNT
from modelward_training.data.dataset import Dataset

MAX_SMALL_COUNT = MIN_SHOWN_COUNT - 1
"""Counts from 1 to this are withheld."""


def breakdown(train: Dataset, test: Dataset) -> tuple[GroupCount, ...]:
    """Count the rows of every declared value of each column with the role site or subgroup."""
    return tuple(
        count
        for column in train.breakdown_columns
        for count in _of_column(
            column.name, column.allowed_values, train.breakdowns[column.name], test.breakdowns[column.name], test.label
        )
    )


def uncovered(counts: tuple[GroupCount, ...]) -> list[str]:
    """Warn of each site or subgroup without a test row."""
    return [
        f"{count.column}={count.value} has no test rows: the evaluation does not cover it"
        for count in counts
        if count.test_rows == 0
    ]


def withheld(counts: list[tuple[int, ...]]) -> list[bool]:
    """Decide which groups' counts are withheld, given that the totals over all groups are public.

    A group with a small count is withheld, and so are the next smallest groups, until at least two are withheld and the
    difference between the totals and the published counts is no small count either.

    Args:
        counts: by group, numbers that are published together.
    """
    is_withheld = [any(0 < count <= MAX_SMALL_COUNT for count in group) for group in counts]
    if not any(is_withheld):
        return is_withheld
    for i in sorted(range(len(counts)), key=lambda i: counts[i]):
        rest = [group for group, hidden in zip(counts, is_withheld, strict=True) if hidden]
        if len(rest) > 1 and not any(0 < sum(part) <= MAX_SMALL_COUNT for part in zip(*rest, strict=True)):
            break
        is_withheld[i] = is_withheld[i] or any(counts[i])
    return is_withheld


def _of_column(
    column: str, values: tuple[str, ...], train: np.ndarray, test: np.ndarray, label: np.ndarray
) -> list[GroupCount]:
    train_rows = [int((train == value).sum()) for value in values]
    test_rows = [int((test == value).sum()) for value in values]
    events = [int(label[test == value].sum()) for value in values]
    missing = int((train == "").sum()), int((test == "").sum()), int(label[test == ""].sum())
    # Rows without a value are a group of their own, which is not published: the totals include them.
    hidden_train = withheld([(rows,) for rows in (*train_rows, missing[0])])
    hidden_test = withheld(
        [(n, e, n - e) for n, e in zip((*test_rows, missing[1]), (*events, missing[2]), strict=True)]
    )
    return [
        GroupCount(
            column=column,
            value=value,
            train_rows=None if hidden_train[i] else train_rows[i],
            test_rows=None if hidden_test[i] else test_rows[i],
            test_events=None if hidden_test[i] else events[i],
        )
        for i, value in enumerate(values)
    ]
