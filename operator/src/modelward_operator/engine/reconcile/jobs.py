"""The Jobs of TrainingJobs and ScoreBatches."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from modelward_api.resources.reasons import Reason
from modelward_operator.domain.core.failure import Failure
from modelward_operator.domain.jobs import refusal
from modelward_operator.engine.kube import gateway as api
from modelward_operator.engine.kube.gateway import (
    ConflictError,
    Gateway,
    GatewayError,
    InvalidObjectError,
    Manifest,
    NamespaceEndsError,
)
from modelward_operator.engine.reconcile.ownership import is_left_over, owned_by


class RefusedError(Exception):
    """The API server refused an object that a TrainingJob or a ScoreBatch needs."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.message)
        self.failure = failure


@contextmanager
def refusals(what: str, *, invalid: bool = True) -> Iterator[None]:
    """Turn a refusal by the API server into RefusedError; conflicts and outages pass through.

    Without ``invalid``, an object that violates its schema is left to the caller: it would be refused forever.

    Raises:
        RefusedError: any 4xx but a conflict.
    """
    try:
        yield
    except (ConflictError, NamespaceEndsError):
        raise
    except GatewayError as error:
        if 400 <= error.status < 500 and (invalid or not isinstance(error, InvalidObjectError)):
            raise RefusedError(refusal.refused(what, error.status, error.reply)) from error
        raise


async def without_pods(gateway: Gateway, job: Manifest | None, pods: list[Manifest]) -> Failure | None:
    """Return why a Job has no pods: its controller reports a quota or policy in an Event only."""
    if job is None or pods or job["spec"].get("suspend") or has_condition(job, "Complete") or failure(job):
        return None
    metadata = job["metadata"]
    fields = f"involvedObject.uid={metadata['uid']},reason=FailedCreate"
    events = await gateway.list(api.EVENTS, metadata["namespace"], fields=fields)
    newest = max(events, key=lambda e: e.get("lastTimestamp") or e.get("eventTime") or "", default=None)
    return refusal.without_pods(newest.get("message") or "") if newest is not None else None


def left_over(manifest: Manifest, *made: Manifest | None) -> str | None:
    """Return what an earlier object of that kind and name has left behind, if anything."""
    metadata = manifest["metadata"]
    for found in made:
        if found is not None and is_left_over(found, manifest["kind"], metadata["name"], metadata["uid"]):
            return f"{found['kind']} {found['metadata']['name']}"
    return None


def taken(manifest: Manifest, *made: Manifest | None) -> Failure | None:
    """Return the failure if a foreign object has the name that this one needs."""
    for found in made:
        if found is not None and not owned_by(found, manifest["metadata"]["uid"]):
            owner = f"{found['kind']} {found['metadata']['name']}"
            return Failure(
                Reason.NAME_TAKEN, f"{owner} exists and does not belong to this {manifest['kind']}: choose another name"
            )
    return None


def has_condition(job: Manifest | None, type_: str) -> bool:
    """Whether the Job has that condition."""
    conditions = ((job or {}).get("status") or {}).get("conditions") or []
    return any(c["type"] == type_ and c["status"] == "True" for c in conditions)


def is_complete(job: Manifest | None) -> bool:
    """Whether the Job has succeeded. A Job that fails never has, whatever its pods report."""
    return has_condition(job, "Complete") and failure(job) is None


def failure(job: Manifest | None) -> Failure | None:
    """Return why the Job failed, if it did: FailureTarget while its pods still terminate, Failed afterwards."""
    for condition in ((job or {}).get("status") or {}).get("conditions") or []:
        if condition["type"] in ("Failed", "FailureTarget") and condition["status"] == "True":
            return Failure(condition.get("reason") or Reason.JOB_FAILED, condition.get("message") or "The Job failed")
    return None
