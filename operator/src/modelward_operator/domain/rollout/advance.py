"""One model's reconcile: every version's course, and what the cluster must look like for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from modelward_api.base import seconds
from modelward_api.bundle.documents import BundleDocuments
from modelward_api.wire.exchange import PairedCounts
from modelward_operator.domain.core.failure import Failure
from modelward_operator.domain.core.note import Note
from modelward_operator.domain.core.record import ModelRecord
from modelward_operator.domain.drift import actions, monitoring
from modelward_operator.domain.drift.actions import Alarm
from modelward_operator.domain.evidence import ledger, subgroups
from modelward_operator.domain.rollout import candidate as trial
from modelward_operator.domain.rollout import decision_log, incumbents
from modelward_operator.domain.rollout.decision import Decision, LeaseOrder
from modelward_operator.domain.rollout.failback import handed_back
from modelward_operator.domain.rollout.incumbents import Place
from modelward_operator.domain.rollout.observation import InvalidVersion, Observation, Version
from modelward_operator.domain.rollout.plan import ENDED, UNDER_WAY, Course
from modelward_operator.domain.rollout.roles import Roles, cast, selected
from modelward_operator.domain.rollout.size import so_far
from modelward_operator.domain.rollout.status import Facts, invalid_status, lost_note, next_status, note

ROLLOUT_PERIOD, START_PERIOD, STANDBY_PERIOD, QUIET_PERIOD, AT_ONCE = 1.0, 3.0, 10.0, 60.0, 0.2
"""Seconds between two looks at a model that no watch asks for: a challenger's lease lives ten, a standby's thirty."""
PROFILE_PERIOD = 5.0
"""The same where a monitor watches: so many seconds of counts, at most, are lost with a pod."""


_NONE = PairedCounts()


@dataclass(frozen=True, slots=True)
class Plan:
    """Every version's course, by name, in the order in which the statuses are to be written."""

    courses: Mapping[str, Course]
    champion: str | None
    """Who answers from now on."""
    counts: PairedCounts = _NONE
    """Of the candidate and the champion."""


def advance(observation: Observation, now: datetime) -> Decision:
    """What shall be, given what is. Pure and total: same observation and time, same decision."""
    if not _anyone_left(observation):
        return _farewell(observation, now)
    roles = cast(observation)
    judgements = _judge(observation, roles.champion, now)
    drifting = next((name for name, j in judgements.items() if j.rollback), None)
    plan = _plan(observation, roles, drifting, now)
    decision = _decide(observation, roles, plan, now)
    return _with_monitors(observation, roles, plan, judgements, decision, now)


def _everyone(observation: Observation) -> tuple[Version | InvalidVersion, ...]:
    return (*observation.versions, *observation.invalid)


def _anyone_left(observation: Observation) -> bool:
    return any(not v.deleting for v in _everyone(observation))


def _farewell(observation: Observation, now: datetime) -> Decision:
    """The last version goes, and with it the Service; what was rolled back is remembered."""
    ours = observation.service is not None and observation.service.ours
    record = ModelRecord(quarantined=observation.record.quarantined, decisions=observation.record.decisions)
    monitors = {name: j.status for name, j in _judge(observation, None, now).items()}
    release = frozenset(v.name for v in _everyone(observation) if v.finalizer)
    return Decision({}, record, {}, None, drop_service=ours, release=release, monitors=monitors)


def _judge(observation: Observation, champion: Version | None, now: datetime) -> dict[str, monitoring.Judgement]:
    watched = None
    if champion is not None and champion.artifact is not None:
        documents = observation.documents.get(champion.artifact.digest)
        total = ledger.profile_totals(observation.record.ledger, champion.artifact.digest)
        reference, digest = documents.reference if documents else None, champion.artifact.digest
        watched = monitoring.Watched(champion.name, reference, total, digest, len(observation.monitors))
    windows, detectors = observation.record.ledger.windows, observation.record.ledger.detectors
    return {
        m.name: monitoring.judge(m, watched, windows.get(m.name), now, detectors.get(m.name))
        for m in observation.monitors
    }


def _plan(observation: Observation, roles: Roles, drifting: str | None, now: datetime) -> Plan:
    if (halt := _halt(observation)) is not None:
        return _halted(observation, roles, halt)
    courses = handed_back(observation, roles, drifting)
    champion = roles.standby if courses else roles.champion
    counts, promoted = PairedCounts(), False
    if roles.candidate is not None:
        case = _case(observation, roles.candidate, champion, now)
        courses[roles.candidate.name] = trial.course(case)
        counts, promoted = case.counts, courses[roles.candidate.name].phase == "Champion"
    leader = roles.candidate if promoted else champion
    for version in observation.versions:
        if version.name not in courses and not (version.deleting and version is not champion):
            courses[version.name] = incumbents.course(Place(observation, roles, version, leader, now))
    return Plan(courses, leader.name if leader else None, counts)


def _case(observation: Observation, version: Version, champion: Version | None, now: datetime) -> trial.Case:
    counts, tripped, strata = PairedCounts(), None, {}
    if version.artifact and champion is not None and champion.artifact:
        pair = version.artifact.digest, champion.artifact.digest
        counts = ledger.paired_totals(observation.record.ledger, *pair)
        told = ledger.strata_totals(observation.record.ledger, *pair)
        documents = observation.documents.get(champion.artifact.digest)
        declared = documents.signature.strata if documents else ()
        strata = {stratum: told.get(stratum, PairedCounts()) for stratum in dict.fromkeys((*declared, *told))}
        tripped = observation.tripped.get(version.artifact.digest)
    assessment = subgroups.assess(counts, tripped, strata, version.spec.rollout.analysis)
    return trial.Case(
        version, champion, counts, assessment, selected(observation, version), now, _documents(observation, version)
    )


def _halt(observation: Observation) -> Failure | None:
    """Why nothing may move: a person must act first."""
    if observation.service is not None and not observation.service.ours:
        message = (
            f"Service {observation.model} exists and is not managed by Modelward: "
            "leave it alone, and choose another spec.model"
        )
        return Failure("NameTaken", message)
    answering = observation.service.selects if observation.service else None
    for invalid in observation.invalid:
        if answering in (None, invalid.name) and (invalid.name == answering or invalid.status.phase == "Champion"):
            message = f"ModelVersion {invalid.name} is the champion, and its spec cannot be read: correct it first"
            return Failure("ChampionUnreadable", message)
    return None


def _halted(observation: Observation, roles: Roles, why: Failure) -> Plan:
    """Nothing moves, and nothing is touched."""
    courses = {}
    for version in observation.versions:
        phase = version.status.phase or "Pending"
        if phase in ENDED:
            courses[version.name] = incumbents.as_before(version)
        else:
            size = version.workload.replicas if version.workload else 0
            courses[version.name] = Course(phase, why.reason, why.message, replicas=size, stalled=True)
    return Plan(courses, roles.champion.name if roles.champion else None)


def _decide(observation: Observation, roles: Roles, plan: Plan, now: datetime) -> Decision:
    versions = {v.name: v for v in observation.versions}
    courses = _with_shares(plan, roles)
    record = decision_log.next_record(observation, courses, plan.champion, plan.counts, now)
    statuses = {}
    notes: list[Note] = []
    for name, course in courses.items():
        version = versions[name]
        statuses[name] = next_status(version, course, _facts(observation, version, plan, record, now))
        told = note(version, course)
        notes += [told] if told else []
    notes += [lost] if (lost := lost_note(observation)) else []
    for invalid in observation.invalid:
        statuses[invalid.name] = invalid_status(invalid, now)
    serve = next((name for name, course in courses.items() if course.serve and name != plan.champion), None)
    serve = serve or next((name for name, course in courses.items() if course.serve), None)
    return Decision(
        statuses=statuses,
        record=record,
        workloads=_workloads(courses, versions, serve, observation),
        autoscaled=frozenset(
            name for name, course in courses.items() if course.phase == "Champion" and versions[name].is_autoscaled
        ),
        serve=serve,
        leases=_leases(plan, versions, roles),
        keep=frozenset(invalid.name for invalid in observation.invalid),
        release=_released(observation, plan),
        notes=tuple(notes),
        requeue_after=_period(observation, courses, serve),
    )


def _with_shares(plan: Plan, roles: Roles) -> dict[str, Course]:
    """The champion has the share of callers that no challenger has."""
    courses = dict(plan.courses)
    if plan.champion in courses:
        taken = max((c.weight for n, c in courses.items() if n != plan.champion), default=0.0)
        courses[plan.champion] = replace(courses[plan.champion], weight=100.0 - taken)
    return courses


def _facts(observation: Observation, version: Version, plan: Plan, record: ModelRecord, now: datetime) -> Facts:
    documents = _documents(observation, version)
    is_tried = plan.courses[version.name].phase in UNDER_WAY
    refused = observation.refused.get((plan.champion or "") if is_tried else version.name)
    return Facts(observation.namespace, now, plan.counts, documents, record, observation.lost, refused)


def _documents(observation: Observation, version: Version) -> BundleDocuments | None:
    return observation.documents.get(version.artifact.digest) if version.artifact else None


def _workloads(
    courses: Mapping[str, Course], versions: Mapping[str, Version], serve: str | None, observation: Observation
) -> dict[str, int]:
    """Replicas by version. Whoever the Service still selects keeps its pods until the Service has turned away."""
    workloads = {name: course.replicas for name, course in courses.items() if course.replicas}
    for name, version in versions.items():
        leaving = name not in workloads and selected(observation, version) and serve not in (None, name)
        if leaving and version.workload is not None:
            workloads[name] = version.workload.replicas
    return workloads


def _leases(plan: Plan, versions: Mapping[str, Version], roles: Roles) -> tuple[LeaseOrder, ...]:
    champion = versions.get(plan.champion or "")
    if champion is None:
        return ()
    orders = [_order_of_champion(plan, champion, versions)]
    deadline = 1000 * seconds(champion.spec.rollout.analysis.latency_objective)
    for name, course in plan.courses.items():
        if course.phase == "Standby":  # callers with an old connection get the champion's answer through it
            sticky = champion.spec.serving.sticky_header
            orders.append(LeaseOrder(name, champion.name, 100.0, 0.0, sticky, deadline, turn_away=True))
    return tuple(orders)


def _order_of_champion(plan: Plan, champion: Version, versions: Mapping[str, Version]) -> LeaseOrder:
    for name, course in plan.courses.items():
        if name != champion.name and course.phase in ("Canary", "Shadow", "Promoting"):
            version = versions[name]
            sticky = champion.spec.serving.sticky_header or version.spec.serving.sticky_header
            deadline = 1000 * seconds(version.spec.rollout.analysis.latency_objective)
            weight = so_far(course.weight, version.ready_pods, course.replicas)
            return LeaseOrder(champion.name, name, weight, course.mirror, sticky, deadline)
    return LeaseOrder(champion.name, None)


def _released(observation: Observation, plan: Plan) -> frozenset[str]:
    """Versions under deletion that no caller depends on any more."""
    released = {
        v.name for v in observation.versions if v.deleting and v.name != plan.champion and not selected(observation, v)
    }
    service = observation.service.selects if observation.service else None
    return frozenset(released | {i.name for i in observation.invalid if i.deleting and i.name != service})


def _period(observation: Observation, courses: Mapping[str, Course], serve: str | None) -> float:
    turning = serve is not None and (observation.service is None or observation.service.selects != serve)
    if turning:
        return AT_ONCE
    phases = {course.phase for course in courses.values()}
    if phases & {"Canary", "Shadow", "Promoting"}:
        return ROLLOUT_PERIOD
    if phases & {"Verifying", "Deploying"}:
        return START_PERIOD
    if observation.monitors:
        return min([PROFILE_PERIOD, *(max(1.0, seconds(m.spec.interval)) for m in observation.monitors)])
    if "Standby" in phases:
        return STANDBY_PERIOD
    return QUIET_PERIOD


def _with_monitors(
    observation: Observation,
    roles: Roles,
    plan: Plan,
    judgements: Mapping[str, monitoring.Judgement],
    decision: Decision,
    now: datetime,
) -> Decision:
    monitors = {monitor.name: monitor for monitor in observation.monitors}
    before = roles.champion.name if roles.champion else None
    statuses, notes = {}, list(decision.notes)
    for name, judgement in judgements.items():
        statuses[name], told = actions.act(Alarm(monitors[name], judgement, before, plan.champion), now)
        notes += told
    windows = {name: j.window for name, j in judgements.items() if j.window is not None}
    detectors = {name: j.detectors for name, j in judgements.items() if j.detectors is not None}
    kept = decision.record.ledger.model_copy(update={"windows": windows, "detectors": detectors})
    record = decision.record.model_copy(update={"ledger": kept})
    return replace(decision, monitors=statuses, notes=tuple(notes), record=record)
