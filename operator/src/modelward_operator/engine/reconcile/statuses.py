"""Write the statuses of a model's versions and monitors."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from modelward_api.base import Document
from modelward_api.resources.modelversion import ModelVersionStatus
from modelward_api.resources.reasons import Reason
from modelward_operator.domain.core.record import ModelRecord
from modelward_operator.domain.rollout.decision import Decision
from modelward_operator.domain.rollout.plan import ENDED, UNDER_WAY
from modelward_operator.domain.rollout.withheld import Attempted, Refusal, status_to_write
from modelward_operator.engine.kube import gateway as api
from modelward_operator.engine.kube.gateway import Gateway, Manifest, Resource
from modelward_operator.engine.reconcile.attempts import RefusedError
from modelward_operator.engine.reconcile.context import Outcome, ReconcileContext
from modelward_operator.engine.reconcile.parsing import tolerant
from modelward_operator.engine.reconcile.writes import make


async def write_statuses(context: ReconcileContext, decision: Decision, outcome: Outcome) -> None:
    """Write those statuses that changed and that are true after this round's other writes."""
    uncrowned: Refusal | None = None
    """Why the new champion's status could not be written: until it is, the old champion's stays."""
    for name, wanted in decision.statuses.items():
        manifest = outcome.objects.get(name)
        if manifest is None:  # its object is deleted, and its pods still serve
            outcome.statuses[name] = wanted
            continue
        old, generation = (
            tolerant(ModelVersionStatus, manifest.get("status")),
            manifest["metadata"].get("generation", 0),
        )
        withheld = _rests_on_what_is_refused(context, decision, outcome, name, old)
        if outcome.serves and wanted.phase == "Champion" and decision.serve not in (None, name):
            outcome.statuses[name] = old  # traffic left it in this reconcile: the next one says so
            continue
        is_left = uncrowned is not None and old.phase == "Champion" != wanted.phase
        refusals = [*outcome.refusals.get(name, ())]
        if uncrowned is not None and is_left:
            refusals.append(uncrowned)
        attempted = Attempted(
            refusals,
            withheld or is_left,
            tried=name in decision.workloads or wanted.phase in ENDED,
            unreachable=is_left or (not outcome.serves and name == decision.serve),
        )
        status = status_to_write(old, wanted, attempted, generation, context.now)
        try:
            outcome.objects[name] = await _write_status(context, api.MODEL_VERSIONS, manifest, status)
            outcome.statuses[name] = status
        except RefusedError as error:
            outcome.of([name], error)
            outcome.statuses[name] = old
            if wanted.phase == "Champion" != old.phase:
                already = f"{name} serves all traffic already. The status of {name}"
                uncrowned = replace(error.refusal, what=already)
    for name, monitor in decision.monitors.items():
        if not outcome.serves and any(note.name == name and note.reason == Reason.ROLLBACK for note in decision.notes):
            outcome.monitors.add(name)
            continue  # it would name a version that does not serve yet
        try:
            await _write_status(context, api.DRIFT_MONITORS, context.snapshot.monitor_manifests[name], monitor)
        except RefusedError:
            outcome.monitors.add(name)


def _rests_on_what_is_refused(
    context: ReconcileContext, decision: Decision, outcome: Outcome, name: str, old: ModelVersionStatus
) -> bool:
    """Whether the next status of a version depends on a write that was refused."""
    wanted = decision.statuses[name]
    moves = wanted.phase != old.phase
    if name in outcome.without_pods and moves:
        return wanted.phase in UNDER_WAY or (old.phase in ENDED and wanted.phase == "Standby")
    if not outcome.serves and decision.serve is not None:
        changes_hands = moves and "Champion" in (old.phase, wanted.phase)
        return changes_hands or (wanted.champion != old.champion and wanted.phase in UNDER_WAY)
    return not outcome.records and moves and _is_decided_now(context, decision, name, wanted)


def _is_decided_now(context: ReconcileContext, decision: Decision, name: str, wanted: ModelVersionStatus) -> bool:
    """Whether it is a promotion or a release, which the record must contain first. A rollback does not wait."""
    before = context.snapshot.record.decisions if isinstance(context.snapshot.record, ModelRecord) else ()
    new = [entry for entry in decision.record.decisions if entry not in before and entry.model_version == name]
    return any(entry.outcome == "release" or wanted.phase == "Promoting" for entry in new)


async def _write_status(
    context: ReconcileContext, resource: Resource, manifest: Manifest, status: Document
) -> Manifest:
    write = partial(write_status, context.gateway, resource, manifest, status)
    return await make(context, (f"{resource.kind}/status", manifest["metadata"]["name"]), "", write)


async def write_status(gateway: Gateway, resource: Resource, manifest: Manifest, status: Document) -> Manifest:
    """Write a status unless it is unchanged; return the object."""
    wanted = status.to_json()
    if manifest.get("status") == wanted:
        return manifest
    body = {key: value for key, value in manifest.items() if key != "status"}
    return await gateway.replace_status(resource, {**body, "status": wanted})
