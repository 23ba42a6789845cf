"""Read a pod's status: whether it is ready, and why it fails."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError

from modelward_api import names
from modelward_api.resources.reasons import Reason
from modelward_api.wire.exchange import TERMINATED_EXIT_CODE, FetchOutcome, TrainingOutcome
from modelward_operator.domain.core.failure import Failure
from modelward_operator.domain.rollout.observation import Pod
from modelward_operator.engine.kube.gateway import Manifest

_WAITING = frozenset(
    {
        Reason.IMAGE_PULL_BACK_OFF,
        Reason.ERR_IMAGE_PULL,
        Reason.INVALID_IMAGE_NAME,
        Reason.CREATE_CONTAINER_CONFIG_ERROR,
        Reason.CREATE_CONTAINER_ERROR,
    }
)


def pod(manifest: Manifest) -> Pod:
    """Parse a serving pod, with the failure that its containers report."""
    status = manifest.get("status") or {}
    conditions = {c["type"]: c for c in status.get("conditions", [])}
    inits, labels = status.get("initContainerStatuses") or [], manifest["metadata"].get("labels") or {}
    verified = bool(inits) and all((c.get("state") or {}).get("terminated", {}).get("exitCode") == 0 for c in inits)
    return Pod(
        name=manifest["metadata"]["name"],
        uid=manifest["metadata"].get("uid", ""),
        ip=status.get("podIP"),
        tls=labels.get(names.SCHEME) == "https",
        callers=labels.get(names.CALLERS, ""),
        ready=conditions.get("Ready", {}).get("status") == "True",
        verified=verified,
        failure=problem(status),
        deleting="deletionTimestamp" in manifest["metadata"],
    )


def problem(status: Mapping[str, Any]) -> Failure | None:
    """Return why a pod fails: its containers' termination messages, or why they cannot start."""
    containers = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    if (ended := _ended_by_the_cluster(status)) is not None:
        return ended
    for container in containers:
        if (failure := _termination_failure(container)) is not None:
            return failure
    for container in containers:
        waiting = (container.get("state") or {}).get("waiting") or {}
        if waiting.get("reason") in _WAITING:
            subject = f"Image {container.get('image', '')}" if "Image" in waiting["reason"] else container["name"]
            return Failure(waiting["reason"], f"{subject}: {waiting.get('message') or waiting['reason']}")
    return _unschedulable(status.get("conditions") or [])


def training_problem(status: Mapping[str, Any], outcome: TrainingOutcome | None) -> Failure | None:
    """Return why a training pod does not run, or why it failed."""
    if status.get("phase") in ("Running", "Succeeded"):
        return None
    if outcome is not None:
        return (
            None
            if outcome.succeeded or outcome.reason == Reason.TERMINATED
            else Failure(outcome.reason, outcome.message)
        )
    return problem(status)


def _ended_by_the_cluster(status: Mapping[str, Any]) -> Failure | None:
    """Return why the cluster terminated the pod: eviction, preemption, or loss of its node."""
    if status.get("phase") != "Failed":
        return None
    if status.get("reason"):
        return Failure(status["reason"], f"The node terminated the pod: {status.get('message') or status['reason']}")
    for condition in status.get("conditions") or ():
        if condition.get("type") == "DisruptionTarget" and condition.get("status") == "True":
            reason = condition.get("reason") or Reason.DISRUPTED
            return Failure(reason, f"The cluster terminated the pod: {condition.get('message') or reason}")
    return None


def _termination_failure(container: Mapping[str, Any]) -> Failure | None:
    for state in (container.get("state") or {}, container.get("lastState") or {}):
        ended = state.get("terminated") or {}
        if not ended or ended.get("exitCode") in (0, TERMINATED_EXIT_CODE):
            continue  # a container that was told to end has no fault
        report = _parsed(ended.get("message") or "")
        if report is not None:
            return report
        if ended.get("reason") == Reason.OOM_KILLED:
            message = (
                f"{container['name']} exceeded its memory limit: raise limits.memory in its resources, or in the "
                "namespace's LimitRange if that sets it"
            )
            return Failure(Reason.OOM_KILLED, message)
        return Failure(
            Reason.CONTAINER_FAILED, f"{container['name']} exited with code {ended.get('exitCode')}: see its log"
        )
    return None


def _parsed(message: str) -> Failure | None:
    try:
        document = json.loads(message)
    except ValueError:
        return None
    if not isinstance(document, dict) or document.get("verified") is not False:
        return None
    try:
        outcome = FetchOutcome.model_validate(document)
        return Failure(outcome.reason, outcome.message)
    except ValidationError:
        return Failure(str(document.get("reason") or Reason.MODEL_UNLOADABLE), str(document.get("message") or ""))


def _unschedulable(conditions: Iterable[Mapping[str, Any]]) -> Failure | None:
    for condition in conditions:
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return Failure(condition.get("reason") or Reason.UNSCHEDULABLE, condition.get("message") or "No node fits")
    return None


def training_outcome(status: Mapping[str, Any]) -> TrainingOutcome | None:
    """Return the outcome in a training pod's termination message."""
    for container in status.get("containerStatuses") or []:
        ended = (container.get("state") or {}).get("terminated") or {}
        try:
            return TrainingOutcome.model_validate_json(ended.get("message") or "")
        except ValidationError:
            continue
    return None
