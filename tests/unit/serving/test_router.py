"""What the router makes of an answer and its time, with the clock and the challenger's answers as arguments."""

from __future__ import annotations

import json

import numpy as np
import pytest

from modelward_api import names
from modelward_api.wire import Challenger, TrafficLease
from modelward_serving.answer import Answer
from modelward_serving.challengers import Response
from modelward_serving.lease import LeaseHolder
from modelward_serving.router import Own, Router, Terms
from modelward_serving.tensors import Forward

OWN, OTHER = "sha256:" + "1" * 64, "sha256:" + "2" * 64
LEASE = TrafficLease(
    epoch=1, sequence=1, model="m", champion=OWN, weight=100.0, deadline_ms=400, ttl_seconds=10,
    challenger=Challenger(version="2.0.0", digest=OTHER, endpoints=("127.0.0.1:1",)),
)  # fmt: skip


class OneRow:
    """As much of a checked request as the router reads."""

    count = 1


class Scripted:
    """A challenger whose next answer takes as long as it is told, on its own clock."""

    def __init__(self) -> None:
        self.now, self.seconds, self.score = 0.0, 0.0, 0.5

    def ask(self, endpoint, path, forward, patience, ask):
        if self.seconds == float("inf"):
            ask.tell(TimeoutError())
            return
        self.now += self.seconds
        outputs = [
            {"name": "score", "shape": [1, 1], "datatype": "FP32", "data": [self.score]},
            {"name": "decision", "shape": [1, 1], "datatype": "BOOL", "data": [self.score >= 0.5]},
        ]
        ask.tell(Response(200, {names.DIGEST_HEADER: OTHER}, json.dumps({"outputs": outputs}).encode()))


def counted(*requests: tuple[float, float, float, float]):
    """The counts after requests of (own seconds, own score, challenger's seconds, challenger's score)."""
    challenger, holder = Scripted(), LeaseHolder("m", OWN)
    holder.take(1, LEASE, 0.0)
    router = Router(holder, challenger, "m", clock=lambda: challenger.now)
    for seconds, score, challenger.seconds, challenger.score in requests:
        own = Own(Answer(np.array([score], np.float32), np.array([score >= 0.5])), seconds)
        router.ask(Terms(LEASE), Forward(b"", b""), OneRow(), own, 1.0, lambda answer: None)
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


def test_a_challenger_without_a_pod_is_not_asked_and_not_blamed():
    challenger, holder = Scripted(), LeaseHolder("m", OWN)
    lease = LEASE.model_copy(update={"challenger": LEASE.challenger.model_copy(update={"endpoints": ()})})
    holder.take(1, lease, 0.0)
    own = Own(Answer(np.array([0.5], np.float32), np.array([True])), 0.01)
    router = Router(holder, challenger, "m", clock=lambda: 0.0)
    assert asyncio.run(router.ask(lease, Forward(b"", {}), OneRow(), own)) == (own.answer, False)
    counts = holder.evidence()[0].counts
    assert (counts.requests, counts.pairs, counts.errors_challenger) == (1, 0, 0)
