"""The router's handling of responses and their times, with the clock and the challenger's responses as arguments."""

from __future__ import annotations

import asyncio
import itertools
import json

import numpy as np
import pytest

from modelward_api import names
from modelward_api.wire.exchange import OPENING_PAIRS, Challenger, TrafficLease
from modelward_serving.counting.pairs import PairedResult
from modelward_serving.protocol.prediction import Prediction
from modelward_serving.routing.challenger_client import Ask, Response
from modelward_serving.routing.circuit_breaker import IN_A_ROW
from modelward_serving.routing.forward import Forward
from modelward_serving.routing.lease import LeaseHolder
from modelward_serving.routing.router import ALONE, MAX_MIRRORED, ChampionResult, Router, RoutingPlan

OWN, OTHER = "sha256:" + "1" * 64, "sha256:" + "2" * 64
LEASE = TrafficLease(
    epoch=1, sequence=1, model="m", champion=OWN, weight=100.0, deadline_ms=400, ttl_seconds=10,
    challenger=Challenger(version="2.0.0", digest=OTHER, endpoints=("127.0.0.1:1",)),
)  # fmt: skip


def good(score):
    outputs = [
        {"name": "score", "shape": [1, 1], "datatype": "FP32", "data": [score]},
        {"name": "decision", "shape": [1, 1], "datatype": "BOOL", "data": [score >= 0.5]},
    ]
    return Response(200, {names.DIGEST_HEADER: OTHER}, json.dumps({"outputs": outputs}).encode())


class OneRow:
    """As much of a checked request as the router reads."""

    count = 1


class Scripted:
    """A challenger whose next response takes a given time, on its own clock."""

    def __init__(self) -> None:
        self.now, self.seconds, self.score = 0.0, 0.0, 0.5

    def ask(self, endpoint, path, forward, patience, ask, proof="1"):
        if self.seconds == float("inf"):
            ask.tell(TimeoutError())
            return
        self.now += self.seconds
        ask.tell(good(self.score))


def counted(*requests: tuple[float, float, float, float]):
    """The counts after requests of (own seconds, own score, challenger's seconds, challenger's score)."""
    challenger, holder = Scripted(), LeaseHolder("m", OWN)
    holder.take(1, LEASE, 0.0)
    router = Router(holder, challenger, "m", clock=lambda: challenger.now)
    for seconds, score, challenger.seconds, challenger.score in requests:
        own = ChampionResult(Prediction(np.array([score], np.float32), np.array([score >= 0.5])), seconds)
        router.ask(RoutingPlan(LEASE, {}), Forward(b"", {}), OneRow(), own, 1.0, lambda answer: None)
    return holder.evidence()[0].counts


def test_answers_are_counted_at_an_eighth_a_quarter_and_half_of_the_deadline():
    counts = counted((0.01, 0.5, 0.06, 0.5), (0.01, 0.5, 0.3, 0.5), (0.11, 0.5, 0.01, 0.5))
    assert counts.slower_challenger == (2, 1, 1)
    assert counts.slower_champion == (1, 1, 0)
    assert (counts.compared, counts.late_challenger) == (3, 0)


def test_an_answer_that_never_came_is_late_and_no_pair_of_answers():
    counts = counted((0.01, 0.5, float("inf"), 0.5))
    assert (counts.late_challenger, counts.compared, counts.slower_challenger) == (1, 0, (0, 0, 0))


@pytest.mark.parametrize(
    ("own", "other", "up", "down"),
    [
        (0.25, 0.45, (3, 4), ()),
        (0.65, 0.35, (), (4, 5, 6)),
        (0.69, 0.7, (7,), ()),
        (0.7, 0.79, (), ()),
        (0.0, 1.0, tuple(range(1, 10)), ()),
    ],
)
def test_scores_are_counted_at_the_tenths_that_only_one_of_the_two_reaches(own, other, up, down):
    counts = counted((0.01, own, 0.01, other))
    assert counts.higher_challenger == tuple(int(level in up) for level in range(1, 10))
    assert counts.higher_champion == tuple(int(level in down) for level in range(1, 10))


class Silent:
    """A challenger that answers when a test says so."""

    def __init__(self) -> None:
        self.asked: list[Ask] = []

    def ask(self, endpoint, path, forward, patience, ask, proof="1"):
        self.asked.append(ask)


def own(score=0.5):
    return ChampionResult(Prediction(np.array([score], np.float32), np.array([score >= 0.5])), 0.01)


async def test_a_caller_who_waits_less_than_the_deadline_gets_the_champions_answer_and_the_pair_is_counted_all_the_same():
    challenger, holder = Silent(), LeaseHolder("m", OWN)
    holder.take(1, LEASE, 0.0)
    router = Router(holder, challenger, "m", clock=lambda: 0.0)
    given = asyncio.get_running_loop().create_future()
    router.ask(RoutingPlan(LEASE, {}), Forward(b"", {}), OneRow(), own(), 0.01, given.set_result)
    assert await given is None
    assert holder.evidence()[0].counts.pairs == 0
    challenger.asked[0].tell(good(0.5))
    counts = holder.evidence()[0].counts
    assert (counts.pairs, counts.compared, counts.late_challenger) == (1, 1, 0)
    assert (counts.answered, counts.fallbacks) == (0, 1)


def test_a_challenger_that_is_left_alone_is_asked_neither_for_callers_nor_for_evidence():
    challenger, holder = Silent(), LeaseHolder("m", OWN)
    holder.take(1, LEASE, 0.0)
    router, plan, answers = Router(holder, challenger, "m", clock=lambda: 0.0), RoutingPlan(LEASE, {}), []
    assert router.has_room(plan)
    for _ in range(OPENING_PAIRS):
        holder.record_pair(OTHER, PairedResult(flip=False))
    for _ in range(IN_A_ROW):
        router.ask(plan, Forward(b"", {}), OneRow(), own(), 1.0, answers.append)
        challenger.asked.pop().tell(TimeoutError())
    router.ask(plan, Forward(b"", {}), OneRow(), own(), 1.0, answers.append)
    assert answers == [None] * (IN_A_ROW + 1)
    assert not challenger.asked
    assert not router.has_room(plan)


def test_no_more_than_so_many_requests_are_under_way_for_evidence_at_once():
    challenger, holder = Silent(), LeaseHolder("m", OWN)
    now = itertools.count(step=0.1)
    router, plan = Router(holder, challenger, "m", clock=lambda: next(now)), RoutingPlan(LEASE, {})
    for _ in range(MAX_MIRRORED):
        assert router.has_room(plan)
        router.mirror(plan, Forward(b"", {}), OneRow(), own())
    assert not router.has_room(plan)
    challenger.asked[0].tell(good(0.5))
    assert router.has_room(plan)


def test_at_no_weight_and_without_evidence_nothing_is_drawn():
    holder = LeaseHolder("m", OWN)
    holder.take(1, LEASE.model_copy(update={"weight": 0.0, "mirror": 0.0}), 0.0)
    router = Router(holder, Silent(), "m", clock=lambda: 0.0, chance=lambda: pytest.fail("drawn"))
    route = router.route({})
    assert (route.asks, route.mirrors) == (False, False)
    assert route.plan.digest == OTHER
    assert router.route({}) is route, "made once"


def test_a_new_lease_is_followed_from_the_next_request_on():
    holder = LeaseHolder("m", OWN)
    router = Router(holder, Silent(), "m", clock=lambda: 0.0, chance=lambda: 0.5)
    assert router.route({}) is ALONE
    for sequence, weight in enumerate((0.0, 100.0, 49.0, 51.0)):
        holder.take(1, LEASE.model_copy(update={"weight": weight, "sequence": sequence}), 0.0)
        assert router.route({}).asks == (weight > 50)
    holder.record_pair(OTHER, PairedResult(error_challenger=True, invalid=True))
    assert router.route({}) is ALONE, "it failed hard"


def test_a_challenger_without_a_pod_is_not_asked_and_not_blamed():
    challenger, holder, answers = Silent(), LeaseHolder("m", OWN), []
    lease = LEASE.model_copy(update={"challenger": LEASE.challenger.model_copy(update={"endpoints": ()})})
    holder.take(1, lease, 0.0)
    router, plan = Router(holder, challenger, "m", clock=lambda: 0.0), RoutingPlan(lease, {})
    router.ask(plan, Forward(b"", {}), OneRow(), own(), 1.0, answers.append)
    assert not router.has_room(plan)
    assert answers == [None]
    counts = holder.evidence()[0].counts
    assert (counts.pairs, counts.errors_challenger, counts.fallbacks) == (0, 0, 0)
