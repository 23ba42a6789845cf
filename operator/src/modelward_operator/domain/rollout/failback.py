"""Why the champion hands back to the version before it, if that is warm: a chain, the first that applies decides."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from modelward_operator.domain.core import chain
from modelward_operator.domain.rollout.observation import Observation, Version
from modelward_operator.domain.rollout.plan import Course, withdrawal
from modelward_operator.domain.rollout.roles import Roles, quarantined
from modelward_operator.domain.rollout.size import pods


@dataclass(frozen=True, slots=True)
class Charge:
    """All that the checks look at."""

    observation: Observation
    champion: Version
    standby: Version
    drifting: str | None
    """The DriftMonitor that asks for a rollback now."""


Check = Callable[[Charge], Course | None]


def handed_back(observation: Observation, roles: Roles, drifting: str | None) -> dict[str, Course]:
    """The courses of the standby, which answers again, and of the champion, in that order; empty if all stays as it is."""
    standby, champion = roles.standby, roles.champion
    if standby is None or not standby.ready_pods:
        return {}
    if champion is None:
        return {standby.name: _answers_again(standby, None)}
    charge = Charge(observation, champion, standby, drifting)
    gone = chain.first(CHECKS, charge)
    if gone is None:
        return {}
    courses = {standby.name: _answers_again(standby, champion)}
    return courses if champion.deleting else {**courses, champion.name: gone}


def is_deleted(charge: Charge) -> Course | None:
    """Somebody has deleted it."""
    if not charge.champion.deleting:
        return None
    return Course("RolledBack", "Deleted", f"Being deleted; {charge.standby.name} takes over")


def is_withdrawn(charge: Charge) -> Course | None:
    """A person has taken it out, or a program that knows the outcomes."""
    if not charge.champion.spec.rollout.withdrawn:
        return None
    message = f"{withdrawal(charge.champion)}. {charge.standby.name} answers again"
    return Course("RolledBack", "Withdrawn", message, quarantine=True, decides="rollback")


def drifts(charge: Charge) -> Course | None:
    """A DriftMonitor's action says so."""
    if charge.drifting is None:
        return None
    message = f"DriftMonitor {charge.drifting}: {charge.standby.name} answers again"
    return Course("RolledBack", "Drift", message, quarantine=True, decides="rollback")


def was_rolled_back(charge: Charge) -> Course | None:
    """The record says so already: a crash came before the rest was done."""
    known = quarantined(charge.observation, charge.champion.digest)
    if known is None:
        return None
    return Course("RolledBack", known.reason, known.message, quarantine=True, decides="rollback")


CHECKS: tuple[Check, ...] = (is_deleted, is_withdrawn, drifts, was_rolled_back)


def _answers_again(standby: Version, champion: Version | None) -> Course:
    after = f" after {champion.name}" if champion else ""
    return Course(
        "Champion",
        "TookOverAgain",
        f"Answers all requests again{after}",
        replicas=pods(standby, champion.ready_pods if champion else 0),
        serve=True,
    )
