"""The quarantine's second place: one ControllerRevision a digest, which the API server lets nobody edit."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import ValidationError

from modelward_api import names
from modelward_operator.domain.core.record import Quarantine
from modelward_operator.manifests.pod import Manifest


def mark_name(model: str, digest: str) -> str:
    """The name of the digest's ControllerRevision."""
    return f"{model}-quarantine-{digest.removeprefix('sha256:')[:16]}"


def mark(namespace: str, model: str, entry: Quarantine) -> Manifest:
    """The ControllerRevision of one quarantined digest. It belongs to no ModelVersion, and so outlives them."""
    return {
        "apiVersion": "apps/v1",
        "kind": "ControllerRevision",
        "metadata": {
            "name": mark_name(model, entry.digest),
            "namespace": namespace,
            "labels": {names.MANAGED_BY: names.MANAGER, names.MODEL: model, names.COMPONENT: "quarantine"},
        },
        "revision": 1,
        "data": entry.to_json(),
    }


def read(manifests: Iterable[dict[str, Any]]) -> tuple[Quarantine, ...]:
    """What those ControllerRevisions remember, oldest first; what is no quarantine is left out."""
    found = []
    for manifest in manifests:
        try:
            found.append(Quarantine.model_validate(manifest.get("data") or {}))
        except ValidationError:
            continue
    return tuple(sorted(found, key=lambda entry: (entry.time, entry.digest)))
