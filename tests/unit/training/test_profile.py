"""The reference profile: every change that matters falls into another bin, and serving counts into the same ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward_api.resources.columns import Column
from modelward_operator.domain.evidence.statistics import drift_effect
from modelward_serving.counting.profile import NumberCounter, ScoreCounter
from modelward_training.data.dataset import Dataset
from modelward_training.reference.profile import BINS, MIN_MEDIAN_ROWS, plausible_numbers, reference_profile


def dataset(values, kind="numeric", **column) -> Dataset:
    declared = Column.model_validate({"name": "x", "kind": kind, "nullable": True, **column})
    return Dataset((declared,), {"x": values}, np.zeros(len(values)), None, None)


def profile(values, score=None, kind="numeric", **column):
    values = np.asarray(values, dtype=np.float64)
    return reference_profile(dataset(values, kind, **column), np.zeros(len(values)) if score is None else score)


def served(reference, values):
    counter = NumberCounter([reference])
    counter.count(np.asarray(values, dtype=np.float32).reshape(-1, 1), [np.zeros(len(values), dtype=np.intp)])
    return counter.read()[0][reference.name]


def effect(reference, values):
    """What a monitor sees of other values."""
    return drift_effect(reference.counts, served(reference, values))


rng = np.random.default_rng(0)
BEFORE_AND_AFTER = {
    "a flag from 5% to 60%": (rng.random(1000) < 0.05, rng.random(1000) < 0.6, {"kind": "boolean"}),
    "a flag that nobody had": (np.zeros(1000), rng.random(1000) < 0.3, {"kind": "boolean"}),
    "a number 0 or 1 from 0.3% to 60%": (np.arange(1000) < 3, rng.random(1000) < 0.6, {}),
    "a dose that few get, and then many": (
        np.where(rng.random(1000) < 0.08, rng.lognormal(3, 1, 1000), 0),
        np.where(rng.random(1000) < 0.6, rng.lognormal(3, 1, 1000), 0),
        {},
    ),
    "a dose that few get, and of it more": (
        np.where(rng.random(1000) < 0.2, rng.lognormal(3, 0.5, 1000), 0),
        np.where(rng.random(1000) < 0.2, rng.lognormal(5, 0.5, 1000), 0),
        {},
    ),
    "a value used as default, and then not": (
        np.where(rng.random(1000) < 0.3, 98.6, rng.normal(99, 1, 1000)),
        rng.normal(99, 1, 1000),
        {},
    ),
    "a count of few values": (rng.integers(0, 4, 1000), rng.integers(0, 4, 1000) // 2, {"kind": "integer"}),
    "years, whose first three digits are the same": (
        rng.integers(1985, 1990, 1000),
        rng.integers(1990, 1995, 1000),
        {"kind": "integer"},
    ),
    "a narrow number far from zero": (rng.normal(1e5, 1, 1000), rng.normal(1e5 + 2, 1, 1000), {}),
    "a constant": (np.full(1000, 37.0), rng.normal(37, 1, 1000), {}),
}


@pytest.mark.parametrize(("before", "after", "column"), BEFORE_AND_AFTER.values(), ids=BEFORE_AND_AFTER.keys())
def test_a_change_is_seen_of(before, after, column):
    reference = profile(before, **column).features[0]
    assert effect(reference, after) > 0.25
    assert effect(reference, before) < 0.01
    assert reference.bins <= 2 * BINS


def test_a_spike_has_a_bin_of_its_own():
    values = np.where(rng.random(1000) < 0.5, 0, rng.normal(50, 10, 1000))
    reference = profile(values).features[0]
    assert (values == 0).sum() in reference.counts
    assert reference.bins >= 5


def test_a_score_that_many_rows_share_is_a_spike_with_room_for_another_machine():
    score = np.where(np.arange(1000) < 400, 0.25, np.linspace(0.3, 0.9, 1000)).astype(np.float32)
    whole = profile(rng.normal(size=1000), score=score).score
    counter = ScoreCounter(whole)
    other = np.nextafter(np.float32(0.25), np.float32(rng.integers(0, 2, 1000)))
    counter.count(np.where(np.arange(1000) < 400, other, score).astype(np.float32), [np.zeros(1000, dtype=np.intp)])
    assert counter.read()[0] == whole.counts


SHAPES = st.one_of(
    st.lists(st.sampled_from([0.0, 1.0, 2.0, 0.1, 0.3, 1e-30, -5.0, 1e6, float("nan")]), min_size=60, max_size=200),
    st.lists(st.floats(-1e6, 1e6) | st.just(0.0), min_size=60, max_size=200),
    st.lists(st.floats(0, 1), min_size=60, max_size=200),
    st.integers(0, 120).map(lambda ones: [1.0] * ones + [0.0] * (120 - ones)),
)


@settings(deadline=None, max_examples=60)
@given(SHAPES, st.sampled_from(["numeric", "integer"]), st.none() | st.sampled_from([(0.1, 0.3), (0, 1), (-5, None)]))
def test_serving_counts_the_training_rows_into_the_cells_of_the_reference(values, kind, limits):
    declared = {} if limits is None else {"range": {"minimum": limits[0], "maximum": limits[1]}}
    score = np.nan_to_num(np.abs(np.array(values)) % 1)
    whole = profile(values, score=score, kind=kind, **declared)
    reference = whole.features[0]
    assert served(reference, values) == reference.counts
    counter = ScoreCounter(whole.score)
    counter.count(score.astype(np.float32), [np.zeros(len(score), dtype=np.intp)])
    assert counter.read()[0] == whole.score.counts
    assert list(reference.edges) == sorted(set(reference.edges))


@settings(deadline=None, max_examples=60)
@given(SHAPES)
def test_no_number_but_a_few_has_one_bin_alone(values):
    known = np.array(values, dtype=np.float32)
    known = known[~np.isnan(known)]
    reference = profile(values).features[0]
    if len(known) >= MIN_MEDIAN_ROWS:
        assert reference.bins > 1
    if len(np.unique(known)) > 1 and len(known) >= MIN_MEDIAN_ROWS:
        assert sum(count > 0 for count in reference.counts[: reference.bins]) > 1


@pytest.mark.parametrize("kind", ["boolean", "integer", "numeric"])
def test_synthetic_numbers_are_such_as_the_column_may_have(kind):
    values = rng.integers(0, 2, 1000) if kind == "boolean" else rng.integers(-3, 12, 1000)
    data = dataset(values.astype(np.float64), kind, range={"minimum": -3, "maximum": 11})
    reference = reference_profile(data, np.zeros(1000)).features[0]
    numbers = plausible_numbers(data.features[0], reference)
    assert len(numbers) == reference.bins
    assert all(-3 <= number <= 11 for number in numbers)
    if kind != "numeric":
        assert all(number == int(number) for number in numbers)
