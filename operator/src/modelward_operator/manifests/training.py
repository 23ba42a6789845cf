"""A TrainingJob's Job, the ConfigMap with its spec, and the ModelVersion that it creates."""

from __future__ import annotations

import json

from modelward_api import API_VERSION, names
from modelward_api.base import seconds
from modelward_api.resources.pods import PodSettings, merged
from modelward_api.resources.trainingjob import TrainingJobSpec
from modelward_api.wire.exchange import INVALID_INPUT_EXIT_CODE
from modelward_operator.manifests.pod import (
    Manifest,
    environment,
    job_pod,
    metadata,
    owner,
    resources,
    store_environment,
)
from modelward_operator.manifests.settings import Settings

SPEC_MOUNT = "/etc/modelward"
SPEC_FILE = "trainingjob.json"
DEFAULT_REQUESTS = {"cpu": "250m", "memory": "512Mi"}


def document_name(name: str) -> str:
    """Return the name of the ConfigMap with a TrainingJob's spec."""
    return f"{name}-training"


def _metadata(namespace: str, name: str, uid: str, model: str, called: str | None = None) -> Manifest:
    return {
        "name": called or name,
        "namespace": namespace,
        "labels": _labels(name, model),
        "ownerReferences": [owner("TrainingJob", API_VERSION, name, uid)],
    }


def _labels(name: str, model: str) -> dict[str, str]:
    return {
        names.MANAGED_BY: names.MANAGER,
        names.COMPONENT: "training",
        names.TRAINING_JOB: name,
        "modelward.io/trains": model,
    }


def config_map(namespace: str, name: str, uid: str, spec: TrainingJobSpec) -> Manifest:
    """Return the ConfigMap with the spec for the training pod."""
    document = {"name": name, "namespace": namespace, "spec": spec.to_json()}
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": _metadata(namespace, name, uid, spec.model, document_name(name)),
        "immutable": True,
        "data": {SPEC_FILE: json.dumps(document, sort_keys=True)},
    }


def job(namespace: str, name: str, uid: str, spec: TrainingJobSpec, settings: Settings) -> Manifest:
    """Return the Job. Invalid input fails it at once; anything else is retried."""
    pod = merged(settings.pods.pod_defaults, settings.pods.training.pod, spec.pod)
    bad_input = {"containerName": "training", "operator": "In", "values": [INVALID_INPUT_EXIT_CODE]}
    rules = [
        {"action": "FailJob", "onExitCodes": bad_input},
        # A drained node is not a failure of the training.
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
    ]
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": _metadata(namespace, name, uid, spec.model),
        "spec": {
            "backoffLimit": spec.backoff_limit,
            "activeDeadlineSeconds": max(1, int(seconds(spec.active_deadline))),
            "suspend": spec.suspend,
            "podFailurePolicy": {"rules": rules},
            "template": {
                "metadata": metadata(pod, _labels(name, spec.model)),
                "spec": _pod(name, spec, settings, pod),
            },
        },
    }


def _pod(name: str, spec: TrainingJobSpec, settings: Settings, pod: PodSettings) -> Manifest:
    container: Manifest = {
        "name": "training",
        "image": settings.training_image,
        "imagePullPolicy": settings.image_pull_policy,
        "command": ["python", "-m", "modelward_training", "run"],
        **environment(pod, _own_environment(spec, settings)),
        "ports": [{"name": "progress", "containerPort": names.PROGRESS_PORT}],
    }
    needs = resources(DEFAULT_REQUESTS, settings.pods.training.resources, spec.resources)
    document = {"name": "spec", "configMap": {"name": document_name(name)}}
    return job_pod(container, needs, document, SPEC_MOUNT, settings.training_service_account, settings, pod)


def _own_environment(spec: TrainingJobSpec, settings: Settings) -> Manifest:
    """Return what reaches the sources. Secrets are optional, so that the container can report that one is missing."""
    found = store_environment(settings)
    for index, source in enumerate(spec.data.sources):
        if source.sql is not None:
            secret = {**source.sql.uri_secret_ref.to_json(), "optional": True}
            found["env"].append({"name": f"{names.SQL_VARIABLE}{index}", "valueFrom": {"secretKeyRef": secret}})
    if settings.private_hosts:
        found["env"].append({"name": names.PRIVATE_HOSTS_VARIABLE, "value": settings.private_hosts})
    return found


def model_version(namespace: str, name: str, spec: TrainingJobSpec, job_name: str, uri: str, digest: str) -> Manifest:
    """Return the ModelVersion of a finished TrainingJob. It has no owner: a model outlives its training job."""
    template = spec.promote.template.model_dump(mode="json", by_alias=True, exclude_unset=True) if spec.promote else {}
    return {
        "apiVersion": API_VERSION,
        "kind": "ModelVersion",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {names.MANAGED_BY: names.MANAGER, names.TRAINING_JOB: job_name},
        },
        "spec": {
            "model": spec.model,
            "version": spec.version,
            "artifact": {"uri": uri, "digest": digest},
            **{key: value for key, value in template.items() if value},
        },
    }
