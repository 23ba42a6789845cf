"""What all pods of Modelward have in common: no privileges, no writable root, nothing of the API server."""

from __future__ import annotations

from typing import Any

from modelward_operator.desired.settings import STORE_MOUNT, Settings

Manifest = dict[str, Any]
USER = 65532

CONTAINER_SECURITY: Manifest = {
    "allowPrivilegeEscalation": False,
    "readOnlyRootFilesystem": True,
    "capabilities": {"drop": ["ALL"]},
}
POD_SECURITY: Manifest = {
    "runAsNonRoot": True,
    "runAsUser": USER,
    "runAsGroup": USER,
    "fsGroup": USER,
    "fsGroupChangePolicy": "OnRootMismatch",
    "seccompProfile": {"type": "RuntimeDefault"},
}


def store_volumes(settings: Settings, *, read_only: bool) -> list[Manifest]:
    """The volume of the artifact store, when it is one."""
    if settings.store_claim is None:
        return []
    return [{"name": "store", "persistentVolumeClaim": {"claimName": settings.store_claim, "readOnly": read_only}}]


def store_mounts(settings: Settings, *, read_only: bool) -> list[Manifest]:
    """Where a container finds it."""
    if settings.store_claim is None:
        return []
    return [{"name": "store", "mountPath": STORE_MOUNT, "readOnly": read_only}]


def store_environment(settings: Settings) -> Manifest:
    """The environment of a container that reads or writes the store."""
    found: Manifest = {"env": [{"name": "MODELWARD_STORE", "value": settings.store_uri}]}
    if settings.store_secret is not None:
        found["envFrom"] = [{"secretRef": {"name": settings.store_secret}}]
    return found


def owner(kind: str, api_version: str, name: str, uid: str) -> Manifest:
    """An owner reference: what is owned goes with its owner."""
    return {
        "apiVersion": api_version,
        "kind": kind,
        "name": name,
        "uid": uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }
