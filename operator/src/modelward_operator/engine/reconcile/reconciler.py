"""One reconcile: look, exchange, decide, carry out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import aiohttp
from pydantic import ValidationError

from modelward_api import names
from modelward_api.base import seconds
from modelward_api.resources.driftmonitor import DriftMonitorStatus
from modelward_api.resources.modelversion import ModelVersionStatus
from modelward_api.resources.trainingjob import TrainingJobSpec, TrainingJobStatus
from modelward_api.wire.exchange import ExchangeResponse, TrainingProgress
from modelward_operator.domain.core.decision import Decision, Note, TrainingDecision
from modelward_operator.domain.core.observation import Failure, HeldLease, Observation, TrainingObservation, Version
from modelward_operator.domain.core.record import ModelRecord
from modelward_operator.domain.evidence import ledger
from modelward_operator.domain.jobs import training
from modelward_operator.domain.jobs.training import version_name
from modelward_operator.domain.rollout.advance import QUIET_PERIOD
from modelward_operator.domain.rollout.plan import ENDED
from modelward_operator.engine.kube import gateway as api
from modelward_operator.engine.kube.gateway import ConflictError, Gateway, InvalidObjectError, Manifest
from modelward_operator.engine.kube.watch_cache import Store
from modelward_operator.engine.pods.control_client import Exchange
from modelward_operator.engine.queue import Key
from modelward_operator.engine.reconcile import batch, jobs, stalled
from modelward_operator.engine.reconcile.apply import Memory, Rest, Round, carry_out, write_event, write_status
from modelward_operator.engine.reconcile.freshness import is_of_consequence
from modelward_operator.engine.reconcile.observe import (
    Seen,
    explain,
    see,
    tolerant,
    training_outcome,
    training_problem,
)
from modelward_operator.engine.telemetry import metrics
from modelward_operator.manifests import training as manifests
from modelward_operator.manifests.settings import Settings

Advance = Callable[[Observation, datetime], Decision]
Train = Callable[[TrainingObservation, datetime], TrainingDecision]
AGAIN = 0.05
"""Seconds until a second look after somebody else has written meanwhile."""
UNTIL_COLLECTED = 1.0
"""Seconds until a second look at what the garbage collector is about to remove."""
MARKS_PERIOD = 60.0
"""Seconds between two looks at the quarantine's ControllerRevisions while nothing moves."""
UNTIL_MENDED = 15.0
"""Seconds until a second look at what a person must mend and no watch tells of."""


def _now() -> datetime:
    return datetime.now(UTC)


@dataclass(slots=True)
class Reconciler:
    """Works on keys; the decisions are given to it as functions."""

    gateway: Gateway
    exchange: Exchange
    session: aiohttp.ClientSession
    settings: Settings
    advance: Advance
    train: Train
    score: batch.Score
    memories: dict[Key, Memory] = field(default_factory=dict)
    refused: dict[str, Failure] = field(default_factory=dict)
    """By TrainingJob's uid: why its ModelVersion was refused. It would be again: the spec is immutable."""
    progress_port: int = names.PROGRESS_PORT
    now: Callable[[], datetime] = _now
    monotonic: Callable[[], float] = time.monotonic
    """Seconds."""
    fresh: Gateway | None = None
    """Where to look again before anything of consequence is done, when ``gateway`` may be behind."""
    store: Store | None = None
    """What ``gateway`` reads from; None if it reads from the API server."""

    async def __call__(self, key: Key) -> float | None:
        """Reconcile a key; returns when to look again."""
        work = {"Model": self.model, "TrainingJob": self.training, "ScoreBatch": self.scoring}[key.kind]
        with metrics.reconcile(key.kind):
            try:
                return await work(key)
            except ConflictError:
                metrics.CONFLICTS.labels(key.kind).inc()
                return AGAIN

    async def model(self, key: Key) -> float | None:
        """One model with all its versions."""
        memory, heard = self.memories.setdefault(key, Memory()), self._heard(key)
        if memory.rest is not None and memory.rest.lasts(heard, self.monotonic()):
            await self._renew(memory, memory.rest)
            return memory.rest.again
        seen = await see(self.gateway, key.namespace, key.name, self._marks(memory))
        memory.marks = seen.marks
        await self._tell_unreadable_monitors(seen)
        await self._tell_waiting(seen)
        if isinstance(seen.record, Failure) and any(not _is_deleting(m) for m in seen.manifests.values()):
            return await self._hold(key, seen, seen.record)
        versions = {version.name: version for version in seen.versions}
        answers = await self.exchange.renew(memory.held, versions, profile=bool(seen.monitors))
        decision = await self._decide(key, memory, seen, answers)
        if self.fresh is not None and is_of_consequence(seen, memory.held, decision):
            seen = await see(self.fresh, key.namespace, key.name)
            memory.marks, memory.marks_read = seen.marks, self.monotonic()
            decision = await self._decide(key, memory, seen, answers)
        turn = Round(
            self.gateway,
            self.exchange,
            self.settings,
            key.namespace,
            key.name,
            seen,
            memory,
            self.monotonic(),
            self.now(),
        )
        outcome = await carry_out(turn, decision)
        metrics.tell(key.namespace, key.name, replace(decision, statuses=outcome.statuses))
        metrics.CONFLICTS.labels(key.kind).inc(memory.attempts.conflicts)
        if not (seen.manifests or seen.monitors or seen.waiting or seen.deployments):
            self.memories.pop(key, None)
            return None
        is_quiet = self.store is not None and heard == self._heard(key)  # nothing was written, either
        if (again := memory.attempts.next) is not None:
            memory.rest = None
            return min(decision.requeue_after, max(AGAIN, again - self.monotonic()))
        memory.rest = _rest(seen, decision, heard, turn.clock) if is_quiet else None
        return decision.requeue_after

    async def _renew(self, memory: Memory, rest: Rest) -> None:
        """Leases, and the counts of a model that is watched: what a pod told last is not lost with it."""
        answers = await self.exchange.renew(memory.held, rest.versions, profile=rest.profile)
        if rest.profile and memory.latest is not None:
            counts = ledger.merge(memory.latest.ledger, answers)
            memory.latest = memory.latest.model_copy(update={"ledger": counts})

    def _marks(self, memory: Memory) -> Sequence[Manifest] | None:
        """The quarantine's ControllerRevisions, where reading them again can wait: nothing of consequence rests on them."""
        if self.fresh is None or self.monotonic() - memory.marks_read > MARKS_PERIOD:
            memory.marks_read = self.monotonic()
            return None
        return memory.marks

    def _heard(self, key: Key) -> int:
        return self.store.heard(key.namespace, key.name) if self.store is not None else 0

    async def _decide(self, key: Key, memory: Memory, seen: Seen, answers: list[ExchangeResponse]) -> Decision:
        documents = await self.exchange.documents(seen.versions)
        observation = Observation(
            namespace=key.namespace,
            model=key.name,
            versions=seen.versions,
            service=seen.service,
            record=_record(seen, memory, answers),
            tripped=ledger.tripped(answers),
            held=_held(answers),
            documents=documents,
            monitors=seen.monitors,
            invalid=seen.invalid,
            lost=seen.lost,
            refused=dict(memory.held.refused),
        )
        return self.advance(observation, self.now())

    async def _hold(self, key: Key, seen: Seen, failure: Failure) -> float:
        """Decide nothing without the record: a digest that was rolled back might return. Leases run out by themselves."""
        for name, manifest in seen.manifests.items():
            status = tolerant(ModelVersionStatus, manifest.get("status"))
            if _is_deleting(manifest) or status.phase in ENDED or status.phase == "Standby":
                continue
            generation = manifest["metadata"].get("generation", 0)
            told = stalled.stalled(status, generation, failure, self.now(), ready="Unknown")
            await write_status(self.gateway, api.MODEL_VERSIONS, manifest, told)
            if stalled.is_new(status, failure):
                note = Note("ModelVersion", name, "Warning", failure.reason, failure.message)
                await write_event(self.gateway, key.namespace, note, manifest)
        return UNTIL_MENDED

    async def _tell_unreadable_monitors(self, seen: Seen) -> None:
        for name, message in seen.unreadable_monitors.items():
            manifest = seen.monitor_manifests[name]
            status = tolerant(DriftMonitorStatus, manifest.get("status"))
            failure, generation = Failure("InvalidSpec", message), manifest["metadata"].get("generation", 0)
            told = stalled.stalled(status, generation, failure, self.now())
            await write_status(self.gateway, api.DRIFT_MONITORS, manifest, told)

    async def _tell_waiting(self, seen: Seen) -> None:
        for name, manifest in seen.waiting.items():
            status = tolerant(ModelVersionStatus, manifest.get("status"))
            message = f"A deleted ModelVersion {name} had another bundle: its pods are being removed first"
            told = stalled.waiting(
                status, manifest["metadata"]["generation"], Failure("WaitingForCleanup", message), self.now()
            )
            await write_status(self.gateway, api.MODEL_VERSIONS, manifest, told)

    async def training(self, key: Key) -> float | None:
        """One TrainingJob."""
        manifest = await self.gateway.get(api.TRAINING_JOBS, key.namespace, key.name)
        if manifest is None or _is_deleting(manifest):
            return None
        status, generation = tolerant(TrainingJobStatus, manifest.get("status")), manifest["metadata"]["generation"]
        try:
            spec = TrainingJobSpec.model_validate(manifest["spec"])
        except ValidationError as error:
            told = stalled.stalled(status, generation, Failure("InvalidSpec", explain(error)), self.now())
            await write_status(self.gateway, api.TRAINING_JOBS, manifest, told)
            return None
        job = await self.gateway.get(api.JOBS, key.namespace, key.name)
        document = await self._document(key, job)
        if (name := jobs.left_over(manifest, job, document)) is not None:
            failure = Failure("WaitingForCleanup", f"{name} of an earlier TrainingJob {key.name} is being removed")
            told = stalled.waiting(status, generation, failure, self.now())
            await write_status(self.gateway, api.TRAINING_JOBS, manifest, told)
            return UNTIL_COLLECTED
        observation = await self._observe_training(manifest, spec, status, job, document)
        decision = self.train(observation, self.now())
        try:
            await self._carry_out_training(manifest, observation, decision)
        except jobs.RefusedError as error:
            latest = await self.gateway.get(api.TRAINING_JOBS, key.namespace, key.name)
            if latest is None:
                return None
            known = tolerant(TrainingJobStatus, latest.get("status"))
            refused = training.refused(replace(observation, status=known), error.failure, self.now())
            await self._tell_training(latest, refused)
            return refused.requeue_after
        newly_refused = observation.version_refused is None and observation.uid in self.refused
        return AGAIN if newly_refused else decision.requeue_after

    async def scoring(self, key: Key) -> float | None:
        """One ScoreBatch."""
        return await batch.reconcile(self.fresh or self.gateway, self.settings, self.score, key)

    async def _document(self, key: Key, job: Manifest | None) -> Manifest | None:
        """The ConfigMap with the spec; of interest only while the Job is not made."""
        if job is not None:
            return None
        return await self.gateway.get(api.CONFIG_MAPS, key.namespace, manifests.document_name(key.name))

    async def _observe_training(
        self,
        manifest: Manifest,
        spec: TrainingJobSpec,
        status: TrainingJobStatus,
        job: Manifest | None,
        document: Manifest | None,
    ) -> TrainingObservation:
        metadata = manifest["metadata"]
        namespace, name, uid = metadata["namespace"], metadata["name"], metadata["uid"]
        pods = await self.gateway.list(api.PODS, namespace, f"{names.TRAINING_JOB}={name}")
        newest = max(pods, key=lambda p: p["metadata"]["creationTimestamp"], default=None)
        pod_status = (newest or {}).get("status") or {}
        outcome = training_outcome(pod_status)
        wanted = version_name(spec)
        made = await self.gateway.get(api.MODEL_VERSIONS, namespace, wanted) if spec.promote is not None else None
        ours = made is not None and (made["metadata"].get("labels") or {}).get(names.TRAINING_JOB) == name
        return TrainingObservation(
            namespace=namespace,
            name=name,
            uid=uid,
            generation=metadata.get("generation", 0),
            spec=spec,
            status=status,
            job_exists=job is not None,
            job_suspended=bool(job and job["spec"].get("suspend")),
            job_failure=jobs.taken(manifest, job, document) or jobs.failure(job),
            job_complete=jobs.is_complete(job),
            pod_problem=training_problem(pod_status, outcome) or await jobs.without_pods(self.gateway, job, pods),
            progress=await self._progress(pod_status),
            outcome=outcome,
            model_version=wanted if ours else None,
            name_taken=made is not None and not ours,
            version_refused=self.refused.get(uid),
        )

    async def _progress(self, pod_status: dict[str, Any]) -> TrainingProgress | None:
        if pod_status.get("phase") != "Running" or not pod_status.get("podIP"):
            return None
        url = f"http://{pod_status['podIP']}:{self.progress_port}{names.PROGRESS_PATH}"
        try:
            async with self.session.get(url, timeout=aiohttp.ClientTimeout(total=2)) as answer:
                return TrainingProgress.model_validate_json(await answer.read())
        except (aiohttp.ClientError, TimeoutError, OSError, ValidationError):
            return None

    async def _carry_out_training(
        self, manifest: Manifest, observation: TrainingObservation, decision: TrainingDecision
    ) -> None:
        namespace, name, uid, spec = observation.namespace, observation.name, observation.uid, observation.spec
        if decision.create_job:
            document = manifests.config_map(namespace, name, uid, spec)
            with jobs.refusals(f"ConfigMap {document['metadata']['name']}"):
                await self.gateway.apply(api.CONFIG_MAPS, document)
            with jobs.refusals(f"Job {name}"):
                await self.gateway.apply(api.JOBS, manifests.job(namespace, name, uid, spec, self.settings))
        if decision.suspend_job is not None:
            with jobs.refusals(f"a change of Job {name}"):
                await self.gateway.patch(api.JOBS, namespace, name, {"spec": {"suspend": decision.suspend_job}})
        status = decision.status
        manifest = await self._tell_training(manifest, decision)
        if decision.create_version is not None and status.uri and status.digest:
            version = manifests.model_version(namespace, decision.create_version, spec, name, status.uri, status.digest)
            await self._create(version, uid)

    async def _tell_training(self, manifest: Manifest, decision: TrainingDecision) -> Manifest:
        manifest = await write_status(self.gateway, api.TRAINING_JOBS, manifest, decision.status)
        for note in decision.notes:
            await write_event(self.gateway, manifest["metadata"]["namespace"], note, manifest)
        return manifest

    async def _create(self, version: Manifest, uid: str) -> None:
        name = version["metadata"]["name"]
        try:
            with jobs.refusals(f"ModelVersion {name}", invalid=False):
                await self.gateway.create(api.MODEL_VERSIONS, version)
        except InvalidObjectError as error:
            message = (
                f"Trained, but ModelVersion {name} is refused: {error}. Apply one with status.uri and status.digest"
            )
            self.refused[uid] = Failure("ModelVersionRefused", message)


def _is_deleting(manifest: Manifest) -> bool:
    return "deletionTimestamp" in manifest["metadata"]


def _rest(seen: Seen, decision: Decision, heard: int, clock: float) -> Rest | None:
    """How long to rest where no rollout is under way or waits for one."""
    if seen.invalid or any(v.status.phase not in ("Champion", "Standby", *ENDED) for v in seen.versions):
        return None
    period = min([QUIET_PERIOD, *(seconds(monitor.spec.interval) for monitor in seen.monitors)])
    holding = {v.name: v for v in seen.versions if v.status.phase not in ENDED}
    return Rest(heard, clock + period, decision.requeue_after, holding, profile=bool(seen.monitors))


def _record(seen: Seen, memory: Memory, answers: Iterable[ExchangeResponse]) -> ModelRecord:
    """Quarantine as the cluster has it (a person may release a digest there); counts as we have them, which is more."""
    written = seen.record if isinstance(seen.record, ModelRecord) else ModelRecord()
    if memory.record is None and seen.record_manifest is not None:
        memory.record = seen.written
    known = {entry.digest for entry in written.quarantined}
    kept = (*written.quarantined, *(entry for entry in memory.unkept if entry.digest not in known))
    written = written.model_copy(update={"quarantined": kept})
    counts = (memory.latest or written).ledger
    living = None if seen.invalid else _pods(seen.versions)  # the pods of what cannot be read are not looked at
    return written.model_copy(update={"ledger": ledger.merge(counts, answers, living)})


def _pods(versions: Iterable[Version]) -> set[str]:
    return {pod.name for version in versions for pod in version.pods}


def _held(answers: Iterable[ExchangeResponse]) -> dict[str, HeldLease]:
    return {
        answer.pod: HeldLease(
            answer.lease.challenger if answer.lease else None, answer.lease.weight if answer.lease else 0.0
        )
        for answer in answers
    }
