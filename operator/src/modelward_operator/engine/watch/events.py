"""The edge to kopf: events go into the cache and the queue, and nothing else happens here."""

from __future__ import annotations

from typing import Any

import kopf

from modelward_operator.engine.kube.gateway import PAGE, Resource
from modelward_operator.engine.kube.kinds import KINDS
from modelward_operator.engine.kube.watch_cache import WatchCache
from modelward_operator.engine.queue import WorkQueue
from modelward_operator.engine.watch.resync import keys_of

SETTLE = 0.05
"""Seconds within which events of one key are merged into one reconcile."""


def registry(queue: WorkQueue, cache: WatchCache) -> kopf.OperatorRegistry:
    """Return a registry whose handlers only cache and enqueue."""
    found = kopf.OperatorRegistry()
    for kind in KINDS:
        _watch(found, queue, cache, kind.resource)
    kopf.on.login(registry=found, id="login", errors=kopf.ErrorsMode.TEMPORARY)(_login)
    return found


def _login(**arguments: Any) -> kopf.ConnectionInfo | None:
    """Log in with the pod's service account, else with a kubeconfig."""
    return kopf.login_with_service_account(**arguments) or kopf.login_with_kubeconfig(**arguments)


class _NothingRemembered(kopf.DiffBaseStorage):
    """A storage that keeps nothing: kopf would copy each object for each event, for handlers that do not exist here."""

    def build(self, *, body: kopf.Body, extra_fields: Any = None) -> kopf.BodyEssence:
        return kopf.BodyEssence()

    def fetch(self, *, body: kopf.Body) -> kopf.BodyEssence | None:
        return None

    def store(self, *, body: kopf.Body, patch: kopf.Patch, essence: kopf.BodyEssence) -> None:
        pass


def settings() -> kopf.OperatorSettings:
    """Return kopf's settings: bounded requests, no Events, no peering, no finalizers."""
    chosen = kopf.OperatorSettings()
    chosen.watching.server_timeout = 240
    chosen.watching.client_timeout = 300
    chosen.watching.connect_timeout = 10
    chosen.watching.chunk_size = PAGE
    for kind in KINDS:
        if kind.ours:  # foreign objects cost nothing
            resource = kind.resource
            chosen.watching.label_selectors[(*resource.group_version, resource.plural)] = kind.selector
    # kopf keeps a worker and the object for so long.
    chosen.queueing.idle_timeout = 0.1
    chosen.networking.request_timeout = 30
    chosen.networking.connect_timeout = 10
    # A watch returns within a resync's period or counts as stale; if it never does, the process ends.
    chosen.networking.error_backoffs = (1, 1, 2, 3, 5, 8, 13, *(20,) * 9)
    chosen.peering.standalone = True
    chosen.posting.enabled = False
    chosen.persistence.diffbase_storage = _NothingRemembered()
    chosen.scanning.disabled = True
    return chosen


def _watch(found: kopf.OperatorRegistry, queue: WorkQueue, cache: WatchCache, resource: Resource) -> None:
    @kopf.on.event(*resource.group_version, resource.plural, registry=found, id=f"enqueue-{resource.plural}")
    async def enqueue(event: kopf.RawEvent, **_: Any) -> None:
        manifest: Any = event["object"]
        if event["type"] == "DELETED":
            metadata = manifest["metadata"]
            cache.drop(resource, metadata["namespace"], metadata["name"], metadata["uid"])
        else:
            cache.put(resource, manifest, from_watch=True)
        for key in keys_of(manifest, resource):
            queue.add(key, SETTLE)
