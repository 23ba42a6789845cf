"""Levels, not edges: every key is asked for again now and then, whatever events were lost."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Iterable, Iterator

from modelward_api import names
from modelward_operator.engine import gateway as api
from modelward_operator.engine.gateway import Gateway, GatewayError, Manifest
from modelward_operator.engine.queue import Key, WorkQueue

log = logging.getLogger(__name__)

PERIOD_AFTER_FAILURE = 2.0


async def run(gateway: Gateway, queue: WorkQueue, namespaces: Iterable[str | None], period: float) -> None:
    """List all and enqueue, for ever, with jitter. The first time at once; sooner while the API server is away."""
    watched = list(namespaces)
    while True:
        pause = period
        for namespace in watched:
            try:
                for key in await keys(gateway, namespace):
                    queue.add(key)
            except GatewayError as error:
                log.warning("resync of %s: %s", namespace or "all namespaces", error)
                pause = min(period, PERIOD_AFTER_FAILURE)
        await asyncio.sleep(pause * random.uniform(0.8, 1.2))


async def keys(gateway: Gateway, namespace: str | None) -> set[Key]:
    """All keys that there is anything of, leftovers included."""
    found = set()
    for resource in (api.MODEL_VERSIONS, api.DRIFT_MONITORS, api.TRAINING_JOBS, api.SCORE_BATCHES):
        for manifest in await gateway.list(resource, namespace):
            found |= set(of(manifest, resource.kind))
    for manifest in await gateway.list(api.SERVICES, namespace, f"{names.MANAGED_BY}={names.MANAGER}"):
        found |= set(of(manifest, "Service"))
    return found


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
