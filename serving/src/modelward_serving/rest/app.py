"""REST over ASGI: the endpoints of the route table, and BentoML behind them."""

from __future__ import annotations

from modelward_api.resources.reasons import Reason
from modelward_serving.errors import RefusedError
from modelward_serving.inference.dispatch import Inference
from modelward_serving.limits import MAX_BODY
from modelward_serving.observability.metrics import Metrics
from modelward_serving.rest.call import RestCall
from modelward_serving.rest.codec import RestCodec
from modelward_serving.rest.endpoints import Endpoints
from modelward_serving.transport.connections import HTTP, Connections, Port
from modelward_serving.transport.header_cache import RequestHeaderCache
from modelward_serving.transport.reply import (
    Asgi,
    Receive,
    Reply,
    Scope,
    Send,
    failed,
    refused,
    send_reply,
    wrong_method,
)


class App:
    """One pod's application."""

    def __init__(
        self,
        inference: Inference,
        metrics: Metrics,
        bento: Asgi,
        timeout: float,
        connections: Connections | None = None,
    ) -> None:
        self.terminating = False
        self.port = Port(Connections(HTTP) if connections is None else connections, inference.budget, MAX_BODY)
        """Limits of the port that serves this application."""
        self.codec = RestCodec(inference.predictor, timeout)
        self._inference = inference
        self._bento = bento
        endpoints = Endpoints(inference, metrics, self.codec, lambda: not self.terminating)
        self.routes = endpoints.routes()
        self._by_path = {path: route for route in self.routes for path in (route.path, *route.aliases)}
        self.infer_paths = {route.path.encode() for route in self.routes if route.handler == endpoints.infer}
        """Inference paths, which InferenceHttpProtocol answers directly."""
        self.heads = RequestHeaderCache()
        """Parsed headers of requests to those paths."""

    def draining(self) -> bool:
        """Whether clients should reconnect, to reach another pod."""
        return self.terminating or self._inference.draining()

    def infer(self, call: RestCall) -> None:
        """Handle an inference request; see Inference.take()."""
        self._inference.take(call)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer what InferenceHttpProtocol leaves: pipelined inference, the other endpoints, BentoML."""
        reply = await self._replied(scope, receive)
        if reply is None:
            await self._bento(scope, receive, send)
        else:
            await send_reply(send, reply, close=self.draining())

    async def _replied(self, scope: Scope, receive: Receive) -> Reply | None:
        """Return the response; None if the request is for BentoML."""
        path, headers = scope["path"], dict(scope["headers"])
        route = self._by_path.get(path)
        if route is None and path.startswith("/v2"):
            model = self._inference.predictor.model
            return failed(404, Reason.NOT_FOUND, f"no such path; this pod serves the model {model}")
        if route is not None and scope["method"] not in route.methods:
            return wrong_method(", ".join(route.methods))
        try:
            if route is None or route.needs_token:
                self._inference.authenticate(headers)
            if route is None:
                return None
            reply = await route.handler(headers, receive)
        except RefusedError as error:
            reply = refused(error)
        if route is not None and route.count is not None:
            route.count(reply.status)
        return reply
