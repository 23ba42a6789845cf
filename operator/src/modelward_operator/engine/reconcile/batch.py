"""One reconcile of a ScoreBatch: observe, decide, apply."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import ValidationError

from modelward_api import names
from modelward_api.resources.modelversion import Artifact
from modelward_api.resources.reasons import Reason
from modelward_api.resources.scorebatch import ScoreBatchSpec, ScoreBatchStatus
from modelward_api.wire.exchange import BatchOutcome
from modelward_operator.domain.core.failure import Failure
from modelward_operator.domain.jobs.batch import (
    BatchDecision,
    BatchJob,
    BatchObservation,
    Chosen,
    refused,
    reported_failure,
)
from modelward_operator.domain.rollout.observation import Observation
from modelward_operator.engine.kube import gateway as api
from modelward_operator.engine.kube.gateway import Gateway, Manifest
from modelward_operator.engine.queue import Key
from modelward_operator.engine.reconcile import jobs, stalled
from modelward_operator.engine.reconcile.events import write_event
from modelward_operator.engine.reconcile.observe import observe
from modelward_operator.engine.reconcile.parsing import explain, tolerant
from modelward_operator.engine.reconcile.pod_status import problem
from modelward_operator.engine.reconcile.statuses import write_status
from modelward_operator.manifests import batch as manifests
from modelward_operator.manifests.settings import Settings

Score = Callable[[BatchObservation, datetime], BatchDecision]
INDEX = "batch.kubernetes.io/job-completion-index"
"""Label of an indexed Job's pods: the shard."""
UNTIL_COLLECTED = 1.0
"""Seconds until the next look at objects that the garbage collector is about to remove."""


@dataclass(slots=True)
class BatchReconciler:
    """The reconciler of ScoreBatches; the decision is a function passed to it."""

    gateway: Gateway
    settings: Settings
    score: Score
    now: Callable[[], datetime]

    async def __call__(self, key: Key) -> float | None:
        """Reconcile one ScoreBatch; return the seconds until the next look."""
        return await _reconcile(self.gateway, self.settings, self.score, key, self.now)


async def _reconcile(
    gateway: Gateway, settings: Settings, score: Score, key: Key, now: Callable[[], datetime]
) -> float | None:
    manifest = await gateway.get(api.SCORE_BATCHES, key.namespace, key.name)
    if manifest is None or "deletionTimestamp" in manifest["metadata"]:
        return None
    status, generation = tolerant(ScoreBatchStatus, manifest.get("status")), manifest["metadata"]["generation"]
    try:
        spec = ScoreBatchSpec.model_validate(manifest["spec"])
    except ValidationError as error:
        new_status = stalled.stalled(status, generation, Failure(Reason.INVALID_SPEC, explain(error)), now())
        await write_status(gateway, api.SCORE_BATCHES, manifest, new_status)
        return None
    job = await gateway.get(api.JOBS, key.namespace, manifests.job_name(key.name))
    if (name := jobs.left_over(manifest, job)) is not None:
        failure = Failure(
            Reason.WAITING_FOR_CLEANUP, f"Waiting until {name} of an earlier ScoreBatch {key.name} is removed"
        )
        new_status = stalled.waiting(status, generation, failure, now())
        await write_status(gateway, api.SCORE_BATCHES, manifest, new_status)
        return UNTIL_COLLECTED
    observation = await _observe(gateway, manifest, spec, status, job)
    decision = score(observation, now())
    try:
        await _carry_out(gateway, settings, manifest, spec, decision)
    except jobs.RefusedError as error:
        refusal = refused(observation, error.failure, now())
        latest = await gateway.get(api.SCORE_BATCHES, key.namespace, key.name)
        if latest is not None:
            await _report(gateway, latest, refusal)
        return refusal.requeue_after
    return decision.requeue_after


async def _observe(
    gateway: Gateway, manifest: Manifest, spec: ScoreBatchSpec, status: ScoreBatchStatus, job: Manifest | None
) -> BatchObservation:
    metadata = manifest["metadata"]
    namespace, name = metadata["namespace"], metadata["name"]
    taken, over = jobs.taken(manifest, job), status.phase in ("Complete", "Failed")
    pods = await gateway.list(api.PODS, namespace, f"{names.SCORE_BATCH}={name}") if job and not over else []
    pods.sort(key=lambda p: (p["metadata"]["creationTimestamp"], p["metadata"]["name"]))
    statuses = [pod.get("status") or {} for pod in pods]
    chosen = status.digest is not None or job is not None
    return BatchObservation(
        namespace=namespace,
        name=name,
        uid=metadata["uid"],
        generation=metadata.get("generation", 0),
        spec=spec,
        status=status,
        model=None if chosen or over or spec.suspend else await _model(gateway, namespace, spec.model),
        job=None if job is None or taken else _job(job),
        taken=taken,
        running=any(s.get("phase") == "Running" for s in statuses),
        outcomes=tuple(outcome for s in statuses if (outcome := _outcome(s)) is not None),
        pod_problem=_problem(pods) or await jobs.without_pods(gateway, None if over or taken else job, pods),
    )


async def _model(gateway: Gateway, namespace: str, model: str) -> Observation | Failure:
    snapshot = await observe(gateway, namespace, model)
    if isinstance(snapshot.record, Failure):  # without the record, rolled-back digests are unknown
        return snapshot.record
    return Observation(namespace, model, snapshot.versions, snapshot.service, snapshot.record, invalid=snapshot.invalid)


def _job(job: Manifest) -> BatchJob:
    spec, status = job["spec"], job.get("status") or {}
    return BatchJob(
        chosen=_chosen(job["metadata"].get("annotations") or {}),
        suspended=bool(spec.get("suspend")),
        parallelism=spec.get("parallelism", 1),
        done=status.get("succeeded") or 0,
        started=status.get("startTime"),
        finished=status.get("completionTime"),
        complete=jobs.is_complete(job),
        failure=jobs.failure(job),
    )


def _chosen(annotations: dict[str, str]) -> Chosen | None:
    try:
        artifact = Artifact(uri=annotations[manifests.BUNDLE_URI], digest=annotations[manifests.BUNDLE_DIGEST])
        return Chosen(annotations[manifests.MODEL_VERSION], annotations[manifests.VERSION], artifact)
    except (KeyError, ValidationError):
        return None


def _outcome(status: dict[str, Any]) -> BatchOutcome | None:
    for container in status.get("containerStatuses") or []:
        ended = (container.get("state") or {}).get("terminated") or {}
        try:
            return BatchOutcome.model_validate_json(ended.get("message") or "")
        except ValidationError:
            continue
    return None


def _problem(pods: Iterable[Manifest]) -> Failure | None:
    """Return the problem of the newest pod that has one, among the last pods of each shard."""
    last = {(pod["metadata"].get("labels") or {}).get(INDEX): pod.get("status") or {} for pod in pods}
    for status in reversed(last.values()):
        outcome = _outcome(status)
        if outcome is not None:
            if not outcome.succeeded:
                return reported_failure(outcome)
        elif (found := problem(status)) is not None:
            return found
    return None


async def _carry_out(
    gateway: Gateway, settings: Settings, manifest: Manifest, spec: ScoreBatchSpec, decision: BatchDecision
) -> None:
    metadata = manifest["metadata"]
    namespace, name, uid = metadata["namespace"], metadata["name"], metadata["uid"]
    # The status fixes the version before anything is scored.
    manifest = await write_status(gateway, api.SCORE_BATCHES, manifest, decision.status)
    if decision.create_job is not None:
        job = manifests.job(namespace, name, uid, spec, decision.create_job, settings)
        with jobs.refusals(f"Job {manifests.job_name(name)}"):
            await gateway.apply(api.JOBS, job)
    change = {"suspend": decision.suspend_job, "parallelism": decision.parallelism}
    if wanted := {field: value for field, value in change.items() if value is not None}:
        with jobs.refusals(f"a change of Job {manifests.job_name(name)}"):
            await gateway.patch(api.JOBS, namespace, manifests.job_name(name), {"spec": wanted})
    for note in decision.notes:
        await write_event(gateway, namespace, note, manifest)


async def _report(gateway: Gateway, manifest: Manifest, decision: BatchDecision) -> Manifest:
    manifest = await write_status(gateway, api.SCORE_BATCHES, manifest, decision.status)
    for note in decision.notes:
        await write_event(gateway, manifest["metadata"]["namespace"], note, manifest)
    return manifest
