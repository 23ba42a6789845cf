"""The small version of `make bench-evidence`: seeded, in seconds; and that its numpy is the operator's formulas."""

from __future__ import annotations

from functools import cache
from math import log, sqrt

import numpy as np
import pytest
from scipy import stats

from modelward_operator.domain.evidence import statistics
from tests.bench.evidence import measures, rules, vectorised
from tests.bench.evidence.measures import outcome
from tests.bench.evidence.worlds import CANARY, EVERY, World, crossings, events, watch

ALPHA = rules.ALPHA
RUNS, LOOKS, LONG = 2000, 60, 200


@cache
def false_alarms():
    return [
        (f"{s}: {truth}", outcome(c)) for s, truth, c in measures.false_alarms(RUNS, LONG, np.random.default_rng(1))
    ]


@pytest.mark.slow
def test_two_hundred_looks_call_what_is_not_there_at_most_as_often_as_alpha_says():
    at_most = {truth: found.at_most for truth, found in false_alarms()}
    assert len(at_most) == 13
    assert {truth: bound for truth, bound in at_most.items() if bound > ALPHA} == {}


@pytest.mark.slow
def test_where_nothing_ever_fails_nothing_is_ever_called():
    assert next(found.called for truth, found in false_alarms() if truth.endswith("both fail at 0%")) == 0


@pytest.mark.slow
@pytest.mark.parametrize("world", [World(0, 0.02), World(0.02, 0.04), World(0.02, 0.04, 0.75), World(0.2, 0.22, 0.75)])
def test_a_challenger_worse_by_the_margin_is_promoted_at_most_as_often_as_alpha_says(world):
    seen = watch(world, RUNS, LONG, np.random.default_rng(2))
    assert outcome(measures.promoted(seen, 0.02)).at_most <= ALPHA
    assert outcome(rules.naive_promotion(seen, 0.02)).rate > 3 * ALPHA


@pytest.mark.slow
def test_an_equal_challenger_is_promoted_after_some_hundreds_of_requests():
    seen = watch(World(0.02, 0.02, 0.75), 500, LONG, np.random.default_rng(3))
    assert outcome(measures.promoted(seen, 0.02)).median_requests <= 500


def exact(world: World, looks: int) -> float:
    """P(called at a look) without chance: the distribution of the discordant pairs that were not called yet."""
    _, only_challenger, only_champion, _ = world.cells()
    alive = np.zeros((120, 60))
    alive[0, 0] = 1.0
    b, c = np.indices(alive.shape)
    calls = vectorised.harm(b, c, ALPHA)
    for _ in range(looks):
        for _ in range(EVERY):
            step = alive * (1 - only_challenger - only_champion)
            step[1:] += only_challenger * alive[:-1]
            step[:, 1:] += only_champion * alive[:, :-1]
            alive = step
        alive = np.where(calls, 0.0, alive)
    return 1 - float(alive.sum())


@pytest.mark.slow
def test_two_to_six_percent_is_called_in_ninety_nine_of_a_hundred_canaries_of_600_requests():
    assert exact(World(0.02, 0.06, 0.75), LOOKS) >= 0.99
    assert exact(World(0.02, 0.02, 0.75), LOOKS) <= 0.007


@pytest.mark.slow
def test_even_where_failures_coincide_by_chance_alone_it_is_called_more_often_than_by_other_valid_rules():
    ours = exact(World(0.02, 0.06), LOOKS)
    seen = watch(World(0.02, 0.06), RUNS, LOOKS, np.random.default_rng(4))
    assert ours > 0.85
    for rule in (rules.obrien_fleming, rules.independent_arms):
        assert ours > outcome(rule(seen)).rate + 0.1


def test_the_simulation_is_right_where_the_probability_is_known():
    world = World(0.02, 0.06, 0.5)
    found = outcome(rules.paired(watch(world, 10_000, LOOKS, np.random.default_rng(5))))
    assert found.rate == pytest.approx(exact(world, LOOKS), abs=4 * sqrt(0.05 * 0.95 / found.runs))


@pytest.mark.slow
def test_rules_that_are_no_tests_call_far_more_often_than_alpha_where_nothing_is_wrong():
    seen = watch(World(0.02, 0.02), RUNS, LONG, np.random.default_rng(6))
    for rule in (rules.repeated_z, rules.threshold_ratio, rules.threshold_rate):
        assert outcome(rule(seen)).rate > 4 * ALPHA


def test_requests_that_are_sent_again_and_again_are_no_pairs():
    rates = [outcome(measures.repeated_requests(n, RUNS, LONG, np.random.default_rng(7))).rate for n in (1, 5)]
    assert rates[0] < ALPHA < rates[1]


def test_worlds_fail_as_often_as_they_say():
    seen = watch(World(0.1, 0.3, 0.5), 500, LONG, np.random.default_rng(8))
    total = 500 * LONG * EVERY
    assert seen.canary[:, -1].sum() / total == pytest.approx(CANARY, abs=0.005)
    assert seen.canary_failures[:, -1].sum() / seen.canary[:, -1].sum() == pytest.approx(0.3, abs=0.005)
    difference = (seen.only_challenger - seen.only_champion)[:, -1].sum() / total
    assert difference == pytest.approx(0.2, abs=0.005)
    both = 0.05 + 0.95 * (0.05 / 0.95) * (0.25 / 0.95)
    assert seen.only_champion[:, -1].sum() / total == pytest.approx(0.1 - both, abs=0.002)


def test_the_tables_and_arrays_are_the_formulas():
    rng = np.random.default_rng(9)
    seen = watch(World(0.1, 0.2), 5, LOOKS, rng)
    b, c, n = seen.only_challenger, seen.only_champion, seen.requests
    flips = events(0.2, 5, LOOKS, rng)
    levels = [crossings(0.5, 0.1, 5, LOOKS, rng) for _ in range(3)]
    harm, excess = vectorised.harm(b, c, ALPHA), vectorised.excess(flips, n, 0.1, ALPHA)
    bounded, shift = vectorised.bounded(b, c, n, 0.15, ALPHA), vectorised.shift(levels, n, 0.3, ALPHA)
    needed = log(1 / ALPHA)
    for run, look in np.ndindex(b.shape):
        failures, pairs = (int(b[run, look]), int(c[run, look])), int(n[look])
        crossed = tuple((int(up[run, look]), int(down[run, look])) for up, down in levels)
        assert harm[run, look] == (statistics.log_evidence_of_harm(*failures) >= needed)
        assert bounded[run, look] == (statistics.harm_bound(*failures, pairs, ALPHA) <= 0.15)
        assert excess[run, look] == (statistics.log_evidence_of_excess(int(flips[run, look]), pairs, 0.1) >= needed)
        assert shift[run, look] == (statistics.log_evidence_of_shift(crossed, pairs, 0.3) >= needed)
    assert all(0 < called.mean() < 1 for called in (harm, bounded, excess, shift))


def test_the_z_statistic_is_the_root_of_scipys_chi_squared():
    seen = watch(World(0.1, 0.3), 20, 5, np.random.default_rng(10))
    for run in range(20):
        n1, k1 = seen.canary[run, -1], seen.canary_failures[run, -1]
        n0, k0 = seen.requests[-1] - n1, seen.champion_failures[run, -1]
        expected = stats.chi2_contingency([[k1, n1 - k1], [k0, n0 - k0]], correction=False).statistic
        assert rules.z(seen)[run, -1] ** 2 == pytest.approx(expected)


def test_the_boundary_of_obrien_and_fleming_keeps_its_alpha():
    steps = np.random.default_rng(11).normal(size=(20_000, LOOKS))
    z = np.cumsum(steps, axis=1) / np.sqrt(np.arange(1, LOOKS + 1))
    assert (z >= rules.obrien_fleming_boundary(LOOKS)).any(axis=1).mean() == pytest.approx(ALPHA, abs=0.006)
