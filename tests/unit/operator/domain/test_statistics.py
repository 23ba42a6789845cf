"""Every formula against its check values, exact arithmetic, an independent library, and what makes it valid at any time."""

from __future__ import annotations

from fractions import Fraction
from math import comb, exp, log

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.special import betaincc, betaln, logsumexp

from modelward_operator.domain.evidence import statistics

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
    assert 0 < statistics.drift_effect([100, 0, 0], [0, 0, 100]) < 20


def test_the_bound_is_the_least_difference_that_is_refuted():
    refuted = log(1 / 0.05)
    for up, down, pairs in ((0, 0, 100), (7, 3, 400), (400, 0, 400), (0, 400, 400), (10**6, 10**6, 10**7)):
        bound, level = statistics.harm_bound(up, down, pairs, 0.05), pairs - up - down
        assert bound == 1 or statistics.log_wealth(bound, up, down, level) >= refuted
        assert bound <= -0.999 or statistics.log_wealth(bound - 1e-9, up, down, level) < refuted


@given(
    counts=st.tuples(*[st.integers(0, 25)] * 3),
    mean=st.fractions(min_value=Fraction(-9, 10), max_value=Fraction(9, 10), max_denominator=1000),
)
def test_wealth_is_what_fractions_say(counts, mean):
    up, down, level = counts
    wealth = Fraction(0)
    for j in range(9):
        capital, bet = Fraction(10, 9 * (j + 1) * (j + 2)), Fraction(1, 2**j)
        lost, won, kept = (1 - bet * (x - mean) / (1 - mean) for x in (1, -1, 0))
        wealth += capital * lost**up * won**down * kept**level
    assert statistics.log_wealth(float(mean), up, down, level) == pytest.approx(
        log(wealth.numerator) - log(wealth.denominator), rel=1e-9, abs=1e-9
    )


many = st.integers(0, 20) | st.integers(0, 10**6)
"""Numbers of pairs: few, where every one matters, and many, where digits get lost."""


def worth(log_evidence: float, before: float) -> float:
    """What a capital is worth, as a multiple of what it was before the next pair."""
    return exp(log_evidence - before)


@given(b=many, c=many)
def test_evidence_of_harm_is_a_fair_game_where_both_fail_as_often(b, c):
    before = statistics.log_evidence_of_harm(b, c)
    after = [worth(statistics.log_evidence_of_harm(*pair), before) for pair in ((b + 1, c), (b, c + 1))]
    assert sum(after) / 2 == pytest.approx(1, abs=1e-6)
    assert after[0] >= after[1], "so that it loses on average where the challenger fails less often"


@given(k=many, rest=many, allowance=st.floats(0.01, 0.9))
def test_evidence_of_excess_is_a_fair_game_at_the_allowance(k, rest, allowance):
    before = statistics.log_evidence_of_excess(k, k + rest, allowance)
    yes = worth(statistics.log_evidence_of_excess(k + 1, k + rest + 1, allowance), before)
    no = worth(statistics.log_evidence_of_excess(k, k + rest + 1, allowance), before)
    assert allowance * yes + (1 - allowance) * no == pytest.approx(1, abs=1e-6)
    assert yes >= no


@given(mean=st.floats(-0.95, 0.95), seen=st.tuples(many, many, many), level=st.floats(0, 1))
def test_wealth_is_a_fair_game_at_its_mean_however_often_the_two_agree(mean, seen, level):
    level *= 1 - abs(mean)
    up, down = (1 - level + mean) / 2, (1 - level - mean) / 2
    before = statistics.log_wealth(mean, *seen)
    after = [worth(statistics.log_wealth(mean, *np.add(seen, step).tolist()), before) for step in np.eye(3, dtype=int)]
    assert up * after[0] + down * after[1] + level * after[2] == pytest.approx(1, abs=1e-6)


@given(crossed=st.lists(st.tuples(st.integers(0, 300), st.integers(0, 300)), min_size=1, max_size=18).map(tuple),
       more=st.integers(0, 10**6), allowance=st.floats(0.01, 0.99))  # fmt: skip
def test_evidence_of_a_shift_is_the_mean_over_the_levels_and_its_bound_the_largest(crossed, more, allowance):
    pairs = max(up + down for up, down in crossed) + more
    each = [statistics.log_evidence_of_shift((level,), pairs, allowance) for level in crossed]
    together = statistics.log_evidence_of_shift(crossed, pairs, allowance)
    assert together == pytest.approx(logsumexp(each) - log(len(each)), abs=1e-9)
    bounds = [statistics.harm_bound(up, down, pairs, 0.05) for up, down in crossed]
    assert statistics.shift_bound(crossed, pairs, 0.05) == pytest.approx(max(bounds), abs=1e-9)


@pytest.mark.parametrize(("b", "c"), [(5_000_000, 5_000_000), (5_000_500, 4_999_500), (4_998_000, 5_002_000)])
def test_ten_million_discordant_pairs_keep_their_digits(b, c):
    expected = betaln(1 + b, 1 + c) + np.log(betaincc(1 + b, 1 + c, 0.5)) + (b + c + 1) * log(2)
    assert statistics.log_evidence_of_harm(b, c) == pytest.approx(expected, abs=1e-4)
