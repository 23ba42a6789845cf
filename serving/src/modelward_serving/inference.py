"""What is done with a checked request, whichever protocol it came by: score, route, count."""

from __future__ import annotations

import asyncio
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from modelward_api.wire import TrafficLease
from modelward_serving.answer import Answer, Given
from modelward_serving.checker import Rows
from modelward_serving.predictor import InvalidScoreError, Predictor
from modelward_serving.router import Own, Router
from modelward_serving.tensors import Forward

log = logging.getLogger("modelward.serving")

CHAMPION, CHALLENGER, ROUTED = "champion", "challenger", "routed"


class NoAnswerError(Exception):
    """The model could not answer; says nothing of why, because why may hold values."""


@dataclass(frozen=True, slots=True)
class Caller:
    """What routing needs to know of a request."""

    forward: Forward
    """The request as the challenger is to get it."""
    headers: dict[bytes, bytes]
    """Lower-case names."""


class Inference:
    """Scores, routes and counts for one model."""

    def __init__(self, predictor: Predictor, router: Router) -> None:
        self.predictor = predictor
        self._router = router
        bundle = predictor.bundle
        self._names = (predictor.model, predictor.version, bundle.digest)
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="score") if predictor.session.slow else None

    def is_immediate(self) -> bool:
        """Whether an answer takes neither a challenger nor a thread, so that nothing need be awaited."""
        return self._executor is None and self._router.lease() is None

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

    def count(self, rows: Rows, given: Given) -> None:
        """Count what now() gave, once it is on its way."""
        if given.arm != ROUTED:
            self.predictor.profile.count(rows.seen, rows.texts, given.answer.scores)

    async def decide(self, rows: Rows, caller: Caller, *, routed: bool) -> Given:
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
        lease = None if routed else self._router.lease()
        if answer is not None and not routed:
            self.predictor.profile.count(rows.seen, rows.texts, answer.scores)
        if lease is not None and not rows.abstained:
            return await self._routed(lease, rows, caller, own)
        if answer is None:
            raise NoAnswerError
        return Given(answer, *self._names, ROUTED if routed else CHAMPION)

    async def _routed(self, lease: TrafficLease, rows: Rows, caller: Caller, own: Own) -> Given:
        sticky = None
        if lease.sticky_header is not None:
            value = caller.headers.get(lease.sticky_header.lower().encode())
            sticky = value.decode("latin-1") if value is not None else None
        answer, is_challengers = await self._router.answer(lease, caller.forward, rows, own, sticky)
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
