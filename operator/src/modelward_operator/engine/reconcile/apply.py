"""Carrying a decision out, in the order that is safe at every step (domain/decision.py)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from modelward_api import names
from modelward_operator.domain.core.record import ModelRecord
from modelward_operator.domain.rollout.decision import Decision, LeaseOrder
from modelward_operator.domain.rollout.observation import Version
from modelward_operator.engine.kube import gateway as api
from modelward_operator.engine.pods.control_client import raises
from modelward_operator.engine.reconcile.attempts import RefusedError
from modelward_operator.engine.reconcile.context import Outcome, Round
from modelward_operator.engine.reconcile.events import write_events
from modelward_operator.engine.reconcile.ownership import owned_by
from modelward_operator.engine.reconcile.record import write_record
from modelward_operator.engine.reconcile.statuses import write_statuses
from modelward_operator.engine.reconcile.workloads import drop_workloads, ensure_workload, select_version
from modelward_operator.engine.reconcile.writes import make
from modelward_operator.manifests import quarantine as marks
from modelward_operator.manifests import record as records


async def carry_out(turn: Round, decision: Decision) -> Outcome:
    """Make it so, and say only then that it is. Whatever is so already costs no call.

    A refusal stops what depends on it and nothing else: it stands in the conditions of the version that it is about.
    """
    turn.memory.attempts.begin()
    versions = {version.name: version for version in turn.seen.versions}
    outcome = Outcome(objects=dict(turn.seen.manifests))
    lowering, raising = _split(turn.memory.held.orders, decision.leases)
    turn.memory.held.orders = _still_held(turn.memory.held.orders, decision.leases)
    await turn.exchange.order(turn.memory.held, versions, lowering)
    await write_record(turn, decision, outcome)
    if decision.workloads:
        await _publish_keys(turn, decision, outcome)
    for name in _callers_first(decision):
        await ensure_workload(turn, outcome, versions[name], decision.workloads[name], name in decision.autoscaled)
    if decision.serve is not None:
        await select_version(turn, outcome, decision.serve)
    await write_statuses(turn, decision, outcome)
    await _raise(turn, decision, outcome, versions, raising)
    await drop_workloads(turn, decision, outcome)
    await _let_go(turn, decision, outcome)
    await write_events(turn, decision, outcome)
    turn.memory.attempts.forget(_names(turn))
    return outcome


def _names(turn: Round) -> set[str]:
    own = {turn.model, records.record_name(turn.model), names.CONTROL_KEYS}
    own |= {marks.mark_name(turn.model, entry.digest) for entry in (turn.memory.latest or ModelRecord()).quarantined}
    own |= {manifest["metadata"]["name"] for manifest in turn.seen.marks}
    return own | turn.seen.manifests.keys() | turn.seen.monitor_manifests.keys() | turn.seen.deployments.keys()


def _callers_first(decision: Decision) -> list[str]:
    """Who answers comes before who is tried out."""
    answers = {name for name, status in decision.statuses.items() if status.phase in ("Champion", "Standby")}
    return sorted(decision.workloads, key=lambda name: (name != decision.serve, name not in answers))


async def _raise(
    turn: Round, decision: Decision, outcome: Outcome, versions: Mapping[str, Version], raising: list[LeaseOrder]
) -> None:
    """More callers for a challenger: only when its status says so, and all that was decided is recorded."""
    if not outcome.serves or turn.memory.attempts.conflicts:
        return
    orders = [
        order
        for order in raising
        if order.challenger is not None
        and all(outcome.statuses.get(name) == decision.statuses.get(name) for name in (order.challenger, order.holder))
    ]
    if orders:
        await turn.exchange.order(turn.memory.held, versions, orders)


async def _let_go(turn: Round, decision: Decision, outcome: Outcome) -> None:
    """Take off the finalizer of an earlier release, once the garbage collector would not take callers' pods with the object."""
    if decision.drop_service and not outcome.serves:
        return  # nobody would look at the Service any more
    for name, manifest in outcome.objects.items():
        metadata = manifest["metadata"]
        present: list[str] = metadata.get("finalizers", [])
        depends = owned_by(turn.seen.deployments.get(name, {"metadata": {}}), metadata["uid"])
        if names.FINALIZER not in present or (depends and name not in decision.release):
            continue
        wanted = [finalizer for finalizer in present if finalizer != names.FINALIZER]
        change = {"metadata": {"finalizers": wanted, "resourceVersion": metadata["resourceVersion"]}}
        write = partial(turn.gateway.patch, api.MODEL_VERSIONS, turn.namespace, name, change)
        try:
            await make(turn, ("ModelVersion/finalizers", name), str(wanted), write)
        except RefusedError as error:
            outcome.of([name], error)


async def _publish_keys(turn: Round, decision: Decision, outcome: Outcome) -> None:
    """Publish the public keys by which pods know the operator, before pods start that need them."""
    publish = partial(turn.exchange.signer.publish, turn.gateway, turn.namespace, turn.clock)
    try:
        await make(turn, ("ConfigMap", names.CONTROL_KEYS), "", publish)
    except RefusedError as error:
        outcome.of(decision.workloads, error)


def _split(held: Mapping[str, LeaseOrder], wanted: Sequence[LeaseOrder]) -> tuple[list[LeaseOrder], list[LeaseOrder]]:
    """Sort the new orders: those that take traffic away from a challenger, and those that give it more."""
    lowering: list[LeaseOrder] = []
    raising: list[LeaseOrder] = []
    for order in wanted:
        before = held.get(order.holder)
        if before == order:
            continue
        changes_hands = before is not None and before.challenger not in (None, order.challenger)
        if changes_hands and order.challenger is not None:
            lowering.append(LeaseOrder(order.holder, None))
        (raising if raises(before, order) else lowering).append(order)
    holders = {order.holder for order in wanted}
    lowering += [LeaseOrder(h, None) for h, order in held.items() if h not in holders and order.challenger]
    return lowering, raising


def _still_held(held: Mapping[str, LeaseOrder], wanted: Sequence[LeaseOrder]) -> dict[str, LeaseOrder]:
    """The orders to renew: those of holders that are still wanted, and leases that are yet to be ended."""
    holders = {order.holder for order in wanted}
    return {h: order for h, order in held.items() if h in holders or order.challenger}
