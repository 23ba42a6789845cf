"""Leases and tallies: pure, with the clock as an argument."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelward_api.wire.exchange import OPENING_PAIRS, Challenger, TrafficLease
from modelward_serving.counting.pairs import PairedResult
from modelward_serving.routing.lease import MAX_CHALLENGERS, LeaseHolder, draw

OWN, OTHER = "sha256:" + "1" * 64, "sha256:" + "2" * 64


def lease(epoch=1, sequence=1, weight=10.0, model="m", champion=OWN):
    challenger = Challenger(version="2.0.0", digest=OTHER, endpoints=("127.0.0.1:1",))
    return TrafficLease(
        epoch=epoch, sequence=sequence, model=model, champion=champion, challenger=challenger, weight=weight,
        deadline_ms=500, ttl_seconds=10,
    )  # fmt: skip


@pytest.fixture
def holder():
    return LeaseHolder("m", OWN)


def test_a_lease_is_in_force_until_it_expires(holder):
    assert holder.take(1, lease(), now=100.0) is None
    assert holder.active(109.9) is not None
    assert holder.active(110.0) is None


def test_renewing_prolongs_it(holder):
    holder.take(1, lease(), now=100.0)
    holder.take(1, lease(), now=109.0)
    assert holder.active(118.0) is not None


def test_a_deposed_operator_is_refused(holder):
    holder.take(2, lease(epoch=2), now=0.0)
    assert holder.take(1, lease(epoch=1, sequence=99), now=1.0) == "StaleEpoch"
    assert holder.take(1, None, now=1.0) == "StaleEpoch"
    assert holder.active(1.0).epoch == 2


def test_an_older_content_does_not_come_back(holder):
    holder.take(1, lease(sequence=5, weight=50), now=0.0)
    assert holder.take(1, lease(sequence=4, weight=90), now=0.0) == "StaleEpoch"
    assert holder.active(1.0).weight == 50


@pytest.mark.parametrize(
    ("change", "reason"), [({"model": "other"}, "WrongModel"), ({"champion": OTHER}, "WrongDigest")]
)
def test_a_lease_for_another_pod_is_refused(holder, change, reason):
    assert holder.take(1, lease(**change), now=0.0) == reason


def test_none_ends_the_lease(holder):
    holder.take(1, lease(), now=0.0)
    holder.take(1, None, now=1.0)
    assert holder.active(1.0) is None


def test_a_lease_that_comes_after_its_end_is_refused(holder):
    holder.take(1, lease(sequence=3), now=0.0)
    holder.take(1, None, now=1.0, end=4)
    assert holder.take(1, lease(sequence=3), now=2.0) == "StaleEpoch"
    assert holder.active(2.0) is None


def test_an_end_that_comes_late_ends_no_newer_lease(holder):
    holder.take(1, lease(sequence=5), now=0.0)
    assert holder.take(1, None, now=1.0, end=4) == "StaleEpoch"
    assert holder.active(1.0) is not None


def test_a_new_operator_begins_to_count_anew(holder):
    holder.take(1, lease(sequence=5), now=0.0)
    assert holder.take(2, None, now=1.0, end=1) is None
    assert holder.take(2, lease(epoch=2, sequence=2), now=2.0) is None


def test_one_invalid_answer_trips_for_good(holder):
    holder.take(1, lease(), now=0.0)
    holder.record_pair(OTHER, PairedResult(error_challenger=True, invalid=True))
    holder.take(1, lease(sequence=2, weight=100), now=1.0)
    assert holder.active(1.0) is None
    assert holder.state(1.0).weight == 0
    assert holder.evidence()[0].tripped == "InvalidAnswer"


def test_most_of_the_first_requests_failing_trips(holder):
    holder.take(1, lease(), now=0.0)
    for _ in range(10):
        holder.record_pair(OTHER, PairedResult(error_challenger=True))
    assert holder.active(0.0) is not None
    holder.record_pair(OTHER, PairedResult(error_challenger=True))
    assert holder.evidence()[0].tripped == "OpeningErrors"


def test_later_failures_are_for_the_evidence(holder):
    holder.take(1, lease(), now=0.0)
    for _ in range(20):
        holder.record_pair(OTHER, PairedResult(flip=False))
    for _ in range(30):
        holder.record_pair(OTHER, PairedResult(error_challenger=True))
    assert holder.active(0.0) is not None
    assert holder.evidence()[0].counts.errors_challenger == 30


def test_both_failing_is_counted_apart(holder):
    holder.record_pair(OTHER, PairedResult(error_challenger=True, error_champion=True, late_challenger=True))
    counts = holder.evidence()[0].counts
    assert (counts.errors_both, counts.errors_challenger, counts.late_challenger) == (1, 0, 1)


@given(st.text(max_size=20))
def test_the_same_encounter_draws_the_same(value):
    assert draw("m", value, 0.1) == draw("m", value, 0.9)
    assert 0 <= draw("m", value, 0.1) < 1


def test_encounters_spread_evenly():
    share = sum(draw("m", str(i), 0) < 0.1 for i in range(20_000)) / 20_000
    assert share == pytest.approx(0.1, abs=0.01)


def test_a_challenger_is_not_blamed_for_requests_on_which_the_champion_fails_too(holder):
    holder.take(1, lease(), 0)
    for _ in range(OPENING_PAIRS):
        holder.record_pair(OTHER, PairedResult(error_challenger=True, error_champion=True, invalid=True))
    (evidence,) = holder.evidence()
    assert evidence.tripped is None
    assert (evidence.counts.errors_both, evidence.counts.invalid, evidence.counts.opening_errors) == (
        OPENING_PAIRS,
        0,
        0,
    )


def test_a_pair_counts_at_the_levels_that_only_one_of_the_two_passed(holder):
    holder.record_pair(OTHER, PairedResult(flip=False, slower=(2, 1), higher=(3, 5)))
    holder.record_pair(OTHER, PairedResult(flip=False, slower=(0, 1), higher=(9, 0)))
    holder.record_pair(OTHER, PairedResult(flip=False, slower=(3, 3), higher=(4, 4)))
    counts = holder.evidence()[0].counts
    assert (counts.slower_challenger, counts.slower_champion) == ((0, 1, 0), (1, 0, 0))
    assert counts.higher_challenger == (1,) * 9
    assert counts.higher_champion == (0, 0, 0, 1, 1, 0, 0, 0, 0)


def test_a_pair_without_both_answers_counts_at_no_level(holder):
    holder.record_pair(OTHER, PairedResult(error_challenger=True, slower=(3, 0), higher=(9, 0)))
    counts = holder.evidence()[0].counts
    assert not any((*counts.slower_challenger, *counts.higher_challenger))


def test_a_pair_counts_in_each_stratum_of_its_request_and_all_strata_are_told():
    holder = LeaseHolder("m", OWN, ("sex=f", "sex=m", "age>=65"))
    holder.record_pair(OTHER, PairedResult(error_challenger=True, strata=("sex=f", "age>=65")))
    holder.record_pair(OTHER, PairedResult(flip=True, strata=("sex=f",)))
    holder.record_pair(OTHER, PairedResult(flip=True))
    (evidence,) = holder.evidence()
    told = {name: (c.pairs, c.errors_challenger, c.flips) for name, c in evidence.strata.items()}
    assert told == {"sex=f": (2, 1, 1), "sex=m": (0, 0, 0), "age>=65": (1, 1, 0)}
    assert (evidence.counts.pairs, evidence.counts.flips) == (3, 2)


def test_the_challenger_that_holds_the_lease_is_not_forgotten_for_others(holder):
    holder.take(1, lease(), now=0.0)
    counts = holder.counts_of(OTHER)
    for number in range(2 * MAX_CHALLENGERS):
        holder.record_pair(f"sha256:{number:064}", PairedResult(flip=False))
    counts["requests"] += 1
    told = {evidence.challenger: evidence.counts.requests for evidence in holder.evidence()}
    assert told[OTHER] == 1
    assert len(told) == MAX_CHALLENGERS


def test_a_pod_of_the_release_before_reads_whether_to_drain():
    assert lease().model_copy(update={"drain": True}).to_json()["turnAway"] is True
