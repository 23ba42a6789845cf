"""Carrying a decision out, in the order that is safe at every step (domain/decision.py)."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from modelward_api import names
from modelward_api.base import Document
from modelward_operator.desired import record as records
from modelward_operator.desired import serving
from modelward_operator.desired.service import service as desired_service
from modelward_operator.desired.settings import Settings
from modelward_operator.domain.decision import Decision, LeaseOrder, Note
from modelward_operator.domain.observation import Failure, Version
from modelward_operator.domain.record import ModelRecord
from modelward_operator.engine import gateway as api
from modelward_operator.engine.exchange import Exchange, Held, raises
from modelward_operator.engine.gateway import Gateway, GatewayError, Manifest, NamespaceEndsError, Resource
from modelward_operator.engine.observe import Seen, is_a_versions, is_ours, owned_by, owns_replicas

log = logging.getLogger(__name__)

COUNTS_PERIOD = 5.0
"""Seconds between two writes of the record while only counts have grown."""


@dataclass(frozen=True, slots=True)
class Rest:
    """Nothing is to be done for a model until something is heard of it, but to renew the leases that its pods hold."""

    heard: int
    until: float
    """Monotonic, in seconds: then it is looked at in any case."""
    again: float
    """Seconds between two renewals."""
    versions: Mapping[str, Version]
    """Whose pods hold leases, and whom they ask."""

    def lasts(self, heard: int, clock: float) -> bool:
        """Whether nothing was heard, and it is not time to look."""
        return heard == self.heard and clock < self.until


@dataclass(slots=True)
class Memory:
    """What the engine remembers of one model between two reconciles; losing it costs a few reads and writes."""

    held: Held = field(default_factory=Held)
    record: ModelRecord | None = None
    """As it was last written."""
    latest: ModelRecord | None = None
    """As it was last decided: counts may be ahead of what is written, windows and quarantine never are."""
    record_written: float = float("-inf")
    rest: Rest | None = None
    applied: dict[tuple[str, str], tuple[str, str]] = field(default_factory=dict)
    """By kind and name: what was applied (a hash), and the state of the object that came of it."""


@dataclass(frozen=True, slots=True)
class Round:
    """One reconcile's tools and inputs."""

    gateway: Gateway
    exchange: Exchange
    settings: Settings
    namespace: str
    model: str
    seen: Seen
    memory: Memory
    clock: float
    """Monotonic, in seconds."""


async def carry_out(turn: Round, decision: Decision) -> None:
    """Make it so. Whatever is so already costs no call."""
    versions = {version.name: version for version in turn.seen.versions}
    lowering, raising = _split(turn.memory.held, decision)
    await turn.exchange.order(turn.memory.held, versions, lowering)
    await _write_record(turn, decision)
    objects = await _write_statuses(turn, decision)
    if decision.workloads:
        await turn.exchange.signer.publish(turn.gateway, turn.namespace, turn.clock)
    for name, replicas in decision.workloads.items():
        await _have_workload(turn, versions[name], replicas, autoscaled=name in decision.autoscaled)
    if decision.serve is not None:
        await _serve(turn, decision.serve)
    if raising:
        await turn.exchange.order(turn.memory.held, versions, raising)
    await _drop(turn, decision)
    await _release(turn, decision, objects)
    for note in decision.notes:
        await write_event(turn.gateway, turn.namespace, note, objects.get(note.name) or _object(turn, note))


def _split(held: Held, decision: Decision) -> tuple[list[LeaseOrder], list[LeaseOrder]]:
    """New orders: those that take callers away from a challenger, and those that give it more."""
    lowering: list[LeaseOrder] = []
    raising: list[LeaseOrder] = []
    for order in decision.leases:
        before = held.orders.get(order.holder)
        if before == order:
            continue
        changes_hands = before is not None and before.challenger not in (None, order.challenger)
        if changes_hands and order.challenger is not None:
            lowering.append(LeaseOrder(order.holder, None))
        (raising if raises(before, order) else lowering).append(order)
    wanted = {order.holder for order in decision.leases}
    lowering += [LeaseOrder(h, None) for h, order in held.orders.items() if h not in wanted and order.challenger]
    held.orders = {h: order for h, order in held.orders.items() if h in wanted or order.challenger}
    return lowering, raising


async def _write_record(turn: Round, decision: Decision) -> None:
    if isinstance(turn.seen.record, Failure):
        return  # it is not ours to write, and the model's last version goes
    if _is_due(turn, decision):
        manifest = records.config_map(turn.namespace, turn.model, decision.record)
        seen = turn.seen.record_manifest
        try:
            if seen is None:
                await turn.gateway.create(api.CONFIG_MAPS, manifest)
            else:
                await turn.gateway.apply(api.CONFIG_MAPS, _as_seen(manifest, seen))
        except NamespaceEndsError:
            log.info("the record of %s/%s goes with its namespace", turn.namespace, turn.model)
        turn.memory.record, turn.memory.record_written = decision.record, turn.clock
    # From here on: what is decided next starts from these windows, whatever happens to the statuses.
    turn.memory.latest = decision.record


def _is_due(turn: Round, decision: Decision) -> bool:
    """Whether the record must be written now: at once when it matters, now and then while only counts grow."""
    written = turn.memory.record
    if written == decision.record or (decision.record == ModelRecord() and turn.seen.record_manifest is None):
        return False
    turn_is_due = turn.clock - turn.memory.record_written >= COUNTS_PERIOD
    important = written is None or _what_matters(written) != _what_matters(decision.record)
    moved = any(
        v.name in decision.statuses and decision.statuses[v.name].phase != v.status.phase for v in turn.seen.versions
    )
    return important or moved or turn_is_due


def _what_matters(record: ModelRecord) -> tuple[object, ...]:
    return record.quarantined, record.decisions, record.ledger.windows


async def _write_statuses(turn: Round, decision: Decision) -> dict[str, Manifest]:
    objects = dict(turn.seen.manifests)
    for name, status in decision.statuses.items():
        if name not in objects:
            continue  # it is deleted, and its pods answer on
        objects[name] = await write_status(turn.gateway, api.MODEL_VERSIONS, objects[name], status)
    for name, monitor in decision.monitors.items():
        await write_status(turn.gateway, api.DRIFT_MONITORS, turn.seen.monitor_manifests[name], monitor)
    return objects


async def write_status(gateway: Gateway, resource: Resource, manifest: Manifest, status: Document) -> Manifest:
    """Write a status unless it says the same already; returns the object as it is then."""
    wanted = status.to_json()
    if manifest.get("status") == wanted:
        return manifest
    body = {key: value for key, value in manifest.items() if key != "status"}
    return await gateway.replace_status(resource, {**body, "status": wanted})


async def _have_workload(turn: Round, version: Version, replicas: int, *, autoscaled: bool) -> None:
    current = turn.seen.deployments.get(version.name)
    if version.artifact is None or version.artifact_failure is not None:
        return
    if not autoscaled:
        await _delete(turn, api.AUTOSCALERS, turn.seen.autoscalers.get(version.name))
    left = await _left_to_the_autoscaler(turn, version.name, replicas, current) if autoscaled else None
    said = replicas if left is None else None
    wanted = serving.deployment(
        turn.namespace, version.name, version.uid, version.spec, version.artifact, said, turn.settings
    )
    await _have(turn, api.DEPLOYMENTS, wanted, left or current)
    if autoscaled and version.spec.serving.autoscaling is not None:
        scaler = serving.autoscaler(turn.namespace, version.name, version.spec, version.spec.serving.autoscaling)
        await _have(turn, api.AUTOSCALERS, scaler, turn.seen.autoscalers.get(version.name))
    await _have_budget(turn, version, replicas)


async def _have_budget(turn: Round, version: Version, replicas: int) -> None:
    """A disruption budget where there is more than one pod; nobody else touches it, so it is looked at once a process."""
    key = (api.DISRUPTION_BUDGETS.kind, version.name)
    told = "" if replicas > 1 else "none"
    if turn.memory.applied.get(key) == (told, version.uid):
        return
    if replicas > 1:
        wanted = serving.disruption_budget(turn.namespace, version.name, version.spec)
        await turn.gateway.apply(api.DISRUPTION_BUDGETS, wanted)
    else:
        await _drop_budget(turn, version.name)
    turn.memory.applied[key] = (told, version.uid)


async def _left_to_the_autoscaler(turn: Round, name: str, replicas: int, current: Manifest | None) -> Manifest | None:
    """The Deployment, if we say nothing of the number of its pods any more.

    What an apply leaves out, and nobody else owns, falls back to its default: one pod. So the number is first applied in another
    manager's name, from whom the autoscaler takes it with its first change. Of a Deployment that is not there yet, or has no
    pods (an autoscaler does nothing for those), we say it ourselves for one more time.
    """
    if current is None or not current["spec"].get("replicas", 1):
        return None
    if not owns_replicas(current):
        return current
    handed = serving.replicas_only(turn.namespace, name, replicas)
    return await turn.gateway.apply(api.DEPLOYMENTS, _as_seen(handed, current), names.SCALE_MANAGER)


async def _serve(turn: Round, version: str) -> None:
    if turn.seen.service_manifest is not None and not is_ours(turn.seen.service_manifest):
        return
    tls = any(v.tls for v in turn.seen.versions if v.name == version)
    wanted = desired_service(turn.namespace, turn.model, version, tls=tls)
    await _have(turn, api.SERVICES, wanted, turn.seen.service_manifest)


async def _have(turn: Round, resource: Resource, wanted: Manifest, current: Manifest | None) -> None:
    """Apply, unless the same was applied before and nobody has touched the object since."""
    key = (resource.kind, wanted["metadata"]["name"])
    digest = hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()
    if current is not None and turn.memory.applied.get(key) == (digest, _state(current)):
        return
    made = await turn.gateway.apply(resource, _as_seen(wanted, current))
    turn.memory.applied[key] = (digest, _state(made))


def _as_seen(wanted: Manifest, seen: Manifest | None) -> Manifest:
    """On condition that the object is still what the decision rests on: whoever was asleep meanwhile is refused."""
    if seen is None:
        return wanted
    condition = {name: seen["metadata"][name] for name in ("uid", "resourceVersion")}
    return {**wanted, "metadata": {**wanted["metadata"], **condition}}


def _state(manifest: Manifest) -> str:
    """What changes when somebody changes what is wanted of an object: its generation, else its spec."""
    metadata = manifest["metadata"]
    spec: Any = metadata.get("generation") or json.dumps(manifest.get("spec"), sort_keys=True)
    return f"{metadata.get('uid')} {spec} {sorted((metadata.get('labels') or {}).items())}"


async def _drop(turn: Round, decision: Decision) -> None:
    for name, manifest in turn.seen.deployments.items():
        wanted = name in decision.workloads or name in decision.keep
        if wanted or "deletionTimestamp" in manifest["metadata"] or not is_a_versions(manifest):
            continue
        await _delete(turn, api.AUTOSCALERS, turn.seen.autoscalers.get(name))
        await _drop_budget(turn, name)
        await _delete(turn, api.DEPLOYMENTS, manifest)
    service = turn.seen.service_manifest
    if decision.drop_service and service is not None and is_ours(service):
        await turn.gateway.delete(api.SERVICES, turn.namespace, turn.model, service["metadata"]["uid"])


async def _drop_budget(turn: Round, name: str) -> None:
    budget = await turn.gateway.get(api.DISRUPTION_BUDGETS, turn.namespace, name)
    await _delete(turn, api.DISRUPTION_BUDGETS, budget if budget and is_ours(budget) else None)


async def _delete(turn: Round, resource: Resource, manifest: Manifest | None) -> None:
    if manifest is None:
        return
    name, uid = manifest["metadata"]["name"], manifest["metadata"]["uid"]
    turn.memory.applied.pop((resource.kind, name), None)
    await turn.gateway.delete(resource, turn.namespace, name, uid)


async def _release(turn: Round, decision: Decision, objects: dict[str, Manifest]) -> None:
    """Take off the finalizer of an earlier release, once the garbage collector would not take callers' pods with the object."""
    for name, manifest in objects.items():
        metadata = manifest["metadata"]
        present: list[str] = metadata.get("finalizers", [])
        depends = owned_by(turn.seen.deployments.get(name, {"metadata": {}}), metadata["uid"])
        if names.FINALIZER not in present or (depends and name not in decision.release):
            continue
        wanted = [finalizer for finalizer in present if finalizer != names.FINALIZER]
        change = {"metadata": {"finalizers": wanted, "resourceVersion": metadata["resourceVersion"]}}
        await turn.gateway.patch(api.MODEL_VERSIONS, turn.namespace, name, change)


def _object(turn: Round, note: Note) -> Manifest | None:
    return turn.seen.monitor_manifests.get(note.name) if note.kind == "DriftMonitor" else None


async def write_event(gateway: Gateway, namespace: str, note: Note, manifest: Manifest | None) -> None:
    """An Event on a transition, as `kubectl describe` shows it. It is told by the way: its loss mends nothing."""
    if manifest is None:
        return
    now, metadata = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"), manifest["metadata"]
    event = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"generateName": f"{note.name}.", "namespace": namespace},
        "involvedObject": {
            "apiVersion": manifest["apiVersion"],
            "kind": manifest["kind"],
            "name": metadata["name"],
            "namespace": namespace,
            "uid": metadata["uid"],
        },
        "type": note.type,
        "reason": note.reason,
        "message": note.message[:1024],
        "source": {"component": "modelward"},
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }
    try:
        await gateway.create(api.EVENTS, event)
    except GatewayError as error:
        log.warning("event %s of %s %s/%s: %s", note.reason, note.kind, namespace, note.name, error)
