"""A namespace on a real API server, pods that answer on loopback addresses, and an operator whose decisions are given."""

from __future__ import annotations

import asyncio
import itertools
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import aiohttp
from aiohttp import web

from modelward_api import API_VERSION, names
from modelward_api.bundle.documents import BundleDocuments
from modelward_api.wire.exchange import (
    ExchangeRequest,
    ExchangeResponse,
    LeaseState,
    PairedCounts,
    PairedEvidence,
    ProfileCounts,
)
from modelward_operator.domain.jobs.batch import score
from modelward_operator.domain.jobs.training import train
from modelward_operator.domain.operator import keyring
from modelward_operator.domain.operator.keyring import Keyring
from modelward_operator.domain.rollout import advance
from modelward_operator.domain.rollout.decision import Decision
from modelward_operator.domain.rollout.observation import Observation
from modelward_operator.engine.kube import gateway as api
from modelward_operator.engine.kube.gateway import KubernetesGateway
from modelward_operator.engine.leadership import LEASE_NAME
from modelward_operator.engine.pods.control_client import Exchange
from modelward_operator.engine.pods.request_signing import Signer, new_key
from modelward_operator.engine.queue import Key
from modelward_operator.engine.reconcile.reconciler import Reconciler
from modelward_operator.engine.reconcile.record_key import Keeper
from modelward_operator.manifests.serving import short
from modelward_operator.manifests.settings import Settings
from tests.support.builders import KEY, digest, documents
from tests.support.control_plane import ControlPlane
from tests.support.ports import free_port

SETTINGS = Settings(serving_image="serving:1", training_image="training:1", store_claim="store")
MODEL = "mortality"
SIGNER = Signer(keyring.turned(Keyring(), datetime.now(UTC), new_key))
_addresses = itertools.count(2)


class Watched(KubernetesGateway):
    """A gateway that keeps a journal of its calls, and fails at a write on request."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.journal: list[str] = []
        self.crash: Callable[[int], str | None] = lambda _: None
        """Called at each write with its number; returns 'before', 'after', or None."""
        self.number = 0
        self.reads = 0

    async def _call(self, method: str, path: str, *arguments: Any, **more: Any) -> Any:
        if method == "GET":
            self.reads += 1
            return await super()._call(method, path, *arguments, **more)
        self.number += 1
        when = self.crash(self.number)
        if when == "before":
            raise CrashError
        kind, _, name = path.partition(f"/namespaces/{path.split('/namespaces/')[1].split('/')[0]}/")[2].partition("/")
        self.journal.append(f"{method} {kind} {name}".strip())
        answer = await super()._call(method, path, *arguments, **more)
        if when == "after":
            raise CrashError
        return answer

    def writes(self) -> list[str]:
        """Return the writes since the last call."""
        found, self.journal[:] = [entry for entry in self.journal if not entry.startswith("lease")], []
        return found


class CrashError(Exception):
    """The process ends here."""


@dataclass
class ServingPod:
    """The control port of one serving pod: real HTTP, with counts from the test."""

    name: str
    version: str
    ip: str
    journal: list[str]
    asked: list[ExchangeRequest] = field(default_factory=list)
    documents_asked: int = 0
    evidence: tuple[PairedEvidence, ...] = ()
    profile: ProfileCounts | None = None
    lease: LeaseState | None = None
    delay: float = 0.0
    """Seconds before it answers."""
    garbage: bool = False
    refuses: str | None = None
    """Why it does not take a lease."""
    certificate: str | None = None
    """Why it cannot use its TLS files."""
    distrusts: bool = False
    """Whether it does not know the operator's signature."""

    async def exchange(self, request: web.Request) -> web.Response:
        await asyncio.sleep(self.delay)
        if self.distrusts:
            return web.json_response({"error": "BadSignature"}, status=401)
        if self.garbage:
            return web.json_response({"pod": self.name})
        asked = ExchangeRequest.model_validate_json(await request.read())
        if not asked.keep:
            before = self.lease
            self.lease = _held(asked)
            if _told(before) != _told(self.lease):
                self.journal.append(f"lease {self.name} {_told(self.lease)}")
        self.asked.append(asked)
        answer = ExchangeResponse(
            pod=self.name,
            instance=f"instance-of-{self.name}",
            model=MODEL,
            version=f"{self.version[1:]}.0.0",
            digest=digest(self.version[1]),
            lease=self.lease,
            evidence=self.evidence,
            profile=self.profile if asked.profile else None,
            refused=None if asked.keep else self.refuses,
            certificate=self.certificate,
        )
        return web.json_response(answer.to_json())

    async def tell_documents(self, _: web.Request) -> web.Response:
        self.documents_asked += 1
        found: BundleDocuments = documents(self.version)
        return web.json_response(found.to_json())

    def count(self, challenger: str, **counts: int) -> None:
        """Let it have counted these pairs."""
        self.evidence = (PairedEvidence(challenger=digest(challenger[1]), counts=PairedCounts(**counts)),)


def _held(asked: ExchangeRequest) -> LeaseState | None:
    lease = asked.lease
    if lease is None:
        return None
    return LeaseState(
        epoch=lease.epoch, sequence=lease.sequence, challenger=lease.challenger.digest, weight=lease.weight
    )


def _told(lease: LeaseState | None) -> str:
    return "none" if lease is None else f"{lease.weight:g}"


@dataclass
class OperatorHarness:
    """The operator, its cluster and its pods, for one test."""

    plane: ControlPlane
    gateway: Watched
    namespace: str
    session: aiohttp.ClientSession
    port: int
    stack: AsyncExitStack

    @property
    def key(self) -> Key:
        return Key("Model", self.namespace, MODEL)

    def reconciler(
        self,
        decide: Callable[[Observation, datetime], Decision] = advance,
        epoch: int = 1,
        gateway: Any = None,
        **more: Any,
    ) -> Reconciler:
        """An operator that has just been started."""
        exchange, port = Exchange(self.session, epoch, SIGNER, self.port), self.port
        own = gateway or self.gateway
        more.setdefault("record_key", Keeper(KEY))
        return Reconciler(own, exchange, self.session, SETTINGS, decide, train, score, progress_port=port, **more)

    async def version(self, name: str, **spec: Any) -> dict[str, Any]:
        """Create a ModelVersion named v1, v2 ..."""
        body = {
            "model": MODEL,
            "version": f"{name[1:]}.0.0",
            "artifact": {"uri": f"store://models/{name}", "digest": digest(name[1])},
            **spec,
        }
        return await self.create(api.MODEL_VERSIONS, name, {k: v for k, v in body.items() if v is not None})

    async def create(self, resource: api.Resource, name: str, spec: Any, **more: Any) -> dict[str, Any]:
        """Create any object; its metadata can be extended."""
        metadata = {"name": name, "namespace": self.namespace, **more.pop("metadata", {})}
        body = {"apiVersion": resource.api_version, "kind": resource.kind, "metadata": metadata, **more}
        made = await self.gateway.create(resource, body | ({"spec": spec} if spec is not None else {}))
        self.gateway.writes()
        return made

    async def vacancy(self, epoch: int = 7) -> None:
        """A Lease that its last leader has handed back: the next operator leads at once."""
        await self.create(api.LEASES, LEASE_NAME, {"leaseTransitions": epoch})

    async def request(self, verb: str, path: str, *more: Any, **options: Any) -> Any:
        """Ask the API server for what no part of the operator asks: the one place that reaches into the gateway."""
        return await self.gateway._call(verb, path, *more, **options)

    async def get(self, resource: api.Resource, name: str) -> Any:
        return await self.gateway.get(resource, self.namespace, name)

    async def status(self, name: str, resource: api.Resource = api.MODEL_VERSIONS) -> dict[str, Any]:
        found: dict[str, Any] = (await self.get(resource, name)).get("status", {})
        return found

    def phase(self, name: str) -> str | None:
        """A version's phase, for those who wait while an operator runs as a process."""
        path = f"/apis/{API_VERSION}/namespaces/{self.namespace}/modelversions/{name}"
        found: str | None = self.plane.api.get(path).json().get("status", {}).get("phase")
        return found

    async def condition(self, name: str, type_: str, resource: api.Resource = api.MODEL_VERSIONS) -> dict[str, Any]:
        conditions = (await self.status(name, resource)).get("conditions", [])
        return next((c for c in conditions if c["type"] == type_), {})

    async def say(self, resource: api.Resource, name: str, status: Any) -> None:
        """Set an object's status, as the controllers and the kubelet would."""
        path = f"{resource.root}/namespaces/{self.namespace}/{resource.plural}/{name}/status"
        await self.request("PATCH", path, {}, {"status": status}, "application/merge-patch+json")
        self.gateway.writes()

    async def say_phase(self, name: str, phase: str) -> None:
        """Put a version into that state, as if the operator had brought it there."""
        await self.say(api.MODEL_VERSIONS, name, {"phase": phase})

    async def pod(self, version: str, ready: bool = True, server: bool = True, tls: bool = False) -> ServingPod:
        """A pod of that version, with an address of its own on loopback."""
        number = next(_addresses)
        ip = f"127.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
        name = f"{version}-{number}"
        labels = {
            names.MANAGED_BY: names.MANAGER,
            names.MODEL: MODEL,
            names.MODEL_VERSION: version,
            names.DIGEST: short(digest(version[1])),
            **({names.SCHEME: "https"} if tls else {}),
        }
        containers = [{"name": "serving", "image": "serving:1"}]
        await self.create(api.PODS, name, {"containers": containers}, metadata={"labels": labels})
        done = {"name": "fetch", "state": {"terminated": {"exitCode": 0}}, "ready": True, "restartCount": 0}
        status = {
            "phase": "Running",
            "podIP": ip,
            "podIPs": [{"ip": ip}],
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
            "initContainerStatuses": [{**done, "image": "serving:1", "imageID": ""}],
        }
        await self.say(api.PODS, name, status)
        found = ServingPod(name, version, ip, self.gateway.journal)
        if server:
            await self._serve(found)
        return found

    async def _serve(self, pod: ServingPod) -> None:
        app = web.Application()
        app.router.add_post(names.EXCHANGE_PATH, pod.exchange)
        app.router.add_get(names.DOCUMENTS_PATH, pod.tell_documents)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0, handler_cancellation=True)
        await runner.setup()
        await web.TCPSite(runner, pod.ip, self.port).start()
        self.stack.push_async_callback(runner.cleanup)


@asynccontextmanager
async def operator_harness(plane: ControlPlane) -> AsyncIterator[OperatorHarness]:
    """A fresh namespace."""
    namespace = f"t-{uuid.uuid4().hex[:8]}"
    plane.api.post("/api/v1/namespaces", json={"metadata": {"name": namespace}}).raise_for_status()
    async with AsyncExitStack() as stack:
        gateway = await Watched.connect(str(plane.kubeconfig))
        stack.push_async_callback(gateway.close)
        session = await stack.enter_async_context(aiohttp.ClientSession())
        yield OperatorHarness(plane, gateway, namespace, session, free_port(), stack)  # type: ignore[arg-type]


def monitor(name: str, namespace: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": API_VERSION,
        "kind": "DriftMonitor",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"model": MODEL, **spec},
    }


def now() -> datetime:
    return datetime.now(UTC)
