"""Write a model's record and the quarantine's ControllerRevisions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from typing import Any

from modelward_operator.domain.core.failure import Failure
from modelward_operator.domain.core.record import ModelRecord
from modelward_operator.domain.rollout.decision import Decision
from modelward_operator.engine.kube import gateway as api
from modelward_operator.engine.reconcile.attempts import RefusedError
from modelward_operator.engine.reconcile.context import Outcome, ReconcileContext
from modelward_operator.engine.reconcile.writes import as_seen, delete, make
from modelward_operator.manifests import quarantine as marks
from modelward_operator.manifests import record as records

COUNTS_PERIOD = 5.0
"""Seconds between two writes of the record while only counts have grown."""


async def write_record(context: ReconcileContext, decision: Decision, outcome: Outcome) -> None:
    """Write the record and the quarantine's marks, if they are due."""
    if isinstance(context.snapshot.record, Failure):
        return  # the ConfigMap is foreign, and the model's last version goes
    # The next decision starts from these windows, even if a write fails.
    context.memory.latest = decision.record
    marked = await _write_marks(context, decision, outcome)
    await _write_config_map(context, replace(decision, record=_with_marks(decision.record, marked)), outcome)
    context.memory.unkept = () if outcome.records else decision.record.quarantined


def _with_marks(record: ModelRecord, marked: tuple[str, ...]) -> ModelRecord:
    return record.model_copy(update={"marked": marked})


async def _write_config_map(context: ReconcileContext, decision: Decision, outcome: Outcome) -> None:
    if not _is_due(context, decision):
        return
    manifest = records.config_map(context.namespace, context.model, decision.record, context.record_key)
    before = context.snapshot.record_manifest
    write = (
        partial(context.gateway.create, api.CONFIG_MAPS, manifest)
        if before is None
        else partial(context.gateway.apply, api.CONFIG_MAPS, as_seen(manifest, before))
    )
    try:
        await make(context, ("ConfigMap", records.record_name(context.model)), "", write)
    except RefusedError as error:
        outcome.records = False
        outcome.of(decision.statuses, error)
        return
    context.memory.record, context.memory.record_written = decision.record, context.clock
    context.memory.sealed_with = context.record_key


async def _write_marks(context: ReconcileContext, decision: Decision, outcome: Outcome) -> tuple[str, ...]:
    """Write the quarantine's ControllerRevisions, kept in case the ConfigMap is deleted; return the digests that they hold."""
    wanted = {entry.digest: entry for entry in decision.record.quarantined}
    have = {m["metadata"]["name"]: (m, marks.read([m])) for m in context.snapshot.marks}
    for manifest, entries in have.values():
        if not entries or wanted.get(entries[0].digest) != entries[0]:
            await _mark(context, decision, outcome, partial(delete, context, api.REVISIONS, manifest))
    marked = []
    for entry in wanted.values():
        stands = have.get(marks.mark_name(context.model, entry.digest), (None, ()))[1] == (entry,)
        if not stands:
            manifest = marks.mark(context.namespace, context.model, entry)
            create = partial(context.gateway.create, api.REVISIONS, manifest)
            key = ("ControllerRevision", manifest["metadata"]["name"])
            stands = await _mark(context, decision, outcome, partial(make, context, key, entry.time, create))
        marked += [entry.digest] if stands else []
    return tuple(marked)


async def _mark(
    context: ReconcileContext, decision: Decision, outcome: Outcome, write: Callable[[], Awaitable[Any]]
) -> bool:
    context.memory.marks = None
    try:
        await write()
    except RefusedError as error:
        outcome.records = False
        outcome.of(decision.statuses, error)
        return False
    return True


def _is_due(context: ReconcileContext, decision: Decision) -> bool:
    """Whether to write the record now: at once for a decision, periodically while only counts grow."""
    written = context.memory.record
    if context.snapshot.written is None and decision.record.quarantined:
        return True  # it was deleted
    if context.snapshot.written is not None and context.snapshot.written.quarantined != decision.record.quarantined:
        return True
    turn_is_due = context.clock - context.memory.record_written >= COUNTS_PERIOD
    if not context.snapshot.sealed and (turn_is_due or context.memory.sealed_with != context.record_key):
        return True  # its counts are plain, sealed with another key, or broken
    if written is not None and _counted(written) == _counted(decision.record):
        return False
    if _counted(decision.record) == ModelRecord() and context.snapshot.record_manifest is None:
        return False
    important = written is None or _what_matters(written) != _what_matters(decision.record)
    moved = any(
        v.name in decision.statuses and decision.statuses[v.name].phase != v.status.phase
        for v in context.snapshot.versions
    )
    return important or moved or turn_is_due


def _counted(record: ModelRecord) -> ModelRecord:
    """Return the record without the list of instances, which is written only along with their counts."""
    ledger = record.ledger.model_copy(update={"instances": {}, "gone": ()})
    return record.model_copy(update={"ledger": ledger})


def _what_matters(record: ModelRecord) -> tuple[object, ...]:
    return record.quarantined, record.marked, record.decisions, record.ledger.windows
