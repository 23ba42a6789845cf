"""One version's pods: a Deployment, and a PodDisruptionBudget when there is more than one pod."""

from __future__ import annotations

from modelward_api import API_VERSION, names
from modelward_api.base import seconds
from modelward_api.modelversion import Artifact, ModelVersionSpec
from modelward_operator.desired.pod import (
    CONTAINER_SECURITY,
    POD_SECURITY,
    Manifest,
    owner,
    store_environment,
    store_mounts,
    store_volumes,
)
from modelward_operator.desired.settings import Settings

BUNDLE = "/bundle"
TURNING_AWAY = 5
"""Seconds that the server answers on after SIGTERM, while the Service's endpoints turn away from it."""
DEFAULT_REQUESTS = {"cpu": "100m", "memory": "384Mi"}


def short(digest: str) -> str:
    """A digest as a label's value."""
    return digest.removeprefix("sha256:")[:16]


def labels(name: str, spec: ModelVersionSpec, artifact: Artifact) -> dict[str, str]:
    """The labels of a version's Deployment and pods."""
    return {
        names.MANAGED_BY: names.MANAGER,
        names.COMPONENT: "serving",
        names.MODEL: spec.model,
        names.MODEL_VERSION: name,
        names.DIGEST: short(artifact.digest),
    }


def deployment(
    namespace: str, name: str, uid: str, spec: ModelVersionSpec, artifact: Artifact, replicas: int, settings: Settings
) -> Manifest:
    """The Deployment of one version. Deterministic."""
    timeout = seconds(spec.serving.request_timeout)
    selector = {names.MODEL: spec.model, names.MODEL_VERSION: name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": labels(name, spec, artifact),
            "ownerReferences": [owner("ModelVersion", API_VERSION, name, uid)],
        },
        "spec": {
            "replicas": replicas,
            "revisionHistoryLimit": 2,
            "selector": {"matchLabels": selector},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": {
                "metadata": {"labels": labels(name, spec, artifact)},
                "spec": _pod(selector, spec, artifact, timeout, settings),
            },
        },
    }


def disruption_budget(namespace: str, name: str, uid: str, spec: ModelVersionSpec) -> Manifest:
    """At most one of a version's pods at a time may be moved."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": {names.MANAGED_BY: names.MANAGER, names.MODEL: spec.model, names.MODEL_VERSION: name},
            "ownerReferences": [owner("ModelVersion", API_VERSION, name, uid)],
        },
        "spec": {
            "maxUnavailable": 1,
            "selector": {"matchLabels": {names.MODEL: spec.model, names.MODEL_VERSION: name}},
        },
    }


def _pod(
    selector: dict[str, str], spec: ModelVersionSpec, artifact: Artifact, timeout: float, settings: Settings
) -> Manifest:
    spread = {
        "maxSkew": 1,
        "topologyKey": "kubernetes.io/hostname",
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": selector},
    }
    found: Manifest = {
        "serviceAccountName": settings.serving_service_account,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": POD_SECURITY,
        "terminationGracePeriodSeconds": TURNING_AWAY + int(timeout) + 5,
        "topologySpreadConstraints": [spread],
        "initContainers": [fetch(artifact, settings)],
        "containers": [_serve(spec, artifact, timeout, settings)],
        "volumes": [
            {"name": "bundle", "emptyDir": {}},
            {"name": "tmp", "emptyDir": {}},
            *store_volumes(settings, read_only=True),
        ],
    }
    if spec.serving.node_selector:
        found["nodeSelector"] = dict(spec.serving.node_selector)
    return found


def fetch(artifact: Artifact, settings: Settings) -> Manifest:
    """The only container that sees the store: it fetches the bundle and checks its digest."""
    words = ["fetch", "--uri", artifact.uri, "--digest", artifact.digest, "--into", BUNDLE]
    return {
        "name": "fetch",
        "image": settings.serving_image,
        "imagePullPolicy": settings.image_pull_policy,
        "command": ["python", "-m", "modelward_serving", *words],
        **store_environment(settings),
        "securityContext": CONTAINER_SECURITY,
        "resources": {"requests": {"cpu": "50m", "memory": "64Mi"}},
        "volumeMounts": [
            {"name": "bundle", "mountPath": BUNDLE},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108
            *store_mounts(settings, read_only=True),
        ],
    }


def _serve(spec: ModelVersionSpec, artifact: Artifact, timeout: float, settings: Settings) -> Manifest:
    requests = {**DEFAULT_REQUESTS, **spec.serving.resources.requests}
    limits = dict(spec.serving.resources.limits)
    ready = {"httpGet": {"path": "/readyz", "port": "http"}}
    return {
        "name": "serving",
        "image": settings.serving_image,
        "imagePullPolicy": settings.image_pull_policy,
        "command": ["python", "-m", "modelward_serving", "serve", "--drain-seconds", str(TURNING_AWAY)],
        "env": [
            {"name": "MODELWARD_BUNDLE", "value": BUNDLE},
            {"name": "MODELWARD_DIGEST", "value": artifact.digest},
            {"name": "MODELWARD_POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
            {"name": "MODELWARD_REQUEST_TIMEOUT", "value": f"{timeout:g}"},
        ],
        "ports": [
            {"name": "http", "containerPort": names.HTTP_PORT},
            {"name": "control", "containerPort": names.CONTROL_PORT},
        ],
        "startupProbe": {**ready, "periodSeconds": 1, "failureThreshold": 120, "timeoutSeconds": 2},
        "readinessProbe": {**ready, "periodSeconds": 5, "failureThreshold": 2, "timeoutSeconds": 3},
        "livenessProbe": {
            "httpGet": {"path": "/livez", "port": "http"},
            "periodSeconds": 10,
            "failureThreshold": 6,
            "timeoutSeconds": 5,
        },
        "securityContext": CONTAINER_SECURITY,
        "resources": {"requests": requests, **({"limits": limits} if limits else {})},
        "volumeMounts": [
            {"name": "bundle", "mountPath": BUNDLE, "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108
        ],
    }
