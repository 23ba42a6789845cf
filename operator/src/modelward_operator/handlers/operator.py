"""The process: it stands by until it leads; then kopf's watchers, the queue's workers and resync. One that ends ends all."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from typing import Any, NoReturn

import aiohttp
import kopf
from kopf._core.engines.peering import Identity
from prometheus_client import start_http_server

from modelward_operator.desired.settings import Settings
from modelward_operator.domain.rollout import advance
from modelward_operator.domain.scoring import score
from modelward_operator.domain.training import train
from modelward_operator.engine import health, metrics, resync, signing
from modelward_operator.engine.election import Leadership, Standby
from modelward_operator.engine.exchange import Exchange
from modelward_operator.engine.gateway import GatewayError, KubernetesGateway
from modelward_operator.engine.health import Health
from modelward_operator.engine.queue import WorkQueue
from modelward_operator.engine.reconcile import Reconciler
from modelward_operator.handlers import events

log = logging.getLogger(__name__)

WATCH_PERIOD = 1.0
UNTIL_WATCHING = 30.0
"""Seconds in which all watchers must have begun."""


class WatcherDiedError(Exception):
    """A watcher of kopf has ended, or never begun: the process must be started anew."""


ENDINGS = (WatcherDiedError, GatewayError)
"""How the process ends when it must be started anew."""


async def run(settings: Settings, *, health_port: int, metrics_port: int, resync_period: float) -> None:
    """Run until a signal; raises when something ends that must not end."""
    stop = asyncio.Event()
    _heed_signals(stop)
    start_http_server(metrics_port)
    async with AsyncExitStack() as stack:
        # A connection of its own: renewals wait for nothing that the leader does.
        gateway = await KubernetesGateway.connect(os.environ.get("KUBECONFIG"))
        stack.push_async_callback(gateway.close)
        process = Process(settings, stop, Standby(gateway, settings.pod_namespace, settings.pod_name))
        runner = await health.serve(health_port, process.alive, process.ready)
        stack.push_async_callback(runner.cleanup)
        leadership = await process.stand_by()
        if leadership is not None:
            await process.lead(leadership, resync_period)


class Process:
    """One operator of several: what it is at the moment, and how it becomes the leader."""

    def __init__(self, settings: Settings, stop: asyncio.Event, standby: Standby) -> None:
        self._settings = settings
        self._stop = stop
        self._standby = standby
        self._leadership: Leadership | None = None
        self._queue: WorkQueue | None = None
        self._watchdog = health.Watchdog()
        self._watchers = len(events.WATCHED) * max(1, len(settings.namespaces))

    def alive(self) -> Health:
        """Whether it can go on; a standby always can."""
        if dead := self._watchdog.failed():
            return Health(False, f"{', '.join(dead)} has ended")
        if self._queue is not None and (stuck := self._queue.stuck(health.STUCK)):
            return Health(False, f"{len(stuck)} workers are stuck")
        return Health(True)

    def ready(self) -> Health:
        """Whether it does its part: to lead, or to be able to."""
        if self._leadership is not None:
            told = f"leader in epoch {self._leadership.epoch}"
            return Health(True, told) if self._watches() else Health(False, f"{told}: kopf is not watching yet")
        if self._standby.blind():
            return Health(False, "standby: the Lease cannot be seen")
        return Health(True, f"standby: {self._standby.leader or 'nobody'} leads")

    async def stand_by(self) -> Leadership | None:
        """Wait for the Lease; None when it is to stop before it leads."""
        winning = asyncio.create_task(self._standby.win(), name="standby")
        stopping = asyncio.create_task(self._stop.wait(), name="stop")
        await asyncio.wait({winning, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not winning.done():
            winning.cancel()
            return None
        return winning.result()

    async def lead(self, leadership: Leadership, resync_period: float) -> None:
        """Lead until a signal, then hand the Lease back; a leader that is deposed ends at once, whatever is under way."""
        self._leadership = leadership
        metrics.LEADER.set(1)
        metrics.EPOCH.set(leadership.epoch)
        log.info("leading: epoch %d begins", leadership.epoch)
        holding = asyncio.create_task(leadership.hold(), name="lease")
        holding.add_done_callback(_end_if_deposed)
        try:
            async with AsyncExitStack() as stack:
                gateway = await KubernetesGateway.connect(os.environ.get("KUBECONFIG"), leadership.check)
                stack.push_async_callback(gateway.close)
                session = await stack.enter_async_context(aiohttp.ClientSession())
                await self._work(leadership, gateway, session, resync_period)
        finally:
            holding.cancel()
            await leadership.hand_back()

    async def _work(
        self,
        leadership: Leadership,
        gateway: KubernetesGateway,
        session: aiohttp.ClientSession,
        resync_period: float,
    ) -> None:
        settings = self._settings
        signer = await signing.begin(gateway, settings.pod_namespace)
        exchange = Exchange(session, leadership.epoch, signer, permit=leadership.check)
        queue = self._queue = WorkQueue(Reconciler(gateway, exchange, session, settings, advance, train, score))
        metrics.QUEUED.set_function(lambda: len(queue))
        namespaces = settings.namespaces or (None,)
        await _until_one_ends(
            self._stop,
            kopf=self._kopf(queue),
            queue=queue.run(),
            resync=resync.run(gateway, queue, namespaces, resync_period),
            watchdog=self._watch(),
            keys=signing.hold(gateway, settings.pod_namespace, signer),
        )

    async def _kopf(self, queue: WorkQueue) -> None:
        others = asyncio.all_tasks()
        watching = await kopf.spawn_tasks(
            registry=events.registry(queue),
            settings=events.settings(),
            namespaces=self._settings.namespaces,
            clusterwide=not self._settings.namespaces,
            standalone=True,
            # Else it asks for the user's name, and a user without an entry has none.
            identity=Identity(self._settings.pod_name),
            stop_flag=self._stop,
        )
        # kopf has put its own handlers in the place of ours, and would end the watchers before we know that it shall end.
        _heed_signals(self._stop)
        await kopf.run_tasks(watching, ignored=others)

    async def _watch(self) -> None:
        began = asyncio.get_running_loop().time()
        while True:
            if dead := self._watchdog.failed():
                raise WatcherDiedError(f"{', '.join(dead)} has ended")
            if not self._watches() and asyncio.get_running_loop().time() > began + UNTIL_WATCHING:
                raise WatcherDiedError(
                    f"{self._watchdog.watching} of {self._watchers} watchers have begun: is a CRD missing?"
                )
            await asyncio.sleep(WATCH_PERIOD)

    def _watches(self) -> bool:
        return not self._watchdog.failed() and self._watchdog.watching >= self._watchers


async def _until_one_ends(stop: asyncio.Event, **parts: Coroutine[Any, Any, None]) -> None:
    """Run them until one ends or a signal comes, then end all, kopf's in its own way; raises what ended it."""
    tasks = {asyncio.create_task(part, name=name) for name, part in parts.items()}
    stopping = asyncio.create_task(stop.wait(), name="stop")
    done, _ = await asyncio.wait({*tasks, stopping}, return_when=asyncio.FIRST_COMPLETED)
    for task in {*tasks, stopping} - done:
        if task.get_name() != "kopf":
            task.cancel()
    stop.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    for task in done - {stopping}:
        task.result()


def _end_if_deposed(holding: asyncio.Task[None]) -> None:
    if not holding.cancelled() and (error := holding.exception()) is not None:
        _end_at_once(error)


def _end_at_once(error: BaseException) -> NoReturn:
    """Without any goodbye: what cleans up might write, and another one leads."""
    log.error("%s; ending, to be started anew", error)
    logging.shutdown()
    os._exit(1)


def _heed_signals(stop: asyncio.Event) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
