"""Counts in frozen bins."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from modelward_serving.counters import NumberCounter, TextCounter
from tests.unit.serving.bundles import AGE, SEX


def counted(reference, values):
    if reference.kind == "categorical":
        counter = TextCounter(reference)
        counter.count(np.array(values, dtype=object))
        return list(counter.read())
    counter = NumberCounter([reference])
    counter.count(np.array(values, dtype=np.float32).reshape(1, -1))
    return list(counter.read()[reference.name])


def test_numbers_fall_into_half_open_bins():
    assert counted(AGE, [39.9, 40, 59.9, 60]) == [1, 2, 1, 0, 0, 0]


def test_missing_and_out_of_range_have_cells_of_their_own():
    assert counted(AGE, [np.nan, -1, 121]) == [0, 0, 0, 1, 2, 0]


def test_categories_missing_and_others():
    assert counted(SEX, ["f", "m", "m", "", "x"]) == [1, 2, 1, 0, 1]


@given(st.lists(st.floats(width=32), max_size=50))
def test_every_value_is_counted_once(values):
    assert sum(counted(AGE, values)) == len(values)


@given(st.lists(st.tuples(*[st.floats(width=32)] * 2), min_size=1, max_size=20))
def test_features_counted_together_are_counted_as_alone(rows):
    other = AGE.model_copy(update={"name": "other", "edges": (0.5,), "minimum": None, "counts": (1, 1, 0, 0, 0)})
    together = NumberCounter([AGE, other])
    values = np.array(rows, dtype=np.float32).T
    together.count(values)
    assert [list(cells) for cells in together.read().values()] == [
        counted(AGE, values[0]),
        counted(other, values[1]),
    ]


@given(
    st.lists(st.floats(-50, 50, width=32), max_size=6, unique=True),
    st.none() | st.floats(-60, 60, width=32),
    st.none() | st.floats(0, 60, width=32),
    st.lists(st.floats(width=32) | st.integers(-60, 60).map(float), max_size=30),
)
def test_a_value_is_in_the_cell_that_the_profile_defines(edges, low, width, values):
    high = None if low is None or width is None else float(np.float32(low + width))
    reference = AGE.model_copy(
        update={"edges": tuple(sorted(edges)), "minimum": low, "maximum": high, "counts": (0,) * (len(edges) + 4)}
    )
    expected = [0] * (len(edges) + 4)
    for value in map(np.float32, values):
        outside = (low is not None and value < low) or (high is not None and value > high)
        inside = sum(np.float32(edge) <= value for edge in edges)
        expected[len(edges) + 1 if np.isnan(value) else len(edges) + 2 if outside else inside] += 1
    assert counted(reference, values) == expected
