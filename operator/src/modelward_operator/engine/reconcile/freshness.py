"""What must not be done on what was heard, only on what was seen: see docs/adr/0031.

A look from the watches may be behind. A status that is written on such a look is refused; what is listed here would not be.
"""

from __future__ import annotations

from collections.abc import Callable

from modelward_api import names
from modelward_operator.domain.core.record import ModelRecord
from modelward_operator.domain.rollout.decision import Decision
from modelward_operator.engine.pods.control_client import Held, raises
from modelward_operator.engine.reconcile.observe import Seen

Check = Callable[[Seen, Held, Decision], bool]


def is_of_consequence(seen: Seen, held: Held, decision: Decision) -> bool:
    """Whether the cluster is to be asked once more before this is carried out."""
    return any(check(seen, held, decision) for check in CHECKS)


def tells_people(_: Seen, __: Held, decision: Decision) -> bool:
    """An Event is written: a phase or step changes, or drift is called."""
    return bool(decision.notes)


def moves(seen: Seen, _: Held, decision: Decision) -> bool:
    """A version changes its phase."""
    return any(v.name in decision.statuses and decision.statuses[v.name].phase != v.status.phase for v in seen.versions)


def remembers(seen: Seen, _: Held, decision: Decision) -> bool:
    """A digest is quarantined or released, or a decision is recorded."""
    before = seen.record if isinstance(seen.record, ModelRecord) else ModelRecord()
    after = decision.record
    return (before.quarantined, before.decisions) != (after.quarantined, after.decisions)


def turns_callers(seen: Seen, _: Held, decision: Decision) -> bool:
    """The Service is made, selects another version, or goes."""
    selects = seen.service.selects if seen.service is not None else None
    return decision.drop_service or decision.serve not in (None, selects)


def gives_callers(_: Seen, held: Held, decision: Decision) -> bool:
    """A challenger gets callers, or more of them. That a standby's late callers get the champion's answer is no such gift."""
    return any(raises(held.orders.get(order.holder), order) for order in decision.leases if not order.turn_away)


def makes_or_scales(seen: Seen, _: Held, decision: Decision) -> bool:
    """Pods are to be had that are not there, or fewer, or more."""
    return any(
        name not in seen.deployments
        or (name not in decision.autoscaled and seen.deployments[name]["spec"].get("replicas", 1) != replicas)
        for name, replicas in decision.workloads.items()
    )


def drops(seen: Seen, _: Held, decision: Decision) -> bool:
    """Pods are no longer to be had."""
    going = seen.deployments.keys() - decision.workloads.keys() - decision.keep
    return any("deletionTimestamp" not in seen.deployments[name]["metadata"] for name in going)


def lets_go(seen: Seen, _: Held, decision: Decision) -> bool:
    """A version's deletion is no longer held up."""
    held = {n for n, m in seen.manifests.items() if names.FINALIZER in m["metadata"].get("finalizers", ())}
    return bool(decision.release & held)


CHECKS: tuple[Check, ...] = (
    tells_people,
    moves,
    remembers,
    turns_callers,
    gives_callers,
    makes_or_scales,
    drops,
    lets_go,
)
