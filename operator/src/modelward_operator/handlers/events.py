"""The edge to kopf: events become keys, and nothing else happens here."""

from __future__ import annotations

from typing import Any

import kopf

from modelward_api import GROUP, VERSION
from modelward_operator.engine.queue import WorkQueue
from modelward_operator.engine.resync import of

SETTLE = 0.05
"""Seconds in which events of one key become one reconcile."""

SILENCE = 90.0
"""Seconds without an event, after which a watch begins anew: the API server sends a bookmark each minute."""

WATCHED = (
    (GROUP, VERSION, "modelversions", "ModelVersion"),
    (GROUP, VERSION, "trainingjobs", "TrainingJob"),
    (GROUP, VERSION, "driftmonitors", "DriftMonitor"),
    (GROUP, VERSION, "scorebatches", "ScoreBatch"),
    ("apps", "v1", "deployments", "Deployment"),
    ("", "v1", "pods", "Pod"),
    ("", "v1", "services", "Service"),
    ("batch", "v1", "jobs", "Job"),
)


def registry(queue: WorkQueue) -> kopf.OperatorRegistry:
    """A registry whose handlers only enqueue."""
    found = kopf.OperatorRegistry()
    for group, version, plural, kind in WATCHED:
        _watch(found, queue, group, version, plural, kind)
    kopf.on.login(registry=found, id="login", errors=kopf.ErrorsMode.TEMPORARY)(_login)
    return found


def _login(**arguments: Any) -> kopf.ConnectionInfo | None:
    """By the pod's account, else by a kubeconfig."""
    return kopf.login_with_service_account(**arguments) or kopf.login_with_kubeconfig(**arguments)


def settings() -> kopf.OperatorSettings:
    """kopf as it is safe to use: bounded requests, no Events, no peering, no finalizers of its own."""
    chosen = kopf.OperatorSettings()
    chosen.watching.server_timeout = 240
    chosen.watching.client_timeout = 300
    chosen.watching.connect_timeout = 10
    chosen.watching.inactivity_timeout = SILENCE
    chosen.networking.request_timeout = 30
    chosen.networking.connect_timeout = 10
    chosen.networking.error_backoffs = (1, 1, 2, 3, 5, 8, 13, 21, 34, 55, 60)
    chosen.peering.standalone = True
    chosen.posting.enabled = False
    chosen.scanning.disabled = True
    return chosen


def _watch(found: kopf.OperatorRegistry, queue: WorkQueue, group: str, version: str, plural: str, kind: str) -> None:
    @kopf.on.event(group, version, plural, registry=found, id=f"enqueue-{plural}")
    async def enqueue(body: kopf.Body, **_: Any) -> None:
        for key in of(dict(body), kind):
            queue.add(key, SETTLE)
