"""The champion as the router: it always has its own answer, and asks the challenger on the same request."""

from __future__ import annotations

import asyncio
import itertools
import math
import random
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

import numpy as np

from modelward_api import names
from modelward_api.wire import LATENCY_LEVELS, SCORE_LEVELS, TrafficLease
from modelward_serving.allowance import Allowance
from modelward_serving.answer import Answer
from modelward_serving.breaker import Breaker
from modelward_serving.challengers import Challengers
from modelward_serving.checker import Rows
from modelward_serving.lease import LeaseHolder, Pair, draw
from modelward_serving.rest import parse_answer
from modelward_serving.strata import Strata
from modelward_serving.tensors import Forward

MOST_MIRRORED = 64
"""Requests that may be under way to the challenger for evidence alone; beyond that, evidence waits."""
PATIENCE = 2.0
"""How many deadlines an answer for evidence alone is waited for."""

_SCORES: list[float] = np.array(SCORE_LEVELS, np.float32).tolist()
"""The levels as scores are given: 0.7 reaches 0.7."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What came of asking the challenger."""

    answer: Answer | None
    seconds: float
    error: bool = False
    invalid: bool = False


@dataclass(frozen=True, slots=True)
class Own:
    """The champion's own answer, or that it has none."""

    answer: Answer | None
    seconds: float


class Plan(Enum):
    """What becomes of one request while a lease is in force."""

    OWN = "own"
    MIRROR = "mirror"
    """The champion answers; the challenger is asked for evidence alone."""
    ASK = "ask"
    """The challenger answers, the champion if it does not."""


class Router:
    """Routes by the lease, and counts."""

    def __init__(
        self,
        holder: LeaseHolder,
        challengers: Challengers,
        model: str,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
        strata: Strata | None = None,
    ) -> None:
        self._strata = strata
        self._holder = holder
        self._challengers = challengers
        self._model = model
        self._path = f"/v2/models/{model}/infer"
        self._clock = clock
        self._chance = chance
        self._turn = itertools.count()
        self._mirrored: set[asyncio.Task[None]] = set()
        self._breaker = Breaker()
        self._allowance = Allowance()

    def lease(self) -> TrafficLease | None:
        """The lease in force."""
        return self._holder.active(self._clock())

    def turns_away(self) -> bool:
        """Whether callers shall connect anew: they will come to another pod."""
        return self._holder.turns_away(self._clock())

    def plan(self, lease: TrafficLease, sticky: str | None) -> Plan:
        """What is to become of a request."""
        if draw(self._model, sticky, self._chance()) < lease.weight / 100:
            return Plan.ASK
        return Plan.MIRROR if lease.mirror > 0 and self._chance() < lease.mirror else Plan.OWN

    def answered(self, lease: TrafficLease, plan: Plan, rows: Rows, own: Own, forward: Callable[[], Forward]) -> None:
        """The champion answers, or failed, as planned: count that, and ask the challenger for evidence if that is the plan."""
        self._holder.saw_request(lease.challenger.digest)
        if plan is not Plan.MIRROR or len(self._mirrored) >= MOST_MIRRORED:
            return
        if not self._allowance.takes(self._clock()) or not self._lets_through(lease):
            return
        task = asyncio.get_running_loop().create_task(self._mirror(lease, forward(), rows, own))
        self._mirrored.add(task)
        task.add_done_callback(self._mirrored.discard)

    async def ask(self, lease: TrafficLease, forward: Forward, rows: Rows, own: Own) -> tuple[Answer | None, bool]:
        """The answer for a caller whose request is the challenger's, and whether it is the challenger's."""
        digest = lease.challenger.digest
        self._holder.saw_request(digest)
        if not self._lets_through(lease):
            return own.answer, False
        asked = await self._ask(lease, forward, rows, lease.deadline_ms / 1000)
        self._saw(lease, rows, own, asked)
        good = asked.answer is not None
        self._holder.saw_answer(digest, fallback=not good)
        return (asked.answer, True) if good else (own.answer, False)

    def _lets_through(self, lease: TrafficLease) -> bool:
        """Whether the challenger is asked. While it has no pod, as in a drain, nobody blames it for what nobody asked."""
        return bool(lease.challenger.endpoints) and self._breaker.lets_through(lease.challenger.digest, self._clock())

    async def _mirror(self, lease: TrafficLease, forward: Forward, rows: Rows, own: Own) -> None:
        asked = await self._ask(lease, forward, rows, PATIENCE * lease.deadline_ms / 1000)
        self._saw(lease, rows, own, asked)

    def _saw(self, lease: TrafficLease, rows: Rows, own: Own, asked: Asked) -> None:
        strata = self._strata.names_of_row(rows.seen, rows.texts) if self._strata is not None else ()
        self._holder.saw_pair(lease.challenger.digest, _pair(lease, strata, own, asked))
        self._breaker.saw(lease.challenger.digest, asked.answer is not None, self._clock())

    async def _ask(self, lease: TrafficLease, forward: Forward, rows: Rows, patience: float) -> Asked:
        started = self._clock()
        endpoints = lease.challenger.endpoints
        endpoint = endpoints[next(self._turn) % len(endpoints)]
        try:
            response = await self._challengers.ask(endpoint, self._path, forward, {names.ROUTED_HEADER: "1"}, patience)
        except TimeoutError:
            return Asked(None, math.inf)
        except OSError:
            return Asked(None, self._clock() - started, error=True)
        seconds = self._clock() - started
        if response.status != 200:
            invalid = response.headers.get(INVALID_HEADER) == "1"
            return Asked(None, seconds, error=True, invalid=invalid)
        if response.headers.get(names.DIGEST_HEADER) != lease.challenger.digest:
            return Asked(None, seconds, error=True)  # an address that belongs to another pod by now
        answer = parse_answer(response.content, rows.count)
        return Asked(answer, seconds, error=answer is None, invalid=answer is None)


INVALID_HEADER = "x-modelward-invalid"
"""Set on a 500 of a model that gave no probability."""


def _pair(lease: TrafficLease, strata: tuple[str, ...], own: Own, asked: Asked) -> Pair:
    deadline = lease.deadline_ms / 1000
    flip, slower, higher = None, (0, 0), (0, 0)
    if own.answer is not None and asked.answer is not None:
        flip = bool(np.any(own.answer.decisions != asked.answer.decisions))
        slower = _levels_exceeded(asked.seconds / deadline), _levels_exceeded(own.seconds / deadline)
        higher = _levels_reached(asked.answer), _levels_reached(own.answer)
    return Pair(
        error_challenger=asked.error,
        error_champion=own.answer is None,
        late_challenger=not asked.error and asked.seconds > deadline,
        late_champion=own.seconds > deadline,
        invalid=asked.invalid,
        flip=flip,
        slower=slower,
        higher=higher,
        strata=strata,
    )


def _levels_exceeded(part: float) -> int:
    """How many of LATENCY_LEVELS an answer exceeds that took this part of the deadline."""
    return bisect_left(LATENCY_LEVELS, part)


def _levels_reached(answer: Answer) -> int:
    """How many of SCORE_LEVELS the first row's score is at or above."""
    return bisect_right(_SCORES, answer.scores.item(0))
