"""The gRPC server: Open Inference Protocol, health and reflection, on the same event loop as REST."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import ssl
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import DecodeError
from grpc_health.v1 import health_pb2

from modelward_api.resources.reasons import Reason
from modelward_serving._generated import open_inference_pb2 as pb
from modelward_serving.errors import RefusedError
from modelward_serving.grpc import codec, reflection
from modelward_serving.grpc.framing import (
    HEAD,
    NOT_GRPC,
    PREFIX,
    TIMEOUT,
    WELL,
    Code,
    StatusError,
    declared_timeout,
    framed,
    message_of,
    next_message,
    refuse,
)
from modelward_serving.inference.dispatch import Call, Inference, NoAnswerError
from modelward_serving.limits import MAX_BODY, MAX_REQUEST_SECONDS
from modelward_serving.protocol.fields import sendable
from modelward_serving.protocol.headers import AUTHORIZATION
from modelward_serving.protocol.metadata import model_metadata, server_metadata
from modelward_serving.protocol.prediction import ServedPrediction
from modelward_serving.protocol.tensors import InferenceRequest
from modelward_serving.routing.forward import Forward, forward
from modelward_serving.transport import connections
from modelward_serving.transport.handshake import over_tls
from modelward_serving.transport.http2 import Connection, Memory, Stream
from modelward_serving.validation.request import ValidatedRows

log = logging.getLogger("modelward.serving")

SERVICE, HEALTH = "inference.GRPCInferenceService", "grpc.health.v1.Health"
SERVICES = (SERVICE, HEALTH, reflection.SERVICE)
MAX_CONNECTION_SECONDS = 60.0
"""Seconds until a client is asked to reconnect, plus or minus 10%, so that new pods get their share of connections."""
MAX_FAREWELL_SECONDS = 2.0
"""Seconds that an idle client has to see GOAWAY."""
PERIOD = 0.5
_CODES = {413: Code.RESOURCE_EXHAUSTED, 404: Code.NOT_FOUND, 401: Code.UNAUTHENTICATED, 403: Code.PERMISSION_DENIED}
_CODES |= {501: Code.UNIMPLEMENTED, 503: Code.UNAVAILABLE, 504: Code.DEADLINE_EXCEEDED}
Handler = Callable[[Stream], None]


@dataclass(frozen=True)
class Method:
    """One gRPC method."""

    handler: Handler
    is_streaming: bool = False
    """Whether the handler also runs on each part of a call, before the call is complete."""
    continues: bool = False
    """Whether the handler also runs when the client has read what was pending."""
    needs_token: bool = False
    """Whether the client is authenticated when a call begins."""


REFUSED = Method(lambda _: None)
"""The method of a refused call, while its response waits for the client."""


class GrpcServer:
    """The gRPC server of a pod."""

    largest = PREFIX + MAX_BODY

    def __init__(
        self,
        inference: Inference,
        timeout: float,
        oldest_connection: float = MAX_CONNECTION_SECONDS,
    ) -> None:
        self._inference = inference
        self.timeout = timeout
        self._oldest = oldest_connection
        self._signature = inference.predictor.bundle.signature
        self._ready = True
        self._leaves: dict[Connection, float] = {}
        """The time at which each connection gets GOAWAY."""
        self.connections = connections.Connections(connections.GRPC)
        """Limit of connections."""
        self._memory = Memory(getattr(inference, "budget", None))
        self._watchers: set[Stream] = set()
        self._empty = asyncio.Event()
        self._empty.set()
        self._methods = self._paths()
        self._server: asyncio.Server | None = None
        self._sweeping: asyncio.Task[None] | None = None

    async def start(self, host: str, port: int, tls: ssl.SSLContext | None = None) -> None:
        """Start listening.

        Raises:
            OSError: the address is in use.
        """
        loop = asyncio.get_running_loop()

        def connection() -> Connection:
            return Connection(self, time.monotonic, self._memory)

        self._server = await loop.create_server(over_tls(connection, tls, self.connections), host, port)
        self._sweeping = loop.create_task(self._sweep())

    def drain(self) -> None:
        """Ask all clients to reconnect, and keep serving: they reach other pods once the Service is updated."""
        self._ready = False
        for stream in list(self._watchers):
            stream.send(framed(self._health()))
        for connection in list(self._leaves):
            connection.go_away()

    async def stop(self) -> None:
        """Stop listening, finish open calls, and close."""
        if self._server is None or self._sweeping is None:
            return
        self._server.close()
        self.drain()
        for stream in list(self._watchers):
            stream.end(WELL)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._empty.wait(), self.timeout)
        for connection in list(self._leaves):
            connection.close()
        self._sweeping.cancel()

    def connected(self, connection: Connection) -> None:
        """Handle a new connection."""
        self._empty.clear()
        if not self.connections.admit(connection, connection.peer()):
            connection.abort()
        self._leaves[connection] = connection.began + self._oldest * random.uniform(0.9, 1.1)

    def disconnected(self, connection: Connection) -> None:
        """Handle a closed connection."""
        self.connections.leave(connection)
        self._leaves.pop(connection, None)
        if not self._leaves:
            self._empty.set()

    def begun(self, stream: Stream) -> None:
        """Handle the headers of a call."""
        head = stream.head
        if head.method != b"POST" or not head.headers.get(b"content-type", b"").startswith(b"application/grpc"):
            stream.method = REFUSED
            _not_grpc(stream)
            return
        stream.method = self._methods.get(head.path, REFUSED)
        if stream.method is REFUSED:
            _unknown(stream)
        elif stream.method.needs_token:
            self._authenticate(stream)

    def came(self, stream: Stream) -> None:
        """Handle a part of a call: streaming methods answer each message at once."""
        if stream.method.is_streaming:
            stream.method.handler(stream)

    def completed(self, stream: Stream) -> None:
        """Handle a complete call."""
        stream.method.handler(stream)

    def drained(self, stream: Stream) -> None:
        """Answer the next message: the client has read all responses so far."""
        if stream.method.continues:
            stream.method.handler(stream)

    def too_large(self, stream: Stream) -> None:
        """Refuse a call whose message is too large."""
        rule = f"{Reason.TOO_LARGE}: a message may have at most {MAX_BODY} bytes"
        refuse(stream, StatusError(Code.RESOURCE_EXHAUSTED, rule))

    def too_much(self, stream: Stream) -> None:
        """Refuse the largest call, because the open calls are too large together."""
        rule = f"{Reason.TOO_BUSY}: the open calls have too many bytes together; send fewer at once"
        refuse(stream, StatusError(Code.RESOURCE_EXHAUSTED, rule))

    def dropped(self, stream: Stream) -> None:
        """Handle a cancelled call."""
        self._watchers.discard(stream)

    async def _sweep(self) -> None:
        """End old connections and slow calls, twice a second."""
        while True:
            await asyncio.sleep(PERIOD)
            now = time.monotonic()
            for connection, leaves in list(self._leaves.items()):
                self._look_at(connection, now, leaves)

    def _look_at(self, connection: Connection, now: float, leaves: float) -> None:
        connection.look(now)
        for stream in list(connection.streams.values()):
            slow = not stream.is_complete and not stream.method.is_streaming
            if slow and now - stream.begun > MAX_REQUEST_SECONDS:
                rule = f"{Reason.TOO_SLOW}: a call must be complete within {MAX_REQUEST_SECONDS:g} s"
                refuse(stream, StatusError(Code.DEADLINE_EXCEEDED, rule))
        if now >= leaves:
            connection.go_away()
        if now >= leaves + MAX_FAREWELL_SECONDS:
            for stream in self._watchers & set(connection.streams.values()):
                stream.end(WELL)
            connection.farewell()
        if now >= leaves + MAX_FAREWELL_SECONDS + self.timeout + MAX_REQUEST_SECONDS:
            connection.abort()

    def _paths(self) -> dict[bytes, Method]:
        """The methods by path. Inference authenticates its clients itself, where a refusal is measured, too."""
        simple: dict[str, tuple[Any, Callable[[Any], Any]]] = {
            f"{SERVICE}/ServerLive": (pb.ServerLiveRequest, lambda _: pb.ServerLiveResponse(live=True)),
            f"{SERVICE}/ServerReady": (pb.ServerReadyRequest, lambda _: pb.ServerReadyResponse(ready=self._ready)),
            f"{SERVICE}/ModelReady": (pb.ModelReadyRequest, self._model_ready),
            f"{SERVICE}/ServerMetadata": (
                pb.ServerMetadataRequest,
                lambda _: pb.ServerMetadataResponse(**server_metadata()),
            ),
            f"{SERVICE}/ModelMetadata": (pb.ModelMetadataRequest, self._model_metadata),
            f"{HEALTH}/Check": (health_pb2.HealthCheckRequest, self._check),
        }
        methods = {f"/{path}".encode(): Method(self._simple(*method)) for path, method in simple.items()}
        methods[f"/{SERVICE}/ModelInfer".encode()] = Method(self._infer)
        methods[f"/{HEALTH}/Watch".encode()] = Method(self._watch, is_streaming=True)
        reflect = Method(self._reflect, is_streaming=True, continues=True, needs_token=True)
        return methods | dict.fromkeys(reflection.PATHS, reflect)

    def _simple(self, message: Any, answer: Callable[[Any], Any]) -> Handler:
        def handle(stream: Stream) -> None:
            try:
                response = answer(message.FromString(message_of(stream)))
            except DecodeError:
                refuse(
                    stream,
                    StatusError(Code.INVALID_ARGUMENT, f"the message is not a valid {message.DESCRIPTOR.full_name}"),
                )
            except StatusError as error:
                refuse(stream, error)
            else:
                stream.respond(HEAD, framed(response.SerializeToString()), WELL)

        return handle

    def _infer(self, stream: Stream) -> None:
        self._inference.take(_GrpcCall(self, stream))

    def asked(self, stream: Stream) -> tuple[pb.ModelInferRequest, InferenceRequest, ValidatedRows]:
        """Decode and check a call: its message, request and rows.

        Raises:
            RefusedError: the request is invalid.
            StatusError: the call is invalid, or its timeout has passed.
        """
        declared = declared_timeout(stream) if TIMEOUT in stream.head.headers else None
        if declared is not None and time.monotonic() - stream.begun >= declared:
            raise StatusError(Code.DEADLINE_EXCEEDED, "the request timed out")
        message = codec.parse(message_of(stream))
        self._check_model(message.model_name, message.model_version)
        request = codec.decode(message)
        return message, request, self._inference.predictor.validator.rows(request)

    def failed(self, stream: Stream, error: Exception) -> int:
        """End a failed call; return the HTTP status of the same error."""
        if isinstance(error, RefusedError):
            refusal = StatusError(_CODES.get(error.status, Code.INVALID_ARGUMENT), f"{error.reason}: {error.message}")
            status = error.status
        elif isinstance(error, StatusError):
            refusal, status = error, 504 if error.code == Code.DEADLINE_EXCEEDED else 400
        elif isinstance(error, TimeoutError):
            refusal, status = StatusError(Code.DEADLINE_EXCEEDED, "the request timed out"), 504
        elif isinstance(error, NoAnswerError):
            refusal, status = (
                StatusError(Code.INTERNAL, f"{Reason.INVALID_SCORE}: the model returned an invalid score"),
                500,
            )
        else:
            # Its message may contain values: log only its type.
            log.error("inference failed: %s", type(error).__name__)
            refusal, status = StatusError(Code.INTERNAL, f"{Reason.INTERNAL_ERROR}: the model failed"), 500
        refuse(stream, refusal)
        return status

    def maybe_away(self, stream: Stream) -> None:
        """Ask the client to reconnect if this pod drains."""
        if not self._ready or self._inference.draining():
            stream.connection.go_away()

    def _check_model(self, model: str, version: str) -> None:
        if model != self._signature.model:
            raise RefusedError(
                404, Reason.NOT_FOUND, "model_name", f"no such model; this pod serves {self._signature.model}"
            )
        if version not in ("", self._signature.version):
            raise RefusedError(
                404, Reason.NOT_FOUND, "model_version", f"no such version; this pod serves {self._signature.version}"
            )

    def _model_ready(self, request: Any) -> Any:
        self._known(request)
        return pb.ModelReadyResponse(ready=self._ready)

    def _model_metadata(self, request: Any) -> Any:
        self._known(request)
        return pb.ModelMetadataResponse(**model_metadata(self._signature))

    def _known(self, request: Any) -> None:
        try:
            self._check_model(request.name, request.version)
        except RefusedError as error:
            raise StatusError(Code.NOT_FOUND, f"{error.reason}: {error.message}") from error

    def _check(self, request: Any) -> Any:
        if request.service not in ("", *SERVICES):
            raise StatusError(Code.NOT_FOUND, f"{Reason.NOT_FOUND}: no such service")
        return health_pb2.HealthCheckResponse.FromString(self._health())

    def _health(self) -> bytes:
        kind = health_pb2.HealthCheckResponse
        content: bytes = kind(status=kind.SERVING if self._ready else kind.NOT_SERVING).SerializeToString()
        return content

    def _watch(self, stream: Stream) -> None:
        """Send the status now and on each change, until the client disconnects."""
        try:
            if stream in self._watchers:
                is_wrong = bool(stream.body)
            elif is_wrong := next_message(stream, reflection.MAX_QUESTION) is None:
                is_wrong = stream.is_complete or len(stream.body) > PREFIX + reflection.MAX_QUESTION
            else:
                stream.begin(HEAD)
                stream.send(framed(self._health()))
                self._watchers.add(stream)
            if is_wrong:
                raise StatusError(Code.INVALID_ARGUMENT, f"{Reason.NOT_A_REQUEST}: the call takes exactly one message")
        except StatusError as error:
            refuse(stream, error)
            self._watchers.discard(stream)

    def _authenticate(self, stream: Stream) -> None:
        """Refuse a call whose client may not make it."""
        try:
            self._inference.authenticate(stream.head.headers)
        except RefusedError as error:
            self.failed(stream, error)

    def _reflect(self, stream: Stream) -> None:
        """Answer each message, as fast as the client reads."""
        try:
            while not stream.pending and (content := next_message(stream, reflection.MAX_QUESTION)) is not None:
                stream.asked += 1
                if stream.asked > reflection.MAX_QUESTIONS:
                    raise StatusError(
                        Code.RESOURCE_EXHAUSTED,
                        f"{Reason.TOO_MANY}: a call may have at most {reflection.MAX_QUESTIONS} requests",
                    )
                stream.begin(HEAD)
                stream.send(framed(reflection.respond(content, SERVICES)))
            if len(stream.body) > reflection.MAX_QUESTIONS * (PREFIX + reflection.MAX_QUESTION):
                raise StatusError(
                    Code.RESOURCE_EXHAUSTED, f"{Reason.TOO_MANY}: read the responses before sending more requests"
                )
        except DecodeError:
            refuse(stream, StatusError(Code.INVALID_ARGUMENT, "the message is not a valid ServerReflectionRequest"))
        except StatusError as error:
            refuse(stream, error)
        else:
            if stream.is_complete and not stream.pending:
                stream.end(WELL if stream.has_begun else HEAD + WELL)


class _GrpcCall(Call):
    protocol = "grpc"

    def __init__(self, server: GrpcServer, stream: Stream) -> None:
        super().__init__(stream.head.headers)
        self._server = server
        self._stream = stream
        self._is_raw = False
        self._request = InferenceRequest([])

    def read(self) -> ValidatedRows:
        message, self._request, rows = self._server.asked(self._stream)
        self._is_raw = bool(message.raw_input_contents)
        return rows

    def respond(self, outcome: ServedPrediction | Exception) -> int:
        stream, code = self._stream, 200
        if stream.is_over:
            return 499  # the client disconnected
        try:
            if isinstance(outcome, Exception):
                raise outcome
            stream.respond(HEAD, framed(codec.encode(self.rows, outcome, raw=self._is_raw)), WELL)
        except Exception as error:
            code = self._server.failed(stream, error)
        self._server.maybe_away(stream)
        return code

    def forward(self, context: dict[bytes, bytes]) -> Forward:
        return forward(self._request, sendable(self.headers, (AUTHORIZATION,)) | context)

    def remaining_timeout(self) -> float:
        declared, timeout = declared_timeout(self._stream), self._server.timeout
        return (timeout if declared is None else min(timeout, declared)) - (time.monotonic() - self._stream.begun)


def _not_grpc(stream: Stream) -> None:
    stream.begin(NOT_GRPC)
    stream.send(b"this port serves application/grpc only\n")
    stream.end(b"")


def _unknown(stream: Stream) -> None:
    """Refuse an unknown method at once: a streaming call would never be complete."""
    rule = f"{Reason.NOT_FOUND}: no such method; for inference, call the unary method ModelInfer"
    if b"SharedMemory" in stream.head.path:
        rule = f"Unsupported: {codec.NO_SHARED_MEMORY}"
    refuse(stream, StatusError(Code.UNIMPLEMENTED, rule))
