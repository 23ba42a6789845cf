"""One version's pods: a Deployment, its PodDisruptionBudget and its HorizontalPodAutoscaler."""

from __future__ import annotations

import json

from modelward_api import names
from modelward_api.base import seconds
from modelward_api.resources.modelversion import Artifact, Authentication, Autoscaling, ModelVersionSpec, Serving, Tls
from modelward_api.resources.pods import PodSettings, Resources, merged
from modelward_operator.domain.core.caller_auth import fingerprint
from modelward_operator.manifests.pod import (
    CONTAINER_SECURITY,
    Manifest,
    authority_mounts,
    authority_volumes,
    environment,
    metadata,
    placement,
    resources,
    security,
    store_environment,
    store_mounts,
    store_volumes,
)
from modelward_operator.manifests.settings import Settings

BUNDLE = "/bundle"
KEYS = "/etc/modelward/control"
TLS = "/etc/modelward/tls"
CALLERS, JWKS_FILE = "/etc/modelward/callers", "jwks.json"
DRAIN_SECONDS = 5
"""Seconds for which the server keeps serving after SIGTERM, until the Service's endpoints no longer include it."""
CALM = 300
"""Seconds of lower load after which pods are removed: a lull in a ward is shorter."""
DEFAULT_REQUESTS = {"cpu": "100m", "memory": "384Mi"}


def short(digest: str) -> str:
    """Return a digest as a label value."""
    return digest.removeprefix("sha256:")[:16]


def labels(name: str, spec: ModelVersionSpec, artifact: Artifact) -> dict[str, str]:
    """Return the labels of a version's Deployment and pods."""
    return {
        names.MANAGED_BY: names.MANAGER,
        names.COMPONENT: "serving",
        names.MODEL: spec.model,
        names.MODEL_VERSION: name,
        names.DIGEST: short(artifact.digest),
    }


def deployment(
    namespace: str,
    name: str,
    uid: str,
    spec: ModelVersionSpec,
    artifact: Artifact,
    replicas: int | None,
    settings: Settings,
) -> Manifest:
    """Return the Deployment of one version. Without ``replicas``, the autoscaler sets their number.

    It has no owner: when its ModelVersion is deleted, its pods serve until the operator has moved traffic away from them.
    """
    timeout = seconds(spec.serving.request_timeout)
    pod = pod_settings(spec, settings)
    selector = {names.MODEL: spec.model, names.MODEL_VERSION: name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": labels(name, spec, artifact),
            "annotations": {names.SPEC_OF_VERSION: remembered(spec, artifact), names.UID_OF_VERSION: uid},
        },
        "spec": {
            **({"replicas": replicas} if replicas is not None else {}),
            "revisionHistoryLimit": 2,
            "selector": {"matchLabels": selector},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
            "template": {
                "metadata": metadata(pod, {**labels(name, spec, artifact), **_speech(spec)}),
                "spec": _pod(namespace, selector, spec, artifact, timeout, settings, pod),
            },
        },
    }


def pod_settings(spec: ModelVersionSpec, settings: Settings) -> PodSettings:
    """Return a version's pod settings: the installation's defaults, those for serving, and the version's own."""
    given, pods = spec.serving, settings.pods
    selected = PodSettings(node_selector=given.node_selector)
    return merged(pods.pod_defaults, pods.serving.pod, selected, given.pod)


def remembered(spec: ModelVersionSpec, artifact: Artifact) -> str:
    """Return the part of a spec that concerns pods, with the artifact resolved, as the Deployment keeps it."""
    parts = {"artifact": artifact.to_json(), "serving": spec.serving.to_json()}
    return json.dumps({"model": spec.model, "version": spec.version, **parts}, sort_keys=True)


def disruption_budget(namespace: str, name: str, spec: ModelVersionSpec) -> Manifest:
    """Return a budget that lets at most one of a version's pods be evicted at a time."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": _metadata(namespace, name, spec),
        "spec": {
            "maxUnavailable": 1,
            "selector": {"matchLabels": {names.MODEL: spec.model, names.MODEL_VERSION: name}},
        },
    }


def replicas_only(namespace: str, name: str, replicas: int) -> Manifest:
    """Return what another field manager applies to hand spec.replicas over."""
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": {"replicas": replicas}}


def autoscaler(namespace: str, name: str, spec: ModelVersionSpec, scaling: Autoscaling) -> Manifest:
    """Return the HorizontalPodAutoscaler of a champion, which scales up fast and down slowly."""
    target = {"type": "Utilization", "averageUtilization": scaling.target_cpu_utilization_percentage}
    metrics: list[Manifest] = [{"type": "Resource", "resource": {"name": "cpu", "target": target}}]
    if scaling.target_requests_in_flight is not None:
        target = {"type": "AverageValue", "averageValue": str(scaling.target_requests_in_flight)}
        metrics.append({"type": "Pods", "pods": {"metric": {"name": names.IN_FLIGHT_METRIC}, "target": target}})
    twice = {"type": "Percent", "value": 100, "periodSeconds": 15}
    four = {"type": "Pods", "value": 4, "periodSeconds": 15}
    quarter = {"type": "Percent", "value": 25, "periodSeconds": 60}
    one = {"type": "Pods", "value": 1, "periodSeconds": 60}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": _metadata(namespace, name, spec),
        "spec": {
            "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": name},
            "minReplicas": scaling.min_replicas,
            "maxReplicas": scaling.max_replicas,
            "metrics": metrics,
            "behavior": {
                "scaleUp": {"stabilizationWindowSeconds": 0, "selectPolicy": "Max", "policies": [twice, four]},
                "scaleDown": {"stabilizationWindowSeconds": CALM, "selectPolicy": "Max", "policies": [quarter, one]},
            },
        },
    }


def _metadata(namespace: str, name: str, spec: ModelVersionSpec) -> Manifest:
    return {
        "name": name,
        "namespace": namespace,
        "labels": {names.MANAGED_BY: names.MANAGER, names.MODEL: spec.model, names.MODEL_VERSION: name},
    }


def _speech(spec: ModelVersionSpec) -> dict[str, str]:
    """Return labels for clients that use pod addresses: the operator and Prometheus."""
    callers = fingerprint(spec.serving.authentication)
    return ({names.SCHEME: "https"} if spec.serving.tls else {}) | ({names.CALLERS: callers} if callers else {})


def _tls_volume(tls: Tls | None) -> list[Manifest]:
    """Return the certificate's volume. It is optional, so that the server can report that it is missing.

    Any user and group of the pod must be able to read it, and nothing else sees the volume.
    """
    if tls is None:
        return []
    return [{"name": "tls", "secret": {"secretName": tls.secret_name, "optional": True, "defaultMode": 0o444}}]


def _tls_words(namespace: str, spec: ModelVersionSpec) -> list[str]:
    tls = spec.serving.tls
    if tls is None:
        return []
    files = ["--tls-cert", f"{TLS}/tls.crt", "--tls-key", f"{TLS}/tls.key", "--tls-ca", f"{TLS}/ca.crt"]
    clients = ["--tls-client-ca", f"{TLS}/ca.crt"] if tls.client_authentication == "required" else []
    return [*files, *clients, "--tls-server-name", f"{spec.model}.{namespace}.svc"]


def _callers_words(authentication: Authentication | None) -> list[str]:
    if authentication is None:
        return []
    words = ["--callers-issuer", authentication.issuer]
    words += [word for audience in authentication.audiences for word in ("--callers-audience", audience)]
    words += [word for subject in authentication.subjects for word in ("--callers-subject", subject)]
    if authentication.jwks_url is not None:
        return [*words, "--callers-jwks-url", authentication.jwks_url]
    return [*words, "--callers-jwks", f"{CALLERS}/{JWKS_FILE}"]


def _callers_volume(authentication: Authentication | None) -> list[Manifest]:
    """Return the volume with the keys. It is optional: pods answer 503 until it exists."""
    if authentication is None or authentication.jwks_config_map is None:
        return []
    return [{"name": "callers", "configMap": {"name": authentication.jwks_config_map, "optional": True}}]


def _probed(tls: Tls | None) -> Manifest:
    """Return the port for probes. The kubelet has no certificate: with mTLS, it probes the control port."""
    if tls is None:
        return {"port": "http"}
    if tls.client_authentication == "required":
        return {"port": "control"}
    return {"port": "http", "scheme": "HTTPS"}


def _pod(
    namespace: str,
    selector: dict[str, str],
    spec: ModelVersionSpec,
    artifact: Artifact,
    timeout: float,
    settings: Settings,
    pod: PodSettings,
) -> Manifest:
    serve = _serve(namespace, spec, artifact, timeout, settings, pod)
    spread = _spread(selector)
    return {
        "serviceAccountName": settings.serving_service_account,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": security(pod),
        "terminationGracePeriodSeconds": DRAIN_SECONDS + 2 * int(timeout) + 5,
        "topologySpreadConstraints": spread["topologySpreadConstraints"],
        **placement(pod, spread["affinity"]),
        "initContainers": [fetch(artifact, settings, pod, serve["resources"], (spec.model, spec.version))],
        "containers": [serve],
        "volumes": [
            {"name": "bundle", "emptyDir": {}},
            {"name": "tmp", "emptyDir": {}},
            {"name": "control-keys", "configMap": {"name": names.CONTROL_KEYS}},
            *_tls_volume(spec.serving.tls),
            *_callers_volume(spec.serving.authentication),
            *authority_volumes(pod),
            *store_volumes(settings, read_only=True),
        ],
    }


def _encounters(serving: Serving) -> list[Manifest]:
    """Return the header that identifies encounters, if encounters are counted."""
    if serving.count_by == "request" or serving.sticky_header is None:
        return []
    return [{"name": "MODELWARD_ENCOUNTER_HEADER", "value": serving.sticky_header}]


def _spread(selector: dict[str, str]) -> Manifest:
    """Return a preference to spread pods over hosts and zones.

    Two spread constraints would have no effect where nodes lack a zone: the scheduler ignores such nodes for both.
    """
    alike = {"labelSelector": {"matchLabels": selector}}
    hosts = {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway", **alike}
    zones = {"weight": 100, "podAffinityTerm": {"topologyKey": "topology.kubernetes.io/zone", **alike}}
    return {
        "topologySpreadConstraints": [hosts],
        "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [zones]}},
    }


def fetch(
    artifact: Artifact, settings: Settings, pod: PodSettings, beside: Manifest, wanted: tuple[str, str]
) -> Manifest:
    """Return the init container that fetches the bundle and verifies digest, model and version; only it sees the store.

    Its resources are those of the main container unless they are set: a pod needs the larger of both.
    """
    inherited = Resources(requests=beside["requests"], limits=beside.get("limits", {}))
    words = ["fetch", "--uri", artifact.uri, "--digest", artifact.digest, "--into", BUNDLE]
    words += ["--model", wanted[0], "--version", wanted[1]]
    return {
        "name": "fetch",
        "image": settings.serving_image,
        "imagePullPolicy": settings.image_pull_policy,
        "command": ["python", "-m", "modelward_serving", *words],
        **environment(pod, store_environment(settings)),
        "securityContext": CONTAINER_SECURITY,
        "resources": resources({}, inherited, pod.fetch_resources),
        "volumeMounts": [
            {"name": "bundle", "mountPath": BUNDLE},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108
            *authority_mounts(pod),
            *store_mounts(settings, read_only=True),
        ],
    }


def _tracing(settings: Settings) -> list[Manifest]:
    """Return OpenTelemetry's variables."""
    if settings.tracing_endpoint is None:
        return []
    defaults = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": settings.tracing_endpoint,
        "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
        "OTEL_TRACES_SAMPLER_ARG": settings.tracing_ratio,
    }
    return [{"name": name, "value": value} for name, value in defaults.items()]


def _variables(artifact: Artifact, timeout: float, settings: Settings) -> list[Manifest]:
    return [
        {"name": "MODELWARD_BUNDLE", "value": BUNDLE},
        {"name": "MODELWARD_DIGEST", "value": artifact.digest},
        {"name": "MODELWARD_POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "MODELWARD_POD_UID", "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}}},
        {"name": "MODELWARD_CONTROL_KEYS", "value": f"{KEYS}/{names.CONTROL_KEYS_FILE}"},
        {"name": "MODELWARD_REQUEST_TIMEOUT", "value": f"{timeout:g}"},
        *_tracing(settings),
    ]


def _serve(
    namespace: str, spec: ModelVersionSpec, artifact: Artifact, timeout: float, settings: Settings, pod: PodSettings
) -> Manifest:
    port = _probed(spec.serving.tls)
    ready = {"httpGet": {"path": "/readyz", **port}}
    words = ["serve", *_tls_words(namespace, spec), *_callers_words(spec.serving.authentication)]
    words += ["--drain-seconds", str(DRAIN_SECONDS)]
    tls = [{"name": "tls", "mountPath": TLS, "readOnly": True}] if spec.serving.tls else []
    if spec.serving.authentication and spec.serving.authentication.jwks_config_map:
        tls.append({"name": "callers", "mountPath": CALLERS, "readOnly": True})
    return {
        "name": "serving",
        "image": settings.serving_image,
        "imagePullPolicy": settings.image_pull_policy,
        "command": ["python", "-m", "modelward_serving", *words],
        **environment(pod, {"env": [*_variables(artifact, timeout, settings), *_encounters(spec.serving)]}),
        "ports": [
            {"name": "http", "containerPort": names.HTTP_PORT},
            {"name": "grpc", "containerPort": names.GRPC_PORT},
            {"name": "control", "containerPort": names.CONTROL_PORT},
        ],
        "startupProbe": {**ready, "periodSeconds": 1, "failureThreshold": 120, "timeoutSeconds": 2},
        "readinessProbe": {**ready, "periodSeconds": 5, "failureThreshold": 2, "timeoutSeconds": 3},
        "livenessProbe": {
            "httpGet": {"path": "/livez", **port},
            "periodSeconds": 10,
            "failureThreshold": 6,
            "timeoutSeconds": 5,
        },
        "securityContext": CONTAINER_SECURITY,
        "resources": resources(DEFAULT_REQUESTS, settings.pods.serving.resources, spec.serving.resources),
        "volumeMounts": [
            {"name": "bundle", "mountPath": BUNDLE, "readOnly": True},
            {"name": "control-keys", "mountPath": KEYS, "readOnly": True},
            *tls,
            *authority_mounts(pod),
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108
        ],
    }
