"""Level-triggered resync: every key is reconciled periodically, even if events were lost."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Iterable, Iterator

from modelward_operator.engine.kube.gateway import Gateway, GatewayError, Manifest, Resource
from modelward_operator.engine.kube.kinds import BY_RESOURCE, KINDS, MODEL
from modelward_operator.engine.kube.watch_cache import WatchCache
from modelward_operator.engine.queue import Key, WorkQueue

log = logging.getLogger(__name__)

PERIOD_AFTER_FAILURE = 2.0


class StaleWatchError(Exception):
    """A watch seems alive and delivers nothing: the process must be restarted."""


async def run(
    gateway: Gateway, queue: WorkQueue, cache: WatchCache, namespaces: Iterable[str | None], period: float
) -> None:
    """List everything and enqueue it, forever, with jitter: at once the first time, sooner while the API server is away.

    Changes that a watch has missed are enqueued at once; from the second time on, the rest is spread over the period.

    Raises:
        StaleWatchError: between two listings, no watch has delivered what the first of them, or a write of this process, had
            brought; or the CustomResourceDefinitions were gone for a while, and their watches with them.
    """
    watched, before, known, gone = list(namespaces), cache.order, 0, False
    while True:
        began, failed = cache.order, False
        for namespace in watched:
            try:
                news, rest = await look(gateway, cache, namespace)
            except GatewayError as error:
                log.warning("resync of %s failed: %s", namespace or "all namespaces", error)
                failed, gone = True, gone or (error.status == 404 and cache.filled.is_set())
                continue
            for key in news:
                queue.add(key)
            for key in rest:
                queue.add(key, random.uniform(0, period) if cache.filled.is_set() else 0.0)
        if not failed:
            if gone:
                raise StaleWatchError(
                    "the CustomResourceDefinitions were deleted and restored: their watches must be restarted"
                )
            if deaf := cache.unconfirmed(known):
                raise StaleWatchError(f"the watch of {', '.join(deaf)} has missed what a listing has shown")
            cache.filled.set()
            cache.forget_gone(before)
            before, known = began, cache.order
        await asyncio.sleep((min(period, PERIOD_AFTER_FAILURE) if failed else period) * random.uniform(0.8, 1.2))


async def look(gateway: Gateway, cache: WatchCache, namespace: str | None) -> tuple[set[Key], set[Key]]:
    """Update the cache from a listing; return the keys of changed objects, and all other keys."""
    news: set[Key] = set()
    rest: set[Key] = set()
    for kind in KINDS:
        if not kind.is_listed:
            continue
        sweep = cache.begin(kind.resource, namespace)
        async for page in gateway.pages(kind.resource, namespace, kind.selector):
            changed = cache.take(sweep, page)
            news |= {key for manifest in changed for key in keys_of(manifest, kind.resource)}
            rest |= {key for manifest in page for key in keys_of(manifest, kind.resource)}
        news |= {Key(MODEL, where, model) for where, model in cache.end(sweep)}
    return news, rest - news


def keys_of(manifest: Manifest, resource: Resource) -> Iterator[Key]:
    """Yield the keys that an object concerns: its model's, its own, and that of the object that it was made for."""
    metadata, kind = manifest["metadata"], BY_RESOURCE[resource]
    namespace, labels = metadata["namespace"], metadata.get("labels") or {}
    if (model := kind.model_of(manifest)) is not None:
        yield Key(MODEL, namespace, model)
    if kind.label is not None:
        yield Key(resource.kind, namespace, metadata["name"])
    if kind.ours:
        for maker in KINDS:
            if maker.label is not None and maker.label in labels:
                yield Key(maker.resource.kind, namespace, labels[maker.label])
