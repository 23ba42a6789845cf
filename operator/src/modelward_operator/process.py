"""The process: it watches from the start and works once it leads. If one part ends, all end."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from typing import Any

import kopf
from kopf._core.engines.peering import Identity
from prometheus_client import start_http_server

from modelward_operator.domain.jobs.batch import score
from modelward_operator.domain.jobs.training import train
from modelward_operator.domain.rollout import advance
from modelward_operator.engine.kube.cached_gateway import CachedGateway
from modelward_operator.engine.kube.gateway import GatewayError, KubernetesGateway
from modelward_operator.engine.kube.watch_cache import WatchCache
from modelward_operator.engine.leadership import Leadership, Standby
from modelward_operator.engine.pods import request_signing
from modelward_operator.engine.pods.control_client import Exchange, connections
from modelward_operator.engine.queue import WorkQueue
from modelward_operator.engine.reconcile import record_key as record_keys
from modelward_operator.engine.reconcile.reconciler import Reconciler
from modelward_operator.engine.telemetry import health, metrics
from modelward_operator.engine.telemetry.health import Health
from modelward_operator.engine.watch import events, resync
from modelward_operator.manifests.settings import Settings

log = logging.getLogger(__name__)

WATCH_PERIOD = 2.0


class WatcherDiedError(Exception):
    """One of kopf's watchers has stopped: the process must be restarted."""


ENDINGS = (WatcherDiedError, resync.StaleWatchError, GatewayError)
"""The errors with which the process exits to be restarted."""


async def run(settings: Settings, *, health_port: int, metrics_port: int, resync_period: float) -> None:
    """Run until a signal. Raises if a part ends that must not end."""
    stop = asyncio.Event()
    _heed_signals(stop)
    start_http_server(metrics_port)
    kubeconfig = os.environ.get("KUBECONFIG")
    async with AsyncExitStack() as stack:
        # The Lease has its own connections, so that renewals never wait for other calls.
        leases = await KubernetesGateway.connect(kubeconfig)
        stack.push_async_callback(leases.close)
        standby = Standby(leases, settings.pod_namespace, settings.pod_name)
        process = Process(settings, standby)
        gateway = await KubernetesGateway.connect(kubeconfig, standby.permit)
        stack.push_async_callback(gateway.close)
        runner = await health.serve(health_port, process.alive, process.ready)
        stack.push_async_callback(runner.cleanup)
        await process.run(gateway, resync_period, stop)


class Process:
    """One replica of the operator. All replicas watch, so that any can take over at once; one leads and writes."""

    def __init__(self, settings: Settings, standby: Standby) -> None:
        self._settings = settings
        self._standby = standby
        self._queue, self._cache = WorkQueue(), WatchCache()
        self._watching, self._watchdog = asyncio.Event(), health.Watchdog()

    def alive(self) -> Health:
        """Return whether it is alive."""
        if dead := self._watchdog.failed():
            return Health(False, f"{', '.join(dead)} has stopped")
        if stuck := self._queue.stuck(health.STUCK):
            return Health(False, f"{len(stuck)} workers are stuck")
        return Health(True)

    def ready(self) -> Health:
        """Return whether it leads, or could take over."""
        leadership = self._standby.leadership
        if leadership is None and self._standby.cannot_see_lease():
            return Health(False, "standby: cannot read the Lease")
        if not self._watching.is_set() or not self._cache.filled.is_set():
            return Health(False, "starting: not all watches and listings are complete")
        if leadership is None:
            return Health(True, f"standby: {self._standby.leader or 'nobody'} leads")
        return Health(True, f"leader in epoch {leadership.epoch}")

    async def run(self, gateway: KubernetesGateway, resync_period: float, stop: asyncio.Event) -> None:
        """Run until a signal comes or one part ends."""
        namespaces = self._settings.namespaces or (None,)
        await _until_one_ends(
            stop,
            kopf=self._kopf(stop),
            resync=resync.run(gateway, self._queue, self._cache, namespaces, resync_period),
            watchdog=self._watch(),
            lead=self._lead(gateway),
        )

    async def _lead(self, gateway: KubernetesGateway) -> None:
        """Wait for the Lease, work, and release it in the end. A replica that loses it exits at once."""
        leadership = await self._standby.win()
        log.info("leading: epoch %d begins", leadership.epoch)
        metrics.LEADER.set(1)
        metrics.EPOCH.set(leadership.epoch)
        holding = asyncio.create_task(leadership.hold(), name="lease")
        holding.add_done_callback(_end_if_it_failed)
        try:
            await self._work(gateway, leadership)
        finally:
            holding.cancel()
            await leadership.hand_back()

    async def _work(self, gateway: KubernetesGateway, leadership: Leadership) -> None:
        settings, cache = self._settings, self._cache
        signer = await request_signing.begin(gateway, settings.pod_namespace)
        keys = asyncio.create_task(request_signing.hold(gateway, settings.pod_namespace, signer), name="keys")
        keys.add_done_callback(_end_if_it_failed)
        published = asyncio.create_task(request_signing.watch_over(gateway, signer), name="published keys")
        published.add_done_callback(_end_if_it_failed)
        record_key = await record_keys.begin(gateway, settings.pod_namespace)
        kept = asyncio.create_task(record_keys.hold(gateway, settings.pod_namespace, record_key), name="record key")
        kept.add_done_callback(_end_if_it_failed)
        metrics.QUEUED.set_function(lambda: len(self._queue))
        try:
            async with connections() as session:
                exchange = Exchange(session, leadership.epoch, signer, permit=self._standby.permit)
                cached = CachedGateway(gateway, cache)
                reconciler = Reconciler(
                    cached, exchange, session, settings, advance, train, score, record_key, fresh=gateway, cache=cache
                )
                # The latest change comes first: it may be a rollout whose leases are about to expire.
                self._queue.sort(lambda key: -cache.revision(key.namespace, key.name) if key.kind == "Model" else 0)
                await self._queue.run(reconciler)
        finally:
            keys.cancel()
            published.cancel()
            kept.cancel()

    async def _kopf(self, stop: asyncio.Event) -> None:
        # kopf looks once for the kinds, and watches only those that it finds.
        await _until_any(self._cache.filled, stop)
        if stop.is_set():
            return
        others = asyncio.all_tasks()
        watching = await kopf.spawn_tasks(
            registry=events.registry(self._queue, self._cache),
            settings=events.settings(),
            namespaces=self._settings.namespaces,
            clusterwide=not self._settings.namespaces,
            standalone=True,
            # Otherwise kopf asks for the user's name, and an arbitrary user ID has none.
            identity=Identity(self._settings.pod_name),
            stop_flag=stop,
            ready_flag=self._watching,
        )
        # kopf has replaced the signal handlers, and would end the watchers before the other parts.
        _heed_signals(stop)
        try:
            await kopf.run_tasks(watching, ignored=others)
        except Exception as error:  # any cause of a watcher's death; kopf has logged it
            raise WatcherDiedError(f"kopf has stopped: {type(error).__name__}") from error

    async def _watch(self) -> None:
        while True:
            if dead := self._watchdog.failed():
                raise WatcherDiedError(f"{', '.join(dead)} has stopped")
            await asyncio.sleep(WATCH_PERIOD)


async def _until_any(*events: asyncio.Event) -> None:
    waiting = {asyncio.create_task(event.wait()) for event in events}
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()


async def _until_one_ends(stop: asyncio.Event, **parts: Coroutine[Any, Any, None]) -> None:
    """Run the parts until one ends or a signal comes, then end all. Raises the error that ended it."""
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


def _end_if_it_failed(task: asyncio.Task[None]) -> None:
    """Exit at once: cleaning up might write while another replica leads."""
    if task.cancelled() or (error := task.exception()) is None:
        return
    log.error("%s; exiting, to be restarted", error)
    logging.shutdown()
    os._exit(1)


def _heed_signals(stop: asyncio.Event) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
