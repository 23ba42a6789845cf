"""Every formula against its check values, an independent library, and simulation."""

from __future__ import annotations

from math import comb, log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.special import betaln

from modelward_operator.domain import statistics

CHECK_VALUES = [
    ([20, 20, 20, 20, 20], -2.03353),
    ([40, 30, 15, 10, 5], 10.276532),
    ([0, 0, 0, 0, 10], 2.488122),
]


@pytest.mark.parametrize(("counts", "expected"), CHECK_VALUES)
def test_drift_evidence_has_its_check_values(counts, expected):
    assert statistics.log_drift_evidence([200] * 5, counts) == pytest.approx(expected, abs=1e-5)


@given(b=st.integers(0, 1500), c=st.integers(0, 1500))
@settings(deadline=None)
def test_evidence_of_harm_is_what_whole_numbers_say(b, c):
    # P(Beta(1+b, 1+c) > 1/2) = P(Binomial(b+c+1, 1/2) <= b); the powers of 2 cancel. scipy loses digits in this tail.
    term = ways = 1
    for k in range(b):
        term = term * (b + c + 1 - k) // (k + 1)
        ways += term
    expected = log(ways) - log((b + c + 1) * comb(b + c, b))
    assert statistics.log_evidence_of_harm(b, c) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@given(n=st.integers(1, 5000), data=st.data(), allowance=st.floats(0.01, 0.9))
def test_evidence_of_excess_is_what_scipy_says(n, data, allowance):
    k = data.draw(st.integers(0, n))
    tail = stats.beta.logsf(allowance, 1 + k, 1 + n - k)
    expected = betaln(1 + k, 1 + n - k) + tail - log(1 - allowance) - k * log(allowance) - (n - k) * log(1 - allowance)
    if tail > -600:  # scipy loses digits where the probability itself is almost too small for a float
        assert statistics.log_evidence_of_excess(k, n, allowance) == pytest.approx(expected, rel=1e-6, abs=1e-5)


@given(b=st.integers(0, 50), level=st.integers(0, 2000))
@settings(max_examples=50)
def test_more_clean_pairs_never_raise_the_bound_of_a_challenger_with_failures(b, level):
    n = b + level
    assert statistics.harm_bound(b, 0, n + 100, 0.05) <= statistics.harm_bound(b, 0, n, 0.05) + 1e-9


def test_nothing_seen_bounds_nothing():
    assert statistics.harm_bound(0, 0, 0, 0.05) == pytest.approx(1.0)


def test_the_number_of_pairs_needed_is_the_number_at_which_the_bound_is_met():
    needed = statistics.pairs_needed(0, 0, 100, 0.02, 0.05)
    assert statistics.harm_bound(0, 0, needed, 0.05) <= 0.02 + 1e-6
    assert statistics.harm_bound(0, 0, needed - 2, 0.05) > 0.02


def test_psi_stays_finite_with_empty_bins():
    assert 0 < statistics.population_stability_index([100, 0, 0], [0, 0, 100]) < 20


def paths(difference: float, runs: int, pairs: int, rng: np.random.Generator):
    """Cumulative (b, c) of paired requests: champion fails at 2%, challenger at 2% + difference, independently."""
    champion, challenger = rng.random((runs, pairs)) < 0.02, rng.random((runs, pairs)) < 0.02 + difference
    return np.cumsum(challenger & ~champion, axis=1), np.cumsum(champion & ~challenger, axis=1)


def rejected(b, c, alpha, looks) -> float:
    threshold, cache = log(1 / alpha), {}

    def evidence(pair):
        if pair not in cache:
            cache[pair] = statistics.log_evidence_of_harm(*pair)
        return cache[pair]

    hits = [any(evidence((int(x[i]), int(y[i]))) >= threshold for i in looks) for x, y in zip(b, c, strict=True)]
    return float(np.mean(hits))


def test_without_harm_sixty_looks_call_it_at_most_as_often_as_alpha_says():
    b, c = paths(0.0, 2000, 600, np.random.default_rng(1))
    assert rejected(b, c, 0.05, range(9, 600, 10)) <= 0.05


def test_two_to_six_percent_errors_are_called_within_600_requests():
    b, c = paths(0.04, 1000, 600, np.random.default_rng(2))
    assert rejected(b, c, 0.05, range(9, 600, 10)) >= 0.75


def test_the_bound_on_harm_covers_at_all_looks():
    rng = np.random.default_rng(3)
    runs, pairs, truth, misses = 400, 1500, 0.02, 0
    b, c = paths(truth, runs, pairs, rng)
    for x, y in zip(b, c, strict=True):
        misses += any(statistics.harm_bound(int(x[i]), int(y[i]), i + 1, 0.05) < truth for i in range(99, pairs, 200))
    assert misses / runs <= 0.05


def test_without_drift_the_average_run_length_is_at_least_what_alpha_says():
    rng = np.random.default_rng(4)
    p, alpha, longest, lengths = np.full(5, 0.2), 0.05, 200, []
    for _ in range(300):
        reference, evidence, length = rng.multinomial(1000, p), float("-inf"), 0
        while evidence <= log(1 / alpha) and length < longest:
            window = rng.multinomial(100, p)
            evidence = statistics.accumulate(evidence, statistics.log_drift_evidence(reference, window))
            length += 1
        lengths.append(length)
    assert np.mean(lengths) >= 1 / alpha


def test_a_shift_after_a_long_quiet_time_is_still_called():
    rng = np.random.default_rng(5)
    reference, evidence = [200] * 5, float("-inf")
    for _ in range(50):
        evidence = statistics.accumulate(
            evidence, statistics.log_drift_evidence(reference, rng.multinomial(100, [0.2] * 5))
        )
    assert evidence < log(20)
    evidence = statistics.accumulate(evidence, statistics.log_drift_evidence(reference, [40, 30, 15, 10, 5]))
    assert evidence > log(20)
