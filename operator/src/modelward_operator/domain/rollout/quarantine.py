"""The quarantine, kept in several places in case one is deleted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from modelward_api.resources.reasons import Reason
from modelward_operator.domain.core.record import DecisionRecord, ModelRecord, Quarantine
from modelward_operator.domain.rollout.observation import Version

NOT_FOR_CAUSE = frozenset({Reason.DEADLINE_EXCEEDED, Reason.DELETED})
"""Reasons for a rollback that do not quarantine the digest."""


@dataclass(frozen=True, slots=True)
class QuarantineSources:
    """The places where a model's quarantine is kept."""

    record: ModelRecord | None
    """The record from the ConfigMap; None if there is none."""
    marks: tuple[Quarantine, ...]
    """The entries in ControllerRevisions."""
    versions: tuple[Version, ...]
    """The existing ModelVersions: their statuses show their own rollbacks."""


def remembered(places: QuarantineSources) -> ModelRecord:
    """Return the record with every entry of any place, except those released since."""
    record = places.record or ModelRecord()
    found = {entry.digest: entry for entry in record.quarantined}
    others = [*places.marks, *(_told(places.versions) if places.record is None else ())]
    for entry in others:
        if entry.digest not in found and not _was_released(entry, record.decisions, places.versions):
            found[entry.digest] = entry
    quarantined = sorted(found.values(), key=lambda entry: entry.time)
    return (
        record
        if tuple(quarantined) == record.quarantined
        else record.model_copy(update={"quarantined": tuple(quarantined)})
    )


def lost(places: QuarantineSources) -> str | None:
    """Return what others have deleted, where it can be distinguished from what never existed."""
    in_statuses = _told(places.versions)
    if places.record is None:
        if places.marks:
            return "The record's ConfigMap was deleted. The quarantine is restored; the counts and decisions are lost"
        if in_statuses or any(v.status.decided is not None for v in places.versions):
            return (
                "The record's ConfigMap and the quarantine's ControllerRevisions were deleted. Only the "
                "digests that a ModelVersion still reports as rolled back are restored"
            )
        return None
    known = {entry.digest for entry in places.record.quarantined}.intersection(places.record.marked)
    missing = known - {entry.digest for entry in places.marks}
    if missing:
        return f"{len(missing)} ControllerRevisions of the quarantine were deleted. They are restored from the record's ConfigMap"
    return None


def _told(versions: Iterable[Version]) -> tuple[Quarantine, ...]:
    """Return the entries that versions' statuses imply."""
    found = []
    for version in versions:
        status = version.status
        why = next((t for t in reversed(status.history) if t.to_phase == "RolledBack"), None)
        if status.phase != "RolledBack" or why is None or why.reason in NOT_FOR_CAUSE or version.digest is None:
            continue
        since = status.rolled_back_at or why.time
        found.append(
            Quarantine(
                digest=version.digest, version=version.spec.version, reason=why.reason, message=why.message, time=since
            )
        )
    return tuple(found)


def _was_released(entry: Quarantine, decisions: Iterable[DecisionRecord], versions: Iterable[Version]) -> bool:
    """Whether an entry was released. A release names the time of its rollback; a later rollback has another time."""
    named = any(
        v.digest == entry.digest
        and v.spec.rollout.release == entry.time
        and v.status.phase not in ("RolledBack", "Quarantined")
        for v in versions
    )
    recorded = any(
        d.outcome == "release" and d.evidence.challenger == entry.digest and d.time >= entry.time for d in decisions
    )
    return named or recorded
