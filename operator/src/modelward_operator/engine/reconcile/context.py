"""The tools, the memory and the results of one reconcile of a model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from modelward_api.resources.modelversion import ModelVersionStatus
from modelward_operator.domain.core.record import ModelRecord, Quarantine
from modelward_operator.domain.core.sealing import SealingKey
from modelward_operator.domain.rollout.observation import Version
from modelward_operator.domain.rollout.withheld import Refusal
from modelward_operator.engine.kube.gateway import Gateway, Manifest
from modelward_operator.engine.pods.control_client import Exchange, IssuedLeases
from modelward_operator.engine.reconcile.attempts import Attempts, RefusedError
from modelward_operator.engine.reconcile.observe import ModelSnapshot
from modelward_operator.manifests.settings import Settings


@dataclass(frozen=True, slots=True)
class IdleState:
    """An idle model: until something changes, its reconcile only renews the leases of its pods."""

    revision: int
    until: float
    """Monotonic time in seconds of the next full reconcile."""
    again: float
    """Seconds between two lease renewals."""
    versions: Mapping[str, Version]
    """The versions whose pods hold leases, and those they forward to."""
    profile: bool = False
    """Whether a monitor watches, so that the exchange also collects profile counts."""

    def lasts(self, revision: int, clock: float) -> bool:
        """Whether nothing has changed, and no full reconcile is due."""
        return revision == self.revision and clock < self.until


@dataclass(slots=True)
class ModelMemory:
    """The memory of one model between two reconciles; losing it costs a few reads and writes."""

    issued: IssuedLeases = field(default_factory=IssuedLeases)
    record: ModelRecord | None = None
    """The record as last written."""
    latest: ModelRecord | None = None
    """The record as last decided: counts may be ahead of the written ones, windows and quarantine never are."""
    record_written: float = float("-inf")
    sealed_with: SealingKey | None = None
    """The key that its counts were sealed with."""
    idle: IdleState | None = None
    applied: dict[tuple[str, str], tuple[str, str]] = field(default_factory=dict)
    """By kind and name: a hash of the applied manifest, and the state of the resulting object."""
    attempts: Attempts = field(default_factory=Attempts)
    marks: Sequence[Manifest] | None = None
    """The quarantine's ControllerRevisions as last read; None to read them again."""
    unkept: tuple[Quarantine, ...] = ()
    """Quarantined digests that the API server refused to store."""
    marks_read: float = float("-inf")


@dataclass(frozen=True, slots=True)
class ReconcileContext:
    """The tools and inputs of one reconcile."""

    gateway: Gateway
    exchange: Exchange
    settings: Settings
    namespace: str
    model: str
    snapshot: ModelSnapshot
    memory: ModelMemory
    clock: float
    """Monotonic time in seconds."""
    now: datetime
    record_key: SealingKey
    """The key to seal the record's counts with."""


@dataclass(slots=True)
class Outcome:
    """The results of one reconcile's writes, by ModelVersion where they concern one."""

    refusals: dict[str, list[Refusal]] = field(default_factory=dict)
    without_pods: set[str] = field(default_factory=set)
    """Versions whose Deployment was refused."""
    serves: bool = True
    """Whether the Service selects the version that it should."""
    records: bool = True
    """Whether the record is written, including this reconcile's decisions."""
    statuses: dict[str, ModelVersionStatus] = field(default_factory=dict)
    """The statuses as they are in the cluster now."""
    monitors: set[str] = field(default_factory=set)
    """DriftMonitors whose status was refused."""
    objects: dict[str, Manifest] = field(default_factory=dict)

    def of(self, names: Iterable[str], error: RefusedError) -> None:
        """Note that a write for those versions was refused."""
        for name in names:
            self.refusals.setdefault(name, []).append(error.refusal)
