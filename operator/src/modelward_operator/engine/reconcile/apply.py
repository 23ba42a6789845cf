"""Carrying a decision out, in the order that is safe at every step (domain/decision.py)."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar

from modelward_api import names
from modelward_api.base import Document
from modelward_api.resources.modelversion import Artifact, ModelVersionStatus
from modelward_operator.domain.core.decision import Decision, LeaseOrder, Note
from modelward_operator.domain.core.observation import Failure, Version
from modelward_operator.domain.core.record import ModelRecord, Quarantine
from modelward_operator.domain.rollout.plan import ENDED, UNDER_WAY
from modelward_operator.domain.rollout.withheld import Attempted, Refusal, is_new, told
from modelward_operator.engine.kube import gateway as api
from modelward_operator.engine.kube.gateway import Gateway, GatewayError, Manifest, Resource
from modelward_operator.engine.pods.control_client import Exchange, Held, raises
from modelward_operator.engine.reconcile.attempts import Attempts, RefusedError, What
from modelward_operator.engine.reconcile.observe import Seen, is_a_versions, is_ours, owned_by, owns_replicas, tolerant
from modelward_operator.manifests import quarantine as marks
from modelward_operator.manifests import record as records
from modelward_operator.manifests import serving
from modelward_operator.manifests.service import service as desired_service
from modelward_operator.manifests.settings import Settings

Made = TypeVar("Made")
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
    profile: bool = False
    """Whether a monitor watches, so that pods are asked for their counts, too."""

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
    attempts: Attempts = field(default_factory=Attempts)
    marks: Sequence[Manifest] | None = None
    """The quarantine's ControllerRevisions as they were last read; None when they are to be read again."""
    unkept: tuple[Quarantine, ...] = ()
    """Digests that are quarantined although the API server lets nobody write that down."""
    marks_read: float = float("-inf")


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


async def carry_out(turn: Round, decision: Decision) -> Outcome:
    """Make it so, and say only then that it is. Whatever is so already costs no call.

    A refusal stops what depends on it and nothing else: it stands in the conditions of the version that it is about.
    """
    turn.memory.attempts.begin()
    versions = {version.name: version for version in turn.seen.versions}
    outcome = Outcome(objects=dict(turn.seen.manifests))
    lowering, raising = _split(turn.memory.held, decision)
    await turn.exchange.order(turn.memory.held, versions, lowering)
    await _write_record(turn, decision, outcome)
    if decision.workloads:
        await _publish_keys(turn, decision, outcome)
    for name in _callers_first(decision):
        await _have_workload(turn, outcome, versions[name], decision.workloads[name], name in decision.autoscaled)
    if decision.serve is not None:
        await _serve(turn, outcome, decision.serve)
    await _write_statuses(turn, decision, outcome)
    await _raise(turn, decision, outcome, versions, raising)
    await _drop(turn, decision, outcome)
    await _let_go(turn, decision, outcome)
    await _write_events(turn, decision, outcome)
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
            await _make(turn, ("ModelVersion/finalizers", name), str(wanted), write)
        except RefusedError as error:
            outcome.of([name], error)


async def _publish_keys(turn: Round, decision: Decision, outcome: Outcome) -> None:
    publish = partial(turn.exchange.signer.publish, turn.gateway, turn.namespace, turn.clock)
    try:
        await _make(turn, ("ConfigMap", names.CONTROL_KEYS), "", publish)
    except RefusedError as error:
        outcome.of(decision.workloads, error)


async def _make(turn: Round, what: What, content: str, write: Callable[[], Awaitable[Made]]) -> Made:
    return await turn.memory.attempts.make(what, content, turn.clock, write)


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


async def _write_record(turn: Round, decision: Decision, outcome: Outcome) -> None:
    if isinstance(turn.seen.record, Failure):
        return  # it is not ours to write, and the model's last version goes
    # What is decided next starts from these windows, whatever happens to the writes.
    turn.memory.latest = decision.record
    marked = await _write_marks(turn, decision, outcome)
    await _write_config_map(turn, replace(decision, record=_with_marks(decision.record, marked)), outcome)
    turn.memory.unkept = () if outcome.records else decision.record.quarantined


def _with_marks(record: ModelRecord, marked: tuple[str, ...]) -> ModelRecord:
    return record.model_copy(update={"marked": marked})


async def _write_config_map(turn: Round, decision: Decision, outcome: Outcome) -> None:
    if not _is_due(turn, decision):
        return
    manifest, seen = records.config_map(turn.namespace, turn.model, decision.record), turn.seen.record_manifest
    write = (
        partial(turn.gateway.create, api.CONFIG_MAPS, manifest)
        if seen is None
        else partial(turn.gateway.apply, api.CONFIG_MAPS, _as_seen(manifest, seen))
    )
    try:
        await _make(turn, ("ConfigMap", records.record_name(turn.model)), "", write)
    except RefusedError as error:
        outcome.records = False
        outcome.of(decision.statuses, error)
        return
    turn.memory.record, turn.memory.record_written = decision.record, turn.clock


async def _write_marks(turn: Round, decision: Decision, outcome: Outcome) -> tuple[str, ...]:
    """The quarantine's second place, which nobody deletes together with the ConfigMap; returns the digests that stand in it."""
    wanted = {entry.digest: entry for entry in decision.record.quarantined}
    have = {m["metadata"]["name"]: (m, marks.read([m])) for m in turn.seen.marks}
    for manifest, entries in have.values():
        if not entries or wanted.get(entries[0].digest) != entries[0]:
            await _mark(turn, decision, outcome, partial(_delete, turn, api.REVISIONS, manifest))
    marked = []
    for entry in wanted.values():
        stands = have.get(marks.mark_name(turn.model, entry.digest), (None, ()))[1] == (entry,)
        if not stands:
            manifest = marks.mark(turn.namespace, turn.model, entry)
            create = partial(turn.gateway.create, api.REVISIONS, manifest)
            key = ("ControllerRevision", manifest["metadata"]["name"])
            stands = await _mark(turn, decision, outcome, partial(_make, turn, key, entry.time, create))
        marked += [entry.digest] if stands else []
    return tuple(marked)


async def _mark(turn: Round, decision: Decision, outcome: Outcome, write: Callable[[], Awaitable[Any]]) -> bool:
    turn.memory.marks = None
    try:
        await write()
    except RefusedError as error:
        outcome.records = False
        outcome.of(decision.statuses, error)
        return False
    return True


def _is_due(turn: Round, decision: Decision) -> bool:
    """Whether the record must be written now: at once when it matters, now and then while only counts grow."""
    written = turn.memory.record
    if turn.seen.written is None and decision.record.quarantined:
        return True  # somebody has deleted it
    if turn.seen.written is not None and turn.seen.written.quarantined != decision.record.quarantined:
        return True
    if written is not None and _counted(written) == _counted(decision.record):
        return False
    if _counted(decision.record) == ModelRecord() and turn.seen.record_manifest is None:
        return False
    turn_is_due = turn.clock - turn.memory.record_written >= COUNTS_PERIOD
    important = written is None or _what_matters(written) != _what_matters(decision.record)
    moved = any(
        v.name in decision.statuses and decision.statuses[v.name].phase != v.status.phase for v in turn.seen.versions
    )
    return important or moved or turn_is_due


def _counted(record: ModelRecord) -> ModelRecord:
    """The record without whose instances there are: that is of use beside their counts alone, and is written with those."""
    ledger = record.ledger.model_copy(update={"instances": {}, "gone": ()})
    return record.model_copy(update={"ledger": ledger})


def _what_matters(record: ModelRecord) -> tuple[object, ...]:
    return record.quarantined, record.marked, record.decisions, record.ledger.windows


async def _write_statuses(turn: Round, decision: Decision, outcome: Outcome) -> None:
    uncrowned: Refusal | None = None
    """Why who becomes the champion is not written down as such: until then nobody else stops being one."""
    for name, wanted in decision.statuses.items():
        manifest = outcome.objects.get(name)
        if manifest is None:  # it is deleted, and its pods answer on
            outcome.statuses[name] = wanted
            continue
        old, generation = (
            tolerant(ModelVersionStatus, manifest.get("status")),
            manifest["metadata"].get("generation", 0),
        )
        withheld = _rests_on_what_is_refused(turn, decision, outcome, name, old)
        if outcome.serves and wanted.phase == "Champion" and decision.serve not in (None, name):
            outcome.statuses[name] = old  # callers have left it in this very round: the next one says so
            continue
        is_left = uncrowned is not None and old.phase == "Champion" != wanted.phase
        refusals = [*outcome.refusals.get(name, ())]
        if uncrowned is not None and is_left:
            refusals.append(uncrowned)
        attempted = Attempted(
            refusals,
            withheld or is_left,
            tried=name in decision.workloads or wanted.phase in ENDED,
            unreachable=is_left or (not outcome.serves and name == decision.serve),
        )
        status = told(old, wanted, attempted, generation, turn.now)
        try:
            outcome.objects[name] = await _write_status(turn, api.MODEL_VERSIONS, manifest, status)
            outcome.statuses[name] = status
        except RefusedError as error:
            outcome.of([name], error)
            outcome.statuses[name] = old
            if wanted.phase == "Champion" != old.phase:
                already = f"{name} answers all requests already. The status of {name}"
                uncrowned = replace(error.refusal, what=already)
    for name, monitor in decision.monitors.items():
        if not outcome.serves and any(note.name == name and note.reason == "Rollback" for note in decision.notes):
            outcome.monitors.add(name)
            continue  # it would say who answers again
        try:
            await _write_status(turn, api.DRIFT_MONITORS, turn.seen.monitor_manifests[name], monitor)
        except RefusedError:
            outcome.monitors.add(name)


def _rests_on_what_is_refused(
    turn: Round, decision: Decision, outcome: Outcome, name: str, old: ModelVersionStatus
) -> bool:
    """Whether the next status of a version would say what is not so."""
    wanted = decision.statuses[name]
    moves = wanted.phase != old.phase
    if name in outcome.without_pods and moves:
        return wanted.phase in UNDER_WAY or (old.phase in ENDED and wanted.phase == "Standby")
    if not outcome.serves and decision.serve is not None:
        changes_hands = moves and "Champion" in (old.phase, wanted.phase)
        return changes_hands or (wanted.champion != old.champion and wanted.phase in UNDER_WAY)
    return not outcome.records and moves and _is_decided_now(turn, decision, name, wanted)


def _is_decided_now(turn: Round, decision: Decision, name: str, wanted: ModelVersionStatus) -> bool:
    """Whether it is a promotion or a release that the record must know of first. A rollback waits for nothing."""
    before = turn.seen.record.decisions if isinstance(turn.seen.record, ModelRecord) else ()
    new = [entry for entry in decision.record.decisions if entry not in before and entry.model_version == name]
    return any(entry.outcome == "release" or wanted.phase == "Promoting" for entry in new)


async def _write_status(turn: Round, resource: Resource, manifest: Manifest, status: Document) -> Manifest:
    write = partial(write_status, turn.gateway, resource, manifest, status)
    return await _make(turn, (f"{resource.kind}/status", manifest["metadata"]["name"]), "", write)


async def write_status(gateway: Gateway, resource: Resource, manifest: Manifest, status: Document) -> Manifest:
    """Write a status unless it says the same already; returns the object as it is then."""
    wanted = status.to_json()
    if manifest.get("status") == wanted:
        return manifest
    body = {key: value for key, value in manifest.items() if key != "status"}
    return await gateway.replace_status(resource, {**body, "status": wanted})


async def _have_workload(turn: Round, outcome: Outcome, version: Version, replicas: int, autoscaled: bool) -> None:
    current = turn.seen.deployments.get(version.name)
    if version.artifact is None or version.artifact_failure is not None:
        return
    try:
        await _have_deployment(turn, version, version.artifact, replicas, current, autoscaled=autoscaled)
    except RefusedError as error:
        outcome.of([version.name], error)
        outcome.without_pods.add(version.name)
    for have in (partial(_have_autoscaler, turn, version, autoscaled), partial(_have_budget, turn, version, replicas)):
        if current is None and version.name in outcome.without_pods:
            return  # nothing to scale, and nothing to disrupt
        try:
            await have()
        except RefusedError as error:
            outcome.of([version.name], error)


async def _have_deployment(
    turn: Round, version: Version, artifact: Artifact, replicas: int, current: Manifest | None, *, autoscaled: bool
) -> None:
    if not autoscaled:
        await _delete(turn, api.AUTOSCALERS, turn.seen.autoscalers.get(version.name))
    left = await _left_to_the_autoscaler(turn, version.name, replicas, current) if autoscaled else None
    said = replicas if left is None else None
    wanted = serving.deployment(turn.namespace, version.name, version.uid, version.spec, artifact, said, turn.settings)
    await _have(turn, api.DEPLOYMENTS, wanted, left or current)


async def _have_autoscaler(turn: Round, version: Version, autoscaled: bool) -> None:
    scaling = version.spec.serving.autoscaling
    if autoscaled and scaling is not None:
        scaler = serving.autoscaler(turn.namespace, version.name, version.spec, scaling)
        await _have(turn, api.AUTOSCALERS, scaler, turn.seen.autoscalers.get(version.name))


async def _have_budget(turn: Round, version: Version, replicas: int) -> None:
    """A disruption budget where there is more than one pod; nobody else touches it, so it is looked at once a process."""
    key = (api.DISRUPTION_BUDGETS.kind, version.name)
    told = "" if replicas > 1 else "none"
    if turn.memory.applied.get(key) == (told, version.uid):
        return
    if replicas > 1:
        wanted = serving.disruption_budget(turn.namespace, version.name, version.spec)
        write = partial(turn.gateway.apply, api.DISRUPTION_BUDGETS, wanted)
        await _make(turn, (api.DISRUPTION_BUDGETS.kind, version.name), json.dumps(wanted, sort_keys=True), write)
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
    write = partial(turn.gateway.apply, api.DEPLOYMENTS, _as_seen(handed, current), names.SCALE_MANAGER)
    return await _make(turn, ("Deployment/replicas", name), str(replicas), write)


async def _serve(turn: Round, outcome: Outcome, version: str) -> None:
    """Callers come to that version, or the outcome says that they do not."""
    service = turn.seen.service_manifest
    if service is not None and not is_ours(service):
        return
    selects = turn.seen.service.selects if turn.seen.service else None
    tls = any(v.tls for v in turn.seen.versions if v.name == version)
    try:
        await _have(turn, api.SERVICES, desired_service(turn.namespace, turn.model, version, tls=tls), service)
    except RefusedError as error:
        outcome.serves = selects == version
        concerned = {v.name for v in turn.seen.versions if v.status.phase == "Champion"} | {version}
        outcome.of(concerned, error)


async def _have(turn: Round, resource: Resource, wanted: Manifest, current: Manifest | None) -> None:
    """Apply, unless the same was applied before and nobody has touched the object since."""
    key = (resource.kind, wanted["metadata"]["name"])
    digest = hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()
    if current is not None and turn.memory.applied.get(key) == (digest, _state(current)):
        return
    made = await _make(turn, key, digest, partial(turn.gateway.apply, resource, _as_seen(wanted, current)))
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


async def _drop(turn: Round, decision: Decision, outcome: Outcome) -> None:
    for name, manifest in turn.seen.deployments.items():
        wanted = name in decision.workloads or name in decision.keep
        if wanted or "deletionTimestamp" in manifest["metadata"] or not is_a_versions(manifest):
            continue
        try:
            await _delete(turn, api.AUTOSCALERS, turn.seen.autoscalers.get(name))
            await _drop_budget(turn, name)
            await _delete(turn, api.DEPLOYMENTS, manifest)
        except RefusedError as error:
            outcome.of([name], error)
    service = turn.seen.service_manifest
    if decision.drop_service and service is not None and is_ours(service):
        try:
            await _delete(turn, api.SERVICES, service)
        except RefusedError as error:
            outcome.serves = False
            outcome.of(turn.seen.manifests, error)


async def _drop_budget(turn: Round, name: str) -> None:
    budget = await turn.gateway.get(api.DISRUPTION_BUDGETS, turn.namespace, name)
    await _delete(turn, api.DISRUPTION_BUDGETS, budget if budget and is_ours(budget) else None)


async def _delete(turn: Round, resource: Resource, manifest: Manifest | None) -> None:
    if manifest is None:
        return
    name, uid = manifest["metadata"]["name"], manifest["metadata"]["uid"]
    turn.memory.applied.pop((resource.kind, name), None)
    write = partial(turn.gateway.delete, resource, turn.namespace, name, uid)
    await _make(turn, (f"{resource.kind}/deletion", name), uid, write)


async def _write_events(turn: Round, decision: Decision, outcome: Outcome) -> None:
    """Of what has happened; and of what was refused, when no status has told of it yet."""
    for note in decision.notes:
        wanted, now = decision.statuses.get(note.name), outcome.statuses.get(note.name)
        is_so = wanted is None or now is None or (now.phase, now.step) == (wanted.phase, wanted.step)
        if note.kind == "ModelVersion" and not is_so:
            continue
        if note.kind == "DriftMonitor" and note.name in outcome.monitors:
            continue
        await write_event(turn.gateway, turn.namespace, note, outcome.objects.get(note.name) or _object(turn, note))
    for name, refusals in outcome.refusals.items():
        manifest = turn.seen.manifests.get(name)
        if manifest is None:
            continue  # it is deleted: there is nothing to tell it of
        old = tolerant(ModelVersionStatus, manifest.get("status"))
        lasting = next((r for r in refusals if r.lasts and r.times == 1 and is_new(old, r)), None)
        if lasting is not None:
            note = Note("ModelVersion", name, "Warning", lasting.reason, lasting.message)
            await write_event(turn.gateway, turn.namespace, note, manifest)


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
