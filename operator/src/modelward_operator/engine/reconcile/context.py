"""What one reconcile of a model works with, remembers, and has achieved."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from modelward_api.resources.modelversion import ModelVersionStatus
from modelward_operator.domain.core.record import ModelRecord, Quarantine
from modelward_operator.domain.rollout.observation import Version
from modelward_operator.domain.rollout.withheld import Refusal
from modelward_operator.engine.kube.gateway import Gateway, Manifest
from modelward_operator.engine.pods.control_client import Exchange, IssuedLeases
from modelward_operator.engine.reconcile.attempts import Attempts, RefusedError
from modelward_operator.engine.reconcile.observe import ModelSnapshot
from modelward_operator.manifests.settings import Settings


@dataclass(frozen=True, slots=True)
class IdleState:
    """Nothing is to be done for a model until something is heard of it, but to renew the leases that its pods hold."""

    revision: int
    until: float
    """Monotonic, in seconds: then it is looked at in any case."""
    again: float
    """Seconds between two renewals."""
    versions: Mapping[str, Version]
    """Whose pods hold leases, and whom they ask."""
    profile: bool = False
    """Whether a monitor watches, so that pods are asked for their counts, too."""

    def lasts(self, revision: int, clock: float) -> bool:
        """Whether nothing was heard, and it is not time to look."""
        return revision == self.revision and clock < self.until


@dataclass(slots=True)
class ModelMemory:
    """What the engine remembers of one model between two reconciles; losing it costs a few reads and writes."""

    issued: IssuedLeases = field(default_factory=IssuedLeases)
    record: ModelRecord | None = None
    """As it was last written."""
    latest: ModelRecord | None = None
    """As it was last decided: counts may be ahead of what is written, windows and quarantine never are."""
    record_written: float = float("-inf")
    idle: IdleState | None = None
    applied: dict[tuple[str, str], tuple[str, str]] = field(default_factory=dict)
    """By kind and name: what was applied (a hash), and the state of the object that came of it."""
    attempts: Attempts = field(default_factory=Attempts)
    marks: Sequence[Manifest] | None = None
    """The quarantine's ControllerRevisions as they were last read; None when they are to be read again."""
    unkept: tuple[Quarantine, ...] = ()
    """Digests that are quarantined although the API server lets nobody write that down."""
    marks_read: float = float("-inf")


@dataclass(frozen=True, slots=True)
class ReconcileContext:
    """One reconcile's tools and inputs."""

    gateway: Gateway
    exchange: Exchange
    settings: Settings
    namespace: str
    model: str
    snapshot: ModelSnapshot
    memory: ModelMemory
    clock: float
    """Monotonic, in seconds."""
    now: datetime


@dataclass(slots=True)
class Outcome:
    """What became of one round's writes, by ModelVersion where they are one's."""

    refusals: dict[str, list[Refusal]] = field(default_factory=dict)
    without_pods: set[str] = field(default_factory=set)
    """Their Deployment was refused."""
    serves: bool = True
    """Whether callers come to whom they shall come to."""
    records: bool = True
    """Whether the record is written, with what was decided in this round."""
    statuses: dict[str, ModelVersionStatus] = field(default_factory=dict)
    """As they stand in the cluster now."""
    monitors: set[str] = field(default_factory=set)
    """DriftMonitors whose status was refused."""
    objects: dict[str, Manifest] = field(default_factory=dict)

    def of(self, names: Iterable[str], error: RefusedError) -> None:
        """A write for those versions was refused."""
        for name in names:
            self.refusals.setdefault(name, []).append(error.refusal)
