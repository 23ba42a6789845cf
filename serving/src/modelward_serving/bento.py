"""The BentoML service: documentation page, its own API, and all paths outside the Open Inference Protocol.

It is loaded on first use, in a thread: loading takes a second and 60 MB, and most pods never need it.

BentoML writes invalid requests, values included, to its log and to clients, and accepts other content than JSON. So it only gets
requests that were validated here, and its error responses are not passed on.
"""

from __future__ import annotations

import asyncio
import logging
import os
from typing import Any

import msgspec

from modelward_api.resources.reasons import Reason
from modelward_serving.protocol.compression import plain
from modelward_serving.protocol.headers import ENCODING
from modelward_serving.protocol.json_limits import check_values, max_values

os.environ.setdefault("BENTOML_HOME", "/tmp/bentoml")  # noqa: S108

from modelward_serving.errors import RefusedError
from modelward_serving.model.predictor import Predictor
from modelward_serving.observability import logs
from modelward_serving.transport.reply import (
    Message,
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

log = logging.getLogger("modelward.serving")

PREDICT, SIGNATURE = "/predict", "/signature"
PAGES = frozenset({"/", "/docs.json", "/schema.json", "/healthz"})
FILES = "/static_content/"
PASSED_ON = frozenset({b"host", b"accept", b"user-agent"})


class ByColumn(msgspec.Struct):
    """Request body of /predict."""

    inputs: dict[str, list[bool | int | float | str | None]]


_decoder = msgspec.json.Decoder(ByColumn)


class BentoApp:
    """BentoML's ASGI application, loaded on first use."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self._loading = asyncio.Lock()
        self._application: Any = None
        self._said: asyncio.Queue[Message] = asyncio.Queue()
        self._life: asyncio.Task[None] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a valid request to BentoML; refuse all others."""
        path, body = scope["path"], b""
        try:
            refusal = _wrong_path(scope["method"], path)
            if refusal is None and path in (PREDICT, SIGNATURE):
                body = self._checked(path, dict(scope["headers"]), await body_of(receive))
        except RefusedError as error:
            refusal = refused(error)
        if refusal is not None:
            await send_reply(send, refusal)
            return
        async with self._loading:
            if self._application is None:
                await self._load()
        await self._ask(_plain(scope, body), body, send)

    def _checked(self, path: str, headers: dict[bytes, bytes], body: bytes) -> bytes:
        """Validate a body and return it as BentoML gets it.

        Raises:
            RefusedError: the body is invalid.
        """
        kind = headers.get(b"content-type", b"application/json").partition(b";")[0].strip().lower()
        if kind != b"application/json":
            raise RefusedError(415, Reason.UNSUPPORTED_CONTENT, "Content-Type", "must be application/json")
        content = plain(body, headers.get(ENCODING))
        if path == SIGNATURE:
            return b"{}"
        check_values(content, max_values(len(self._predictor.validator.columns)))
        try:
            request = _decoder.decode(content)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            rule = 'the body must be JSON with the values of each column: {"inputs": {"age": [61], "sex": ["f"]}}'
            raise RefusedError(400, Reason.NOT_A_REQUEST, "", rule) from error
        self._predictor.checked(request.inputs)
        return msgspec.json.encode(request)

    async def _ask(self, scope: Scope, body: bytes, send: Send) -> None:
        """Pass BentoML's response on, unless it is an error."""
        given = [{"type": "http.request", "body": body, "more_body": False}]
        never: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        status = 0

        async def receive() -> Message:
            return given.pop() if given else await never

        async def answer(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            if status < 400:
                await send(message)

        try:
            await self._application(scope, receive, answer)
        except Exception as error:
            log.error("BentoML failed: %s", type(error).__name__)
            status = status or 500
        if status == 404:
            await send_reply(send, failed(404, Reason.NOT_FOUND, "no such path"))
        elif status >= 400:
            await send_reply(send, failed(500, Reason.INTERNAL_ERROR, "the model failed"))

    async def close(self) -> None:
        """Shut the application down."""
        if self._life is not None:
            self._said.put_nowait({"type": "lifespan.shutdown"})
            await self._life

    async def _load(self) -> None:
        loop = asyncio.get_running_loop()
        application = await loop.run_in_executor(None, lambda: bento_service(self._predictor).to_asgi())
        logs.adopt()
        started = loop.create_future()

        async def heard(message: Message) -> None:
            if not started.done():
                started.set_result(message["type"])

        self._said.put_nowait({"type": "lifespan.startup"})
        self._life = loop.create_task(
            application({"type": "lifespan", "asgi": {"version": "3.0"}}, self._said.get, heard)
        )
        await started
        self._application = application


def _wrong_path(method: str, path: str) -> Reply | None:
    """Return the refusal of a path that BentoML does not serve."""
    if path in (PREDICT, SIGNATURE):
        return None if method == "POST" else wrong_method("POST")
    if path in PAGES or path.startswith(FILES):
        return None if method in ("GET", "HEAD") else wrong_method("GET, HEAD")
    return failed(404, Reason.NOT_FOUND, "no such path")


def _plain(scope: Scope, body: bytes) -> Scope:
    """Return the request with only what BentoML needs."""
    headers = [(name, value) for name, value in scope["headers"] if name in PASSED_ON]
    if body:
        headers += [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    return {**scope, "headers": headers, "query_string": b""}


def bento_service(predictor: Predictor) -> Any:
    """Return a BentoML service for the same model; its ``to_asgi()`` is the application."""
    import bentoml

    @bentoml.service(name=predictor.model, traffic={"timeout": 60}, metrics={"enabled": False})
    class Model:
        """A Modelward model. Clients use the Open Inference Protocol at /v2; this API is for trying the model out."""

        @bentoml.api(route=PREDICT)  # type: ignore[untyped-decorator]
        def predict(self, inputs: dict[str, list[Any]]) -> dict[str, list[Any]]:
            """Score rows given by column: ``{"inputs": {"age": [61], "sex": ["f"]}}``; null is missing."""
            return predictor.by_column(inputs)

        @bentoml.api(route=SIGNATURE)  # type: ignore[untyped-decorator]
        def signature(self) -> dict[str, Any]:
            """Return the model's inputs and outputs."""
            return predictor.bundle.signature.to_json()

    return Model
