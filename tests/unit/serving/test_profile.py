"""Counts in frozen bins."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward_api.bundle.documents import ReferenceProfile
from modelward_serving.counting.dictionary import DictionaryArray
from modelward_serving.counting.profile import MAX_AT_ONCE, NumberCounter, ProfileCounter, ScoreCounter, TextCounter
from modelward_serving.counting.subgroups import Strata
from tests.support.bundles import AGE, BY_AGE, BY_SEX, SCORE, SEX, signature


def of_numbers(references, values):
    """The cells of [rows, features], counted together and one row at a time, which must be the same."""
    together, alone = NumberCounter(references), NumberCounter(references)
    together.count(values, [np.zeros(len(values), dtype=np.intp)])
    for row in values:
        alone.count_row(row, [0])
    assert together.read() == alone.read()
    return together.read()[0]


def of_texts(reference, values):
    together, alone = TextCounter(reference), TextCounter(reference)
    together.count(np.array(values, dtype=object), [np.zeros(len(values), dtype=np.intp)])
    for value in values:
        alone.count_row(value, [0])
    assert together.read() == alone.read()
    return together.read()[0]


def of_scores(reference, values):
    together, alone = ScoreCounter(reference), ScoreCounter(reference)
    together.count(values, [np.zeros(len(values), dtype=np.intp)])
    for value in values:
        alone.count_row(value.item(), [0])
    assert together.read() == alone.read()
    return together.read()[0]


def counted(reference, values):
    """The cells of one column; a number is counted alike as a feature and as the score."""
    if reference.kind == "categorical":
        return list(of_texts(reference, values))
    numbers = np.array(values, dtype=np.float32)
    cells = of_numbers([reference], numbers.reshape(-1, 1))[reference.name]
    assert of_scores(reference, numbers) == cells
    return list(cells)


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
    values = np.array(rows, dtype=np.float32)
    assert [list(cells) for cells in of_numbers([AGE, other], values).values()] == [
        counted(AGE, values[:, 0]),
        counted(other, values[:, 1]),
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


def profile(*subgroups):
    reference = ReferenceProfile(rows=300, features=(AGE, SEX), score=SCORE)
    return ProfileCounter(reference, ["age"], ["sex"], Strata(signature(subgroups=subgroups)))


def fill(counter, ages, sexes, at_once):
    for start in range(0, len(ages), at_once):
        numbers = np.array(ages[start : start + at_once], dtype=np.float32).reshape(-1, 1)
        texts = np.array(sexes[start : start + at_once], dtype=object).reshape(-1, 1)
        counter.count(numbers, [texts], np.full(len(numbers), 0.75, dtype=np.float32))
    return counter.read()


def test_rows_are_counted_in_each_stratum_that_they_are_in():
    counts = fill(profile(BY_SEX, BY_AGE), [30, 70, 130, float("nan")], ["f", "m", "m", "x"], 1)
    assert counts.features == {"age": (1, 0, 1, 1, 1, 0), "sex": (1, 2, 0, 0, 1), "score": (0, 4, 0, 0, 0)}
    assert {name: own["score"][1] for name, own in counts.strata.items()} == {
        "sex=f": 1,
        "sex=m": 2,
        "age<40": 1,
        "40<=age<65": 0,
        "age>=65": 2,
    }
    assert counts.strata["sex=m"]["age"] == (0, 0, 1, 0, 1, 0), "what is out of range, by stratum"


PEOPLE = st.lists(
    st.tuples(st.floats(-10, 130, width=32) | st.just(float("nan")), st.sampled_from(["f", "m", "", "x"])), min_size=1
)


@settings(deadline=None)
@given(PEOPLE, st.integers(2, 9))
def test_rows_are_counted_alike_alone_together_and_coded(people, at_once):
    ages, sexes = zip(*people, strict=True)
    alone = fill(profile(BY_SEX, BY_AGE), ages, sexes, 1)
    assert fill(profile(BY_SEX, BY_AGE), ages, sexes, at_once) == alone
    counter, (texts, codes) = profile(BY_SEX, BY_AGE), np.unique(np.array(sexes, dtype=object), return_inverse=True)
    counter.count(
        np.array(ages, dtype=np.float32).reshape(-1, 1),
        [DictionaryArray(texts, codes)],
        np.full(len(ages), 0.75, np.float32),
    )
    assert counter.read() == alone


@settings(deadline=None)
@given(PEOPLE)
def test_subgroups_change_nothing_of_the_whole(people):
    ages, sexes = zip(*people, strict=True)
    without = fill(profile(), ages, sexes, 3)
    assert fill(profile(BY_AGE, BY_SEX), ages, sexes, 3).features == without.features
    assert without.strata == {}


def test_many_single_rows_overflow_nothing():
    rows = 2 * MAX_AT_ONCE + 7
    counts = fill(profile(BY_SEX), [50] * rows, ["f"] * rows, 1)
    assert counts.strata["sex=f"] == counts.features
    assert (counts.features["age"][1], counts.rows) == (rows, rows)
