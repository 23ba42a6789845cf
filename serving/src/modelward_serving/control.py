"""The control port: the operator sends traffic leases and reads counts."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import msgspec
from pydantic import ValidationError

from modelward_api import names
from modelward_api.resources.reasons import Reason
from modelward_api.wire.exchange import ExchangeRequest, ExchangeResponse
from modelward_serving.model.predictor import Predictor
from modelward_serving.observability.metrics import Metrics
from modelward_serving.protocol.headers import JSON_HEAD
from modelward_serving.routing.lease import LeaseHolder
from modelward_serving.security.control_auth import ControlAuthenticator, UnauthorizedControlError
from modelward_serving.security.tls import Certificates
from modelward_serving.transport.budget import Budget
from modelward_serving.transport.connections import CONTROL, Connections, Port
from modelward_serving.transport.reply import Receive, Reply, Scope, Send, body_of, failed, send_reply, wrong_method

LIVE, READY = "/livez", "/readyz"
MAX_BODY = 1024 * 1024
METHODS = {names.EXCHANGE_PATH: "POST", names.DOCUMENTS_PATH: "GET", LIVE: "GET", READY: "GET"}

log = logging.getLogger("modelward.serving")


class Control:
    """The control port's application."""

    def __init__(
        self,
        predictor: Predictor,
        holder: LeaseHolder,
        metrics: Metrics,
        pod: str,
        instance: str,
        clock: Callable[[], float] = time.monotonic,
        trust: ControlAuthenticator | None = None,
        certificates: Certificates | None = None,
        port: Port | None = None,
    ) -> None:
        self._predictor = predictor
        self._holder = holder
        self._metrics = metrics
        self._pod = pod
        self._instance = instance
        self._clock = clock
        self._trust = trust
        self._certificates = certificates
        self.port = port or Port(Connections(CONTROL), Budget(), MAX_BODY)
        """Limits of the port that serves this application."""
        self.ready: Callable[[], bool] = lambda: False
        """Whether the inference port is ready. Probes ask here if clients need a certificate on that port."""

    def exchange(self, request: ExchangeRequest) -> ExchangeResponse:
        """Take the lease and return all counts."""
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
            certificate=self._certificates.problem if self._certificates else None,
        )

    def _take(self, request: ExchangeRequest, now: float) -> str | None:
        if request.lease is not None and request.lease.challenger.tls != (self._certificates is not None):
            # patient values must not leave this pod unencrypted if it has a certificate
            return Reason.TLS_DIFFERS
        return self._holder.take(request.epoch, request.lease, now, request.sequence)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer probes from anyone, and other requests only from the operator."""
        method, path = scope["method"], scope["path"]
        if path in (LIVE, READY) and method in ("GET", "HEAD"):
            await send_reply(send, self._health(path))
            return
        body = await body_of(receive)
        refusal = self._distrusted(scope, method, path, body)
        if refusal is not None:
            await send_reply(send, refusal)
        elif path not in METHODS:
            await send_reply(send, failed(404, Reason.NOT_FOUND, "no such path"))
        elif method != METHODS[path]:
            await send_reply(send, wrong_method(METHODS[path]))
        else:
            await send_reply(send, self._exchanged(body) if path == names.EXCHANGE_PATH else self._documents())

    def _health(self, path: str) -> Reply:
        if path == LIVE:
            return _json(200, {"live": True})
        ready = self.ready()
        return _json(200 if ready else 503, {"ready": ready})

    def _exchanged(self, body: bytes) -> Reply:
        try:
            request = ExchangeRequest.model_validate_json(body)
        except ValidationError as error:
            fields = [".".join(map(str, e["loc"])) for e in error.errors(include_input=False)]
            return _json(400, {"error": f"invalid fields: {', '.join(fields)}"})
        return _json(200, self.exchange(request).to_json())

    def _documents(self) -> Reply:
        return _json(200, self._predictor.bundle.documents.to_json())

    def _distrusted(self, scope: Scope, method: str, path: str, body: bytes) -> Reply | None:
        """Return the refusal of a request that is not the operator's."""
        if self._trust is None:
            return None
        authorization = dict(scope["headers"]).get(b"authorization")
        try:
            self._trust.check(None if authorization is None else authorization.decode("latin-1"), method, path, body)
        except UnauthorizedControlError as error:
            caller = scope["client"][0] if scope["client"] else "unknown"
            log.warning("control port: refused %s: %s", caller, error.reason)
            return failed(401, error.reason, str(error), b"www-authenticate: Bearer\r\n")
        return None


def _json(status: int, document: object) -> Reply:
    return Reply(status, JSON_HEAD, msgspec.json.encode(document))
