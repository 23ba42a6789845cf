"""The plan of one version: its next state in one reconcile."""

from __future__ import annotations

from dataclasses import dataclass

from modelward_api.base import Timestamp
from modelward_api.resources.modelversion import Outcome, Phase
from modelward_operator.domain.evidence.signals import Assessment
from modelward_operator.domain.rollout.observation import Version

UNDER_WAY: tuple[Phase, ...] = ("Verifying", "Deploying", "Shadow", "Canary", "Promoting")
"""The phases of a rollout, in their order."""
ENDED: frozenset[Phase] = frozenset({"Retired", "RolledBack", "Failed", "Quarantined"})
"""Final phases."""
REFUSED: frozenset[Phase] = frozenset({"RolledBack", "Failed", "Quarantined"})
"""Final phases that need a person's attention."""


@dataclass(frozen=True, slots=True)
class VersionPlan:
    """The next state of a version, the reason for it, and what the cluster must provide."""

    phase: Phase
    reason: str
    """In CamelCase, for programs."""
    message: str
    replicas: int = 0
    """The replicas; 0 means no Deployment."""
    weight: float = 0.0
    """The percentage of requests that it answers while it is a challenger."""
    mirror: float = 0.0
    serve: bool = False
    """Whether the model's Service selects it."""
    quarantine: bool = False
    """Whether to quarantine its digest."""
    step: int | None = None
    step_since: Timestamp | None = None
    step_pairs: int | None = None
    assessment: Assessment | None = None
    stalled: bool = False
    """Whether a person must act, though the phase alone does not say so."""
    paused: bool = False
    champion: str | None = None
    """The ModelVersion that it is compared with."""
    decides: Outcome | None = None
    """The decision to record with its evidence."""


def withdrawal(version: Version) -> str:
    """Return the message for a withdrawn version."""
    because = version.spec.rollout.withdrawn_because
    return "Withdrawn by spec.rollout.withdrawn" + (f": {because}" if because else "")
