"""The desired state of a model as frozen values, carried out by the engine in a fixed, safe order.

The order (engine/reconcile/apply.py): 1. leases that end or lower a challenger's weight, 2. the record and the quarantine,
3. wanted workloads, 4. the Service, 5. statuses, 6. leases that raise a weight, 7. workloads to delete, 8. finalizers of an
earlier Modelward release, 9. Events. No status reports what is not done yet. Each step is idempotent, so the next reconcile
completes what a crash interrupted.
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
    """The lease that the ready pods of one version get from now on."""

    holder: str
    """The ModelVersion whose pods get the lease."""
    challenger: str | None
    """The ModelVersion that they forward requests to; None ends their lease."""
    weight: float = 0.0
    mirror: float = 0.0
    sticky_header: str | None = None
    deadline_ms: float = 500.0
    drain: bool = False
    """The Service no longer selects the holder's pods: they drain, and ask clients to reconnect."""


@dataclass(frozen=True, slots=True)
class Decision:
    """The desired state after one reconcile of one model."""

    statuses: Mapping[str, ModelVersionStatus]
    """By ModelVersion name, for all versions including invalid ones. Those that changed are written in this order."""
    record: ModelRecord
    workloads: Mapping[str, int]
    """Replicas by ModelVersion name. A version that is absent gets no Deployment, unless it is in ``keep``."""
    serve: str | None
    """The ModelVersion for the Service to select; None leaves the Service as it is."""
    autoscaled: frozenset[str] = frozenset()
    """Versions whose replicas a HorizontalPodAutoscaler sets; ``workloads`` has the number to start with."""
    drop_service: bool = False
    """Whether to delete the Service, with the model's last version."""
    leases: tuple[LeaseOrder, ...] = ()
    """One for every version whose pods can hold a lease (champion and standby)."""
    keep: frozenset[str] = frozenset()
    """Versions whose Deployment stays as it is: their spec is invalid, and they may serve traffic."""
    drop_finalizers: frozenset[str] = frozenset()
    """Versions under deletion that nothing depends on: a finalizer of an earlier Modelward release is removed."""
    monitors: Mapping[str, DriftMonitorStatus] = field(default_factory=dict)
    notes: tuple[Note, ...] = ()
    requeue_after: float = 15.0
    """Seconds until the next reconcile without an event."""
