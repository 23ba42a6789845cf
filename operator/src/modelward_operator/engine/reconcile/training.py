"""One reconcile of a TrainingJob: observe, decide, apply."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import aiohttp
from pydantic import ValidationError

from modelward_api import names
from modelward_api.resources.reasons import Reason
from modelward_api.resources.trainingjob import TrainingJobSpec, TrainingJobStatus
from modelward_api.wire.exchange import TrainingProgress
from modelward_operator.domain.core.failure import Failure
from modelward_operator.domain.jobs import training
from modelward_operator.domain.jobs.training import TrainingDecision, TrainingObservation, version_name
from modelward_operator.engine.kube import gateway as api
from modelward_operator.engine.kube.gateway import Gateway, InvalidObjectError, Manifest
from modelward_operator.engine.pods.answers import CAREFUL, content_of
from modelward_operator.engine.queue import Key
from modelward_operator.engine.reconcile import jobs, stalled
from modelward_operator.engine.reconcile.attempts import CONFLICT_RETRY
from modelward_operator.engine.reconcile.events import write_event
from modelward_operator.engine.reconcile.parsing import explain, tolerant
from modelward_operator.engine.reconcile.pod_status import training_outcome, training_problem
from modelward_operator.engine.reconcile.statuses import write_status
from modelward_operator.manifests import training as manifests
from modelward_operator.manifests.settings import Settings

Train = Callable[[TrainingObservation, datetime], TrainingDecision]
MAX_PROGRESS = 64 * 1024
"""Bytes of a training pod's progress."""
UNTIL_COLLECTED = 1.0
"""Seconds until the next look at objects that the garbage collector is about to remove."""


@dataclass(slots=True)
class TrainingReconciler:
    """The reconciler of TrainingJobs; the decision is a function passed to it."""

    gateway: Gateway
    session: aiohttp.ClientSession
    settings: Settings
    train: Train
    now: Callable[[], datetime]
    progress_port: int = names.PROGRESS_PORT
    refused: dict[str, Failure] = field(default_factory=dict)
    """By TrainingJob uid: why its ModelVersion was refused. The spec is immutable, so it would be refused again."""

    async def __call__(self, key: Key) -> float | None:
        """Reconcile one TrainingJob; return the seconds until the next look."""
        manifest = await self.gateway.get(api.TRAINING_JOBS, key.namespace, key.name)
        if manifest is None or _is_deleting(manifest):
            return None
        status, generation = tolerant(TrainingJobStatus, manifest.get("status")), manifest["metadata"]["generation"]
        try:
            spec = TrainingJobSpec.model_validate(manifest["spec"])
        except ValidationError as error:
            reported = stalled.stalled(status, generation, Failure(Reason.INVALID_SPEC, explain(error)), self.now())
            await write_status(self.gateway, api.TRAINING_JOBS, manifest, reported)
            return None
        job = await self.gateway.get(api.JOBS, key.namespace, key.name)
        document = await self._document(key, job)
        if (name := jobs.left_over(manifest, job, document)) is not None:
            failure = Failure(
                Reason.WAITING_FOR_CLEANUP, f"Waiting until {name} of an earlier TrainingJob {key.name} is removed"
            )
            reported = stalled.waiting(status, generation, failure, self.now())
            await write_status(self.gateway, api.TRAINING_JOBS, manifest, reported)
            return UNTIL_COLLECTED
        observation = await self._observe(manifest, spec, status, job, document)
        decision = self.train(observation, self.now())
        try:
            await self._carry_out(manifest, observation, decision)
        except jobs.RefusedError as error:
            latest = await self.gateway.get(api.TRAINING_JOBS, key.namespace, key.name)
            if latest is None:
                return None
            known = tolerant(TrainingJobStatus, latest.get("status"))
            refused = training.refused(replace(observation, status=known), error.failure, self.now())
            await self._report(latest, refused)
            return refused.requeue_after
        newly_refused = observation.version_refused is None and observation.uid in self.refused
        return CONFLICT_RETRY if newly_refused else decision.requeue_after

    async def _document(self, key: Key, job: Manifest | None) -> Manifest | None:
        """Return the ConfigMap with the spec, while there is no Job."""
        if job is not None:
            return None
        return await self.gateway.get(api.CONFIG_MAPS, key.namespace, manifests.document_name(key.name))

    async def _observe(
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
            async with self.session.get(url, timeout=aiohttp.ClientTimeout(total=2), **CAREFUL) as answer:
                return TrainingProgress.model_validate_json(await content_of(answer, MAX_PROGRESS))
        except (aiohttp.ClientError, TimeoutError, OSError, ValidationError):
            return None

    async def _carry_out(
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
        manifest = await self._report(manifest, decision)
        if decision.create_version is not None and status.uri and status.digest:
            version = manifests.model_version(namespace, decision.create_version, spec, name, status.uri, status.digest)
            await self._create(version, uid)

    async def _report(self, manifest: Manifest, decision: TrainingDecision) -> Manifest:
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
                f"Trained, but ModelVersion {name} is refused: {error}. "
                "Apply one with status.uri and status.digest as its artifact"
            )
            self.refused[uid] = Failure(Reason.MODEL_VERSION_REFUSED, message)


def _is_deleting(manifest: Manifest) -> bool:
    return "deletionTimestamp" in manifest["metadata"]
