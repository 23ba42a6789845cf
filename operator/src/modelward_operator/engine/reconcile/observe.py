"""Read the cluster into frozen values. No decision is made here."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from pydantic import ValidationError

from modelward_api import names
from modelward_api.resources.driftmonitor import DriftMonitorSpec, DriftMonitorStatus
from modelward_api.resources.modelversion import Artifact, ModelVersionSpec, ModelVersionStatus
from modelward_api.resources.reasons import Reason
from modelward_api.resources.trainingjob import TrainingJobStatus
from modelward_operator.domain.core.failure import Failure
from modelward_operator.domain.core.record import ModelRecord
from modelward_operator.domain.core.sealing import SealingKey
from modelward_operator.domain.drift.observation import Monitor
from modelward_operator.domain.jobs import refusal
from modelward_operator.domain.rollout import quarantine
from modelward_operator.domain.rollout.observation import InvalidVersion, ModelService, Pod, Version, Workload
from modelward_operator.engine.kube import gateway as api
from modelward_operator.engine.kube.gateway import Gateway, Manifest
from modelward_operator.engine.reconcile.ownership import (
    is_a_versions,
    is_of,
    is_ours,
    made_for,
    remembered_spec,
    whose,
)
from modelward_operator.engine.reconcile.parsing import explain, tolerant
from modelward_operator.engine.reconcile.pod_status import pod
from modelward_operator.manifests import quarantine as marks_of
from modelward_operator.manifests import record as records
from modelward_operator.manifests.serving import short


@dataclass(frozen=True, slots=True)
class ModelSnapshot:
    """All objects of one model, as read."""

    versions: tuple[Version, ...]
    invalid: tuple[InvalidVersion, ...]
    monitors: tuple[Monitor, ...]
    service: ModelService | None
    manifests: Mapping[str, Manifest]
    """ModelVersion objects by name, for status writes."""
    monitor_manifests: Mapping[str, Manifest]
    deployments: Mapping[str, Manifest]
    autoscalers: Mapping[str, Manifest]
    """The operator's HorizontalPodAutoscalers, by the name of their Deployment."""
    service_manifest: Manifest | None
    record_manifest: Manifest | None
    record: ModelRecord | Failure
    """The record, with the quarantine entries of other places; or why it cannot be used."""
    waiting: Mapping[str, Manifest]
    """By name: ModelVersions that wait until the pods of a deleted one with the same name are gone."""
    unreadable_monitors: Mapping[str, str]
    """By name: what is wrong with DriftMonitors whose spec passed the schema and fails validation."""
    written: ModelRecord | None = None
    """The record in the ConfigMap; None if there is no usable one."""
    sealed: bool = True
    """Whether the counts in the ConfigMap are sealed with the current key; otherwise they must be written again."""
    counts_lost: str | None = None
    """Why the counts cannot be read, if they cannot."""
    marks: Sequence[Manifest] = ()
    """The quarantine's ControllerRevisions."""
    lost: str | None = None
    """The part of the quarantine that was deleted by others."""


async def observe(
    gateway: Gateway,
    namespace: str,
    model: str,
    marks: Sequence[Manifest] | None = None,
    record_key: SealingKey | None = None,
) -> ModelSnapshot:
    """Read everything that belongs to one model.

    Args:
        gateway: Where to read.
        namespace: The model's namespace.
        model: The model's name.
        marks: The quarantine's ControllerRevisions; None to read them.
        record_key: The key that the record's counts are sealed with; None leaves them out.
    """
    selector, fields = api.ours_of(model), api.on_model(model)
    lists = asyncio.gather(
        gateway.list(api.MODEL_VERSIONS, namespace, fields=fields),
        gateway.list(api.PODS, namespace, selector),
        gateway.list(api.DEPLOYMENTS, namespace, selector),
        gateway.list(api.AUTOSCALERS, namespace, selector),
        gateway.list(api.DRIFT_MONITORS, namespace, fields=fields),
    )
    singles = asyncio.gather(
        gateway.get(api.SERVICES, namespace, model),
        gateway.get(api.CONFIG_MAPS, namespace, records.record_name(model)),
    )
    (objects, pods, workloads, autoscalers, monitors), (service, record) = await asyncio.gather(lists, singles)
    if marks is None:
        marks = await gateway.list(api.REVISIONS, namespace, f"{selector},{names.COMPONENT}=quarantine")
    deployments = {m["metadata"]["name"]: m for m in workloads}
    found: list[Version | InvalidVersion] = []
    waiting: dict[str, Manifest] = {}
    for manifest in objects:
        read = version(manifest)
        if isinstance(read, Version):
            taken = await _of_that_name(gateway, namespace, read, deployments)
            read = await _with_artifact(gateway, namespace, read, taken)
            if taken is not None and is_ours(taken) and not is_of(taken, read):
                waiting[read.name] = manifest
                continue
            read = _with_workload(read, taken)
        found.append(read)
    present = {read.name for read in found}
    found += [
        departed(m, model_service(service)) for n, m in deployments.items() if n not in present and is_a_versions(m)
    ]
    versions = [replace(read, pods=_pods_of(read, pods)) for read in found if isinstance(read, Version)]
    invalid = [read for read in found if isinstance(read, InvalidVersion)]
    readable = {m["metadata"]["name"]: _monitor(m) for m in monitors}
    kept = model_record(record, namespace, model, record_key)
    known = kept.record if record is not None and isinstance(kept, records.Kept) else None
    places = quarantine.QuarantineSources(known, marks_of.read(marks), tuple(versions))
    return ModelSnapshot(
        versions=tuple(versions),
        invalid=tuple(invalid),
        monitors=tuple(m for m in readable.values() if isinstance(m, Monitor)),
        service=model_service(service),
        manifests={m["metadata"]["name"]: m for m in objects if m["metadata"]["name"] not in waiting},
        waiting=waiting,
        monitor_manifests={m["metadata"]["name"]: m for m in monitors},
        deployments=deployments,
        autoscalers={m["metadata"]["name"]: m for m in autoscalers},
        service_manifest=service,
        record_manifest=record,
        record=kept if isinstance(kept, Failure) else quarantine.remembered(places),
        written=known,
        sealed=isinstance(kept, Failure) or kept.sealed,
        counts_lost=None if isinstance(kept, Failure) else kept.lost,
        marks=marks,
        lost=None if isinstance(kept, Failure) else quarantine.lost(places),
        unreadable_monitors={name: m for name, m in readable.items() if isinstance(m, str)},
    )


def model_record(
    manifest: Manifest | None, namespace: str, model: str, record_key: SealingKey | None
) -> records.Kept | Failure:
    """Return the model's record, or why the ConfigMap cannot be used."""
    if manifest is not None and not is_ours(manifest):
        name = manifest["metadata"]["name"]
        message = f"ConfigMap {name} exists and is {whose(manifest)}: choose another spec.model, as the record needs that name"
        return Failure(Reason.NAME_TAKEN, message)
    try:
        return records.read(manifest, namespace, model, record_key)
    except ValueError as error:
        return Failure(Reason.RECORD_UNREADABLE, str(error))


def model_service(manifest: Manifest | None) -> ModelService | None:
    """Return the Service, if there is one."""
    if manifest is None:
        return None
    selector = manifest["spec"].get("selector") or {}
    return ModelService(selector.get(names.MODEL_VERSION), is_ours(manifest), whose(manifest))


def version(manifest: Manifest) -> Version | InvalidVersion:
    """Parse a ModelVersion, without its Deployment and pods."""
    metadata = manifest["metadata"]
    name = metadata["name"]
    status = tolerant(ModelVersionStatus, manifest.get("status"))
    deleting = "deletionTimestamp" in metadata
    finalizer = names.FINALIZER in metadata.get("finalizers", [])
    try:
        spec = ModelVersionSpec.model_validate(manifest["spec"])
    except ValidationError as error:
        return InvalidVersion(name, metadata.get("generation", 0), status, explain(error), deleting, finalizer)
    return Version(
        name=name,
        uid=metadata["uid"],
        generation=metadata.get("generation", 0),
        created=datetime.fromisoformat(metadata["creationTimestamp"]),
        spec=spec,
        status=status,
        deleting=deleting,
        finalizer=finalizer,
        artifact=spec.artifact,
    )


def departed(deployment: Manifest, service: ModelService | None) -> Version | InvalidVersion:
    """Return the version whose object is gone and whose Deployment remains: its pods may still serve traffic."""
    metadata = deployment["metadata"]
    answers = service is not None and service.ours and service.selects == metadata["name"]
    status = ModelVersionStatus(phase="Champion" if answers else "Retired")
    try:
        spec = remembered_spec(deployment)
    except ValidationError as error:
        return InvalidVersion(metadata["name"], 0, status, explain(error), deleting=True)
    return Version(
        name=metadata["name"],
        uid=made_for(deployment) or metadata["uid"],
        generation=0,
        created=datetime.fromisoformat(metadata["creationTimestamp"]),
        spec=spec,
        status=status,
        deleting=True,
        artifact=spec.artifact,
        workload=_workload(deployment),
    )


def _pods_of(version: Version, pods: Iterable[Manifest]) -> tuple[Pod, ...]:
    """Return its pods by name, without those of an earlier ModelVersion of that name with another bundle."""
    if version.artifact is None:
        return ()
    wanted = {names.MODEL_VERSION: version.name, names.DIGEST: short(version.artifact.digest)}
    own = [p for p in pods if wanted.items() <= (p["metadata"].get("labels") or {}).items()]
    return tuple(pod(p) for p in sorted(own, key=lambda p: str(p["metadata"]["name"])))


def _workload(manifest: Manifest) -> Workload:
    conditions = (manifest.get("status") or {}).get("conditions") or ()
    refused = next((c for c in conditions if (c["type"], c["status"]) == ("ReplicaFailure", "True")), None)
    failure = refusal.without_pods(refused.get("message") or "") if refused is not None else None
    return Workload(manifest["spec"].get("replicas", 1), "deletionTimestamp" in manifest["metadata"], failure)


async def _of_that_name(
    gateway: Gateway, namespace: str, version: Version, deployments: Mapping[str, Manifest]
) -> Manifest | None:
    """Return the Deployment with the version's name, whoever owns it."""
    taken = deployments.get(version.name)
    if taken is None and version.status.phase in (None, "Pending", "Verifying"):
        taken = await gateway.get(api.DEPLOYMENTS, namespace, version.name)
    return taken


def _with_workload(version: Version, taken: Manifest | None) -> Version:
    if taken is None:
        return version
    if not is_ours(taken):
        message = f"Deployment {version.name} exists and is {whose(taken)}: apply this ModelVersion under another name"
        return replace(version, artifact_failure=Failure(Reason.NAME_TAKEN, message))
    return replace(version, workload=_workload(taken))


async def _with_artifact(gateway: Gateway, namespace: str, version: Version, taken: Manifest | None) -> Version:
    """Resolve trainingJobRef. A result is kept, even if the status and the TrainingJob are gone."""
    reference = version.spec.training_job_ref
    if reference is None:
        return version
    if version.status.artifact is not None:
        return replace(version, artifact=version.status.artifact)
    if taken is not None and made_for(taken) == version.uid:
        return replace(version, artifact=remembered_spec(taken).artifact)
    job = await gateway.get(api.TRAINING_JOBS, namespace, reference.name)
    if job is None:
        return version
    if (failure := _of_another(version, reference.name, job)) is not None:
        return replace(version, artifact_failure=failure)
    status = tolerant(TrainingJobStatus, job.get("status"))
    if status.phase == "Failed":
        message = f"spec.trainingJobRef: TrainingJob {reference.name} failed: {status.message}"
        return replace(version, artifact_failure=Failure(Reason.TRAINING_JOB_FAILED, message))
    if status.phase == "Complete" and status.uri and status.digest:
        return replace(version, artifact=Artifact(uri=status.uri, digest=status.digest))
    return version


def _of_another(version: Version, name: str, job: Manifest) -> Failure | None:
    """Return why the TrainingJob cannot make the version's bundle: it trains another model or version."""
    for reason, field in ((Reason.MODEL_MISMATCH, "model"), (Reason.VERSION_MISMATCH, "version")):
        trains, wanted = (job.get("spec") or {}).get(field), getattr(version.spec, field)
        if trains != wanted:
            message = (
                f"spec.trainingJobRef: TrainingJob {name} trains {field} '{trains}', but spec.{field} is '{wanted}': "
                "apply a ModelVersion that refers to a TrainingJob of its own model and version"
            )
            return Failure(reason, message)
    return None


def _monitor(manifest: Manifest) -> Monitor | str:
    """Parse a DriftMonitor, or return what is wrong with it."""
    try:
        spec = DriftMonitorSpec.model_validate(manifest["spec"])
    except ValidationError as error:
        return explain(error)
    metadata = manifest["metadata"]
    status = tolerant(DriftMonitorStatus, manifest.get("status"))
    return Monitor(metadata["name"], metadata.get("generation", 0), spec, status)
