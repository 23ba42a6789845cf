"""A whole cluster in memory: API server, controllers, pods, clients and operators; people's actions, and the invariants."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from modelward_api import API_VERSION, names
from modelward_operator.engine.kube import gateway as api
from modelward_operator.engine.kube.gateway import Manifest
from modelward_operator.engine.leadership import LEASE_NAME
from tests.faults.callers import Callers
from tests.faults.clock import VirtualTime
from tests.faults.cluster import NAMESPACE, Cluster
from tests.faults.gateway import Faults
from tests.faults.invariants import Invariants
from tests.faults.pods import Network
from tests.faults.process import HOME, SELECTORS, Process, Watches
from tests.faults.server import ApiServer, Change
from tests.support.builders import MODEL, digest

BEGIN = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)
TICK = 0.25
"""Seconds between two looks of the controllers."""
RESTART = 1.0
"""Seconds until an operator that has exited is restarted."""
REPLICAS = 2
"""Operators: one leads, and one stands by."""
PERSON = "kubectl"
QUICK = {"steps": [{"weight": 10, "minRequests": 10}, {"weight": 50, "minRequests": 10}]}


class World:
    """A test's view of all of it. Time passes only in :meth:`wait`."""

    def __init__(self) -> None:
        random.seed(5)  # jitter of the queue and of resync
        self.loop = VirtualTime()
        self.offset = timedelta()
        self.server = ApiServer(self.now)
        self.cluster = Cluster(self.server, self.loop.time)
        self.network = Network(self.cluster, self.loop)
        self.faults, self.leases, self.watches = Faults(), Faults(), Watches()
        self.callers = Callers(self.server, self.cluster, self.loop.time)
        self.invariants = Invariants(self.server, self.cluster)
        self.network.listeners.append(self.invariants.told)
        self.processes: list[Process] = []
        self._started = 0
        self._operated = False
        """Whether somebody sees to it that an operator runs."""
        self._vacate()
        self._background = [self.loop.create_task(work) for work in (self._tick(), self._supervise())]

    def now(self) -> datetime:
        """The wall clock, as it is set."""
        return BEGIN + self.offset + timedelta(seconds=self.loop.time())

    def wait(self, seconds: float) -> None:
        """Let time pass."""
        self.loop.run_until_complete(asyncio.sleep(seconds))

    def until(self, condition: Any, what: str, seconds: float = 120.0) -> None:
        """Let time pass until then."""
        deadline = self.loop.time() + seconds
        while not condition():
            assert self.loop.time() < deadline, f"{what}: not so after {seconds:g} s: {self.tell()}"
            self.wait(TICK)

    def start(self, name: str | None = None) -> Process:
        """Start an operator beside those that are there; by the name of one that was, as a container begins anew in its pod."""
        self._started += 1
        self._operated = True
        process = Process(
            name or f"operator-{self._started}",
            self.server,
            self.network,
            self.faults,
            self.leases,
            self.watches,
            self.invariants.begins,
            self.now,
            self.loop,
        )
        process.start()
        self.processes.append(process)
        return process

    def close(self) -> None:
        """End everything."""
        tasks = [*self._background, *(p.task for p in self.processes if p.task is not None)]
        for work in self._background:
            work.cancel()
        for process in self.processes:
            process.die()
        self.loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self.loop.close()

    # What people do.

    def create(self, name: str, letter: str | None = None, **spec: Any) -> None:
        """Apply a ModelVersion named v1, v2 ... whose digest follows from its name, or from that letter."""
        body = {
            "model": MODEL,
            "version": f"{name[1:]}.0.0",
            "artifact": {"uri": f"store://models/{name}", "digest": digest(letter or name[1])},
            **spec,
        }
        metadata = {"name": name, "namespace": NAMESPACE}
        manifest = {"apiVersion": API_VERSION, "kind": "ModelVersion", "metadata": metadata, "spec": body}
        self.server.create(api.MODEL_VERSIONS, manifest, PERSON)

    def edit(self, name: str, *, validated: bool = True, **spec: Any) -> None:
        """Put these parts of a ModelVersion's spec in the place of what they were."""
        before: Any = self.version(name)
        self.server.replace(api.MODEL_VERSIONS, {**before, "spec": before["spec"] | spec}, PERSON, validated=validated)

    def delete(self, name: str) -> None:
        """Delete a ModelVersion."""
        self.server.delete(api.MODEL_VERSIONS, NAMESPACE, name)

    # What goes wrong, beside world.faults, world.watches and world.network.

    def kill_pod(self, name: str) -> None:
        """A pod is gone with its node."""
        self._hurt_by_pod(name)
        self.cluster.kill(name)

    def crash_pod(self, name: str) -> None:
        """A pod's server ends and is started again."""
        self._hurt_by_pod(name)
        self.cluster.crash(name)

    def delete_deployment(self, name: str) -> None:
        """Somebody deletes what the operator has made."""
        for pod in [pod.name for pod in self.cluster.pods.values() if pod.version == name]:
            self.kill_pod(pod)
        self.server.delete(api.DEPLOYMENTS, NAMESPACE, name)

    def jump(self, seconds: float) -> None:
        """Somebody sets the wall clock."""
        self.offset += timedelta(seconds=seconds)

    def deafen(self) -> None:
        """The watches say nothing more, and look alive."""
        self.watches.silent = True

    def relist(self) -> None:
        """Restart the watches, as after 410 Gone: existing objects are listed, and deletions in between are not delivered."""
        if not self.watches.silent:
            return
        self.watches.silent = False
        for resource in SELECTORS:
            for manifest in self.server.list(resource, None):
                for process in self.processes:
                    process.hear(Change("MODIFIED", resource, manifest))

    def suspend(self) -> None:
        """The leader's machine stands still: the other one takes over, and another one is started elsewhere."""
        if (leader := self.leader()) is not None:
            leader.awake.clear()

    def resume(self) -> None:
        """Resume the operators with what they had read."""
        for process in self.processes:
            process.awake.set()

    def heal(self) -> None:
        """Nothing goes wrong any more, but for what the models themselves are."""
        self.faults.planned.clear()
        self.leases.planned.clear()
        self.faults.forbidden = frozenset()
        self.faults.refuses = lambda verb, resource, name: None
        self.faults.lag.clear()
        self.network.losses.clear()
        self.network.cut.clear()
        self.relist()
        self.watches.drop = self.watches.twice = self.watches.shuffled = 0
        self.resume()

    def _hurt_by_pod(self, name: str) -> None:
        pod = self.cluster.pods.get(name)
        if pod is not None:
            self.invariants.hurt.add(pod.version)

    # What is so.

    def leader(self) -> Process | None:
        """The operator that leads, if one does."""
        return next((process for process in self.processes if process.leads), None)

    def version(self, name: str) -> Manifest | None:
        return self.server.get(api.MODEL_VERSIONS, NAMESPACE, name)

    def versions(self) -> dict[str, Manifest]:
        return {m["metadata"]["name"]: m for m in self.server.list(api.MODEL_VERSIONS, NAMESPACE)}

    def phase(self, name: str) -> str | None:
        found: str | None = self.status(name).get("phase")
        return found

    def status(self, name: str) -> Any:
        return (self.version(name) or {}).get("status") or {}

    def phases(self) -> dict[str, str | None]:
        return {name: self.phase(name) for name in self.versions()}

    def serves(self) -> str | None:
        """Return the ModelVersion that serves the clients."""
        service = self.server.get(api.SERVICES, NAMESPACE, MODEL)
        return None if service is None else service["spec"]["selector"].get(names.MODEL_VERSION)

    def tell(self) -> str:
        """For a failed assertion."""
        messages = {name: (m.get("status") or {}).get("message") for name, m in self.versions().items()}
        return f"{self.phases()}, callers come to {self.serves()}; {messages}"

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK)
            self.cluster.step()
            self.callers.ask(TICK)
            self.invariants.look()

    async def _supervise(self) -> None:
        while True:
            await asyncio.sleep(RESTART)
            ended = [process for process in self.processes if process.ended]
            self.processes = [process for process in self.processes if not process.ended]
            while self._operated and sum(process.awake.is_set() for process in self.processes) < REPLICAS:
                self.start(ended.pop().name if ended else None)

    def _vacate(self) -> None:
        """A Lease that was handed back."""
        metadata = {"name": LEASE_NAME, "namespace": HOME}
        manifest = {"apiVersion": api.LEASES.api_version, "kind": api.LEASES.kind, "metadata": metadata}
        self.server.create(api.LEASES, {**manifest, "spec": {"leaseTransitions": 7}}, PERSON)


@contextmanager
def world(*, operator: bool = True) -> Iterator[World]:
    """A world with one operator."""
    found = World()
    try:
        if operator:
            found.start()
        yield found
    finally:
        found.close()
