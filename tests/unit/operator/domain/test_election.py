"""Leader election as values: a standby's decision on the Lease, and the time at which a leader stops."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward_operator.domain.operator.leadership import (
    Claim,
    LeaseRecord,
    Sighting,
    StandBy,
    Terms,
    decide,
    is_ours,
    may_write,
    sighted,
)

TERMS = Terms(duration=6.0, deadline=4.5, period=1.0)
TODAY = datetime(2026, 11, 25, tzinfo=UTC)
CALENDAR = 217_728_000
"""Seconds from 2020 until then."""
HELD, OURS, VACANT = LeaseRecord("other", 12, "345"), LeaseRecord("me", 12, "345"), LeaseRecord(None, 12, "345")

DECISIONS = {
    "a Lease that another renews is waited for": (Sighting(HELD, 100.0, 12), 100.5, StandBy(0.5)),
    "one that is about to run out is looked at when it does": (Sighting(HELD, 100.0, 12), 105.75, StandBy(0.25)),
    "one that has run out is taken in the next epoch": (Sighting(HELD, 100.0, 12), 106.0, Claim(13, "345")),
    "one that was handed back is taken at once": (Sighting(VACANT, 100.0, 12), 100.0, Claim(13, "345")),
    "one of this pod's former container is taken at once": (Sighting(OURS, 100.0, 12), 100.0, Claim(13, "345")),
    "one that is gone may be missed by its leader": (Sighting(None, 100.0, 12), 105.0, StandBy(0.5)),
    "one that stays away is made, in an epoch of the calendar": (
        Sighting(None, 100.0, 12),
        106.0,
        Claim(CALENDAR, None),
    ),
    "one that is gone never takes a higher epoch with it": (
        Sighting(None, 100.0, CALENDAR + 9),
        106.0,
        Claim(CALENDAR + 10, None),
    ),
    "one whose epoch somebody lowered goes on from the highest": (
        Sighting(LeaseRecord(None, 3, "9"), 100.0, 12),
        100.0,
        Claim(13, "9"),
    ),
    "one whose epoch somebody removed begins with the calendar": (
        Sighting(LeaseRecord(None, 0, "9"), 100.0, 0),
        100.0,
        Claim(CALENDAR, "9"),
    ),
}


@pytest.mark.parametrize(("seen", "now", "decided"), DECISIONS.values(), ids=DECISIONS.keys())
def test_a_standby_decides(seen, now, decided):
    assert decide("me", seen, now, TODAY, TERMS) == decided


def test_a_renewal_is_a_change_and_so_are_a_deletion_and_a_return():
    first = sighted(None, HELD, 1.0)
    assert first == Sighting(HELD, 1.0, 12)
    assert sighted(first, HELD, 2.0) == first
    assert sighted(first, LeaseRecord("other", 12, "346"), 3.0).since == 3.0
    gone = sighted(first, None, 4.0)
    assert gone == Sighting(None, 4.0, 12)
    assert sighted(gone, LeaseRecord("other", 3, "347"), 5.0) == Sighting(LeaseRecord("other", 3, "347"), 5.0, 12)


def test_a_leader_stops_at_its_deadline():
    assert may_write(renewed=100.0, now=104.49, terms=TERMS)
    assert not may_write(renewed=100.0, now=104.5, terms=TERMS)


def test_a_lease_that_somebody_labelled_is_still_ours_and_that_of_another_epoch_is_not():
    assert is_ours(LeaseRecord("me", 12, "999"), "me", 12)
    assert not is_ours(LeaseRecord("me", 13, "999"), "me", 12)
    assert not is_ours(LeaseRecord("other", 13, "999"), "me", 12)


def test_its_own_terms_let_a_leader_stop_before_another_begins():
    own = Terms()
    assert own.deadline < own.duration
    assert own.duration + own.look < 7


@given(
    renewed=st.floats(0, 1e6),
    delay=st.floats(0, 60),
    looks=st.lists(st.floats(0.01, 2.0), min_size=1, max_size=30),
)
def test_nobody_takes_a_lease_while_its_leader_may_write(renewed, delay, looks):
    """On one clock: the observer first sees a renewal at some time after the leader asked for it, and looks whenever it likes."""
    now, seen = renewed + delay, None
    for pause in looks:
        seen = sighted(seen, HELD, now)
        if isinstance(decide("me", seen, now, TODAY, TERMS), Claim):
            assert not may_write(renewed, now, TERMS)
        now += pause
