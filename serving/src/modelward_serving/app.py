"""The ASGI application: the Open Inference Protocol answered in front of BentoML, everything else by it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec

from modelward_api import names
from modelward_api.names import DECISION, SCORE
from modelward_serving.explain import Explanations
from modelward_serving.metrics import CONTENT_TYPE, Metrics
from modelward_serving.predictor import InvalidScoreError, Predictor
from modelward_serving.protocol import LARGEST_BODY, Answer, RefusedError, Rows, encode
from modelward_serving.router import INVALID_HEADER, Own, Router

log = logging.getLogger("modelward.serving")

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]

JSON = b"application/json"
CHAMPION, CHALLENGER, ALONE = "champion", "challenger", "routed"


class App:
    """One pod's application."""

    def __init__(self, predictor: Predictor, router: Router, metrics: Metrics, behind: Asgi, timeout: float) -> None:
        self.draining = False
        self._predictor = predictor
        self._router = router
        self._metrics = metrics
        self._behind = behind
        self._timeout = timeout
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="score") if predictor.session.slow else None
        self._infer = {
            f"/v2/models/{predictor.model}/infer",
            f"/v2/models/{predictor.model}/versions/{predictor.version}/infer",
        }
        self._explanations = Explanations(predictor)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._behind(scope, receive, send)
            return
        path = scope["path"]
        if path in self._infer and scope["method"] == "POST":
            await self._inference(scope, receive, send)
            return
        if path in self._explanations.paths and scope["method"] == "POST":
            await self._explanation(receive, send)
            return
        known = self._known(scope["method"], path)
        if known is not None:
            await self._send(send, *known)
        elif path.startswith("/v2"):
            await self._send(
                send, 404, _error("NotFound", f"there is no such path; the model is {self._predictor.model}")
            )
        else:
            await self._behind(scope, receive, send)

    def _known(self, method: str, path: str) -> tuple[int, bytes] | tuple[int, bytes, bytes] | None:
        if method not in ("GET", "HEAD"):
            return None
        model = f"/v2/models/{self._predictor.model}"
        versioned = f"{model}/versions/{self._predictor.version}"
        if path in ("/livez", "/v2/health/live"):
            return 200, b'{"live":true}'
        if path in ("/readyz", "/v2/health/ready", f"{model}/ready", f"{versioned}/ready"):
            return (503, b'{"ready":false}') if self.draining else (200, b'{"ready":true}')
        if path == "/metrics":
            return 200, self._metrics.text(), CONTENT_TYPE
        if path == "/v2":
            return 200, b'{"name":"modelward","version":"2","extensions":[]}'
        if path in (model, versioned):
            return 200, msgspec.json.encode(self._metadata())
        return None

    def _metadata(self) -> dict[str, Any]:
        signature = self._predictor.bundle.signature
        inputs = [
            {"name": c.name, "datatype": "BYTES" if c.kind == "categorical" else "FP32", "shape": [-1, 1]}
            for c in signature.inputs
        ]
        return {
            "name": signature.model,
            "versions": [signature.version],
            "platform": "onnx_onnxv1",
            "inputs": inputs,
            "outputs": [
                {"name": SCORE, "datatype": "FP32", "shape": [-1, 1]},
                {"name": DECISION, "datatype": "BOOL", "shape": [-1, 1]},
            ],
        }

    async def _inference(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.perf_counter()
        headers = dict(scope["headers"])
        arm, status, rows, extra = ALONE, 500, 0, {}
        try:
            async with asyncio.timeout(self._timeout):
                body = await _body(receive)
                checked = self._predictor.checker.rows(body)
                rows = checked.count
                status, content, arm, extra = await self._decide(body, checked, headers)
        except RefusedError as error:
            status, content = error.status, error.body()
        except TimeoutError:
            status, content = 504, _error("DeadlineExceeded", f"not answered within {self._timeout:g} s")
        except Exception as error:
            # Its message may hold values: only its type is told.
            log.error("inference failed: %s", type(error).__name__)
            status, content = 500, _error("InternalError", "the model could not answer")
        self._metrics.saw(arm, status, time.perf_counter() - started, rows)
        await self._send(send, status, content, JSON, extra)

    async def _explanation(self, receive: Receive, send: Send) -> None:
        extra: dict[str, str] = {}
        try:
            async with asyncio.timeout(self._timeout):
                rows = self._predictor.checker.rows(await _body(receive))
                status, content = 200, await self._explanations.answer(rows, CHAMPION)
            extra = self._headers(CHAMPION, self._predictor.version, self._predictor.bundle.digest)
        except RefusedError as error:
            status, content = error.status, error.body()
        except TimeoutError:
            status, content = 504, _error("DeadlineExceeded", f"not answered within {self._timeout:g} s")
        except Exception as error:
            log.error("explanation failed: %s", type(error).__name__)
            status, content = 500, _error("InternalError", "the model could not be explained")
        self._metrics.explained(status)
        await self._send(send, status, content, JSON, extra)

    async def _decide(
        self, body: bytes, rows: Rows, headers: dict[bytes, bytes]
    ) -> tuple[int, bytes, str, dict[str, str]]:
        started = time.perf_counter()
        answer: Answer | None = None
        try:
            answer = await self._own(rows)
        except InvalidScoreError:
            log.error("the model gave no probability")
        except Exception as error:
            log.error("the model failed: %s", type(error).__name__)
        own = Own(answer, time.perf_counter() - started)
        if names.ROUTED_HEADER.encode() in headers:
            if answer is None:
                return 500, _error("InvalidScore", "the model gave no probability"), ALONE, {INVALID_HEADER: "1"}
            return self._encoded(rows, answer, ALONE)
        if answer is not None:
            self._predictor.profile.count(rows.columns, answer.scores)
        return await self._routed(body, rows, headers, own)

    async def _routed(
        self, body: bytes, rows: Rows, headers: dict[bytes, bytes], own: Own
    ) -> tuple[int, bytes, str, dict[str, str]]:
        lease, answer, is_challengers = self._router.lease(), own.answer, False
        if lease is not None:
            sticky = None
            if lease.sticky_header is not None:
                value = headers.get(lease.sticky_header.lower().encode())
                sticky = value.decode("latin-1") if value is not None else None
            answer, is_challengers = await self._router.answer(lease, body, rows, own, sticky)
        if answer is None:
            return 500, _error("InvalidScore", "the model gave no probability"), CHAMPION, {}
        if is_challengers and lease is not None:
            return self._encoded(rows, answer, CHALLENGER, lease.challenger.version, lease.challenger.digest)
        return self._encoded(rows, answer, CHAMPION)

    async def _own(self, rows: Rows) -> Answer:
        if self._executor is None:
            return self._predictor.answer(rows)
        return await asyncio.get_running_loop().run_in_executor(self._executor, self._predictor.answer, rows)

    def _encoded(
        self, rows: Rows, answer: Answer, arm: str, version: str | None = None, digest: str | None = None
    ) -> tuple[int, bytes, str, dict[str, str]]:
        version, digest = version or self._predictor.version, digest or self._predictor.bundle.digest
        content = encode(rows, answer, self._predictor.model, version, digest, arm)
        return 200, content, arm, self._headers(arm, version, digest)

    def _headers(self, arm: str, version: str, digest: str) -> dict[str, str]:
        return {
            names.MODEL_HEADER: self._predictor.model,
            names.VERSION_HEADER: version,
            names.DIGEST_HEADER: digest,
            names.ARM_HEADER: arm,
        }

    async def _send(
        self, send: Send, status: int, content: bytes, type_: bytes = JSON, extra: dict[str, str] | None = None
    ) -> None:
        headers = [(b"content-type", type_), (b"content-length", str(len(content)).encode())]
        headers += [(name.encode(), value.encode()) for name, value in (extra or {}).items()]
        if self.draining:  # the caller's next request opens a connection to a pod that stays
            headers.append((b"connection", b"close"))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": content})


async def _body(receive: Receive) -> bytes:
    message = await receive()
    body: bytes = message.get("body", b"")
    if not message.get("more_body"):
        return body
    parts = bytearray(body)
    while message.get("more_body"):
        message = await receive()
        parts += message.get("body", b"")
        if len(parts) > LARGEST_BODY:
            raise RefusedError(413, "TooLarge", "", f"a body may have {LARGEST_BODY} bytes at most")
    return bytes(parts)


def _error(reason: str, message: str) -> bytes:
    return msgspec.json.encode({"error": message, "reason": reason})
