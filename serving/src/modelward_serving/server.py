"""The server process: verify and load the bundle, listen, and drain at the end."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import secrets
import signal
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import uvicorn
import uvloop

from modelward_api import names
from modelward_api.bundle.documents import UnverifiedBundleError
from modelward_serving.bento import BentoApp
from modelward_serving.control import MAX_BODY, Control
from modelward_serving.counting.encounters import Encounters
from modelward_serving.grpc.server import MAX_CONNECTION_SECONDS, GrpcServer
from modelward_serving.inference.dispatch import Inference
from modelward_serving.model import bundle
from modelward_serving.model.predictor import Predictor
from modelward_serving.model.session import UnservableError
from modelward_serving.observability import logs
from modelward_serving.observability.metrics import Metrics
from modelward_serving.observability.tracing import from_environment
from modelward_serving.rest.app import App
from modelward_serving.rest.http_protocol import InferenceHttpProtocol
from modelward_serving.routing.challenger_client import Challengers
from modelward_serving.routing.lease import LeaseHolder
from modelward_serving.routing.router import Router
from modelward_serving.security.authentication import TokenPolicy, callers
from modelward_serving.security.control_auth import ControlAuthenticator, ProofVerifier
from modelward_serving.security.tls import Certificates, Files, UnusableFilesError
from modelward_serving.termination import tell
from modelward_serving.transport import budget, connections
from modelward_serving.transport.connections import Connections, Port
from modelward_serving.transport.handshake import over_tls
from modelward_serving.transport.http1 import KEEP_ALIVE, LimitedHttpProtocol, sweep

log = logging.getLogger("modelward.serving")


@dataclass(frozen=True)
class Options:
    """Options of the server."""

    directory: Path
    digest: str
    pod: str
    request_timeout: float = 10.0
    host: str = "0.0.0.0"  # noqa: S104
    port: int = names.HTTP_PORT
    grpc_port: int = names.GRPC_PORT
    control_port: int = names.CONTROL_PORT
    drain_seconds: float = 5.0
    grpc_connection_seconds: float = MAX_CONNECTION_SECONDS
    termination_log: Path = Path("/dev/termination-log")
    control_keys: Path | None = None
    """The operator's public keys; None leaves the control port unauthenticated."""
    pod_uid: str = ""
    tls: Files | None = None
    callers: TokenPolicy | None = None
    """Tokens that clients need; None accepts all clients."""


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, port: Port) -> None:
        super().__init__(config)
        self._port = port

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to us: uvicorn would stop listening before the endpoints are updated."""
        yield

    async def listen(self) -> None:
        """Start listening; end with shutdown()."""
        self.config.load()
        self.lifespan = self.config.lifespan_class(self.config)
        await self.startup()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start listening, with a limit on connections that covers their TLS handshakes."""
        config = self.config

        def connected() -> asyncio.Protocol:
            made: asyncio.Protocol = config.http_protocol_class(  # type: ignore[call-arg]
                config=config, server_state=self.server_state, app_state={}
            )
            return made

        loop = asyncio.get_running_loop()
        factory = over_tls(connected, config.ssl, self._port.connections)
        self.servers = [await loop.create_server(factory, config.host, config.port, backlog=config.backlog)]
        self.started = True


def run(options: Options) -> int:
    """Serve until SIGTERM; return 1 if the bundle cannot be served, with the reason in the termination log."""
    started = time.monotonic()
    try:
        certificates = Certificates(options.tls) if options.tls else None
        predictor = Predictor(bundle.load(options.directory, options.digest))
    except (UnverifiedBundleError, UnservableError, UnusableFilesError) as error:
        return _give_up(options, error.reason, str(error))
    uvloop.run(_serve(options, predictor, started, certificates))
    return 0


def _give_up(options: Options, reason: str, message: str) -> int:
    log.error("%s: %s", reason, message)
    tell(options.termination_log, {"verified": False, "reason": reason, "message": message})
    return 1


async def _serve(options: Options, predictor: Predictor, started: float, certificates: Certificates | None) -> None:
    asyncio.get_running_loop().set_exception_handler(logs.of_loop)
    metrics = Metrics(predictor.model, predictor.version, predictor.bundle.digest)
    holder = LeaseHolder(predictor.model, predictor.bundle.digest, predictor.strata.names)
    with contextlib.closing(Challengers(certificates)) as challengers:
        router = Router(holder, challengers, predictor.model, strata=predictor.strata)
        behind = BentoApp(predictor)
        tracing = from_environment(os.environ, predictor.model, predictor.version, predictor.bundle.digest)
        trust = ControlAuthenticator(options.control_keys, options.pod_uid) if options.control_keys else None
        routed = ProofVerifier(trust, predictor.bundle.digest)
        header = os.environ.get("MODELWARD_ENCOUNTER_HEADER")
        encounters = Encounters(header) if header else None
        free = budget.free_memory()
        total = budget.within(free)
        shares = connections.shares(memory=free if certificates else None)
        http, grpc, operators = (Connections(most) for most in shares)
        timeout = options.request_timeout
        guard, keys = callers(options.callers) if options.callers is not None else (None, None)
        inference = Inference(predictor, router, metrics, tracing, total, routed.proves, encounters, guard)
        app = App(inference, metrics, behind, timeout, http)
        grpc_server = GrpcServer(inference, timeout, options.grpc_connection_seconds)
        grpc_server.connections = grpc
        await grpc_server.start(options.host, options.grpc_port, certificates.grpc if certificates else None)
        if trust is None:
            log.info("control port: unauthenticated, because --control-keys is not set")
        control = Control(
            predictor,
            holder,
            metrics,
            options.pod,
            secrets.token_hex(8),
            trust=trust,
            certificates=certificates,
            port=Port(operators, inference.budget, MAX_BODY),
        )
        control_server = _Server(_config(options, control, LimitedHttpProtocol, options.control_port), control.port)
        await control_server.listen()
        server = _Server(_config(options, app, InferenceHttpProtocol, options.port, certificates), app.port)
        control.ready = lambda: server.started and not app.terminating
        beside = [asyncio.create_task(one.follow()) for one in (certificates, keys) if one is not None]
        beside.append(asyncio.create_task(sweep((app.port, control.port))))
        stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        draining = asyncio.create_task(_drain(options, app, server, grpc_server, stop))
        log.info("%s %s: ready after %.2f s", predictor.model, predictor.version, time.monotonic() - started)
        gc.collect()
        gc.freeze()  # objects from startup stay: exclude them from later collections
        await server.serve()
        draining.cancel()
        for task in beside:
            task.cancel()
        await behind.close()
        if tracing is not None:
            await asyncio.get_running_loop().run_in_executor(None, tracing.close)
        await control_server.shutdown()


def _config(
    options: Options,
    app: App | Control,
    protocol: type[LimitedHttpProtocol],
    port: int,
    certificates: Certificates | None = None,
) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=protocol,
        ws="none",
        interface="asgi3",
        proxy_headers=False,
        host=options.host,
        port=port,
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=int(KEEP_ALIVE),
        timeout_graceful_shutdown=int(options.request_timeout) + 1,
        lifespan="off",
        ssl_context_factory=(lambda *_: certificates.server) if certificates else None,
    )


async def _drain(
    options: Options, app: App, server: uvicorn.Server, grpc_server: GrpcServer, stop: asyncio.Event
) -> None:
    """Keep serving until the endpoints are updated; each response asks its client to reconnect."""
    await stop.wait()
    app.terminating = True
    grpc_server.drain()
    await asyncio.sleep(options.drain_seconds)
    await grpc_server.stop()
    server.should_exit = True
