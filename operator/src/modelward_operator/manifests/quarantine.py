"""The quarantine's second copy: one ControllerRevision a digest, which is immutable."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import ValidationError

from modelward_api import names
from modelward_operator.domain.core.record import Quarantine
from modelward_operator.manifests.pod import Manifest


def mark_name(model: str, digest: str) -> str:
    """Return the name of the digest's ControllerRevision."""
    return f"{model}-quarantine-{digest.removeprefix('sha256:')[:16]}"


def mark(namespace: str, model: str, entry: Quarantine) -> Manifest:
    """Return the ControllerRevision of one quarantined digest. It has no owner, so it outlives its ModelVersion."""
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
    """Return the entries of those ControllerRevisions, oldest first; invalid ones are skipped."""
    found = []
    for manifest in manifests:
        try:
            found.append(Quarantine.model_validate(manifest.get("data") or {}))
        except ValidationError:
            continue
    return tuple(sorted(found, key=lambda entry: (entry.time, entry.digest)))
