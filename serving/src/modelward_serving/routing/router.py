"""The router in the champion: it always scores a request itself, and may also ask the challenger."""

from __future__ import annotations

import asyncio
import itertools
import math
import random
import time
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping

import msgspec
import numpy as np

from modelward_api import names
from modelward_api.wire.exchange import LATENCY_LEVELS, SCORE_LEVELS, TrafficLease
from modelward_serving.counting.pairs import PairedResult
from modelward_serving.counting.subgroups import Strata
from modelward_serving.protocol.headers import INVALID_HEADER
from modelward_serving.protocol.prediction import Prediction
from modelward_serving.routing.challenger_client import Ask, Challengers, Response
from modelward_serving.routing.circuit_breaker import Breaker
from modelward_serving.routing.forward import Forward, parse_answer
from modelward_serving.routing.lease import LeaseHolder, draw
from modelward_serving.routing.mirror_budget import TokenBucket
from modelward_serving.validation.request import ValidatedRows

MAX_MIRRORED = 64
"""Concurrent mirrored requests; further requests are not mirrored."""
MIRROR_TIMEOUT = 2.0
"""Timeout of a mirrored request, in deadlines of the lease."""

_SCORES: list[float] = np.array(SCORE_LEVELS, np.float32).tolist()
"""The levels, rounded to float32 as scores are: 0.7 reaches 0.7."""


class ChallengerResult(msgspec.Struct, frozen=True):
    """Outcome of a request to the challenger."""

    prediction: Prediction | None
    seconds: float
    error: bool = False
    invalid: bool = False


class ChampionResult(msgspec.Struct, frozen=True):
    """The champion's prediction, or None if the model failed."""

    prediction: Prediction | None
    seconds: float


class RoutingPlan:
    """A lease in the form that requests need, computed once so that each request reads plain attributes."""

    def __init__(self, lease: TrafficLease, counts: dict[str, int]) -> None:
        self.lease = lease
        self.counts = counts
        """Counts of the challenger; see LeaseHolder.counts_of()."""
        self.digest, self.version = lease.challenger.digest, lease.challenger.version
        self.endpoints = lease.challenger.endpoints
        self.deadline = lease.deadline_ms / 1000
        self.share, self.mirror = lease.weight / 100, lease.mirror
        self.proof = lease.proof or "1"
        self.sticky = lease.sticky_header.lower().encode() if lease.sticky_header is not None else None
        self.champion_route, self.mirrored_route, self.challenger_route = (
            Route(self),
            Route(self, mirrors=True),
            Route(self, asks=True),
        )


class Route(msgspec.Struct, frozen=True):
    """The route of one request: by default, the champion answers alone."""

    plan: RoutingPlan | None
    mirrors: bool = False
    """The champion answers; the request is mirrored to the challenger."""
    asks: bool = False
    """The challenger answers; the champion is the fallback."""


ALONE = Route(None)

Found = Callable[[Prediction | None], None]
"""Called once with the challenger's prediction, or with None to fall back to the champion's."""


class Router:
    """Routes requests by the lease, and counts the outcomes."""

    def __init__(
        self,
        holder: LeaseHolder,
        challengers: Challengers,
        model: str,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
        strata: Strata | None = None,
    ) -> None:
        self._strata = strata if strata is not None and strata.names else None
        self._holder = holder
        self._challengers = challengers
        self._model = model
        self._path = f"/v2/models/{model}/infer"
        self._clock = clock
        self._chance = chance
        self._turn = itertools.count()
        self.mirrored = 0
        """Mirrored requests in flight."""
        self._plan: RoutingPlan | None = None
        self._breaker = Breaker()
        self._allowance = TokenBucket()

    def route(self, headers: Mapping[bytes, bytes]) -> Route:
        """Return the route of a request under the lease in force."""
        lease = self._holder.active(self._clock())
        if lease is None:
            return ALONE
        plan = self._plan
        if plan is None or plan.lease is not lease:
            plan = self._plan = RoutingPlan(lease, self._holder.counts_of(lease.challenger.digest))
        if plan.share > 0 and self._drawn(plan, headers) < plan.share:
            return plan.challenger_route
        return plan.mirrored_route if plan.mirror > 0 and self._chance() < plan.mirror else plan.champion_route

    def draining(self) -> bool:
        """Whether clients should reconnect, to reach another pod."""
        return self._holder.may_drain and self._holder.draining(self._clock())

    def has_room(self, plan: RoutingPlan) -> bool:
        """Return whether a request may be mirrored now. A True must be followed by mirror(), as it takes a token."""
        now = self._clock()
        return (
            bool(plan.endpoints)
            and self.mirrored < MAX_MIRRORED
            and self._allowance.try_take(now)
            and self._breaker.lets_through(plan.digest, now)
        )

    def mirror(self, plan: RoutingPlan, forward: Forward, rows: ValidatedRows, own: ChampionResult) -> None:
        """Mirror a request that the champion answered; call it only if has_room()."""
        self.mirrored += 1
        self._ask(_MirroredRequest(self, self._clock(), plan, rows, own), forward, MIRROR_TIMEOUT * plan.deadline)

    def ask(
        self, plan: RoutingPlan, forward: Forward, rows: ValidatedRows, own: ChampionResult, limit: float, found: Found
    ) -> None:
        """Ask the challenger to answer a client within ``limit`` seconds; the champion is the fallback.

        While the challenger has no pods, as during a drain, nothing is counted against it.
        A client with a shorter timeout than the lease's deadline gets the champion's prediction earlier. The challenger's own
        deadline, and so its counts, depend on no client.
        """
        now = self._clock()
        if not plan.endpoints or not self._breaker.lets_through(plan.digest, now):
            found(None)
            return
        turn = _RoutedRequest(self, now, plan, rows, own, found)
        if limit < plan.deadline:
            asyncio.get_running_loop().call_later(limit, turn.end, None)
        self._ask(turn, forward, plan.deadline)

    def record(self, asking: _Asking, outcome: Response | OSError) -> Prediction | None:
        """Count the outcome of a request to the challenger; return its prediction, if valid."""
        now, plan, rows = self._clock(), asking.plan, asking.rows
        result = _understood(outcome, plan, rows.count, now - asking.started)
        strata = self._strata.names_of_row(rows.seen, rows.texts) if self._strata is not None else ()
        self._holder.record_pair(plan.digest, _pair(plan, strata, asking.own, result))
        self._breaker.record(plan.digest, result.prediction is not None, now)
        return result.prediction

    def record_response(self, plan: RoutingPlan, *, fallback: bool) -> None:
        """Count whose prediction the client got."""
        self._holder.record_response(plan.digest, fallback)

    def _drawn(self, plan: RoutingPlan, headers: Mapping[bytes, bytes]) -> float:
        sticky = headers.get(plan.sticky) if plan.sticky is not None else None
        return self._chance() if sticky is None else draw(self._model, sticky.decode("latin-1"), 0.0)

    def _ask(self, asking: _Asking, forward: Forward, timeout: float) -> None:
        endpoints = asking.plan.endpoints
        endpoint = endpoints[next(self._turn) % len(endpoints)]
        self._challengers.ask(endpoint, self._path, forward, timeout, asking, asking.plan.proof)


class _Asking(Ask):
    """A request that both versions score."""

    __slots__ = ("own", "plan", "router", "rows")

    def __init__(
        self, router: Router, started: float, plan: RoutingPlan, rows: ValidatedRows, own: ChampionResult
    ) -> None:
        super().__init__(started)
        self.router = router
        self.plan = plan
        self.rows = rows
        self.own = own


class _MirroredRequest(_Asking):
    """A mirrored request: its client already has the champion's prediction."""

    __slots__ = ()

    def on_response(self, outcome: Response | OSError) -> None:
        self.router.mirrored -= 1
        self.router.record(self, outcome)


class _RoutedRequest(_Asking):
    """A routed request: its client waits for the challenger."""

    __slots__ = ("found",)

    def __init__(
        self, router: Router, started: float, plan: RoutingPlan, rows: ValidatedRows, own: ChampionResult, found: Found
    ) -> None:
        super().__init__(router, started, plan, rows, own)
        self.found: Found | None = found

    def on_response(self, outcome: Response | OSError) -> None:
        self.end(self.router.record(self, outcome))

    def end(self, answer: Prediction | None) -> None:
        """Answer the client, once."""
        found, self.found = self.found, None
        if found is not None:
            self.router.record_response(self.plan, fallback=answer is None)
            found(answer)


def _understood(outcome: Response | OSError, plan: RoutingPlan, count: int, seconds: float) -> ChallengerResult:
    """Interpret a challenger's response."""
    if isinstance(outcome, TimeoutError):
        return ChallengerResult(None, math.inf)
    if isinstance(outcome, OSError):
        return ChallengerResult(None, seconds, error=True)
    if outcome.status != 200:
        return ChallengerResult(None, seconds, error=True, invalid=outcome.headers.get(INVALID_HEADER) == "1")
    if outcome.headers.get(names.DIGEST_HEADER) != plan.digest:
        return ChallengerResult(None, seconds, error=True)  # the address belongs to another pod by now
    answer = parse_answer(outcome.content, count)
    if answer is None:
        return ChallengerResult(None, seconds, error=True, invalid=True)
    return ChallengerResult(answer, seconds)


def _pair(plan: RoutingPlan, strata: tuple[str, ...], own: ChampionResult, asked: ChallengerResult) -> PairedResult:
    deadline = plan.deadline
    is_late, own_is_late = not asked.error and asked.seconds > deadline, own.seconds > deadline
    if own.prediction is None or asked.prediction is None:
        return PairedResult(asked.error, own.prediction is None, is_late, own_is_late, asked.invalid, strata=strata)
    return PairedResult(
        late_challenger=is_late,
        late_champion=own_is_late,
        flip=_differ(asked.prediction.decisions, own.prediction.decisions),
        slower=(
            bisect_left(LATENCY_LEVELS, asked.seconds / deadline),
            bisect_left(LATENCY_LEVELS, own.seconds / deadline),
        ),
        higher=(
            bisect_right(_SCORES, asked.prediction.scores.item(0)),
            bisect_right(_SCORES, own.prediction.scores.item(0)),
        ),
        strata=strata,
    )


def _differ(one: np.ndarray, other: np.ndarray) -> bool:
    if one.size == 1:
        return bool(one.item() != other.item())
    return bool((one != other).any())
