"""Levels, not edges: every key is asked for again now and then, whatever events were lost."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Iterable, Iterator

from modelward_api import names
from modelward_operator.engine.kube import gateway as api
from modelward_operator.engine.kube.gateway import OURS, Gateway, GatewayError, Manifest, Resource
from modelward_operator.engine.kube.watch_cache import Store
from modelward_operator.engine.queue import Key, WorkQueue

log = logging.getLogger(__name__)

PERIOD_AFTER_FAILURE = 2.0

LISTED: tuple[tuple[Resource, str], ...] = (
    (api.MODEL_VERSIONS, ""),
    (api.DRIFT_MONITORS, ""),
    (api.TRAINING_JOBS, ""),
    (api.SCORE_BATCHES, ""),
    (api.SERVICES, OURS),
    (api.DEPLOYMENTS, OURS),
    (api.AUTOSCALERS, OURS),
    (api.PODS, OURS),
)
"""Kinds, and which of them: what people make, and what we have made of it, leftovers included."""


class DeafError(Exception):
    """A watch looks alive and tells nothing: the process must be started anew."""


async def run(
    gateway: Gateway, queue: WorkQueue, store: Store, namespaces: Iterable[str | None], period: float
) -> None:
    """List all and enqueue, for ever, with jitter. The first time at once; sooner while the API server is away.

    What a watch has missed is worked on at once; from the second time on, all else is spread over the period.

    Raises:
        DeafError: between two listings no watch has told what the first of them, or a write of ours, had brought; or the
            definitions of our kinds were gone for a while, and their watches with them.
    """
    watched, before, known, gone = list(namespaces), store.order, 0, False
    while True:
        began, failed = store.order, False
        for namespace in watched:
            try:
                news, rest = await look(gateway, store, namespace)
            except GatewayError as error:
                log.warning("resync of %s: %s", namespace or "all namespaces", error)
                failed, gone = True, gone or (error.status == 404 and store.filled.is_set())
                continue
            for key in news:
                queue.add(key)
            for key in rest:
                queue.add(key, random.uniform(0, period) if store.filled.is_set() else 0.0)
        if not failed:
            if gone:
                raise DeafError("the CustomResourceDefinitions were gone and are back: their watches must begin anew")
            if deaf := store.untold(known):
                raise DeafError(f"the watch of {', '.join(deaf)} tells nothing of what a listing has shown before")
            store.filled.set()
            store.forget_gone(before)
            before, known = began, store.order
        await asyncio.sleep((min(period, PERIOD_AFTER_FAILURE) if failed else period) * random.uniform(0.8, 1.2))


async def look(gateway: Gateway, store: Store, namespace: str | None) -> tuple[set[Key], set[Key]]:
    """Bring the store to what the API server lists; returns the keys of what was not known so, and all others."""
    news: set[Key] = set()
    rest: set[Key] = set()
    for resource, selector in LISTED:
        sweep = store.begin(resource, namespace)
        async for page in gateway.pages(resource, namespace, selector):
            changed = store.take(sweep, page)
            news |= {key for manifest in changed for key in of(manifest, resource.kind)}
            rest |= {key for manifest in page for key in of(manifest, resource.kind)}
        news |= {Key("Model", where, model) for where, model in store.end(sweep)}
    return news, rest - news


def of(manifest: Manifest, kind: str) -> Iterator[Key]:
    """The keys that an object concerns."""
    metadata = manifest["metadata"]
    namespace, labels = metadata["namespace"], metadata.get("labels") or {}
    if kind in ("ModelVersion", "DriftMonitor", "TrainingJob") and (manifest.get("spec") or {}).get("model"):
        yield Key("Model", namespace, manifest["spec"]["model"])
    if kind == "TrainingJob":
        yield Key("TrainingJob", namespace, metadata["name"])
    if names.MODEL in labels:
        yield Key("Model", namespace, labels[names.MODEL])
    if names.TRAINING_JOB in labels and kind != "ModelVersion":
        yield Key("TrainingJob", namespace, labels[names.TRAINING_JOB])
    if kind == "ScoreBatch":
        yield Key("ScoreBatch", namespace, metadata["name"])
    if names.SCORE_BATCH in labels:
        yield Key("ScoreBatch", namespace, labels[names.SCORE_BATCH])
