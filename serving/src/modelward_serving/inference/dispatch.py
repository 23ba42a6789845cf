"""The life of an inference request: authenticate, validate, score, route, respond, measure, count."""

from __future__ import annotations

import asyncio
import logging
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, ClassVar

from modelward_api import names
from modelward_serving.counting.encounters import Encounters
from modelward_serving.model.predictor import InvalidScoreError, Predictor
from modelward_serving.observability.metrics import Metrics
from modelward_serving.observability.tracing import Tracing, passed_on
from modelward_serving.protocol.headers import AUTHORIZATION
from modelward_serving.protocol.prediction import Prediction, ServedPrediction
from modelward_serving.routing.forward import Forward
from modelward_serving.routing.router import ALONE, ChampionResult, Router, RoutingPlan
from modelward_serving.security.authentication import Authenticator
from modelward_serving.transport.budget import Budget
from modelward_serving.validation.request import NO_ROWS, ValidatedRows

log = logging.getLogger("modelward.serving")

CHAMPION, CHALLENGER, ROUTED = "champion", "challenger", "routed"
WAIT = 0.8
"""Fraction of the remaining timeout that the challenger may use; the rest is for sending the champion's prediction."""
_ROUTED_KEY = names.ROUTED_HEADER.encode()


class NoAnswerError(Exception):
    """The model failed. The cause is omitted because it may contain values."""


def forget(error: Exception) -> None:
    """Drop an error's traceback and causes: they keep the request's body alive until the next garbage collection."""
    error.__traceback__ = error.__cause__ = error.__context__ = None


class Call(ABC):
    """One inference request, until it is answered."""

    protocol: ClassVar[str]
    route = ALONE
    rows = NO_ROWS
    span: Any = None
    is_answered = False
    is_under_way = False
    """Whether the metrics count it as in flight."""

    def __init__(self, headers: Mapping[bytes, bytes]) -> None:
        self.headers = headers
        self.started = time.perf_counter()
        self.says_routed = _ROUTED_KEY in headers
        """Whether it claims to come from a champion. It then gets all outputs, which needs no proof."""
        self.routed = False
        """Whether the claim is proven: the champion then counts and routes it."""

    @abstractmethod
    def read(self) -> ValidatedRows:
        """Decode and check the request. Its client is authenticated before.

        Raises:
            Exception: any error that respond() can report.
        """

    @abstractmethod
    def respond(self, outcome: ServedPrediction | Exception) -> int:
        """Send the outcome to the client; return its HTTP status."""

    @abstractmethod
    def forward(self, context: dict[bytes, bytes]) -> Forward:
        """Return the request for a challenger, with the headers of the trace context."""

    @abstractmethod
    def remaining_timeout(self) -> float:
        """Return the seconds until the request times out."""


class Inference:
    """Inference with one model."""

    def __init__(
        self,
        predictor: Predictor,
        router: Router,
        metrics: Metrics,
        tracing: Tracing | None = None,
        budget: Budget | None = None,
        proves: Callable[[bytes], bool] = lambda _: False,
        encounters: Encounters | None = None,
        authenticator: Authenticator | None = None,
    ) -> None:
        """Serve one model.

        Args:
            encounters: Count only the first row of each encounter; None counts every row.
            authenticator: Checks clients' tokens; None accepts all clients.
        """
        self._authenticator = authenticator
        self._encounters = encounters
        self.predictor = predictor
        self.budget = budget or Budget()
        """Memory that clients' requests may use, over all protocols."""
        self._router = router
        self.draining = router.draining
        """Whether clients should reconnect, to reach another pod."""
        self._metrics = metrics
        self._tracing = tracing
        bundle = predictor.bundle
        self._names = (predictor.model, predictor.version, bundle.digest)
        self._proves = proves
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="score") if predictor.session.slow else None
        self._tasks: set[asyncio.Task[None]] = set()

    def authenticate(self, headers: Mapping[bytes, bytes]) -> None:
        """Authenticate a client: the only such place, called before a body is decoded.

        Raises:
            RefusedError: 401, 403 or 503; see Authenticator.check().
        """
        if self._authenticator is not None:
            self._authenticator.check(headers.get(AUTHORIZATION))

    def take(self, call: Call) -> None:
        """Handle a request. It is answered on return, unless that needs a challenger or a thread; see call.is_answered."""
        if call.says_routed:
            call.routed = self._proves(call.headers[_ROUTED_KEY])
        if not call.routed:
            call.route = self._router.route(call.headers)
        if self._tracing is not None:
            call.span = self._tracing.begin(call.protocol, call.headers)
        if self._executor is None:
            self._take_now(call)
        else:
            task = asyncio.get_running_loop().create_task(self._take_beside(call))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        if not call.is_answered:
            call.is_under_way = True
            self._metrics.in_flight += 1

    def _take_now(self, call: Call) -> None:
        try:
            self.authenticate(call.headers)
            rows = call.rows = call.read()
        except Exception as error:
            self._tell(call, error)
            return
        answer = self._scored(rows)
        self._decide(call, ChampionResult(answer, time.perf_counter() - call.started))

    async def _take_beside(self, call: Call) -> None:
        """Handle a request to a slow model, which runs in a thread."""
        try:
            self.authenticate(call.headers)
            rows = call.rows = call.read()
            loop = asyncio.get_running_loop()
            async with asyncio.timeout(call.remaining_timeout()):
                answer = await loop.run_in_executor(self._executor, self._scored, rows)
        except Exception as error:
            self._tell(call, error)
            return
        self._decide(call, ChampionResult(answer, time.perf_counter() - call.started))

    def _decide(self, call: Call, own: ChampionResult) -> None:
        """Choose between the champion's prediction, which exists or failed, and the challenger's."""
        route, plan = call.route, call.route.plan
        if plan is None or call.rows.abstained:
            self._tell(call, self._given(own, ROUTED if call.routed else CHAMPION))
            self._count(call, own)
            return
        plan.counts["requests"] += 1
        if route.asks:
            self._ask(call, own, plan)
            self._count(call, own)
            return
        self._tell(call, self._given(own, CHAMPION))
        self._count(call, own)
        if route.mirrors and self._router.has_room(plan):
            self._router.mirror(plan, self._forward(call), call.rows, own)

    def _ask(self, call: Call, own: ChampionResult, plan: RoutingPlan) -> None:
        """Ask the challenger; use the champion's prediction if it fails."""

        def found(answer: Prediction | None) -> None:
            if answer is None:
                self._tell(call, self._given(own, CHAMPION))
            else:
                self._tell(call, ServedPrediction(answer, self._names[0], plan.version, plan.digest, CHALLENGER))

        self._router.ask(plan, self._forward(call), call.rows, own, WAIT * call.remaining_timeout(), found)

    def _given(self, own: ChampionResult, arm: str) -> ServedPrediction | NoAnswerError:
        return NoAnswerError() if own.prediction is None else ServedPrediction(own.prediction, *self._names, arm)

    def _tell(self, call: Call, outcome: ServedPrediction | Exception) -> None:
        if isinstance(outcome, Exception):
            forget(outcome)
        call.is_answered = True
        if call.is_under_way:
            self._metrics.in_flight -= 1
        code = call.respond(outcome)
        arm, version = ROUTED if call.routed else CHAMPION, None
        if isinstance(outcome, ServedPrediction):
            arm, version = outcome.arm, outcome.version
        self._metrics.record(call.protocol, arm, code, time.perf_counter() - call.started, call.rows.count)
        if self._tracing is not None:
            self._tracing.end(call.span, arm, version, code, call.rows.count)

    def _count(self, call: Call, own: ChampionResult) -> None:
        if own.prediction is None or call.routed:
            return
        if self._encounters is None or self._encounters.header not in call.headers:
            self.predictor.profile.count(call.rows.seen, call.rows.texts, own.prediction.scores)
        elif self._encounters.is_new(call.headers):
            texts = [column[:1] for column in call.rows.texts]
            self.predictor.profile.count(call.rows.seen[:1], texts, own.prediction.scores[:1])

    def _forward(self, call: Call) -> Forward:
        context = passed_on(call.headers) if self._tracing is None else self._tracing.context(call.span)
        return call.forward(context)

    def _scored(self, rows: ValidatedRows) -> Prediction | None:
        try:
            return self.predictor.predict(rows)
        except InvalidScoreError:
            log.error("the model returned an invalid score")
        except Exception as error:
            # Its message may contain values: log only its type.
            log.error("the model failed: %s", type(error).__name__)
        return None
