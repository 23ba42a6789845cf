"""The REST endpoints. A new one is one Route: its paths, its handler, and its entry in the OpenAPI document."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from modelward_api.resources.reasons import Reason
from modelward_serving.errors import RefusedError
from modelward_serving.inference.dispatch import CHAMPION, Inference
from modelward_serving.model.explain import Explanations
from modelward_serving.observability.metrics import CONTENT_TYPE, Metrics
from modelward_serving.protocol import openapi
from modelward_serving.protocol.headers import JSON_HEAD
from modelward_serving.protocol.metadata import model_metadata, server_metadata
from modelward_serving.rest.call import RestCall
from modelward_serving.rest.codec import RestCodec
from modelward_serving.transport.reply import Receive, Reply, body_of, failed

log = logging.getLogger("modelward.serving")

Handler = Callable[[Mapping[bytes, bytes], Receive], Awaitable[Reply]]
"""Takes a request's headers, and what delivers its body; raises RefusedError for a request that is wrong."""
GET, POST = ("GET", "HEAD"), ("POST",)


@dataclass(frozen=True)
class Route:
    """One endpoint."""

    methods: tuple[str, ...]
    path: str
    handler: Handler
    operation: dict[str, Any]
    """Its entry in the OpenAPI document."""
    aliases: tuple[str, ...] = ()
    """Other spellings of the path, which the document leaves out."""
    needs_token: bool = True
    """Whether App authenticates the client before the handler is called."""
    count: Callable[[int], None] | None = None
    """Called with the status of each response."""


class Endpoints:
    """The handlers of one model's endpoints."""

    def __init__(self, inference: Inference, metrics: Metrics, codec: RestCodec, is_ready: Callable[[], bool]) -> None:
        self._inference = inference
        self._predictor = inference.predictor
        self._signature = inference.predictor.bundle.signature
        self._metrics = metrics
        self._codec = codec
        self._is_ready = is_ready
        self._explanations = Explanations(inference.predictor)

    def routes(self) -> tuple[Route, ...]:
        """The route table."""
        signature = self._signature
        routes = [
            Route(GET, "/livez", self.live, openapi.live("livez"), needs_token=False),
            Route(GET, "/readyz", self.ready, openapi.ready("readyz"), needs_token=False),
            Route(GET, "/metrics", self.metrics, openapi.metrics("metrics"), needs_token=False),
            Route(GET, "/v2", self.server, openapi.server("server"), ("/v2/",), needs_token=False),
            Route(GET, "/v2/health/live", self.live, openapi.live("live"), needs_token=False),
            Route(GET, "/v2/health/ready", self.ready, openapi.ready("ready"), needs_token=False),
            Route(GET, "/v2/openapi.json", self.document, openapi.itself("openapi"), needs_token=False),
        ]
        model = f"/v2/models/{signature.model}"
        for base, of in ((model, ""), (f"{model}/versions/{signature.version}", "OfVersion")):
            infer, explain = openapi.infer(signature, f"infer{of}"), openapi.explain(signature, f"explain{of}")
            counted = self._metrics.explained
            routes += [
                Route(GET, base, self.model, openapi.model(f"metadata{of}"), needs_token=False),
                Route(GET, f"{base}/ready", self.ready, openapi.ready(f"modelReady{of}"), needs_token=False),
                # Inference authenticates the client itself, where a refusal is measured, too.
                Route(POST, f"{base}/infer", self.infer, infer, needs_token=False),
                Route(POST, f"{base}/explain", self.explain, explain, count=counted),
            ]
        return tuple(routes)

    async def live(self, _headers: Mapping[bytes, bytes], _receive: Receive) -> Reply:
        """Tell that the process lives."""
        return Reply(200, JSON_HEAD, b'{"live":true}')

    async def ready(self, _headers: Mapping[bytes, bytes], _receive: Receive) -> Reply:
        """Tell whether the model answers, and will go on to."""
        if not self._is_ready():
            return Reply(503, JSON_HEAD, b'{"ready":false}')
        return _json({"name": self._signature.model, "ready": True})

    async def metrics(self, _headers: Mapping[bytes, bytes], _receive: Receive) -> Reply:
        """Return the metrics in Prometheus's text format."""
        return Reply(200, b"content-type: " + CONTENT_TYPE + b"\r\n", self._metrics.text())

    async def server(self, _headers: Mapping[bytes, bytes], _receive: Receive) -> Reply:
        """Describe the server."""
        return _json(server_metadata())

    async def model(self, _headers: Mapping[bytes, bytes], _receive: Receive) -> Reply:
        """Describe the model."""
        return _json(model_metadata(self._signature))

    async def document(self, _headers: Mapping[bytes, bytes], _receive: Receive) -> Reply:
        """Return the OpenAPI document of this table."""
        paths = {route.path: {route.methods[0].lower(): route.operation} for route in self.routes()}
        return _json(openapi.document(self._signature, paths))

    async def infer(self, headers: Mapping[bytes, bytes], receive: Receive) -> Reply:
        """Score rows of pipelined requests; the server's protocol answers all others."""
        replied: asyncio.Future[Reply] = asyncio.get_running_loop().create_future()
        body = await body_of(receive)
        self._inference.take(RestCall(self._codec, headers, body, lambda _, reply: replied.set_result(reply)))
        return await asyncio.shield(replied)

    async def explain(self, headers: Mapping[bytes, bytes], receive: Receive) -> Reply:
        """Say what each column added to the scores."""
        timeout, predictor = self._codec.timeout, self._predictor
        try:
            async with asyncio.timeout(timeout):
                rows = self._codec.rows(headers, await body_of(receive))
                content = await self._explanations.explain(rows, CHAMPION)
            head = self._codec.head(predictor.model, predictor.version, predictor.bundle.digest, CHAMPION)
            return Reply(200, head, content)
        except RefusedError:
            raise
        except TimeoutError:
            return failed(504, Reason.DEADLINE_EXCEEDED, f"the request timed out after {timeout:g} s")
        except Exception as error:
            log.error("explanation failed: %s", type(error).__name__)
            return failed(500, Reason.INTERNAL_ERROR, "the explanation failed")


def _json(document: object) -> Reply:
    return Reply(200, JSON_HEAD, msgspec.json.encode(document))
