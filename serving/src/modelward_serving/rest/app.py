"""REST: inference for the server's protocol, the rest of the Open Inference Protocol in front of BentoML, and BentoML."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping

import msgspec

from modelward_api import names
from modelward_serving.errors import RefusedError
from modelward_serving.inference.dispatch import CHAMPION, Call, Inference, NoAnswerError
from modelward_serving.limits import LARGEST_BODY
from modelward_serving.model.explain import Explanations
from modelward_serving.observability.metrics import CONTENT_TYPE, Metrics
from modelward_serving.protocol.compression import plain
from modelward_serving.protocol.fields import sendable
from modelward_serving.protocol.headers import AUTHORIZATION, ENCODING, INVALID_HEADER, JSON_HEAD, JSON_LENGTH
from modelward_serving.protocol.json_limits import most_values
from modelward_serving.protocol.metadata import model_metadata, server_metadata
from modelward_serving.protocol.openapi import openapi
from modelward_serving.protocol.prediction import Given
from modelward_serving.rest import codec
from modelward_serving.routing.forward import Forward
from modelward_serving.transport.connections import HTTP, Connections, Port
from modelward_serving.transport.header_cache import CallersHeads
from modelward_serving.transport.reply import (
    Asgi,
    Receive,
    Reply,
    Scope,
    Send,
    body_of,
    failed,
    refused,
    send_reply,
    wrong_method,
)
from modelward_serving.validation.request import Rows

log = logging.getLogger("modelward.serving")

PASSED_ON = frozenset((JSON_LENGTH, ENCODING, AUTHORIZATION))
"""Headers of a request that its challenger gets, too."""


class RestCall(Call):
    """An inference request over HTTP; ``respond`` is called with the response."""

    protocol = "rest"

    def __init__(
        self,
        app: App,
        headers: Mapping[bytes, bytes],
        body: bytes | bytearray,
        respond: Respond,
        *,
        keep: bool = True,
    ) -> None:
        super().__init__(headers)
        self._app = app
        self._body = body
        self._respond = respond
        self.keep = keep
        """Whether the connection stays open."""

    def read(self) -> Rows:
        """The request, checked."""
        return self._app.rows(self.headers, self._body, all_outputs=self.says_routed)

    def answer(self, outcome: Given | Exception) -> int:
        """Respond."""
        reply = self._app.reply(outcome, self.rows, routed=self.says_routed)
        self._respond(self, reply)
        return reply.status

    def forward(self, context: dict[bytes, bytes]) -> Forward:
        """The request as it came."""
        if not context and PASSED_ON.isdisjoint(self.headers):
            return Forward(bytes(self._body), context)
        return Forward(bytes(self._body), sendable(self.headers, PASSED_ON) | context)

    def patience(self) -> float:
        """Seconds until the caller is told that there is no answer in time."""
        return self._app.timeout - (time.perf_counter() - self.started)


Respond = Callable[[RestCall, Reply], None]


class App:
    """One pod's application."""

    def __init__(
        self,
        inference: Inference,
        metrics: Metrics,
        behind: Asgi,
        timeout: float,
        connections: Connections | None = None,
    ) -> None:
        self.draining = False
        self.port = Port(Connections(HTTP) if connections is None else connections, inference.budget, LARGEST_BODY)
        """The limits of the port that this is served on."""
        self._inference = inference
        self._predictor = inference.predictor
        self._metrics = metrics
        self._behind = behind
        self.timeout = timeout
        self._base = f"/v2/models/{self._predictor.model}"
        self._versioned = f"{self._base}/versions/{self._predictor.version}"
        self.infer_paths = {f"{self._base}/infer".encode(), f"{self._versioned}/infer".encode()}
        self._most_values = most_values(len(self._predictor.checker.columns))
        self._explanations = Explanations(self._predictor)
        self.heads = CallersHeads()
        """Of requests to those paths: what the server's protocol need not parse."""
        self._reply_heads: dict[tuple[str, str], bytes] = {}

    def turns_away(self) -> bool:
        """Whether callers shall connect anew: they will come to another pod."""
        return self.draining or self._inference.turns_away()

    def infer(self, call: RestCall) -> None:
        """Answer an inference request, now or later: call.is_answered says which."""
        self._inference.take(call)

    def reply(self, outcome: Given | Exception, rows: Rows, *, routed: bool) -> Reply:
        """The response that tells an outcome."""
        try:
            if isinstance(outcome, Exception):
                raise outcome
            return self._encoded(rows, outcome)
        except RefusedError as error:
            return refused(error)
        except TimeoutError:
            return failed(504, "DeadlineExceeded", f"not answered within {self.timeout:g} s")
        except NoAnswerError:
            head = f"{INVALID_HEADER}: 1\r\n".encode() if routed else b""
            return failed(500, "InvalidScore", "the model gave no probability", head)
        except Exception as error:
            # Its message may hold values: only its type is told.
            log.error("inference failed: %s", type(error).__name__)
            return failed(500, "InternalError", "the model could not answer")

    def rows(self, headers: Mapping[bytes, bytes], body: bytes | bytearray, *, all_outputs: bool = False) -> Rows:
        """A request, checked.

        Raises:
            RefusedError: it is wrong.
        """
        content = plain(body, headers.get(ENCODING))
        request = codec.decode(content, headers.get(JSON_LENGTH), self._most_values)
        return self._predictor.checker.rows(request, all_outputs=all_outputs)

    def _encoded(self, rows: Rows, given: Given) -> Reply:
        encoded = codec.encode(rows, given)
        head = self._head_of(given.model, given.version, given.digest, given.arm)
        if encoded.json_length is not None:
            head = head.replace(b"application/json", b"application/octet-stream")
            head += b"inference-header-content-length: %d\r\n" % encoded.json_length
        return Reply(200, head, encoded.content)

    def _head_of(self, model: str, version: str, digest: str, arm: str) -> bytes:
        key = (digest, arm)
        if key not in self._reply_heads:
            if len(self._reply_heads) > 64:
                self._reply_heads.clear()
            said = {
                names.MODEL_HEADER: model,
                names.VERSION_HEADER: version,
                names.DIGEST_HEADER: digest,
                names.ARM_HEADER: arm,
            }
            self._reply_heads[key] = JSON_HEAD + b"".join(f"{k}: {v}\r\n".encode() for k, v in said.items())
        return self._reply_heads[key]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer what the server's protocol left: pipelined inference, metadata, health, and all that is BentoML's."""
        reply = await self._replied(scope, receive)
        if reply is None:
            await self._behind(scope, receive, send)
        else:
            await send_reply(send, reply, close=self.turns_away())

    async def _replied(self, scope: Scope, receive: Receive) -> Reply | None:
        """The response, unless the request is for BentoML."""
        method, path, headers = scope["method"], scope["path"], dict(scope["headers"])
        if path.encode() in self.infer_paths:
            return await self._inferred(headers, receive) if method == "POST" else wrong_method("POST")
        if path in self._explanations.paths:
            return await self._explained(headers, receive) if method == "POST" else wrong_method("POST")
        known = self._known(path)
        if known is not None:
            return known if method in ("GET", "HEAD") else wrong_method("GET, HEAD")
        if path.startswith("/v2"):
            return failed(404, "NotFound", f"there is no such path; the model is {self._predictor.model}")
        try:
            self._inference.authenticate(headers)
        except RefusedError as error:
            return refused(error)
        return None

    async def _inferred(self, headers: dict[bytes, bytes], receive: Receive) -> Reply:
        replied: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        self.infer(RestCall(self, headers, await body_of(receive), lambda _, reply: replied.set_result(reply)))
        return await asyncio.shield(replied)

    async def _explained(self, headers: dict[bytes, bytes], receive: Receive) -> Reply:
        try:
            self._inference.authenticate(headers)
            async with asyncio.timeout(self.timeout):
                rows = self.rows(headers, await body_of(receive))
                content = await self._explanations.answer(rows, CHAMPION)
            bundle = self._predictor.bundle
            reply = Reply(
                200, self._head_of(self._predictor.model, self._predictor.version, bundle.digest, CHAMPION), content
            )
        except RefusedError as error:
            reply = refused(error)
        except TimeoutError:
            reply = failed(504, "DeadlineExceeded", f"not answered within {self.timeout:g} s")
        except Exception as error:
            log.error("explanation failed: %s", type(error).__name__)
            reply = failed(500, "InternalError", "the model could not be explained")
        self._metrics.explained(reply.status)
        return reply

    def _known(self, path: str) -> Reply | None:
        signature = self._predictor.bundle.signature
        if path in ("/livez", "/v2/health/live"):
            return Reply(200, JSON_HEAD, b'{"live":true}')
        if path in ("/readyz", "/v2/health/ready", f"{self._base}/ready", f"{self._versioned}/ready"):
            if self.draining:
                return Reply(503, JSON_HEAD, b'{"ready":false}')
            return Reply(200, JSON_HEAD, msgspec.json.encode({"name": signature.model, "ready": True}))
        if path == "/metrics":
            return Reply(200, b"content-type: " + CONTENT_TYPE + b"\r\n", self._metrics.text())
        if path in ("/v2", "/v2/"):
            return Reply(200, JSON_HEAD, msgspec.json.encode(server_metadata()))
        if path == "/v2/openapi.json":
            return Reply(200, JSON_HEAD, msgspec.json.encode(openapi(signature)))
        if path in (self._base, self._versioned):
            return Reply(200, JSON_HEAD, msgspec.json.encode(model_metadata(signature)))
        return None
