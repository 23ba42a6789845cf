"""What a reconcile wants: desired state as frozen values, carried out by the engine in a fixed, safe order.

The order (engine/apply): 1. leases that end or lower a challenger's weight, 2. the record and the quarantine, 3. workloads to
have, 4. the Service, 5. statuses, 6. leases that raise, 7. workloads to drop, 8. finalizers of an earlier release, 9. events.
Nothing is said before it is done. Each step is idempotent, so a crash between any two is mended by the next reconcile.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from modelward_api.resources.driftmonitor import DriftMonitorStatus
from modelward_api.resources.modelversion import ModelVersionStatus
from modelward_operator.domain.core.note import Note
from modelward_operator.domain.core.record import ModelRecord


@dataclass(frozen=True, slots=True)
class LeaseOrder:
    """What the ready pods of one version shall hold from now on."""

    holder: str
    """The ModelVersion whose pods get the lease."""
    challenger: str | None
    """The ModelVersion that they ask; None ends their lease."""
    weight: float = 0.0
    mirror: float = 0.0
    sticky_header: str | None = None
    deadline_ms: float = 500.0
    turn_away: bool = False
    """The Service selects the holder's pods no longer: callers with an old connection are to connect anew."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What shall be, after one reconcile of one model."""

    statuses: Mapping[str, ModelVersionStatus]
    """By ModelVersion name, for all versions, the invalid ones included; to be written in this order, those that changed."""
    record: ModelRecord
    workloads: Mapping[str, int]
    """By ModelVersion name: replicas. A version that is absent shall have no Deployment, unless it is in ``keep``."""
    serve: str | None
    """The ModelVersion that the Service shall select; None leaves the Service as it is."""
    autoscaled: frozenset[str] = frozenset()
    """Versions whose number of pods belongs to a HorizontalPodAutoscaler; ``workloads`` says what it begins with."""
    drop_service: bool = False
    """Whether the Service shall be deleted: the model's last version goes."""
    leases: tuple[LeaseOrder, ...] = ()
    """One for every version whose pods can hold a lease (champion and standby)."""
    keep: frozenset[str] = frozenset()
    """Versions whose Deployment stays as it is: their spec cannot be read, and callers may depend on them."""
    drop_finalizers: frozenset[str] = frozenset()
    """Versions under deletion of which nothing is needed any more: a finalizer of an earlier release goes."""
    monitors: Mapping[str, DriftMonitorStatus] = field(default_factory=dict)
    notes: tuple[Note, ...] = ()
    requeue_after: float = 15.0
    """Seconds until the model is looked at again without any event."""
