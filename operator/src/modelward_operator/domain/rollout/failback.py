"""Failback: reasons for the champion to hand traffic back to the warm version before it, as a chain of checks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from modelward_api.resources.reasons import Reason
from modelward_operator.domain.core import chain
from modelward_operator.domain.rollout.observation import Observation, Version
from modelward_operator.domain.rollout.plan import VersionPlan, withdrawal
from modelward_operator.domain.rollout.roles import Roles, quarantined
from modelward_operator.domain.rollout.size import pods


@dataclass(frozen=True, slots=True)
class FailbackContext:
    """The input of the checks."""

    observation: Observation
    champion: Version
    standby: Version
    drifting: str | None
    """The DriftMonitor that requests a rollback now."""


Check = Callable[[FailbackContext], VersionPlan | None]


def fail_back(observation: Observation, roles: Roles, drifting: str | None) -> dict[str, VersionPlan]:
    """Return the plans of the standby, which takes over, and of the champion, in that order; empty without a failback."""
    standby, champion = roles.standby, roles.champion
    if standby is None or not standby.ready_pods:
        return {}
    if champion is None:
        return {standby.name: _takes_over_again(standby, None)}
    context = FailbackContext(observation, champion, standby, drifting)
    gone = chain.first(CHECKS, context)
    if gone is None:
        return {}
    plans = {standby.name: _takes_over_again(standby, champion)}
    return plans if champion.deleting else {**plans, champion.name: gone}


def is_deleted(context: FailbackContext) -> VersionPlan | None:
    """It is being deleted."""
    if not context.champion.deleting:
        return None
    return VersionPlan("RolledBack", Reason.DELETED, f"Being deleted; {context.standby.name} serves all traffic")


def is_withdrawn(context: FailbackContext) -> VersionPlan | None:
    """A person, or a program that knows the outcomes, has withdrawn it."""
    if not context.champion.spec.rollout.withdrawn:
        return None
    message = f"{withdrawal(context.champion)}. {context.standby.name} serves all traffic again"
    return VersionPlan("RolledBack", Reason.WITHDRAWN, message, quarantine=True, decides="rollback")


def drifts(context: FailbackContext) -> VersionPlan | None:
    """A DriftMonitor requests a rollback."""
    if context.drifting is None:
        return None
    message = f"DriftMonitor {context.drifting} called drift. {context.standby.name} serves all traffic again"
    return VersionPlan("RolledBack", Reason.DRIFT, message, quarantine=True, decides="rollback")


def was_rolled_back(context: FailbackContext) -> VersionPlan | None:
    """Finish a rollback that the record contains, but a crash interrupted."""
    known = quarantined(context.observation, context.champion.digest)
    if known is None:
        return None
    return VersionPlan("RolledBack", known.reason, known.message, quarantine=True, decides="rollback")


CHECKS: tuple[Check, ...] = (is_deleted, is_withdrawn, drifts, was_rolled_back)


def _takes_over_again(standby: Version, champion: Version | None) -> VersionPlan:
    after = f", after {champion.name}" if champion else ""
    return VersionPlan(
        "Champion",
        Reason.TOOK_OVER_AGAIN,
        f"Serves all traffic again{after}",
        replicas=pods(standby, champion.ready_pods if champion else 0),
        serve=True,
    )
