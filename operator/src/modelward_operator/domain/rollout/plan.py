"""What becomes of one version in one reconcile."""

from __future__ import annotations

from dataclasses import dataclass

from modelward_api.base import Timestamp
from modelward_api.resources.modelversion import Outcome, Phase
from modelward_operator.domain.evidence.signals import Assessment
from modelward_operator.domain.rollout.observation import Version

UNDER_WAY: tuple[Phase, ...] = ("Verifying", "Deploying", "Shadow", "Canary", "Promoting")
"""The phases of a rollout, in their order."""
ENDED: frozenset[Phase] = frozenset({"Retired", "RolledBack", "Failed", "Quarantined"})
"""Phases that a version does not leave."""
REFUSED: frozenset[Phase] = frozenset({"RolledBack", "Failed", "Quarantined"})
"""Phases that a person must look at."""


@dataclass(frozen=True, slots=True)
class VersionPlan:
    """The next state of a version, why, and what it asks of the cluster."""

    phase: Phase
    reason: str
    """CamelCase, for programs."""
    message: str
    replicas: int = 0
    """Pods to have; 0 means no Deployment."""
    weight: float = 0.0
    """Percentage of callers that get its answers while it is a challenger."""
    mirror: float = 0.0
    serve: bool = False
    """Whether the model's Service shall select it."""
    quarantine: bool = False
    """Whether its digest shall be remembered as one not to deploy again."""
    step: int | None = None
    step_since: Timestamp | None = None
    step_pairs: int | None = None
    assessment: Assessment | None = None
    stalled: bool = False
    """Whether it goes on only if a person does something, though the phase alone does not say so."""
    paused: bool = False
    champion: str | None = None
    """The ModelVersion that it is compared with."""
    decides: Outcome | None = None
    """What is decided hereby, and to be recorded with its evidence."""


def withdrawal(version: Version) -> str:
    """What is said of a version that was withdrawn."""
    because = version.spec.rollout.withdrawn_because
    return "Withdrawn by spec.rollout.withdrawn" + (f": {because}" if because else "")
