"""One operator process: the engine's real parts, on an API server in memory and in virtual time."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from modelward_operator.domain.jobs.batch import score
from modelward_operator.domain.jobs.training import train
from modelward_operator.domain.rollout import advance
from modelward_operator.engine.kube.cached_gateway import CachedGateway
from modelward_operator.engine.kube.gateway import GatewayError
from modelward_operator.engine.kube.kinds import KINDS
from modelward_operator.engine.kube.watch_cache import WatchCache
from modelward_operator.engine.leadership import DeposedError, Leadership, Standby
from modelward_operator.engine.pods import request_signing
from modelward_operator.engine.pods.control_client import Exchange
from modelward_operator.engine.queue import WorkQueue
from modelward_operator.engine.reconcile import record_key as record_keys
from modelward_operator.engine.reconcile.reconciler import Reconciler
from modelward_operator.engine.watch import resync
from modelward_operator.engine.watch.events import SETTLE
from modelward_operator.manifests.settings import Settings
from tests.faults.gateway import Faults, MemoryGateway
from tests.faults.pods import Network
from tests.faults.server import ApiServer, Change

HOME = "modelward"
"""The operator's own namespace."""
SETTINGS = Settings(serving_image="serving:1", training_image="training:1", store_claim="store")
TRAVEL = 0.01
"""Seconds from a change until a watch tells it."""
SELECTORS = {kind.resource: kind.selector for kind in KINDS}
RESYNC = 60.0
"""Seconds between two listings."""


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
    """From its start to its end; put together as process.py does."""

    name: str
    server: ApiServer
    network: Network
    faults: Faults
    leases: Faults
    """What goes wrong with its Lease."""
    watches: Watches
    begins: Callable[[int], None]
    """Told the epoch of each write and each exchange, as it begins."""
    now: Callable[[], datetime]
    loop: asyncio.AbstractEventLoop
    awake: asyncio.Event = field(default_factory=asyncio.Event)
    """Cleared while the machine is suspended: what was read before is used after."""
    task: asyncio.Task[None] | None = None
    _queue: WorkQueue = field(default_factory=WorkQueue)
    _cache: WatchCache = field(default_factory=WatchCache)
    _crashed: bool = False

    def __post_init__(self) -> None:
        leases = MemoryGateway(self.server, self.leases, self.awake, self.die)
        self._standby = Standby(leases, HOME, self.name, clock=self.loop.time)

    def start(self) -> None:
        """Begin."""
        self.awake.set()
        self.task = self.loop.create_task(self._live(), name=self.name)

    @property
    def ended(self) -> bool:
        """Whether it must be started anew."""
        return self.task is not None and self.task.done()

    @property
    def leadership(self) -> Leadership | None:
        """What it has won."""
        return self._standby.leadership

    @property
    def leads(self) -> bool:
        """Whether it takes itself for the leader, and goes on."""
        try:
            self._standby.permit()
        except DeposedError:
            return False
        return self.awake.is_set() and not self.ended

    def stop(self) -> None:
        """It is asked to end, and hands over."""
        if self.task is not None:
            self.task.cancel()

    def die(self) -> None:
        """At once, in the middle of whatever it does."""
        self._crashed = True
        self.stop()

    def _begin(self) -> None:
        self._standby.permit()
        assert self.leadership is not None
        self.begins(self.leadership.epoch)

    async def _live(self) -> None:
        try:
            await self._operate()
        except* (DeposedError, resync.StaleWatchError, GatewayError):
            pass  # process.py ends the process so, and it is started anew
        finally:
            for handle in self._queue._due.values():
                handle.cancel()

    async def _operate(self) -> None:
        gateway = MemoryGateway(self.server, self.faults, self.awake, self.die, self._begin)
        self.server.listeners.append(self.hear)
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._listen())
                group.create_task(resync.run(gateway, self._queue, self._cache, (None,), RESYNC))
                group.create_task(self._lead(gateway))
        finally:
            self.server.listeners.remove(self.hear)

    async def _listen(self) -> None:
        """A watch begins with what is there."""
        await asyncio.sleep(TRAVEL)
        for resource, selector in SELECTORS.items():
            for manifest in self.server.list(resource, None, selector):
                self._told(Change("MODIFIED", resource, manifest))

    async def _lead(self, gateway: MemoryGateway) -> None:
        leadership = await self._standby.win()
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._hold(leadership))
                group.create_task(self._work(gateway, leadership.epoch))
        finally:
            if not self._crashed:
                await leadership.hand_back()

    async def _hold(self, leadership: Leadership) -> None:
        try:
            await leadership.hold()
        except DeposedError:
            await self.awake.wait()  # a machine that stands still does not end it either
            raise

    async def _work(self, gateway: MemoryGateway, epoch: int) -> None:
        record_key = await record_keys.begin(gateway, HOME)
        signer, session = await request_signing.begin(gateway, HOME), self.network.session(self.awake)
        exchange, cached = Exchange(session, epoch, signer, permit=self._begin), CachedGateway(gateway, self._cache)
        clocks = {"now": self.now, "monotonic": self.loop.time}
        await self._queue.run(
            Reconciler(cached, exchange, session, SETTINGS, advance, train, score, record_key, fresh=gateway, **clocks)
        )

    def hear(self, change: Change) -> None:
        """The API server has something to tell."""
        if not _is_watched(change) or self.watches.silent:
            return
        for delay in self.watches.delays():
            self.loop.call_later(delay, self._told, change)

    def _told(self, change: Change) -> None:
        """As engine/watch/events.py does."""
        if self.ended:
            return
        metadata = change.manifest["metadata"]
        if change.verb == "DELETED":
            self._cache.drop(change.resource, metadata["namespace"], metadata["name"], metadata["uid"])
        else:
            self._cache.put(change.resource, change.manifest, from_watch=True)
        for key in resync.keys_of(change.manifest, change.resource):
            self._queue.add(key, SETTLE)


def _is_watched(change: Change) -> bool:
    if change.resource not in SELECTORS:
        return False
    name, _, value = SELECTORS[change.resource].partition("=")
    return not name or (change.manifest["metadata"].get("labels") or {}).get(name) == value
