"""Decisions that need a fresh read of the cluster before they are carried out: see docs/adr/0031.

A snapshot from the watch cache may be stale. A status written from it is refused by its resourceVersion; the effects listed
here would not be.
"""

from __future__ import annotations

from collections.abc import Callable

from modelward_api import names
from modelward_operator.domain.core.record import ModelRecord
from modelward_operator.domain.rollout.decision import Decision
from modelward_operator.engine.pods.control_client import IssuedLeases, raises
from modelward_operator.engine.reconcile.observe import ModelSnapshot

Check = Callable[[ModelSnapshot, IssuedLeases, Decision], bool]


def requires_fresh_read(snapshot: ModelSnapshot, issued: IssuedLeases, decision: Decision) -> bool:
    """Whether the cluster must be read again before this decision is carried out."""
    return any(check(snapshot, issued, decision) for check in CHECKS)


def writes_an_event(_: ModelSnapshot, __: IssuedLeases, decision: Decision) -> bool:
    """An Event is written: a phase or step changes, or drift is called."""
    return bool(decision.notes)


def changes_a_phase(snapshot: ModelSnapshot, _: IssuedLeases, decision: Decision) -> bool:
    """A version changes its phase."""
    return any(
        v.name in decision.statuses and decision.statuses[v.name].phase != v.status.phase for v in snapshot.versions
    )


def changes_the_record(snapshot: ModelSnapshot, _: IssuedLeases, decision: Decision) -> bool:
    """A digest is quarantined or released, or a decision is recorded."""
    before = snapshot.record if isinstance(snapshot.record, ModelRecord) else ModelRecord()
    after = decision.record
    return (before.quarantined, before.decisions) != (after.quarantined, after.decisions)


def switches_the_service(snapshot: ModelSnapshot, _: IssuedLeases, decision: Decision) -> bool:
    """The Service is created, deleted, or selects another version."""
    selects = snapshot.service.selects if snapshot.service is not None else None
    return decision.drop_service or decision.serve not in (None, selects)


def raises_traffic(_: ModelSnapshot, issued: IssuedLeases, decision: Decision) -> bool:
    """A challenger gets traffic, or more of it. A standby that forwards to the champion does not count."""
    return any(raises(issued.orders.get(order.holder), order) for order in decision.leases if not order.drain)


def creates_or_scales(snapshot: ModelSnapshot, _: IssuedLeases, decision: Decision) -> bool:
    """A Deployment is created or scaled."""
    return any(
        name not in snapshot.deployments
        or (name not in decision.autoscaled and snapshot.deployments[name]["spec"].get("replicas", 1) != replicas)
        for name, replicas in decision.workloads.items()
    )


def deletes_a_workload(snapshot: ModelSnapshot, _: IssuedLeases, decision: Decision) -> bool:
    """A Deployment is deleted."""
    going = snapshot.deployments.keys() - decision.workloads.keys() - decision.keep
    return any("deletionTimestamp" not in snapshot.deployments[name]["metadata"] for name in going)


def drops_finalizers(snapshot: ModelSnapshot, _: IssuedLeases, decision: Decision) -> bool:
    """A finalizer is removed, so that a version's deletion completes."""
    issued = {n for n, m in snapshot.manifests.items() if names.FINALIZER in m["metadata"].get("finalizers", ())}
    return bool(decision.drop_finalizers & issued)


CHECKS: tuple[Check, ...] = (
    writes_an_event,
    changes_a_phase,
    changes_the_record,
    switches_the_service,
    raises_traffic,
    creates_or_scales,
    deletes_a_workload,
    drops_finalizers,
)
