"""Serving pods without a server: the real lease, counters and answers to the operator; what they score is made up."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Literal, Protocol

import aiohttp

from modelward_api import names
from modelward_api.bundle.documents import BundleDocuments
from modelward_api.wire.exchange import ExchangeRequest, ExchangeResponse, LeaseState, ProfileCounts
from modelward_serving.control import Control
from modelward_serving.observability.metrics import Metrics
from modelward_serving.routing.lease import LeaseHolder
from tests.support.builders import MODEL, documents

_instances = itertools.count()

Quality = Literal["good", "failing", "invalid"]
"""How a model answers: well; with an error to every second request; with what is no probability now and then."""


@dataclass
class ServingPod:
    """One server process in a pod."""

    name: str
    version: str
    digest: str
    ip: str
    clock: Callable[[], float]
    told: bool = True
    """Whether it took part in the operator's last try to talk with it."""

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """A new process: it knows of no lease, and has counted nothing."""
        self.holder = LeaseHolder(MODEL, self.digest)
        loaded = SimpleNamespace(
            model=MODEL, version="1.0.0", bundle=self._bundle(), profile=SimpleNamespace(read=ProfileCounts)
        )
        metrics = Metrics(MODEL, "1.0.0", self.digest)
        instance = f"instance-{next(_instances)}"
        self.control = Control(loaded, self.holder, metrics, self.name, instance, self.clock)  # type: ignore[arg-type]

    def state(self) -> LeaseState | None:
        """What it does with its lease now."""
        return self.holder.state(self.clock())

    def exchange(self, body: bytes) -> ExchangeResponse:
        """What the operator asks, and gets."""
        return self.control.exchange(ExchangeRequest.model_validate_json(body))

    def _bundle(self) -> SimpleNamespace:
        told: BundleDocuments = documents(self.version).model_copy(update={"digest": self.digest})
        return SimpleNamespace(digest=self.digest, documents=told)


class Directory(Protocol):
    """Where pods are found by their address."""

    def at(self, ip: str) -> ServingPod | None: ...


Loss = Literal["lost", "unanswered", "late", "twice"]
"""The request is lost; the answer is; the request comes when nobody waits for it any more; it comes a second time."""
LOSSES: tuple[Loss, ...] = ("lost", "unanswered", "late", "twice")
LATE = 3.0
"""Seconds."""


class Network:
    """The way from the operator to the pods, in the place of an HTTP session."""

    def __init__(self, directory: Directory, loop: asyncio.AbstractEventLoop) -> None:
        self._directory = directory
        self._loop = loop
        self.losses: list[Loss] = []
        """Of the exchanges to come, in their order."""
        self.cut: set[str] = set()
        """Addresses that cannot be reached."""
        self.listeners: list[Callable[[ServingPod], None]] = []

    def session(self, awake: asyncio.Event) -> Any:
        """What one operator process uses."""
        return _Session(self, awake)

    async def ask(self, method: str, url: str, body: bytes | None) -> bytes:
        """One request to a pod."""
        ip, path = url.removeprefix("http://").split(":")[0], url.partition("/v1")[1] + url.partition("/v1")[2]
        pod = self._directory.at(ip)
        if pod is None or ip in self.cut:
            if pod is not None:
                pod.told = False
            await asyncio.sleep(1.0)
            raise aiohttp.ClientConnectionError
        if path == names.DOCUMENTS_PATH:
            return json.dumps(pod.control._predictor.bundle.documents.to_json()).encode()
        return await self._exchange(pod, body or b"")

    async def _exchange(self, pod: ServingPod, body: bytes) -> bytes:
        loss = self.losses.pop(0) if self.losses else None
        if loss in ("late", "twice"):
            self._loop.call_later(LATE, self._deliver, pod, body)
        if loss in ("lost", "late"):
            pod.told = False
            raise TimeoutError
        answer = self._deliver(pod, body)
        pod.told = True
        if loss == "unanswered":
            raise TimeoutError
        return json.dumps(answer.to_json()).encode()

    def _deliver(self, pod: ServingPod, body: bytes) -> ExchangeResponse:
        answer = pod.exchange(body)
        for listener in self.listeners:
            listener(pod)
        return answer


class _Session:
    """As much of aiohttp's session as the exchange uses."""

    def __init__(self, network: Network, awake: asyncio.Event) -> None:
        self._network = network
        self._awake = awake

    def request(self, method: str, url: str, data: bytes | None = None, **_: Any) -> _Answer:
        return _Answer(self._network, self._awake, method, url, data)


class _Answer:
    status = 200

    def __init__(self, network: Network, awake: asyncio.Event, *request: Any) -> None:
        self._network = network
        self._awake = awake
        self._request = request
        self._content = b""

    async def __aenter__(self) -> _Answer:
        await asyncio.sleep(0.001)
        await self._awake.wait()
        self._content = await self._network.ask(*self._request)
        self.content = self
        return self

    async def __aexit__(self, *_: object) -> None:
        await asyncio.sleep(0.001)
        await self._awake.wait()

    async def iter_any(self) -> AsyncIterator[bytes]:
        yield self._content

    def raise_for_status(self) -> None:
        pass
