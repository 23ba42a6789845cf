"""Evidence beside a champion's own work: thousands a minute, and never all of what a busy champion answers."""

from __future__ import annotations

from itertools import groupby

import pytest

from modelward_serving.routing.mirror_budget import A_SECOND, AT_ONCE, TokenBucket


def taken(every: float, seconds: float) -> list[bool]:
    """Return which requests are mirrored, at a given rate."""
    allowance = TokenBucket()
    return [allowance.try_take(100 + number * every) for number in range(round(seconds / every))]


def test_a_calm_champion_has_each_request_scored_twice():
    assert sum(taken(every=0.002, seconds=10)) == 5000


@pytest.mark.parametrize("every", [0.0005, 0.0001])
def test_a_busy_one_no_more_than_its_allowance(every):
    assert sum(taken(every, seconds=10)) == pytest.approx(10 * A_SECOND, abs=2 * AT_ONCE)


def test_a_busy_one_asks_about_many_in_a_row_and_then_about_none():
    runs = [(asked, len(list(run))) for asked, run in groupby(taken(every=0.0001, seconds=10))]
    assert min(length for asked, length in runs[:-1] if asked) >= AT_ONCE
    assert min(length for asked, length in runs[:-1] if not asked) >= (AT_ONCE - 1) / A_SECOND / 0.0001


def test_a_burst_is_taken_as_it_comes():
    allowance = TokenBucket()
    assert sum(allowance.try_take(100.0) for _ in range(1000)) == AT_ONCE


def test_rest_does_not_add_up():
    allowance = TokenBucket()
    assert allowance.try_take(100.0)
    assert sum(allowance.try_take(9000.0) for _ in range(1000)) == AT_ONCE
