"""One reconcile: look, exchange, decide, carry out."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import aiohttp
from pydantic import ValidationError

from modelward_api import names
from modelward_api.conditions import Condition
from modelward_api.trainingjob import TrainingJobSpec, TrainingJobStatus
from modelward_api.wire import ExchangeResponse, TrainingProgress
from modelward_operator.desired import record as records
from modelward_operator.desired import training as manifests
from modelward_operator.desired.settings import Settings
from modelward_operator.domain import ledger
from modelward_operator.domain.conditions import Summary, conclude
from modelward_operator.domain.decision import Decision, TrainingDecision
from modelward_operator.domain.observation import Failure, HeldLease, Observation, TrainingObservation
from modelward_operator.domain.record import ModelRecord
from modelward_operator.domain.training import version_name
from modelward_operator.engine import gateway as api
from modelward_operator.engine import metrics
from modelward_operator.engine.apply import Memory, Round, carry_out, write_event, write_status
from modelward_operator.engine.exchange import Exchange
from modelward_operator.engine.gateway import ConflictError, Gateway, Manifest
from modelward_operator.engine.observe import Seen, explain, owned_by, problem, see, tolerant, training_outcome
from modelward_operator.engine.queue import Key

Advance = Callable[[Observation, datetime], Decision]
Train = Callable[[TrainingObservation, datetime], TrainingDecision]
AGAIN = 0.05
"""Seconds until a second look after somebody else has written meanwhile."""


@dataclass(slots=True)
class Reconciler:
    """Works on keys; the decisions are given to it as functions."""

    gateway: Gateway
    exchange: Exchange
    session: aiohttp.ClientSession
    settings: Settings
    advance: Advance
    train: Train
    memories: dict[Key, Memory] = field(default_factory=dict)
    progress_port: int = names.PROGRESS_PORT

    async def __call__(self, key: Key) -> float | None:
        """Reconcile a key; returns when to look again."""
        work = self.model if key.kind == "Model" else self.training
        with metrics.reconcile(key.kind):
            try:
                return await work(key)
            except ConflictError:
                metrics.CONFLICTS.labels(key.kind).inc()
                return AGAIN

    async def model(self, key: Key) -> float | None:
        """One model with all its versions."""
        memory = self.memories.setdefault(key, Memory())
        seen = await see(self.gateway, key.namespace, key.name)
        versions = {version.name: version for version in seen.versions}
        answers = await self.exchange.renew(memory.held, versions, profile=bool(seen.monitors))
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
        )
        decision = self.advance(observation, datetime.now(UTC))
        turn = Round(
            self.gateway, self.exchange, self.settings, key.namespace, key.name, seen, memory, time.monotonic()
        )
        await carry_out(turn, decision)
        metrics.tell(key.namespace, key.name, decision)
        if not seen.manifests and not seen.monitors:
            self.memories.pop(key, None)
            return None
        memory.latest = decision.record
        return decision.requeue_after

    async def training(self, key: Key) -> float | None:
        """One TrainingJob."""
        manifest = await self.gateway.get(api.TRAINING_JOBS, key.namespace, key.name)
        if manifest is None or "deletionTimestamp" in manifest["metadata"]:
            return None
        status = tolerant(TrainingJobStatus, manifest.get("status"))
        try:
            spec = TrainingJobSpec.model_validate(manifest["spec"])
        except ValidationError as error:
            await self._say_invalid(manifest, status, explain(error))
            return None
        observation = await self._observe_training(manifest, spec, status)
        decision = self.train(observation, datetime.now(UTC))
        await self._carry_out_training(manifest, observation, decision)
        return decision.requeue_after

    async def _say_invalid(self, manifest: Manifest, status: TrainingJobStatus, message: str) -> None:
        generation = manifest["metadata"].get("generation", 0)
        summary = Summary("False", "InvalidSpec", message, stalled=True)
        conditions: tuple[Condition, ...] = conclude(status.conditions, generation, datetime.now(UTC), summary)
        told = status.model_copy(
            update={"message": message, "observed_generation": generation, "conditions": conditions}
        )
        await write_status(self.gateway, api.TRAINING_JOBS, manifest, told)

    async def _observe_training(
        self, manifest: Manifest, spec: TrainingJobSpec, status: TrainingJobStatus
    ) -> TrainingObservation:
        metadata = manifest["metadata"]
        namespace, name, uid = metadata["namespace"], metadata["name"], metadata["uid"]
        job = await self.gateway.get(api.JOBS, namespace, name)
        taken = job is not None and not owned_by(job, uid)
        pods = await self.gateway.list(api.PODS, namespace, f"{names.TRAINING_JOB}={name}")
        newest = max(pods, key=lambda p: p["metadata"]["creationTimestamp"], default=None)
        pod_status = (newest or {}).get("status") or {}
        wanted = version_name(spec)
        made = await self.gateway.get(api.MODEL_VERSIONS, namespace, wanted) if spec.promote is not None else None
        ours = made is not None and (made["metadata"].get("labels") or {}).get(names.TRAINING_JOB) == name
        failure = _job_failure(job)
        if taken:
            failure = Failure("NameTaken", f"Job {name} exists and is not this TrainingJob's: choose another name")
        return TrainingObservation(
            namespace=namespace,
            name=name,
            uid=uid,
            generation=metadata.get("generation", 0),
            spec=spec,
            status=status,
            job_exists=job is not None,
            job_suspended=bool(job and job["spec"].get("suspend")),
            job_failure=failure,
            job_complete=_has_condition(job, "Complete"),
            pod_problem=None if pod_status.get("phase") in ("Running", "Succeeded", "Failed") else problem(pod_status),
            progress=await self._progress(pod_status),
            outcome=training_outcome(pod_status),
            model_version=wanted if ours else None,
            name_taken=made is not None and not ours,
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
            await self.gateway.apply(api.CONFIG_MAPS, manifests.config_map(namespace, name, uid, spec))
            await self.gateway.apply(api.JOBS, manifests.job(namespace, name, uid, spec, self.settings))
        if decision.suspend_job is not None:
            await self.gateway.patch(api.JOBS, namespace, name, {"spec": {"suspend": decision.suspend_job}})
        status = decision.status
        manifest = await write_status(self.gateway, api.TRAINING_JOBS, manifest, status)
        if decision.create_version is not None and status.uri and status.digest:
            version = manifests.model_version(namespace, decision.create_version, spec, name, status.uri, status.digest)
            await self.gateway.create(api.MODEL_VERSIONS, version)
        for note in decision.notes:
            await write_event(self.gateway, namespace, note, manifest)


def _record(seen: Seen, memory: Memory, answers: Iterable[ExchangeResponse]) -> ModelRecord:
    """Quarantine as the cluster has it (a person may release a digest there); counts as we have them, which is more."""
    written = records.read(seen.record)
    if memory.record is None and seen.record is not None:
        memory.record = written
    counts = (memory.latest or written).ledger
    return ModelRecord(quarantined=written.quarantined, ledger=ledger.merge(counts, answers))


def _held(answers: Iterable[ExchangeResponse]) -> dict[str, HeldLease]:
    return {
        answer.pod: HeldLease(
            answer.lease.challenger if answer.lease else None, answer.lease.weight if answer.lease else 0.0
        )
        for answer in answers
    }


def _has_condition(job: Manifest | None, type_: str) -> bool:
    conditions = ((job or {}).get("status") or {}).get("conditions") or []
    return any(c["type"] == type_ and c["status"] == "True" for c in conditions)


def _job_failure(job: Manifest | None) -> Failure | None:
    for condition in ((job or {}).get("status") or {}).get("conditions") or []:
        if condition["type"] == "Failed" and condition["status"] == "True":
            return Failure(condition.get("reason") or "JobFailed", condition.get("message") or "The Job failed")
    return None
