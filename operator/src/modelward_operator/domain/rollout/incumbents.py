"""A version that is not the candidate: who answers, stands by, waits, or has ended. A chain like the candidate's.

Read :data:`CHECKS` from top to bottom.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from modelward_api.base import seconds
from modelward_operator.domain.core import chain
from modelward_operator.domain.core.clock import elapsed
from modelward_operator.domain.core.record import Quarantine
from modelward_operator.domain.rollout.candidate import mismatch
from modelward_operator.domain.rollout.observation import Observation, Version
from modelward_operator.domain.rollout.plan import ENDED, UNDER_WAY, Course, withdrawal
from modelward_operator.domain.rollout.roles import Roles, quarantined
from modelward_operator.domain.rollout.size import pods
from modelward_operator.domain.rollout.withheld import is_refused


@dataclass(frozen=True, slots=True)
class Place:
    """All that the checks look at."""

    observation: Observation
    roles: Roles
    version: Version
    leader: Version | None
    """Who answers from now on."""
    now: datetime

    @property
    def quarantine(self) -> Quarantine | None:
        """The record of its digest's rollback."""
        return quarantined(self.observation, self.version.digest)


Check = Callable[[Place], Course | None]


def course(place: Place) -> Course:
    """What becomes of it."""
    return chain.decide(CHECKS, place)


def answers(place: Place) -> Course | None:
    """It is the champion, and stays it."""
    version = place.version
    if version is not place.leader:
        return None
    size = pods(version)
    if version.deleting or version.spec.rollout.withdrawn:
        return _held(place, size)
    if not version.ready_pods:
        failure = version.failure
        why = f": {failure.message}" if failure else ""
        return Course("Champion", "NoPodReady", f"None of its pods is ready{why}", replicas=size, serve=True)
    documents = place.observation.documents.get(version.artifact.digest) if version.artifact else None
    if (wrong := mismatch(version, documents)) is not None:
        return Course("Champion", wrong.reason, wrong.message, replicas=size, serve=True, stalled=True)
    if version.status.phase != "Champion":
        return Course("Champion", "Promoted", "Answers all requests", replicas=size, serve=True, decides="promote")
    said = version.status.history[-1].message if version.status.history else ""
    return Course("Champion", "Serving", said or "Answers all requests", replicas=size, serve=True)


def is_recalled(place: Place) -> Course | None:
    """The champion is withdrawn and nobody is warm: the one who answered before is made ready again."""
    if place.version is not place.roles.heir or place.roles.champion is None:
        return None
    message = f"{place.roles.champion.name} is withdrawn: made ready to answer again"
    return Course("Standby", "Recalled", message, replicas=pods(place.version))


def is_released(place: Place) -> Course | None:
    """A person rolls it out again, who has named the very rollback that is forgiven."""
    version, status = place.version, place.version.status
    if status.phase not in ("RolledBack", "Quarantined") or version.spec.rollout.withdrawn:
        return None
    if status.rolled_back_at is None or version.spec.rollout.release != status.rolled_back_at:
        return None
    message = f"Released by spec.rollout.release: the rollback of {status.rolled_back_at} no longer counts"
    return Course("Pending", "Released", message, decides="release")


def has_ended(place: Place) -> Course | None:
    """Nothing becomes of it any more."""
    return as_before(place.version) if place.version.status.phase in ENDED else None


def was_rolled_back(place: Place) -> Course | None:
    """The record says so, and its status does not yet: a crash came in between."""
    if place.quarantine is None or place.version.status.phase not in ("Canary", "Promoting", "Champion"):
        return None
    return Course("RolledBack", place.quarantine.reason, place.quarantine.message, decides="rollback")


def is_withdrawn(place: Place) -> Course | None:
    """A person has taken it out."""
    if not place.version.spec.rollout.withdrawn:
        return None
    return Course("RolledBack", "Withdrawn", withdrawal(place.version), quarantine=True, decides="rollback")


def has_handed_over(place: Place) -> Course | None:
    """It says Champion, and another one is: it has just handed over, or a crash came between two status writes."""
    version, leader = place.version, place.leader
    if version.status.phase != "Champion":
        return None
    if version.deleting:
        return Course("Retired", "Deleted", "Being deleted")
    warm = leader.spec.rollout.keep_warm if leader else "0s"
    name = leader.name if leader else "nobody"
    return Course("Standby", "Superseded", f"{name} answers; stays warm for {warm}", replicas=pods(version))


def stands_by(place: Place) -> Course | None:
    """Warm for as long as the champion's spec says, and for as long as it is needed."""
    version, roles, leader = place.version, place.roles, place.leader
    if version.status.phase != "Standby":
        return None
    warm = seconds(leader.spec.rollout.keep_warm) if leader else 0.0
    needed = leader is not None and leader.spec.rollout.withdrawn
    is_the_one = roles.standby is version and not (leader is roles.candidate and leader is not None)
    if is_the_one and (needed or elapsed(version.status.phase_since, place.now) < warm):
        return replace(as_before(version), replicas=pods(version))
    return Course("Retired", "Retired", "No longer kept warm; apply it under another name to roll it out again")


def is_quarantined(place: Place) -> Course | None:
    """Its digest was rolled back: under whatever name, it does not come back by being applied again."""
    known = place.quarantine
    if known is None:
        return None
    why = known.message.partition(". ")[0]
    message = (
        f"This digest was rolled back on {known.time}. {why}. It is not deployed again: "
        f"train a new version, or set spec.rollout.release to '{known.time}' to roll it out again"
    )
    return Course("Quarantined", "DigestQuarantined", message)


def has_no_bundle(place: Place) -> Course | None:
    """There will never be one."""
    failure = place.version.artifact_failure
    return None if failure is None else Course("Failed", failure.reason, failure.message)


def awaits_its_bundle(place: Place) -> Course | None:
    """The TrainingJob has not made it yet."""
    if place.version.artifact is not None:
        return None
    reference = place.version.spec.training_job_ref
    job = reference.name if reference else ""
    return Course("Pending", "WaitingForTraining", f"Waiting for the bundle of TrainingJob {job}")


def is_superseded(place: Place) -> Course | None:
    """A newer version takes its place in the rollout."""
    newer = place.roles.superseded.get(place.version.name)
    if newer is None:
        return None
    message = f"{newer} is newer and takes its place; apply it under another name to roll it out again"
    return Course("Retired", "Superseded", message)


def makes_way(place: Place) -> Course | None:
    """A shadow would otherwise stand in the way for ever."""
    if place.version.status.phase not in UNDER_WAY or place.version.spec.rollout.strategy != "shadow":
        return None
    return Course("Retired", "Superseded", "The shadow makes way for the rollout of another version")


def was_refused(place: Place) -> Course | None:
    """The API server refused to deploy it, and another version is tried meanwhile."""
    if not is_refused(place.version.status, place.version.generation):
        return None
    return replace(as_before(place.version), stalled=True)


def waits_for_its_turn(place: Place) -> Course:
    """One rollout at a time."""
    other = place.roles.candidate.name if place.roles.candidate else "another version"
    return Course("Pending", "WaitingForRollout", f"Waiting for the rollout of {other} to end: one at a time")


CHECKS: tuple[Check, ...] = (
    answers,
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


def _held(place: Place, size: int) -> Course:
    """It shall go, and nobody is there yet who answers in its place."""
    version, heir = place.version, place.roles.heir or place.roles.standby
    others = (v for v in place.observation.versions if v is not version)
    replaced = any(not v.deleting and v.status.phase not in ENDED for v in others)
    if version.deleting:
        what = (
            "a rollout that is under way or next replaces it" if replaced else "another version replaces it; apply one"
        )
        message = (
            f"Its deletion waits until {what}, or until all versions of the model are deleted: callers depend on it"
        )
        return Course("Champion", "DeletionHeld", message, replicas=size, serve=True, stalled=not replaced)
    if heir is not None:
        message = f"{withdrawal(version)}. It answers until {heir.name} is ready"
        return Course("Champion", "WithdrawalUnderWay", message, replicas=size, serve=True)
    message = f"{withdrawal(version)}. No version before it can answer, and callers depend on it: apply another version"
    return Course("Champion", "WithdrawalHeld", message, replicas=size, serve=True, stalled=not replaced)


def as_before(version: Version) -> Course:
    """Its phase, reason and message stay."""
    phase = version.status.phase or "Pending"
    ready = next((c for c in version.status.conditions if c.type == "Ready"), None)
    return Course(phase, ready.reason if ready else phase, version.status.message or "")
