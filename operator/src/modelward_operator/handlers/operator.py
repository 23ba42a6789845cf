"""The process: kopf's watchers, the queue's workers, resync, health and metrics; one that ends ends all."""

from __future__ import annotations

import asyncio
import logging
import os
import signal

import aiohttp
import kopf
from kopf._core.engines.peering import Identity
from prometheus_client import start_http_server

from modelward_operator.desired.settings import Settings
from modelward_operator.domain.rollout import advance
from modelward_operator.domain.scoring import score
from modelward_operator.domain.training import train
from modelward_operator.engine import epoch, health, metrics, resync, signing
from modelward_operator.engine.cache import CachedGateway
from modelward_operator.engine.exchange import Exchange, connections
from modelward_operator.engine.gateway import GatewayError, KubernetesGateway
from modelward_operator.engine.queue import WorkQueue
from modelward_operator.engine.reconcile import Reconciler
from modelward_operator.engine.store import Store
from modelward_operator.handlers import events

log = logging.getLogger(__name__)

WATCH_PERIOD = 2.0


class WatcherDiedError(Exception):
    """A watcher of kopf has ended: the process must be started anew."""


ENDINGS = (WatcherDiedError, epoch.DeposedError, GatewayError)
"""How the process ends when it must be started anew."""


async def run(settings: Settings, *, health_port: int, metrics_port: int) -> None:
    """Run until a signal; raises when something ends that must not end."""
    stop = asyncio.Event()
    _heed_signals(stop)
    gateway = await KubernetesGateway.connect(os.environ.get("KUBECONFIG"))
    async with connections() as session:
        try:
            await _run(settings, gateway, session, stop, health_port, metrics_port)
        finally:
            await gateway.close()


async def _run(
    settings: Settings,
    gateway: KubernetesGateway,
    session: aiohttp.ClientSession,
    stop: asyncio.Event,
    health_port: int,
    metrics_port: int,
) -> None:
    number = await epoch.begin(gateway, settings.pod_namespace, settings.pod_name)
    log.info("epoch %d begins", number)
    signer = await signing.begin(gateway, settings.pod_namespace)
    store = Store()
    exchange, cached = Exchange(session, number, signer), CachedGateway(gateway, store)
    reconciler = Reconciler(cached, exchange, session, settings, advance, train, score, fresh=gateway, store=store)
    queue, watchdog, ready = WorkQueue(reconciler), health.Watchdog(), asyncio.Event()
    metrics.QUEUED.set_function(lambda: len(queue))
    start_http_server(metrics_port)

    def alive() -> str | None:
        if dead := watchdog.failed():
            return f"{', '.join(dead)} has ended"
        if stuck := queue.stuck(health.STUCK):
            return f"{len(stuck)} workers are stuck"
        return None

    runner = await health.serve(health_port, alive, lambda: None if ready.is_set() else "kopf is not watching yet")
    tasks = {
        asyncio.create_task(_kopf(settings, queue, store, stop, ready), name="kopf"),
        asyncio.create_task(queue.run(), name="queue"),
        asyncio.create_task(resync.run(gateway, queue, store, settings.namespaces or (None,)), name="resync"),
        asyncio.create_task(_watch(watchdog), name="watchdog"),
        asyncio.create_task(epoch.hold(gateway, settings.pod_namespace, settings.pod_name, number), name="epoch"),
        asyncio.create_task(signing.hold(gateway, settings.pod_namespace, signer), name="keys"),
    }
    stopping = asyncio.create_task(stop.wait(), name="stop")
    done, _ = await asyncio.wait({*tasks, stopping}, return_when=asyncio.FIRST_COMPLETED)
    for task in {*tasks, stopping} - done:
        if task.get_name() != "kopf":
            task.cancel()
    stop.set()
    await asyncio.gather(*tasks, return_exceptions=True)
    await runner.cleanup()
    for task in done - {stopping}:
        task.result()


async def _kopf(settings: Settings, queue: WorkQueue, store: Store, stop: asyncio.Event, ready: asyncio.Event) -> None:
    others = asyncio.all_tasks()
    watching = await kopf.spawn_tasks(
        registry=events.registry(queue, store),
        settings=events.settings(),
        namespaces=settings.namespaces,
        clusterwide=not settings.namespaces,
        standalone=True,
        # Else it asks for the user's name, and a user without an entry has none.
        identity=Identity(settings.pod_name),
        stop_flag=stop,
        ready_flag=ready,
    )
    # kopf has put its own handlers in the place of ours, and would end the watchers before we know that it shall end.
    _heed_signals(stop)
    await kopf.run_tasks(watching, ignored=others)


def _heed_signals(stop: asyncio.Event) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)


async def _watch(watchdog: health.Watchdog) -> None:
    while True:
        if dead := watchdog.failed():
            raise WatcherDiedError(f"{', '.join(dead)} has ended")
        await asyncio.sleep(WATCH_PERIOD)
