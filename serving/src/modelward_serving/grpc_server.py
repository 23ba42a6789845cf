"""gRPC: the Open Inference Protocol's service, health and reflection, on the same loop and through the same code as REST."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from modelward_api import names
from modelward_serving import messages, rest
from modelward_serving._generated import open_inference_pb2 as pb
from modelward_serving.inference import CHAMPION, Caller, Inference, NoAnswerError
from modelward_serving.metadata import model_metadata, server_metadata
from modelward_serving.metrics import Metrics
from modelward_serving.tensors import LARGEST_BODY, InferenceRequest, RefusedError

log = logging.getLogger("modelward.serving")

SERVICE = "inference.GRPCInferenceService"
OLDEST_CONNECTION = 20.0
"""Seconds after which a connection is asked to end, give or take a tenth. gRPC can ask so only by age, or by ending the server,
which loses the calls that it has not yet begun: so this is how long callers may stay with a pod that the Service left."""


def _options(oldest_connection: float) -> tuple[tuple[str, int], ...]:
    return (
        ("grpc.max_receive_message_length", LARGEST_BODY),
        ("grpc.so_reuseport", 0),
        ("grpc.max_connection_age_ms", int(1000 * oldest_connection)),
        ("grpc.max_connection_age_grace_ms", 60_000),
        ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
    )


CODES = {413: grpc.StatusCode.RESOURCE_EXHAUSTED, 404: grpc.StatusCode.NOT_FOUND}

Context = Any
"""grpc.aio.ServicerContext, for whose messages nobody has written types."""


class GrpcServer:
    """One pod's gRPC server."""

    def __init__(
        self, inference: Inference, metrics: Metrics, timeout: float, oldest_connection: float = OLDEST_CONNECTION
    ) -> None:
        self._inference = inference
        self._metrics = metrics
        self._timeout = timeout
        self._signature = inference.predictor.bundle.signature
        self._ready = True
        self._health = health.aio.HealthServicer()
        self._leaving_takes = 1.15 * oldest_connection
        self._last_call: float | None = None
        self._server = grpc.aio.server(options=_options(oldest_connection))
        self._server.add_generic_rpc_handlers((self._handlers(),))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection((SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), self._server)

    async def start(self, address: str, credentials: grpc.ServerCredentials | None = None) -> None:
        """Listen.

        Raises:
            RuntimeError: the address is taken.
        """
        if credentials is None:
            self._server.add_insecure_port(address)
        else:
            self._server.add_secure_port(address, credentials)
        await self._say(health_pb2.HealthCheckResponse.SERVING)
        await self._server.start()

    async def turn_away(self) -> None:
        """Say that nobody new should come; answer all the same."""
        self._ready = False
        await self._say(health_pb2.HealthCheckResponse.NOT_SERVING)

    async def stop(self, turned_away: float) -> None:
        """Answer on until every connection that there was has been asked to end, finish what has begun, end.

        Args:
            turned_away: Seconds since turn_away(): since when no new connections came.
        """
        if self._last_call is not None and time.monotonic() - self._last_call < self._leaving_takes + turned_away:
            await asyncio.sleep(max(0.0, self._leaving_takes - turned_away))
        await self._server.stop(self._timeout)

    async def _say(self, status: Any) -> None:
        for service in ("", SERVICE):
            await self._health.set(service, status)

    def _handlers(self) -> grpc.GenericRpcHandler:
        def unary(method: Any, request: Any) -> grpc.RpcMethodHandler:
            return grpc.unary_unary_rpc_method_handler(
                method, request_deserializer=request.FromString, response_serializer=lambda m: m.SerializeToString()
            )

        return grpc.method_handlers_generic_handler(
            SERVICE,
            {
                # Its bytes are parsed inside, so that what is no message is refused in our words.
                "ModelInfer": grpc.unary_unary_rpc_method_handler(self._infer),
                "ServerLive": unary(self._server_live, pb.ServerLiveRequest),
                "ServerReady": unary(self._server_ready, pb.ServerReadyRequest),
                "ModelReady": unary(self._model_ready, pb.ModelReadyRequest),
                "ServerMetadata": unary(self._server_metadata, pb.ServerMetadataRequest),
                "ModelMetadata": unary(self._model_metadata, pb.ModelMetadataRequest),
            },
        )

    async def _infer(self, content: bytes, context: Context) -> bytes:
        started = time.perf_counter()
        self._last_call = time.monotonic()
        arm, code, count = CHAMPION, 200, 0
        refusal: tuple[grpc.StatusCode, str] | None = None
        response = b""
        try:
            message = messages.parse(content)
            self._check_model(message.model_name, message.model_version)
            arm, count, response = await self._answer(message, context)
        except RefusedError as error:
            code = error.status
            refusal = CODES.get(code, grpc.StatusCode.INVALID_ARGUMENT), f"{error.reason}: {error.message}"
        except TimeoutError:
            code, refusal = 504, (grpc.StatusCode.DEADLINE_EXCEEDED, "not answered in time")
        except NoAnswerError:
            code, refusal = 500, (grpc.StatusCode.INTERNAL, "InvalidScore: the model gave no probability")
        except Exception as error:
            # Its message may hold values: only its type is told.
            log.error("inference failed: %s", type(error).__name__)
            code, refusal = 500, (grpc.StatusCode.INTERNAL, "InternalError: the model could not answer")
        self._metrics.saw("grpc", arm, code, time.perf_counter() - started, count)
        if refusal is not None:
            await context.abort(*refusal)
        return response

    async def _answer(self, message: pb.ModelInferRequest, context: Context) -> tuple[str, int, bytes]:
        request = messages.decode(message)
        raw = bool(message.raw_input_contents)
        rows = self._inference.predictor.checker.rows(request)
        if self._inference.is_immediate():
            given = self._inference.now(rows, routed=False)
            self._inference.count(rows, given)
        else:
            given = await self._awaited(request, rows, context)
        return given.arm, rows.count, messages.encode(rows, given, raw=raw).SerializeToString()

    async def _awaited(self, request: InferenceRequest, rows: Any, context: Context) -> Any:
        remaining = context.time_remaining()
        metadata = {
            key.encode(): value.encode() for key, value in context.invocation_metadata() or () if type(value) is str
        }
        routed = names.ROUTED_HEADER.encode() in metadata
        self._metrics.in_flight += 1
        try:
            async with asyncio.timeout(self._timeout if remaining is None else min(self._timeout, remaining)):
                return await self._inference.decide(rows, Caller(rest.forward(request), metadata), routed=routed)
        finally:
            self._metrics.in_flight -= 1

    def _check_model(self, model: str, version: str) -> None:
        if model != self._signature.model:
            raise RefusedError(404, "NotFound", "model_name", f"the model is {self._signature.model}")
        if version not in ("", self._signature.version):
            raise RefusedError(404, "NotFound", "model_version", f"the version is {self._signature.version}")

    async def _server_live(self, _: Any, __: Context) -> Any:
        return pb.ServerLiveResponse(live=True)

    async def _server_ready(self, _: Any, __: Context) -> Any:
        return pb.ServerReadyResponse(ready=self._ready)

    async def _model_ready(self, request: Any, context: Context) -> Any:
        await self._known(request, context)
        return pb.ModelReadyResponse(ready=self._ready)

    async def _server_metadata(self, _: Any, __: Context) -> Any:
        return pb.ServerMetadataResponse(**server_metadata())

    async def _model_metadata(self, request: Any, context: Context) -> Any:
        await self._known(request, context)
        return pb.ModelMetadataResponse(**model_metadata(self._signature))

    async def _known(self, request: Any, context: Context) -> None:
        try:
            self._check_model(request.name, request.version)
        except RefusedError as error:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"{error.reason}: {error.message}")
