"""The incumbents: versions that serve, stand by, wait or have ended. A chain of checks like the candidate's.

Read :data:`CHECKS` from top to bottom.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from modelward_api.base import seconds
from modelward_api.resources.reasons import ConditionType, Reason
from modelward_operator.domain.core import chain
from modelward_operator.domain.core.clock import elapsed
from modelward_operator.domain.core.record import Quarantine
from modelward_operator.domain.rollout.candidate import mismatch
from modelward_operator.domain.rollout.observation import Observation, Version
from modelward_operator.domain.rollout.plan import ENDED, UNDER_WAY, VersionPlan, withdrawal
from modelward_operator.domain.rollout.roles import Roles, quarantined
from modelward_operator.domain.rollout.size import pods
from modelward_operator.domain.rollout.withheld import is_refused


@dataclass(frozen=True, slots=True)
class IncumbentContext:
    """The input of the checks."""

    observation: Observation
    roles: Roles
    version: Version
    leader: Version | None
    """The version that serves traffic from now on."""
    now: datetime

    @property
    def quarantine(self) -> Quarantine | None:
        """The quarantine entry of its digest."""
        return quarantined(self.observation, self.version.digest)


Check = Callable[[IncumbentContext], VersionPlan | None]


def plan(context: IncumbentContext) -> VersionPlan:
    """Return its next plan."""
    return chain.decide(CHECKS, context)


def is_champion(context: IncumbentContext) -> VersionPlan | None:
    """It is the champion, and remains the champion."""
    version = context.version
    if version is not context.leader:
        return None
    size = pods(version)
    if version.deleting or version.spec.rollout.withdrawn:
        return _held(context, size)
    if not version.ready_pods:
        failure = version.failure
        why = f": {failure.message}" if failure else ""
        return VersionPlan("Champion", Reason.NO_POD_READY, f"No pod is ready{why}", replicas=size, serve=True)
    documents = context.observation.documents.get(version.artifact.digest) if version.artifact else None
    if (wrong := mismatch(version, documents)) is not None:
        return VersionPlan("Champion", wrong.reason, wrong.message, replicas=size, serve=True, stalled=True)
    if version.status.phase != "Champion":
        return VersionPlan(
            "Champion", Reason.PROMOTED, "Serves all traffic", replicas=size, serve=True, decides="promote"
        )
    said = version.status.history[-1].message if version.status.history else ""
    return VersionPlan("Champion", Reason.SERVING, said or "Serves all traffic", replicas=size, serve=True)


def is_recalled(context: IncumbentContext) -> VersionPlan | None:
    """The champion is withdrawn and no version is warm: start the pods of the previous champion."""
    if context.version is not context.roles.predecessor or context.roles.champion is None:
        return None
    message = f"{context.roles.champion.name} is withdrawn; starting pods to take over again"
    return VersionPlan("Standby", Reason.RECALLED, message, replicas=pods(context.version))


def is_released(context: IncumbentContext) -> VersionPlan | None:
    """A person has released it by naming the time of its rollback."""
    version, status = context.version, context.version.status
    if status.phase not in ("RolledBack", "Quarantined") or version.spec.rollout.withdrawn:
        return None
    if status.rolled_back_at is None or version.spec.rollout.release != status.rolled_back_at:
        return None
    message = f"Released by spec.rollout.release: the rollback of {status.rolled_back_at} no longer counts"
    return VersionPlan("Pending", Reason.RELEASED, message, decides="release")


def has_ended(context: IncumbentContext) -> VersionPlan | None:
    """It has reached a final phase."""
    return as_before(context.version) if context.version.status.phase in ENDED else None


def was_rolled_back(context: IncumbentContext) -> VersionPlan | None:
    """The record says so and its status does not yet: a crash came in between."""
    if context.quarantine is None or context.version.status.phase not in ("Canary", "Promoting", "Champion"):
        return None
    return VersionPlan("RolledBack", context.quarantine.reason, context.quarantine.message, decides="rollback")


def is_withdrawn(context: IncumbentContext) -> VersionPlan | None:
    """A person has withdrawn it."""
    if not context.version.spec.rollout.withdrawn:
        return None
    return VersionPlan("RolledBack", Reason.WITHDRAWN, withdrawal(context.version), quarantine=True, decides="rollback")


def has_handed_over(context: IncumbentContext) -> VersionPlan | None:
    """Its status says Champion, but another version is: it has just handed over, or a crash came between two status writes."""
    version, leader = context.version, context.leader
    if version.status.phase != "Champion":
        return None
    if version.deleting:
        return VersionPlan("Retired", Reason.DELETED, "Being deleted")
    warm = leader.spec.rollout.keep_warm if leader else "0s"
    name = leader.name if leader else "nobody"
    return VersionPlan(
        "Standby", Reason.SUPERSEDED, f"{name} serves all traffic; kept warm for {warm}", replicas=pods(version)
    )


def stands_by(context: IncumbentContext) -> VersionPlan | None:
    """It stays warm for as long as the champion's spec says, and while a withdrawn champion may need it."""
    version, roles, leader = context.version, context.roles, context.leader
    if version.status.phase != "Standby":
        return None
    warm = seconds(leader.spec.rollout.keep_warm) if leader else 0.0
    needed = leader is not None and leader.spec.rollout.withdrawn
    is_the_one = roles.standby is version and not (leader is roles.candidate and leader is not None)
    if is_the_one and (needed or elapsed(version.status.phase_since, context.now) < warm):
        return replace(as_before(version), replicas=pods(version))
    return VersionPlan(
        "Retired", Reason.RETIRED, "No longer kept warm; apply it under another name to roll it out again"
    )


def is_quarantined(context: IncumbentContext) -> VersionPlan | None:
    """Its digest was rolled back: applying it again, under any name, does not deploy it."""
    known = context.quarantine
    if known is None:
        return None
    why = known.message.partition(". ")[0]
    message = (
        f"This digest was rolled back on {known.time}. {why}. It is not deployed again: "
        f"train a new version, or set spec.rollout.release to '{known.time}' to roll it out again"
    )
    return VersionPlan("Quarantined", Reason.DIGEST_QUARANTINED, message)


def has_no_bundle(context: IncumbentContext) -> VersionPlan | None:
    """It will never have a bundle."""
    failure = context.version.artifact_failure
    return None if failure is None else VersionPlan("Failed", failure.reason, failure.message)


def awaits_its_bundle(context: IncumbentContext) -> VersionPlan | None:
    """Its TrainingJob has not produced the bundle yet."""
    if context.version.artifact is not None:
        return None
    reference = context.version.spec.training_job_ref
    job = reference.name if reference else ""
    return VersionPlan("Pending", Reason.WAITING_FOR_TRAINING, f"Waiting for the bundle of TrainingJob {job}")


def is_superseded(context: IncumbentContext) -> VersionPlan | None:
    """A newer version supersedes it."""
    newer = context.roles.superseded.get(context.version.name)
    if newer is None:
        return None
    message = f"Superseded by {newer}, which is newer; apply this version under another name to roll it out again"
    return VersionPlan("Retired", Reason.SUPERSEDED, message)


def makes_way(context: IncumbentContext) -> VersionPlan | None:
    """It is a shadow, and another version waits: a shadow never ends by itself."""
    if context.version.status.phase not in UNDER_WAY or context.version.spec.rollout.strategy != "shadow":
        return None
    return VersionPlan("Retired", Reason.SUPERSEDED, "Shadowing ended: another version is being rolled out")


def was_refused(context: IncumbentContext) -> VersionPlan | None:
    """The API server refused to deploy it, and another version is rolled out meanwhile."""
    if not is_refused(context.version.status, context.version.generation):
        return None
    return replace(as_before(context.version), stalled=True)


def waits_for_its_turn(context: IncumbentContext) -> VersionPlan:
    """Another version is rolling out."""
    other = context.roles.candidate.name if context.roles.candidate else "another version"
    return VersionPlan(
        "Pending",
        Reason.WAITING_FOR_ROLLOUT,
        f"Waiting: {other} is still rolling out, and a model rolls out one version at a time",
    )


CHECKS: tuple[Check, ...] = (
    is_champion,
    is_recalled,
    is_released,
    has_ended,
    was_rolled_back,
    is_withdrawn,
    has_handed_over,
    stands_by,
    is_quarantined,
    has_no_bundle,
    awaits_its_bundle,
    is_superseded,
    makes_way,
    was_refused,
    waits_for_its_turn,
)


def _held(context: IncumbentContext, size: int) -> VersionPlan:
    """Return the plan of a champion that is deleted or withdrawn while no version can replace it."""
    version, predecessor = context.version, context.roles.predecessor or context.roles.standby
    others = (v for v in context.observation.versions if v is not version)
    replaced = any(not v.deleting and v.status.phase not in ENDED for v in others)
    if version.deleting:
        remedy = (
            "The rollout that is under way or next replaces it"
            if replaced
            else "Apply another version, or delete all versions of the model"
        )
        message = (
            f"{version.name} was deleted, and its pods keep serving traffic until another version replaces it. {remedy}"
        )
        return VersionPlan("Champion", Reason.DELETION_HELD, message, replicas=size, serve=True, stalled=not replaced)
    if predecessor is not None:
        message = f"{withdrawal(version)}. It serves traffic until {predecessor.name} is ready"
        return VersionPlan("Champion", Reason.WITHDRAWAL_UNDER_WAY, message, replicas=size, serve=True)
    message = (
        f"{withdrawal(version)}. No earlier version can take over, so it keeps serving traffic. Apply another version"
    )
    return VersionPlan("Champion", Reason.WITHDRAWAL_HELD, message, replicas=size, serve=True, stalled=not replaced)


def as_before(version: Version) -> VersionPlan:
    """Return a plan that keeps phase, reason and message."""
    phase = version.status.phase or "Pending"
    ready = next((c for c in version.status.conditions if c.type == ConditionType.READY), None)
    return VersionPlan(phase, ready.reason if ready else phase, version.status.message or "")
