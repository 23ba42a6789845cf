"""Write Events."""

from __future__ import annotations

import logging
from datetime import UTC, datetime

from modelward_api.resources.modelversion import ModelVersionStatus
from modelward_operator.domain.core.note import Note
from modelward_operator.domain.rollout.decision import Decision
from modelward_operator.domain.rollout.withheld import is_new
from modelward_operator.engine.kube import gateway as api
from modelward_operator.engine.kube.gateway import Gateway, GatewayError, Manifest
from modelward_operator.engine.reconcile.context import Outcome, ReconcileContext
from modelward_operator.engine.reconcile.parsing import tolerant

log = logging.getLogger(__name__)


async def write_events(context: ReconcileContext, decision: Decision, outcome: Outcome) -> None:
    """Write Events for what has happened, and for refusals that no status shows yet."""
    for note in decision.notes:
        wanted, now = decision.statuses.get(note.name), outcome.statuses.get(note.name)
        is_so = wanted is None or now is None or (now.phase, now.step) == (wanted.phase, wanted.step)
        if note.kind == "ModelVersion" and not is_so:
            continue
        if note.kind == "DriftMonitor" and note.name in outcome.monitors:
            continue
        await write_event(
            context.gateway, context.namespace, note, outcome.objects.get(note.name) or _object(context, note)
        )
    for name, refusals in outcome.refusals.items():
        manifest = context.snapshot.manifests.get(name)
        if manifest is None:
            continue  # it is deleted: there is no object for an Event
        old = tolerant(ModelVersionStatus, manifest.get("status"))
        lasting = next((r for r in refusals if r.lasts and r.times == 1 and is_new(old, r)), None)
        if lasting is not None:
            note = Note("ModelVersion", name, "Warning", lasting.reason, lasting.message)
            await write_event(context.gateway, context.namespace, note, manifest)


def _object(context: ReconcileContext, note: Note) -> Manifest | None:
    return context.snapshot.monitor_manifests.get(note.name) if note.kind == "DriftMonitor" else None


async def write_event(gateway: Gateway, namespace: str, note: Note, manifest: Manifest | None) -> None:
    """Write an Event, as `kubectl describe` shows it. A failure is logged and not retried."""
    if manifest is None:
        return
    now, metadata = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), manifest["metadata"]
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{note.name}.", "namespace": namespace},
        "involvedObject": {
            "apiVersion": manifest["apiVersion"],
            "kind": manifest["kind"],
            "name": metadata["name"],
            "namespace": namespace,
            "uid": metadata["uid"],
        },
        "type": note.type,
        "reason": note.reason,
        "message": note.message[:1024],
        "source": {"component": "modelward"},
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }
    try:
        await gateway.create(api.EVENTS, event)
    except GatewayError as error:
        log.warning("Event %s of %s %s/%s was not written: %s", note.reason, note.kind, namespace, note.name, error)
