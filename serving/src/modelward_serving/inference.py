"""What is done with a checked request, whichever protocol it came by: score, route, count."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from modelward_api.wire import TrafficLease
from modelward_serving.answer import Answer, Given
from modelward_serving.checker import Rows
from modelward_serving.predictor import InvalidScoreError, Predictor
from modelward_serving.router import Own, Plan, Router
from modelward_serving.tensors import Forward

log = logging.getLogger("modelward.serving")

CHAMPION, CHALLENGER, ROUTED = "champion", "challenger", "routed"


class NoAnswerError(Exception):
    """The model could not answer; says nothing of why, because why may hold values."""


@dataclass(frozen=True, slots=True)
class Route:
    """What is planned for one request, under which lease."""

    lease: TrafficLease | None
    plan: Plan


ALONE = Route(None, Plan.OWN)


class Inference:
    """Scores, routes and counts for one model."""

    def __init__(self, predictor: Predictor, router: Router) -> None:
        self.predictor = predictor
        self._router = router
        bundle = predictor.bundle
        self._names = (predictor.model, predictor.version, bundle.digest)
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="score") if predictor.session.slow else None

    def route(self, headers: dict[bytes, bytes], *, routed: bool) -> Route:
        """What is planned for a request with these headers; drawn once, before anything is done."""
        lease = None if routed else self._router.lease()
        if lease is None:
            return ALONE
        sticky = headers.get(lease.sticky_header.lower().encode()) if lease.sticky_header is not None else None
        return Route(lease, self._router.plan(lease, None if sticky is None else sticky.decode("latin-1")))

    def is_immediate(self, route: Route) -> bool:
        """Whether an answer takes neither a challenger nor a thread, so that nothing need be awaited."""
        return self._executor is None and route.plan is not Plan.ASK

    def turns_away(self) -> bool:
        """Whether callers shall connect anew: they will come to another pod."""
        return self._router.turns_away()

    def now(self, rows: Rows, *, routed: bool) -> Given:
        """The model's own answer at once, when that is_immediate(). It is not counted yet.

        Raises:
            NoAnswerError: the model failed.
        """
        answer = self._scored(rows)
        if answer is None:
            raise NoAnswerError
        return Given(answer, *self._names, ROUTED if routed else CHAMPION)

    def count(self, rows: Rows, given: Given, route: Route, seconds: float, forward: Callable[[], Forward]) -> None:
        """Count what now() gave, once it is on its way, and let the challenger score it too if that is planned."""
        if given.arm == ROUTED:
            return
        self.predictor.profile.count(rows.seen, rows.texts, given.answer.scores)
        if route.lease is not None and not rows.abstained:
            self._router.answered(route.lease, route.plan, rows, Own(given.answer, seconds), forward)

    async def decide(self, rows: Rows, forward: Callable[[], Forward], route: Route, *, routed: bool) -> Given:
        """The answer for the caller; counted.

        Raises:
            NoAnswerError: neither the model nor a challenger answered.
        """
        started = time.perf_counter()
        if self._executor is None:
            answer = self._scored(rows)
        else:
            answer = await asyncio.get_running_loop().run_in_executor(self._executor, self._scored, rows)
        own = Own(answer, time.perf_counter() - started)
        if answer is not None and not routed:
            self.predictor.profile.count(rows.seen, rows.texts, answer.scores)
        if route.lease is not None and not rows.abstained:
            if route.plan is Plan.ASK:
                return await self._asked(route.lease, rows, forward(), own)
            self._router.answered(route.lease, route.plan, rows, own, forward)
        if answer is None:
            raise NoAnswerError
        return Given(answer, *self._names, ROUTED if routed else CHAMPION)

    async def _asked(self, lease: TrafficLease, rows: Rows, forward: Forward, own: Own) -> Given:
        answer, is_challengers = await self._router.ask(lease, forward, rows, own)
        if answer is None:
            raise NoAnswerError
        if is_challengers:
            challenger = lease.challenger
            return Given(answer, self._names[0], challenger.version, challenger.digest, CHALLENGER)
        return Given(answer, *self._names, CHAMPION)

    def _scored(self, rows: Rows) -> Answer | None:
        try:
            return self.predictor.answer(rows)
        except InvalidScoreError:
            log.error("the model gave no probability")
        except Exception as error:
            # Its message may hold values: only its type is told.
            log.error("the model failed: %s", type(error).__name__)
        return None
