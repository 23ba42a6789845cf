"""What TrainingJobs and ScoreBatches ask of their Job."""

from __future__ import annotations

from modelward_operator.domain.observation import Failure
from modelward_operator.engine.gateway import Manifest
from modelward_operator.engine.observe import is_left_over, owned_by


def left_over(manifest: Manifest, *made: Manifest | None) -> str | None:
    """What an earlier object of that kind and name has left, if anything."""
    metadata = manifest["metadata"]
    for found in made:
        if found is not None and is_left_over(found, manifest["kind"], metadata["name"], metadata["uid"]):
            return f"{found['kind']} {found['metadata']['name']}"
    return None


def taken(manifest: Manifest, *made: Manifest | None) -> Failure | None:
    """What stands where the object's own shall be, and is somebody else's."""
    for found in made:
        if found is not None and not owned_by(found, manifest["metadata"]["uid"]):
            what = f"{found['kind']} {found['metadata']['name']}"
            return Failure("NameTaken", f"{what} exists and is not this {manifest['kind']}'s: choose another name")
    return None


def has_condition(job: Manifest | None, type_: str) -> bool:
    """Whether the Job says so of itself."""
    conditions = ((job or {}).get("status") or {}).get("conditions") or []
    return any(c["type"] == type_ and c["status"] == "True" for c in conditions)


def failure(job: Manifest | None) -> Failure | None:
    """Why the Job gave up, if it did."""
    for condition in ((job or {}).get("status") or {}).get("conditions") or []:
        if condition["type"] == "Failed" and condition["status"] == "True":
            return Failure(condition.get("reason") or "JobFailed", condition.get("message") or "The Job failed")
    return None
