"""Counts in frozen bins."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from modelward_serving.counters import FeatureCounter
from tests.unit.serving.bundles import AGE, SEX


def counted(reference, values, dtype):
    counter = FeatureCounter(reference)
    counter.count(np.array(values, dtype=dtype).reshape(-1, 1))
    return counter.cells.tolist()


def test_numbers_fall_into_half_open_bins():
    assert counted(AGE, [39.9, 40, 59.9, 60], np.float32) == [1, 2, 1, 0, 0, 0]


def test_missing_and_out_of_range_have_cells_of_their_own():
    assert counted(AGE, [np.nan, -1, 121], np.float32) == [0, 0, 0, 1, 2, 0]


def test_categories_missing_and_others():
    assert counted(SEX, ["f", "m", "m", "", "x"], object) == [1, 2, 1, 0, 1]


@given(st.lists(st.floats(width=32), max_size=50))
def test_every_value_is_counted_once(values):
    assert sum(counted(AGE, values, np.float32)) == len(values)
