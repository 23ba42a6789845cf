"""Carry out a decision, in an order that is safe at every step (domain/rollout/decision.py)."""

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
from modelward_operator.engine.reconcile.context import Outcome, ReconcileContext
from modelward_operator.engine.reconcile.events import write_events
from modelward_operator.engine.reconcile.ownership import owned_by
from modelward_operator.engine.reconcile.record import write_record
from modelward_operator.engine.reconcile.statuses import write_statuses
from modelward_operator.engine.reconcile.workloads import drop_workloads, ensure_workload, select_version
from modelward_operator.engine.reconcile.writes import make
from modelward_operator.manifests import quarantine as marks
from modelward_operator.manifests import record as records


async def carry_out(context: ReconcileContext, decision: Decision) -> Outcome:
    """Carry out a decision, and report a state only once it is reached. A state that is already reached costs no call.

    A refusal stops only what depends on it, and is shown in the conditions of the version that it concerns.
    """
    context.memory.attempts.begin()
    versions = {version.name: version for version in context.snapshot.versions}
    outcome = Outcome(objects=dict(context.snapshot.manifests))
    lowering, raising = _split(context.memory.issued.orders, decision.leases)
    context.memory.issued.orders = _still_held(context.memory.issued.orders, decision.leases)
    await context.exchange.order(context.memory.issued, versions, lowering)
    await write_record(context, decision, outcome)
    if decision.workloads:
        await _publish_keys(context, decision, outcome)
    for name in _serving_first(decision):
        await ensure_workload(context, outcome, versions[name], decision.workloads[name], name in decision.autoscaled)
    if decision.serve is not None:
        await select_version(context, outcome, decision.serve)
    await write_statuses(context, decision, outcome)
    await _raise(context, decision, outcome, versions, raising)
    await drop_workloads(context, decision, outcome)
    await _drop_finalizers(context, decision, outcome)
    await write_events(context, decision, outcome)
    context.memory.attempts.forget(_names(context))
    return outcome


def _names(context: ReconcileContext) -> set[str]:
    own = {context.model, records.record_name(context.model), names.CONTROL_KEYS}
    own |= {
        marks.mark_name(context.model, entry.digest) for entry in (context.memory.latest or ModelRecord()).quarantined
    }
    own |= {manifest["metadata"]["name"] for manifest in context.snapshot.marks}
    return (
        own
        | context.snapshot.manifests.keys()
        | context.snapshot.monitor_manifests.keys()
        | context.snapshot.deployments.keys()
    )


def _serving_first(decision: Decision) -> list[str]:
    """Return the workloads, those that serve traffic first."""
    answers = {name for name, status in decision.statuses.items() if status.phase in ("Champion", "Standby")}
    return sorted(decision.workloads, key=lambda name: (name != decision.serve, name not in answers))


async def _raise(
    context: ReconcileContext,
    decision: Decision,
    outcome: Outcome,
    versions: Mapping[str, Version],
    raising: list[LeaseOrder],
) -> None:
    """Give a challenger more traffic, once its status says so and every decision is recorded."""
    if not outcome.serves or context.memory.attempts.conflicts:
        return
    orders = [
        order
        for order in raising
        if order.challenger is not None
        and all(outcome.statuses.get(name) == decision.statuses.get(name) for name in (order.challenger, order.holder))
    ]
    if orders:
        await context.exchange.order(context.memory.issued, versions, orders)


async def _drop_finalizers(context: ReconcileContext, decision: Decision, outcome: Outcome) -> None:
    """Remove an earlier Modelward release's finalizer, once the garbage collector would not delete serving pods with it."""
    if decision.drop_service and not outcome.serves:
        return  # without the finalizer, nothing would come back to the Service
    for name, manifest in outcome.objects.items():
        metadata = manifest["metadata"]
        present: list[str] = metadata.get("finalizers", [])
        depends = owned_by(context.snapshot.deployments.get(name, {"metadata": {}}), metadata["uid"])
        if names.FINALIZER not in present or (depends and name not in decision.drop_finalizers):
            continue
        wanted = [finalizer for finalizer in present if finalizer != names.FINALIZER]
        change = {"metadata": {"finalizers": wanted, "resourceVersion": metadata["resourceVersion"]}}
        write = partial(context.gateway.patch, api.MODEL_VERSIONS, context.namespace, name, change)
        try:
            await make(context, ("ModelVersion/finalizers", name), str(wanted), write)
        except RefusedError as error:
            outcome.of([name], error)


async def _publish_keys(context: ReconcileContext, decision: Decision, outcome: Outcome) -> None:
    """Publish the public keys by which pods know the operator, before pods start that need them."""
    publish = partial(context.exchange.signer.publish, context.gateway, context.namespace, context.clock)
    try:
        await make(context, ("ConfigMap", names.CONTROL_KEYS), "", publish)
    except RefusedError as error:
        outcome.of(decision.workloads, error)


def _split(issued: Mapping[str, LeaseOrder], wanted: Sequence[LeaseOrder]) -> tuple[list[LeaseOrder], list[LeaseOrder]]:
    """Sort the new orders: those that take traffic away from a challenger, and those that give it more."""
    lowering: list[LeaseOrder] = []
    raising: list[LeaseOrder] = []
    for order in wanted:
        before = issued.get(order.holder)
        if before == order:
            continue
        changes_hands = before is not None and before.challenger not in (None, order.challenger)
        if changes_hands and order.challenger is not None:
            lowering.append(LeaseOrder(order.holder, None))
        (raising if raises(before, order) else lowering).append(order)
    holders = {order.holder for order in wanted}
    lowering += [LeaseOrder(h, None) for h, order in issued.items() if h not in holders and order.challenger]
    return lowering, raising


def _still_held(issued: Mapping[str, LeaseOrder], wanted: Sequence[LeaseOrder]) -> dict[str, LeaseOrder]:
    """The orders to renew: those of holders that are still wanted, and leases that are yet to be ended."""
    holders = {order.holder for order in wanted}
    return {h: order for h, order in issued.items() if h in holders or order.challenger}
