"""The common part of all pods: no privileges, no writable root, no access to the API server."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from modelward_api import given_environment
from modelward_api.base import Document
from modelward_api.resources.pods import PodSettings, Resources
from modelward_operator.manifests.quantity import amount
from modelward_operator.manifests.settings import STORE_MOUNT, Settings

Manifest = dict[str, Any]
AUTHORITIES, AUTHORITIES_FILE = "/etc/modelward-authorities", "ca.crt"

CONTAINER_SECURITY: Manifest = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
POD_SECURITY: Manifest = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}


def security(settings: PodSettings) -> Manifest:
    """Return the pod's security context. User and groups are the image's or the cluster's unless they are set."""
    return {**POD_SECURITY, **_given(settings.security_context)}


def placement(settings: PodSettings, spread: Mapping[str, Any] | None = None) -> Manifest:
    """Return where the pods run, and with which class. ``spread`` is the default affinity, part by part."""
    affinity = {**(spread or {}), **(_given(settings.affinity) if settings.affinity else {})}
    found = {
        "nodeSelector": dict(settings.node_selector),
        "tolerations": [_given(toleration) for toleration in settings.tolerations],
        "affinity": affinity,
        "priorityClassName": settings.priority_class_name,
        "runtimeClassName": settings.runtime_class_name,
    }
    return {key: value for key, value in found.items() if value}


def environment(settings: PodSettings, own: Manifest) -> Manifest:
    """Return ``env`` and ``envFrom`` of a container. Modelward's own variables take precedence."""
    given = [_given(variable) for variable in settings.env]
    if settings.ca_bundle is not None:
        file = f"{AUTHORITIES}/{AUTHORITIES_FILE}"
        # The first is read by OpenSSL, httpx and rustls, the second by requests, which exports traces.
        given += [{"name": name, "value": file} for name in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE")]
    ours = {variable["name"] for variable in own.get("env", ())}
    env = [*(variable for variable in given if variable["name"] not in ours), *own.get("env", ())]
    # An object's ConfigMap may have any key: with the prefix none can name the store's endpoint or load code.
    given_sources = [{"prefix": given_environment.PREFIX, **_given(source)} for source in settings.env_from]
    sources = [*given_sources, *own.get("envFrom", ())]
    return {**({"env": env} if env else {}), **({"envFrom": sources} if sources else {})}


def metadata(settings: PodSettings, labels: Mapping[str, str]) -> Manifest:
    """Return labels and annotations of the pods. Modelward's own take precedence."""
    annotations = dict(settings.metadata.annotations)
    found: Manifest = {"labels": {**settings.metadata.labels, **labels}}
    return {**found, **({"annotations": annotations} if annotations else {})}


def authority_volumes(settings: PodSettings) -> list[Manifest]:
    """Return the volume with the certificate authorities, if they are set.

    It is optional, so that a container can report that they are missing: a pod that cannot mount a volume reports nothing.
    """
    found: Manifest = {}
    if settings.ca_bundle is not None and (config_map := settings.ca_bundle.config_map) is not None:
        items = [{"key": config_map.key, "path": AUTHORITIES_FILE}]
        found = {"configMap": {"name": config_map.name, "items": items, "optional": True}}
    if settings.ca_bundle is not None and (secret := settings.ca_bundle.secret) is not None:
        items = [{"key": secret.key, "path": AUTHORITIES_FILE}]
        found = {"secret": {"secretName": secret.name, "items": items, "optional": True}}
    return [{"name": "authorities", **found}] if found else []


def authority_mounts(settings: PodSettings) -> list[Manifest]:
    """Return the mount of the certificate authorities, if they are set."""
    if settings.ca_bundle is None:
        return []
    return [{"name": "authorities", "mountPath": AUTHORITIES, "readOnly": True}]


def resources(defaults: Mapping[str, str], installation: Resources, given: Resources) -> Manifest:
    """Return a container's resources: the object's, else the installation's, else the defaults, without contradictions.

    A default request is lowered to the object's limit, and the installation's limit is raised to the object's request: the
    object's own values always hold.
    """
    limits = {**installation.limits, **given.limits}
    for name, request in given.requests.items():
        if name in limits and name not in given.limits and amount(request) > amount(limits[name]):
            limits[name] = request
    requests = {**defaults, **installation.requests}
    for name in requests.keys() & limits.keys():
        if amount(requests[name]) > amount(limits[name]):
            requests[name] = limits[name]
    return {"requests": {**requests, **given.requests}, **({"limits": limits} if limits else {})}


def _given(document: Document) -> Manifest:
    """Return a document as Kubernetes reads it, without absent values and empty lists."""

    def pruned(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: pruned(part) for key, part in value.items() if part not in ([], {})}
        return [pruned(part) for part in value] if isinstance(value, list) else value

    found: Manifest = pruned(document.to_json())
    return found


def store_volumes(settings: Settings, *, read_only: bool) -> list[Manifest]:
    """Return the volume of the artifact store, if it is a volume."""
    if settings.store_claim is None:
        return []
    return [{"name": "store", "persistentVolumeClaim": {"claimName": settings.store_claim, "readOnly": read_only}}]


def store_mounts(settings: Settings, *, read_only: bool) -> list[Manifest]:
    """Return the mount of the artifact store, if it is a volume."""
    if settings.store_claim is None:
        return []
    return [{"name": "store", "mountPath": STORE_MOUNT, "readOnly": read_only}]


def store_environment(settings: Settings) -> Manifest:
    """Return the environment of a container that reads or writes the store."""
    found: Manifest = {"env": [{"name": "MODELWARD_STORE", "value": settings.store_uri}]}
    if settings.store_secret is not None:
        found["envFrom"] = [{"secretRef": {"name": settings.store_secret}}]
    return found


def owner(kind: str, api_version: str, name: str, uid: str) -> Manifest:
    """Return an owner reference: the garbage collector deletes an object with its owner."""
    return {
        "apiVersion": api_version,
        "kind": kind,
        "name": name,
        "uid": uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def job_pod(
    container: Manifest,
    needs: Manifest,
    volume: Manifest,
    mount: str,
    service_account: str,
    settings: Settings,
    pod: PodSettings,
    init_containers: Sequence[Manifest] = (),
) -> Manifest:
    """Return the pod of a Job that reads from the store and writes to it.

    Args:
        container: Its name, image, command and environment; what all Jobs share is added.
        needs: Its resources.
        volume: The volume of its own that it reads.
        mount: Where that volume is mounted.
        service_account: The ServiceAccount, without a token.
        settings: The operator's settings.
        pod: The pod settings of the object and the chart.
        init_containers: Containers that run before.
    """
    container = {
        **container,
        "securityContext": CONTAINER_SECURITY,
        "resources": needs,
        "volumeMounts": [
            {"name": volume["name"], "mountPath": mount, "readOnly": True},
            {"name": "tmp", "mountPath": "/tmp"},  # noqa: S108
            *authority_mounts(pod),
            *store_mounts(settings, read_only=False),
        ],
    }
    return {
        "restartPolicy": "Never",
        "serviceAccountName": service_account,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": security(pod),
        **placement(pod),
        **({"initContainers": list(init_containers)} if init_containers else {}),
        "containers": [container],
        "volumes": [
            volume,
            {"name": "tmp", "emptyDir": {}},
            *authority_volumes(pod),
            *store_volumes(settings, read_only=False),
        ],
    }
