"""The control port: traffic leases in, counts out, for the operator only."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable

from aiohttp import web
from pydantic import ValidationError

from modelward_api import names
from modelward_api.wire import ExchangeRequest, ExchangeResponse
from modelward_serving.lease import LeaseHolder
from modelward_serving.metrics import Metrics
from modelward_serving.predictor import Predictor
from modelward_serving.trust import DistrustedError, Trust

LIVE, READY = "/livez", "/readyz"
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

log = logging.getLogger("modelward.serving")


class Control:
    """Answers the operator."""

    def __init__(
        self,
        predictor: Predictor,
        holder: LeaseHolder,
        metrics: Metrics,
        pod: str,
        instance: str,
        clock: Callable[[], float] = time.monotonic,
        trust: Trust | None = None,
        tls: bool = False,
    ) -> None:
        self._predictor = predictor
        self._holder = holder
        self._metrics = metrics
        self._pod = pod
        self._instance = instance
        self._clock = clock
        self._trust = trust
        self._tls = tls
        self.ready: Callable[[], bool] = lambda: False
        """Whether the inference port answers: for probes, where callers need a certificate there."""

    def application(self) -> web.Application:
        """The routes."""
        guards = [_only(self._trust)] if self._trust is not None else []
        app = web.Application(client_max_size=1024**2, middlewares=guards)
        app.router.add_post(names.EXCHANGE_PATH, self._exchange)
        app.router.add_get(names.DOCUMENTS_PATH, self._documents)
        app.router.add_get(LIVE, self._live)
        app.router.add_get(READY, self._is_ready)
        return app

    def exchange(self, request: ExchangeRequest) -> ExchangeResponse:
        """Take the lease, and tell all counts."""
        now = self._clock()
        refused = None if request.keep else self._take(request, now)
        return ExchangeResponse(
            pod=self._pod,
            instance=self._instance,
            model=self._predictor.model,
            version=self._predictor.version,
            digest=self._predictor.bundle.digest,
            refused=refused,
            lease=self._holder.state(now),
            evidence=self._holder.evidence(),
            requests=self._metrics.requests,
            failures=self._metrics.failures,
            profile=self._predictor.profile.read() if request.profile else None,
        )

    def _take(self, request: ExchangeRequest, now: float) -> str | None:
        if request.lease is not None and request.lease.challenger.tls != self._tls:
            return "TlsDiffers"  # values of patients do not leave this pod in plain text while it has a certificate
        return self._holder.take(request.epoch, request.lease, now, request.sequence)

    async def _live(self, _: web.Request) -> web.Response:
        return web.json_response({"live": True})

    async def _is_ready(self, _: web.Request) -> web.Response:
        ready = self.ready()
        return web.json_response({"ready": ready}, status=200 if ready else 503)

    async def _exchange(self, request: web.Request) -> web.Response:
        try:
            asked = ExchangeRequest.model_validate_json(await request.read())
        except ValidationError as error:
            fields = [".".join(map(str, e["loc"])) for e in error.errors(include_input=False)]
            return web.json_response({"error": f"wrong: {', '.join(fields)}"}, status=400)
        return web.json_response(self.exchange(asked).to_json())

    async def _documents(self, _: web.Request) -> web.Response:
        return web.json_response(self._predictor.bundle.documents.to_json())


def _only(trust: Trust) -> Callable[[web.Request, Handler], Awaitable[web.StreamResponse]]:
    """Let only those through whom we trust, whatever they ask for."""

    @web.middleware
    async def guard(request: web.Request, handler: Handler) -> web.StreamResponse:
        if request.path in (LIVE, READY) and request.method in ("GET", "HEAD"):
            return await handler(request)
        authorization = request.headers.get("Authorization")
        try:
            trust.check(authorization, request.method, request.path, await request.read())
        except DistrustedError as error:
            log.warning("control port: refused %s: %s", request.remote, error.reason)
            refusal = {"error": str(error), "reason": error.reason}
            return web.json_response(refusal, status=401, headers={"WWW-Authenticate": "Bearer"})
        return await handler(request)

    return guard
