"""One operator process: the engine's real parts, on an API server in memory and in virtual time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from modelward_operator.desired.settings import Settings
from modelward_operator.domain.rollout import advance
from modelward_operator.domain.scoring import score
from modelward_operator.domain.training import train
from modelward_operator.engine import epoch, resync, signing
from modelward_operator.engine.cache import CachedGateway
from modelward_operator.engine.exchange import Exchange
from modelward_operator.engine.gateway import GatewayError
from modelward_operator.engine.queue import WorkQueue
from modelward_operator.engine.reconcile import Reconciler
from modelward_operator.engine.store import Store
from modelward_operator.handlers.events import SETTLE, WATCHED
from tests.faults.gateway import Faults, MemoryGateway
from tests.faults.pods import Network
from tests.faults.server import ApiServer, Change

HOME = "modelward"
"""The operator's own namespace."""
SETTINGS = Settings(serving_image="serving:1", training_image="training:1", store_claim="store")
TRAVEL = 0.01
"""Seconds from a change until a watch tells it."""
SELECTORS = dict(WATCHED)


@dataclass
class Watches:
    """What becomes of events on their way."""

    silent: bool = False
    """Nothing comes, and nobody notices. When it is over, what is there then is listed: deletions meanwhile are not told."""
    drop: int = 0
    """How many of the next events are lost."""
    twice: int = 0
    """How many of the next come a second time, later."""
    shuffled: int = 0
    """How many of the next come at any time within a second."""

    def delays(self) -> list[float]:
        """When the next event comes: once, not at all, or twice."""
        if self.drop:
            self.drop -= 1
            return []
        if self.twice:
            self.twice -= 1
            return [TRAVEL, 1.0]
        if self.shuffled:
            self.shuffled -= 1
            return [random.uniform(0, 1)]
        return [TRAVEL]


@dataclass
class Process:
    """From its start to its end."""

    name: str
    server: ApiServer
    network: Network
    faults: Faults
    watches: Watches
    now: Callable[[], datetime]
    loop: asyncio.AbstractEventLoop
    epoch: int = 0
    awake: asyncio.Event = field(default_factory=asyncio.Event)
    """Cleared while the machine is suspended: what was read before is used after."""
    task: asyncio.Task[None] | None = None
    _queue: WorkQueue | None = None
    _store: Store = field(default_factory=Store)

    def start(self) -> None:
        """Begin."""
        self.awake.set()
        self.task = self.loop.create_task(self._live(), name=self.name)

    @property
    def ended(self) -> bool:
        """Whether it must be started anew."""
        return self.task is not None and self.task.done()

    def die(self) -> None:
        """At once, in the middle of whatever it does."""
        if self.task is not None:
            self.task.cancel()

    async def _live(self) -> None:
        try:
            await self._operate()
        except* (epoch.DeposedError, GatewayError):
            pass  # handlers/operator.py ends the process so, and it is started anew

    async def _operate(self) -> None:
        gateway = MemoryGateway(self.server, self.faults, self.awake, self.die)
        self.epoch = await epoch.begin(gateway, HOME, self.name)
        signer = await signing.begin(gateway, HOME)
        session = self.network.session(self.awake)
        exchange, store = Exchange(session, self.epoch, signer), Store()
        cached, clocks = CachedGateway(gateway, store), {"now": self.now, "monotonic": self.loop.time}
        reconciler = Reconciler(cached, exchange, session, SETTINGS, advance, train, score, fresh=gateway, **clocks)
        queue = WorkQueue(reconciler)
        self._queue, self._store = queue, store
        self.server.listeners.append(self.hear)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(queue.run())
                group.create_task(resync.run(gateway, queue, store, (None,)))
                group.create_task(epoch.hold(gateway, HOME, self.name, self.epoch))
        finally:
            self.server.listeners.remove(self.hear)
            for handle in queue._due.values():
                handle.cancel()

    def hear(self, change: Change) -> None:
        """The API server has something to tell."""
        if not _is_watched(change) or self.watches.silent:
            return
        for delay in self.watches.delays():
            self.loop.call_later(delay, self._told, change)

    def _told(self, change: Change) -> None:
        """As handlers/events.py does."""
        if self._queue is None or self.ended:
            return
        metadata = change.manifest["metadata"]
        if change.verb == "DELETED":
            self._store.drop(change.resource, metadata["namespace"], metadata["name"], metadata["uid"])
        else:
            self._store.put(change.resource, change.manifest)
        for key in resync.of(change.manifest, change.resource.kind):
            self._queue.add(key, SETTLE)


def _is_watched(change: Change) -> bool:
    if change.resource not in SELECTORS:
        return False
    name, _, value = SELECTORS[change.resource].partition("=")
    return not name or (change.manifest["metadata"].get("labels") or {}).get(name) == value
