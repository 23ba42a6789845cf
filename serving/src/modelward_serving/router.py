"""The champion as the router: it always has its own answer, and asks the challenger on the same request."""

from __future__ import annotations

import asyncio
import itertools
import math
import random
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping
from enum import Enum

import msgspec
import numpy as np

from modelward_api import names
from modelward_api.wire import LATENCY_LEVELS, SCORE_LEVELS, TrafficLease
from modelward_serving.allowance import Allowance
from modelward_serving.answer import Answer
from modelward_serving.breaker import Breaker
from modelward_serving.challengers import Challengers, Response
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


class Asked(msgspec.Struct, frozen=True):
    """What came of asking the challenger."""

    answer: Answer | None
    seconds: float
    error: bool = False
    invalid: bool = False


class Own(msgspec.Struct, frozen=True):
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


class Route(msgspec.Struct, frozen=True):
    """What is planned for one request, under which lease."""

    lease: TrafficLease | None
    plan: Plan


ALONE = Route(None, Plan.OWN)

Found = Callable[[Answer | None], None]
"""Called once with the challenger's answer, or with None: the caller gets the champion's."""


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
        self._mirrored = 0
        """Requests that are under way to the challenger for evidence alone."""
        self._planned = _Planned(None)
        self._breaker = Breaker()
        self._allowance = Allowance()

    def route(self, headers: Mapping[bytes, bytes]) -> Route:
        """What is to become of a request with these headers, under the lease in force."""
        lease = self._holder.active(self._clock())
        if lease is None:
            return ALONE
        if lease is not self._planned.lease:
            self._planned = _Planned(lease)
        return self._planned.routes[self._plan(self._planned, headers)]

    def turns_away(self) -> bool:
        """Whether callers shall connect anew: they will come to another pod."""
        return self._holder.turns_away(self._clock())

    def answered(self, route: Route, rows: Rows, own: Own, forward: Callable[[], Forward]) -> None:
        """The champion answers, or failed, as planned: count that, and ask the challenger for evidence if that is the plan."""
        lease = route.lease
        if lease is None:
            return
        self._holder.saw_request(lease.challenger.digest)
        if route.plan is not Plan.MIRROR or self._mirrored >= MOST_MIRRORED:
            return
        if not self._allowance.takes(self._clock()) or not self._lets_through(lease):
            return
        self._mirrored += 1

        def heard(asked: Asked) -> None:
            self._mirrored -= 1
            self._saw(lease, rows, own, asked)

        self._ask(lease, forward(), rows, PATIENCE * lease.deadline_ms / 1000, heard)

    def ask(self, lease: TrafficLease, forward: Forward, rows: Rows, own: Own, limit: float, found: Found) -> None:
        """Have the challenger answer a caller who waits ``limit`` seconds at most, and the champion if it does not.

        A caller who waits for less than the lease's deadline gets the champion's answer sooner; what the challenger is waited
        for, and so what is counted of it, depends on no caller.
        """
        digest, deadline = lease.challenger.digest, lease.deadline_ms / 1000
        self._holder.saw_request(digest)
        if not self._lets_through(lease):
            found(None)
            return
        waits = True

        def end(answer: Answer | None) -> None:
            nonlocal waits
            if waits:
                waits = False
                self._holder.saw_answer(digest, fallback=answer is None)
                found(answer)

        def heard(asked: Asked) -> None:
            self._saw(lease, rows, own, asked)
            end(asked.answer)

        if limit < deadline:
            asyncio.get_running_loop().call_later(limit, end, None)
        self._ask(lease, forward, rows, deadline, heard)

    def _plan(self, planned: _Planned, headers: Mapping[bytes, bytes]) -> Plan:
        if planned.share > 0:
            sticky = headers.get(planned.sticky) if planned.sticky is not None else None
            if draw(self._model, None if sticky is None else sticky.decode("latin-1"), self._chance()) < planned.share:
                return Plan.ASK
        return Plan.MIRROR if planned.mirror > 0 and self._chance() < planned.mirror else Plan.OWN

    def _lets_through(self, lease: TrafficLease) -> bool:
        """Whether the challenger is asked. While it has no pod, as in a drain, nobody blames it for what nobody asked."""
        return bool(lease.challenger.endpoints) and self._breaker.lets_through(lease.challenger.digest, self._clock())

    def _saw(self, lease: TrafficLease, rows: Rows, own: Own, asked: Asked) -> None:
        strata = self._strata.names_of_row(rows.seen, rows.texts) if self._strata is not None else ()
        self._holder.saw_pair(lease.challenger.digest, _pair(lease, strata, own, asked))
        self._breaker.saw(lease.challenger.digest, asked.answer is not None, self._clock())

    def _ask(
        self, lease: TrafficLease, forward: Forward, rows: Rows, patience: float, heard: Callable[[Asked], None]
    ) -> None:
        endpoints = lease.challenger.endpoints
        if not endpoints:
            heard(Asked(None, 0.0, error=True))
            return
        started = self._clock()

        def told(outcome: Response | OSError) -> None:
            heard(_understood(outcome, lease, rows.count, self._clock() - started))

        endpoint = endpoints[next(self._turn) % len(endpoints)]
        self._challengers.ask(endpoint, self._path, forward, patience, told)


class _Planned:
    """What a lease says of every request, made out once."""

    def __init__(self, lease: TrafficLease | None) -> None:
        self.lease = lease
        self.routes = {plan: Route(lease, plan) for plan in Plan}
        self.share = lease.weight / 100 if lease is not None else 0.0
        self.mirror = lease.mirror if lease is not None else 0.0
        header = lease.sticky_header if lease is not None else None
        self.sticky = header.lower().encode() if header is not None else None


def _understood(outcome: Response | OSError, lease: TrafficLease, count: int, seconds: float) -> Asked:
    """What a challenger's response is worth."""
    if isinstance(outcome, TimeoutError):
        return Asked(None, math.inf)
    if isinstance(outcome, OSError):
        return Asked(None, seconds, error=True)
    if outcome.status != 200:
        return Asked(None, seconds, error=True, invalid=outcome.headers.get(INVALID_HEADER) == "1")
    if outcome.headers.get(names.DIGEST_HEADER) != lease.challenger.digest:
        return Asked(None, seconds, error=True)  # an address that belongs to another pod by now
    answer = parse_answer(outcome.content, count)
    return Asked(answer, seconds, error=answer is None, invalid=answer is None)


INVALID_HEADER = "x-modelward-invalid"
"""Set on a 500 of a model that gave no probability."""


def _pair(lease: TrafficLease, strata: tuple[str, ...], own: Own, asked: Asked) -> Pair:
    deadline = lease.deadline_ms / 1000
    flip, slower, higher = None, (0, 0), (0, 0)
    if own.answer is not None and asked.answer is not None:
        flip = _differ(own.answer.decisions, asked.answer.decisions)
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


def _differ(one: np.ndarray, other: np.ndarray) -> bool:
    if one.size == 1:
        return bool(one.item() != other.item())
    return bool((one != other).any())


def _levels_exceeded(part: float) -> int:
    """How many of LATENCY_LEVELS an answer exceeds that took this part of the deadline."""
    return bisect_left(LATENCY_LEVELS, part)


def _levels_reached(answer: Answer) -> int:
    """How many of SCORE_LEVELS the first row's score is at or above."""
    return bisect_right(_SCORES, answer.scores.item(0))
