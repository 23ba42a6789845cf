"""One reconcile of a model: observe, exchange, decide, apply."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from modelward_api.base import seconds
from modelward_api.resources.driftmonitor import DriftMonitorStatus
from modelward_api.resources.modelversion import ModelVersionStatus
from modelward_api.resources.reasons import Reason
from modelward_api.wire.exchange import ExchangeResponse
from modelward_operator.domain.core.failure import Failure
from modelward_operator.domain.core.note import Note
from modelward_operator.domain.core.record import ModelRecord
from modelward_operator.domain.evidence import ledger
from modelward_operator.domain.rollout.advance import QUIET_PERIOD
from modelward_operator.domain.rollout.decision import Decision
from modelward_operator.domain.rollout.observation import Observation, Version
from modelward_operator.domain.rollout.plan import ENDED
from modelward_operator.engine.kube import gateway as api
from modelward_operator.engine.kube.gateway import Gateway, Manifest
from modelward_operator.engine.kube.watch_cache import WatchCache
from modelward_operator.engine.pods.control_client import Exchange
from modelward_operator.engine.queue import Key
from modelward_operator.engine.reconcile import stalled
from modelward_operator.engine.reconcile.apply import carry_out
from modelward_operator.engine.reconcile.attempts import CONFLICT_RETRY
from modelward_operator.engine.reconcile.context import IdleState, ModelMemory, ReconcileContext
from modelward_operator.engine.reconcile.events import write_event
from modelward_operator.engine.reconcile.freshness import requires_fresh_read
from modelward_operator.engine.reconcile.observe import ModelSnapshot, observe
from modelward_operator.engine.reconcile.parsing import tolerant
from modelward_operator.engine.reconcile.record_key import Keeper
from modelward_operator.engine.reconcile.statuses import write_status
from modelward_operator.engine.telemetry import metrics
from modelward_operator.manifests.settings import Settings

Advance = Callable[[Observation, datetime], Decision]
MARKS_PERIOD = 60.0
"""Seconds between two reads of the quarantine's ControllerRevisions while nothing changes."""
UNTIL_MENDED = 15.0
"""Seconds until the next look at what a person must fix and no watch reports."""


@dataclass(slots=True)
class ModelReconciler:
    """The reconciler of models; the decision is a function passed to it."""

    gateway: Gateway
    exchange: Exchange
    settings: Settings
    advance: Advance
    record_key: Keeper
    """The key that the counts in models' records are sealed with."""
    now: Callable[[], datetime]
    monotonic: Callable[[], float]
    """Seconds."""
    fresh: Gateway | None = None
    """The gateway for fresh reads, if ``gateway`` may be stale: see ``freshness``."""
    cache: WatchCache | None = None
    """The cache that ``gateway`` reads from; None if it reads from the API server."""
    memories: dict[Key, ModelMemory] = field(default_factory=dict)

    async def __call__(self, key: Key) -> float | None:
        """Reconcile one model with all its versions; return the seconds until the next look."""
        memory, revision = self.memories.setdefault(key, ModelMemory()), self._revision(key)
        if memory.idle is not None and memory.idle.lasts(revision, self.monotonic()):
            await self._renew(memory, memory.idle)
            return memory.idle.again
        record_key = self.record_key.key
        snapshot = await observe(self.gateway, key.namespace, key.name, self._marks(memory), record_key)
        memory.marks = snapshot.marks
        await self._report_unreadable_monitors(snapshot)
        await self._report_waiting(snapshot)
        if isinstance(snapshot.record, Failure) and any(not _is_deleting(m) for m in snapshot.manifests.values()):
            return await self._hold(key, snapshot, snapshot.record)
        versions = {version.name: version for version in snapshot.versions}
        answers = await self.exchange.renew(memory.issued, versions, profile=bool(snapshot.monitors))
        decision = await self._decide(key, memory, snapshot, answers)
        if self.fresh is not None and requires_fresh_read(snapshot, memory.issued, decision):
            snapshot = await observe(self.fresh, key.namespace, key.name, record_key=record_key)
            memory.marks, memory.marks_read = snapshot.marks, self.monotonic()
            decision = await self._decide(key, memory, snapshot, answers)
        context = ReconcileContext(
            self.gateway,
            self.exchange,
            self.settings,
            key.namespace,
            key.name,
            snapshot,
            memory,
            self.monotonic(),
            self.now(),
            record_key,
        )
        outcome = await carry_out(context, decision)
        metrics.export(key.namespace, key.name, replace(decision, statuses=outcome.statuses))
        metrics.CONFLICTS.labels(key.kind).inc(memory.attempts.conflicts)
        if not (snapshot.manifests or snapshot.monitors or snapshot.waiting or snapshot.deployments):
            self.memories.pop(key, None)
            return None
        is_quiet = self.cache is not None and revision == self._revision(key)  # this reconcile wrote nothing
        if (again := memory.attempts.next) is not None:
            memory.idle = None
            return min(decision.requeue_after, max(CONFLICT_RETRY, again - self.monotonic()))
        memory.idle = _idle_state(snapshot, decision, revision, context.clock) if is_quiet else None
        return decision.requeue_after

    async def _renew(self, memory: ModelMemory, idle: IdleState) -> None:
        """Renew the leases, and merge the counts of a watched model: a pod's last counts are not lost with it."""
        answers = await self.exchange.renew(memory.issued, idle.versions, profile=idle.profile)
        if idle.profile and memory.latest is not None:
            counts = ledger.merge(memory.latest.ledger, answers)
            memory.latest = memory.latest.model_copy(update={"ledger": counts})

    def _marks(self, memory: ModelMemory) -> Sequence[Manifest] | None:
        """Return the cached ControllerRevisions of the quarantine, or None if it is time to read them again."""
        if self.fresh is None or self.monotonic() - memory.marks_read > MARKS_PERIOD:
            memory.marks_read = self.monotonic()
            return None
        return memory.marks

    def _revision(self, key: Key) -> int:
        return self.cache.revision(key.namespace, key.name) if self.cache is not None else 0

    async def _decide(
        self, key: Key, memory: ModelMemory, snapshot: ModelSnapshot, answers: list[ExchangeResponse]
    ) -> Decision:
        documents = await self.exchange.documents(snapshot.versions)
        observation = Observation(
            namespace=key.namespace,
            model=key.name,
            versions=snapshot.versions,
            service=snapshot.service,
            record=_record(snapshot, memory, answers),
            tripped=ledger.tripped(answers),
            documents=documents,
            monitors=snapshot.monitors,
            invalid=snapshot.invalid,
            lost=snapshot.lost or (snapshot.counts_lost if memory.latest is None else None),
            refused=dict(memory.issued.refused),
            certificates=dict(memory.issued.certificates),
        )
        return self.advance(observation, self.now())

    async def _hold(self, key: Key, snapshot: ModelSnapshot, failure: Failure) -> float:
        """Report that the record is unusable, and decide nothing: a rolled-back digest might return. Leases expire."""
        for name, manifest in snapshot.manifests.items():
            status = tolerant(ModelVersionStatus, manifest.get("status"))
            if _is_deleting(manifest) or status.phase in ENDED or status.phase == "Standby":
                continue
            generation = manifest["metadata"].get("generation", 0)
            reported = stalled.stalled(status, generation, failure, self.now(), ready="Unknown")
            await write_status(self.gateway, api.MODEL_VERSIONS, manifest, reported)
            if stalled.is_new(status, failure):
                note = Note("ModelVersion", name, "Warning", failure.reason, failure.message)
                await write_event(self.gateway, key.namespace, note, manifest)
        return UNTIL_MENDED

    async def _report_unreadable_monitors(self, snapshot: ModelSnapshot) -> None:
        for name, message in snapshot.unreadable_monitors.items():
            manifest = snapshot.monitor_manifests[name]
            status = tolerant(DriftMonitorStatus, manifest.get("status"))
            failure, generation = Failure(Reason.INVALID_SPEC, message), manifest["metadata"].get("generation", 0)
            reported = stalled.stalled(status, generation, failure, self.now())
            await write_status(self.gateway, api.DRIFT_MONITORS, manifest, reported)

    async def _report_waiting(self, snapshot: ModelSnapshot) -> None:
        for name, manifest in snapshot.waiting.items():
            status = tolerant(ModelVersionStatus, manifest.get("status"))
            message = f"Waiting until the pods of a deleted ModelVersion {name}, which had another bundle, are removed"
            reported = stalled.waiting(
                status, manifest["metadata"]["generation"], Failure(Reason.WAITING_FOR_CLEANUP, message), self.now()
            )
            await write_status(self.gateway, api.MODEL_VERSIONS, manifest, reported)


def _is_deleting(manifest: Manifest) -> bool:
    return "deletionTimestamp" in manifest["metadata"]


def _idle_state(snapshot: ModelSnapshot, decision: Decision, revision: int, clock: float) -> IdleState | None:
    """Return the idle state of a model without a rollout under way or waiting; else None."""
    if snapshot.invalid or any(v.status.phase not in ("Champion", "Standby", *ENDED) for v in snapshot.versions):
        return None
    period = min([QUIET_PERIOD, *(seconds(monitor.spec.interval) for monitor in snapshot.monitors)])
    holding = {v.name: v for v in snapshot.versions if v.status.phase not in ENDED}
    return IdleState(revision, clock + period, decision.requeue_after, holding, profile=bool(snapshot.monitors))


def _record(snapshot: ModelSnapshot, memory: ModelMemory, answers: Iterable[ExchangeResponse]) -> ModelRecord:
    """Return the record: the quarantine from the cluster, where a person may release a digest, and the newest counts."""
    written = snapshot.record if isinstance(snapshot.record, ModelRecord) else ModelRecord()
    if memory.record is None and snapshot.record_manifest is not None:
        memory.record = snapshot.written
    known = {entry.digest for entry in written.quarantined}
    kept = (*written.quarantined, *(entry for entry in memory.unkept if entry.digest not in known))
    written = written.model_copy(update={"quarantined": kept})
    counts = (memory.latest or written).ledger
    living = None if snapshot.invalid else _pods(snapshot.versions)  # pods of invalid versions were not read
    return written.model_copy(update={"ledger": ledger.merge(counts, answers, living)})


def _pods(versions: Iterable[Version]) -> set[str]:
    return {pod.name for version in versions for pod in version.pods}
