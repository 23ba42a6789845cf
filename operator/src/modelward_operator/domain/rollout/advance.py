"""Decide one model's reconcile: the plan of every version, and the cluster state that it needs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from modelward_api.base import seconds
from modelward_api.bundle.documents import BundleDocuments
from modelward_api.resources.reasons import Reason
from modelward_api.wire.exchange import PairedCounts
from modelward_operator.domain.core.failure import Failure
from modelward_operator.domain.core.note import Note
from modelward_operator.domain.core.record import Ledger, ModelRecord
from modelward_operator.domain.drift import actions, monitoring
from modelward_operator.domain.drift.actions import Alarm
from modelward_operator.domain.evidence import ledger, subgroups
from modelward_operator.domain.rollout import candidate as trial
from modelward_operator.domain.rollout import decision_log, incumbents
from modelward_operator.domain.rollout.decision import Decision, LeaseOrder
from modelward_operator.domain.rollout.failback import fail_back
from modelward_operator.domain.rollout.incumbents import IncumbentContext
from modelward_operator.domain.rollout.observation import InvalidVersion, Observation, Version
from modelward_operator.domain.rollout.plan import ENDED, UNDER_WAY, VersionPlan
from modelward_operator.domain.rollout.roles import Roles, assign_roles, selected
from modelward_operator.domain.rollout.size import so_far
from modelward_operator.domain.rollout.status import Facts, invalid_status, lost_note, next_status, note, orphan_note

ROLLOUT_PERIOD, START_PERIOD, STANDBY_PERIOD, QUIET_PERIOD, AT_ONCE = 1.0, 3.0, 10.0, 60.0, 0.2
"""Seconds between two reconciles without an event. A challenger's lease lives ten seconds, a standby's thirty."""
PROFILE_PERIOD = 5.0
"""Seconds between two reconciles while a monitor watches: the most counts, in seconds, that are lost with a pod."""


_NONE = PairedCounts()


@dataclass(frozen=True, slots=True)
class ModelPlan:
    """The plan of every version, by name, in the order in which statuses are written."""

    version_plans: Mapping[str, VersionPlan]
    champion: str | None
    """The version that serves traffic from now on."""
    counts: PairedCounts = _NONE
    """Paired counts of the candidate and the champion."""


def advance(observation: Observation, now: datetime) -> Decision:
    """Return the desired state for an observation. Pure and total: the same input gives the same decision."""
    if not _anyone_left(observation):
        return _farewell(observation, now)
    roles = assign_roles(observation)
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
    """Delete the Service with the last version, and keep the quarantine."""
    ours = observation.service is not None and observation.service.ours
    before = observation.record
    decided = Ledger(decided=before.ledger.decided)
    record = ModelRecord(quarantined=before.quarantined, decisions=before.decisions, ledger=decided)
    monitors = {name: j.status for name, j in _judge(observation, None, now).items()}
    drop_finalizers = frozenset(v.name for v in _everyone(observation) if v.finalizer)
    return Decision({}, record, {}, None, drop_service=ours, drop_finalizers=drop_finalizers, monitors=monitors)


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


def _plan(observation: Observation, roles: Roles, drifting: str | None, now: datetime) -> ModelPlan:
    if (halt := _halt(observation)) is not None:
        return _halted(observation, roles, halt)
    version_plans = fail_back(observation, roles, drifting)
    champion = roles.standby if version_plans else roles.champion
    counts, promoted = PairedCounts(), False
    if roles.candidate is not None:
        context = _candidate_context(observation, roles.candidate, champion, now)
        version_plans[roles.candidate.name] = trial.plan(context)
        counts, promoted = context.counts, version_plans[roles.candidate.name].phase == "Champion"
    leader = roles.candidate if promoted else champion
    for version in observation.versions:
        if version.name not in version_plans and not (version.deleting and version is not champion):
            version_plans[version.name] = incumbents.plan(IncumbentContext(observation, roles, version, leader, now))
    return ModelPlan(version_plans, leader.name if leader else None, counts)


def _candidate_context(
    observation: Observation, version: Version, champion: Version | None, now: datetime
) -> trial.CandidateContext:
    counts, tripped, strata = PairedCounts(), None, {}
    if version.artifact and champion is not None and champion.artifact:
        pair = version.artifact.digest, champion.artifact.digest
        counts = ledger.paired_totals(observation.record.ledger, *pair)
        told = ledger.strata_totals(observation.record.ledger, *pair)
        told_by = observation.documents.get(champion.artifact.digest)
        declared = told_by.signature.strata if told_by else ()
        strata = {stratum: told.get(stratum, PairedCounts()) for stratum in dict.fromkeys((*declared, *told))}
        tripped = observation.tripped.get(version.artifact.digest)
    assessment = subgroups.assess(counts, tripped, strata, version.spec.rollout.analysis)
    before = decision_log.pairs_before_step(observation.record, version)
    documents = _documents(observation, version)
    return trial.CandidateContext(
        version, champion, counts, assessment, selected(observation, version), now, documents, pairs_before=before
    )


def _halt(observation: Observation) -> Failure | None:
    """Return why nothing may change until a person acts."""
    if observation.service is not None and not observation.service.ours:
        message = f"Service {observation.model} exists and is {observation.service.owner}: choose another spec.model"
        return Failure(Reason.NAME_TAKEN, message)
    answering = observation.service.selects if observation.service else None
    for invalid in observation.invalid:
        if answering in (None, invalid.name) and (invalid.name == answering or invalid.status.phase == "Champion"):
            message = f"ModelVersion {invalid.name} is the champion, and its spec is invalid: correct it first"
            return Failure(Reason.CHAMPION_UNREADABLE, message)
    return None


def _halted(observation: Observation, roles: Roles, why: Failure) -> ModelPlan:
    """Keep every version as it is."""
    version_plans = {}
    for version in observation.versions:
        phase = version.status.phase or "Pending"
        if phase in ENDED:
            version_plans[version.name] = incumbents.as_before(version)
        else:
            size = version.workload.replicas if version.workload else 0
            version_plans[version.name] = VersionPlan(phase, why.reason, why.message, replicas=size, stalled=True)
    return ModelPlan(version_plans, roles.champion.name if roles.champion else None)


def _decide(observation: Observation, roles: Roles, plan: ModelPlan, now: datetime) -> Decision:
    versions = {v.name: v for v in observation.versions}
    version_plans = _with_shares(plan, roles)
    record = decision_log.next_record(observation, version_plans, plan.champion, plan.counts, now)
    orphan = _orphan(plan)
    statuses = {}
    notes: list[Note] = []
    for name, version_plan in version_plans.items():
        version = versions[name]
        facts = replace(
            _facts(observation, version, plan, record, now), orphan=None if name == plan.champion else orphan
        )
        statuses[name] = next_status(version, version_plan, facts)
        told = note(version, version_plan)
        notes += [told] if told else []
    notes += [told for told in (lost_note(observation), orphan_note(observation, orphan)) if told is not None]
    for invalid in observation.invalid:
        statuses[invalid.name] = invalid_status(invalid, now)
    serve = next(
        (name for name, version_plan in version_plans.items() if version_plan.serve and name != plan.champion), None
    )
    serve = serve or next((name for name, version_plan in version_plans.items() if version_plan.serve), None)
    return Decision(
        statuses=statuses,
        record=record,
        workloads=_workloads(version_plans, versions, serve, observation),
        autoscaled=frozenset(
            name
            for name, version_plan in version_plans.items()
            if version_plan.phase == "Champion" and versions[name].is_autoscaled
        ),
        serve=serve,
        leases=_leases(plan, versions, roles),
        keep=frozenset(invalid.name for invalid in observation.invalid),
        drop_finalizers=_finalizers_to_drop(observation, plan),
        notes=tuple(notes),
        requeue_after=_period(observation, version_plans, serve),
    )


def _orphan(plan: ModelPlan) -> Failure | None:
    """Return what the other versions say while the champion's ModelVersion is deleted."""
    champion = plan.version_plans.get(plan.champion or "")
    held = champion is not None and champion.reason == Reason.DELETION_HELD
    return Failure(champion.reason, champion.message) if held and champion is not None else None


def _with_shares(plan: ModelPlan, roles: Roles) -> dict[str, VersionPlan]:
    """Give the champion the share of traffic that no challenger has."""
    version_plans = dict(plan.version_plans)
    if plan.champion in version_plans:
        taken = max((c.weight for n, c in version_plans.items() if n != plan.champion), default=0.0)
        version_plans[plan.champion] = replace(version_plans[plan.champion], weight=100.0 - taken)
    return version_plans


def _facts(observation: Observation, version: Version, plan: ModelPlan, record: ModelRecord, now: datetime) -> Facts:
    documents = _documents(observation, version)
    is_tried = plan.version_plans[version.name].phase in UNDER_WAY
    refused = observation.refused.get((plan.champion or "") if is_tried else version.name)
    certificate = observation.certificates.get(version.name)
    return Facts(observation.namespace, now, plan.counts, documents, record, observation.lost, refused, certificate)


def _documents(observation: Observation, version: Version) -> BundleDocuments | None:
    return observation.documents.get(version.artifact.digest) if version.artifact else None


def _workloads(
    version_plans: Mapping[str, VersionPlan],
    versions: Mapping[str, Version],
    serve: str | None,
    observation: Observation,
) -> dict[str, int]:
    """Return replicas by version. The version that the Service still selects keeps its pods until the Service has switched."""
    workloads = {name: version_plan.replicas for name, version_plan in version_plans.items() if version_plan.replicas}
    for name, version in versions.items():
        leaving = name not in workloads and selected(observation, version) and serve not in (None, name)
        if leaving and version.workload is not None:
            workloads[name] = version.workload.replicas
    return workloads


def _leases(plan: ModelPlan, versions: Mapping[str, Version], roles: Roles) -> tuple[LeaseOrder, ...]:
    champion = versions.get(plan.champion or "")
    if champion is None:
        return ()
    orders = [_order_of_champion(plan, champion, versions)]
    deadline = 1000 * seconds(champion.spec.rollout.analysis.latency_objective)
    for name, version_plan in plan.version_plans.items():
        if version_plan.phase == "Standby":  # it forwards clients with an old connection to the champion
            sticky = champion.spec.serving.sticky_header
            orders.append(LeaseOrder(name, champion.name, 100.0, 0.0, sticky, deadline, turn_away=True))
    return tuple(orders)


def _order_of_champion(plan: ModelPlan, champion: Version, versions: Mapping[str, Version]) -> LeaseOrder:
    for name, version_plan in plan.version_plans.items():
        if name != champion.name and version_plan.phase in ("Canary", "Shadow", "Promoting"):
            version = versions[name]
            sticky = champion.spec.serving.sticky_header or version.spec.serving.sticky_header
            deadline = 1000 * seconds(version.spec.rollout.analysis.latency_objective)
            weight = so_far(version_plan.weight, version.ready_pods, version_plan.replicas)
            return LeaseOrder(champion.name, name, weight, version_plan.mirror, sticky, deadline)
    return LeaseOrder(champion.name, None)


def _finalizers_to_drop(observation: Observation, plan: ModelPlan) -> frozenset[str]:
    """Return the versions under deletion that serve no traffic any more."""
    released = {
        v.name for v in observation.versions if v.deleting and v.name != plan.champion and not selected(observation, v)
    }
    service = observation.service.selects if observation.service else None
    return frozenset(released | {i.name for i in observation.invalid if i.deleting and i.name != service})


def _period(observation: Observation, version_plans: Mapping[str, VersionPlan], serve: str | None) -> float:
    turning = serve is not None and (observation.service is None or observation.service.selects != serve)
    if turning:
        return AT_ONCE
    phases = {version_plan.phase for version_plan in version_plans.values()}
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
    plan: ModelPlan,
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
