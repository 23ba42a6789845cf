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
from modelward_operator.engine.reconcile.context import Outcome, Round
from modelward_operator.engine.reconcile.writes import as_seen, delete, make
from modelward_operator.manifests import quarantine as marks
from modelward_operator.manifests import record as records

COUNTS_PERIOD = 5.0
"""Seconds between two writes of the record while only counts have grown."""


async def write_record(turn: Round, decision: Decision, outcome: Outcome) -> None:
    """Write the record and the quarantine's marks, if they are due."""
    if isinstance(turn.seen.record, Failure):
        return  # it is not ours to write, and the model's last version goes
    # What is decided next starts from these windows, whatever happens to the writes.
    turn.memory.latest = decision.record
    marked = await _write_marks(turn, decision, outcome)
    await _write_config_map(turn, replace(decision, record=_with_marks(decision.record, marked)), outcome)
    turn.memory.unkept = () if outcome.records else decision.record.quarantined


def _with_marks(record: ModelRecord, marked: tuple[str, ...]) -> ModelRecord:
    return record.model_copy(update={"marked": marked})


async def _write_config_map(turn: Round, decision: Decision, outcome: Outcome) -> None:
    if not _is_due(turn, decision):
        return
    manifest = records.config_map(turn.namespace, turn.model, decision.record)
    before = turn.seen.record_manifest
    write = (
        partial(turn.gateway.create, api.CONFIG_MAPS, manifest)
        if before is None
        else partial(turn.gateway.apply, api.CONFIG_MAPS, as_seen(manifest, before))
    )
    try:
        await make(turn, ("ConfigMap", records.record_name(turn.model)), "", write)
    except RefusedError as error:
        outcome.records = False
        outcome.of(decision.statuses, error)
        return
    turn.memory.record, turn.memory.record_written = decision.record, turn.clock


async def _write_marks(turn: Round, decision: Decision, outcome: Outcome) -> tuple[str, ...]:
    """The quarantine's second place, which nobody deletes together with the ConfigMap; returns the digests that stand in it."""
    wanted = {entry.digest: entry for entry in decision.record.quarantined}
    have = {m["metadata"]["name"]: (m, marks.read([m])) for m in turn.seen.marks}
    for manifest, entries in have.values():
        if not entries or wanted.get(entries[0].digest) != entries[0]:
            await _mark(turn, decision, outcome, partial(delete, turn, api.REVISIONS, manifest))
    marked = []
    for entry in wanted.values():
        stands = have.get(marks.mark_name(turn.model, entry.digest), (None, ()))[1] == (entry,)
        if not stands:
            manifest = marks.mark(turn.namespace, turn.model, entry)
            create = partial(turn.gateway.create, api.REVISIONS, manifest)
            key = ("ControllerRevision", manifest["metadata"]["name"])
            stands = await _mark(turn, decision, outcome, partial(make, turn, key, entry.time, create))
        marked += [entry.digest] if stands else []
    return tuple(marked)


async def _mark(turn: Round, decision: Decision, outcome: Outcome, write: Callable[[], Awaitable[Any]]) -> bool:
    turn.memory.marks = None
    try:
        await write()
    except RefusedError as error:
        outcome.records = False
        outcome.of(decision.statuses, error)
        return False
    return True


def _is_due(turn: Round, decision: Decision) -> bool:
    """Whether the record must be written now: at once when it matters, now and then while only counts grow."""
    written = turn.memory.record
    if turn.seen.written is None and decision.record.quarantined:
        return True  # somebody has deleted it
    if turn.seen.written is not None and turn.seen.written.quarantined != decision.record.quarantined:
        return True
    if written is not None and _counted(written) == _counted(decision.record):
        return False
    if _counted(decision.record) == ModelRecord() and turn.seen.record_manifest is None:
        return False
    turn_is_due = turn.clock - turn.memory.record_written >= COUNTS_PERIOD
    important = written is None or _what_matters(written) != _what_matters(decision.record)
    moved = any(
        v.name in decision.statuses and decision.statuses[v.name].phase != v.status.phase for v in turn.seen.versions
    )
    return important or moved or turn_is_due


def _counted(record: ModelRecord) -> ModelRecord:
    """The record without whose instances there are: that is of use beside their counts alone, and is written with those."""
    ledger = record.ledger.model_copy(update={"instances": {}, "gone": ()})
    return record.model_copy(update={"ledger": ledger})


def _what_matters(record: ModelRecord) -> tuple[object, ...]:
    return record.quarantined, record.marked, record.decisions, record.ledger.windows
