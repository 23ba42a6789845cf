"""Ownership of objects: the operator's, a version's, or foreign."""

from __future__ import annotations

from modelward_api import names
from modelward_api.resources.modelversion import ModelVersionSpec
from modelward_operator.domain.rollout.observation import Version
from modelward_operator.engine.kube.gateway import Manifest
from modelward_operator.manifests.serving import short


def is_ours(manifest: Manifest) -> bool:
    """Whether the operator created it."""
    return bool((manifest["metadata"].get("labels") or {}).get(names.MANAGED_BY) == names.MANAGER)


def whose(manifest: Manifest) -> str:
    """Return the owner of an object in words, from its labels, annotations and owner references."""
    metadata = manifest["metadata"]
    labels, annotations = metadata.get("labels") or {}, metadata.get("annotations") or {}
    for owner in metadata.get("ownerReferences") or ():
        return f"owned by {owner['kind']} {owner['name']}"
    if labels.get("app.kubernetes.io/part-of") == names.MANAGER:
        return f"part of Modelward itself (its {labels.get(names.COMPONENT) or 'chart'})"
    if (release := annotations.get("meta.helm.sh/release-name")) is not None:
        return f"part of Helm release {release}"
    manager = labels.get(names.MANAGED_BY)
    return f"managed by {manager}, not by this object" if manager else "not managed by Modelward"


def owned_by(manifest: Manifest, uid: str) -> bool:
    """Whether the object with that uid owns it."""
    return any(owner.get("uid") == uid for owner in manifest["metadata"].get("ownerReferences", []))


def owns_replicas(deployment: Manifest) -> bool:
    """Whether the operator's field manager owns spec.replicas."""
    entries = deployment["metadata"].get("managedFields") or ()
    applied = (
        e.get("fieldsV1") or {} for e in entries if (e["manager"], e["operation"]) == (names.FIELD_MANAGER, "Apply")
    )
    return any("f:replicas" in fields.get("f:spec", {}) for fields in applied)


def is_left_over(manifest: Manifest, kind: str, name: str, uid: str) -> bool:
    """Whether it belonged to a deleted object of that kind and name: the garbage collector will remove it."""
    owners = manifest["metadata"].get("ownerReferences", [])
    same = [owner for owner in owners if (owner.get("kind"), owner.get("name")) == (kind, name)]
    return bool(same) and all(owner.get("uid") != uid for owner in same)


def is_a_versions(manifest: Manifest) -> bool:
    """Whether the operator created that Deployment for a ModelVersion."""
    return is_ours(manifest) and names.MODEL_VERSION in (manifest["metadata"].get("labels") or {})


def remembered_spec(deployment: Manifest) -> ModelVersionSpec:
    """Parse the spec that a version's Deployment remembers.

    Raises:
        ValidationError: it holds none.
    """
    annotation = (deployment["metadata"].get("annotations") or {}).get(names.SPEC_OF_VERSION, "")
    return ModelVersionSpec.model_validate_json(annotation)


def made_for(deployment: Manifest) -> str | None:
    """Return the uid of the ModelVersion that a Deployment was made for."""
    owner: str | None = (deployment["metadata"].get("annotations") or {}).get(names.UID_OF_VERSION)
    return owner


def is_of(deployment: Manifest, version: Version) -> bool:
    """Whether it was created for that version or runs its bundle: a deleted one of the same name may differ."""
    if made_for(deployment) == version.uid or owned_by(deployment, version.uid):
        return True
    present = deployment["metadata"].get("labels") or {}
    digest = short(version.artifact.digest) if version.artifact else None
    return (present.get(names.MODEL), present.get(names.DIGEST)) == (version.spec.model, digest)
