"""A version's plan as people read it: status, conditions and Events."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from modelward_api import names
from modelward_api.bundle.documents import BundleDocuments
from modelward_api.resources.conditions import Condition, find
from modelward_api.resources.modelversion import Endpoints, ModelVersionStatus, Transition, Verdict, Weight
from modelward_api.resources.reasons import TLS_FAILURES, ConditionType, Reason
from modelward_api.wire.exchange import PairedCounts
from modelward_operator.domain.core.clock import elapsed, stamp
from modelward_operator.domain.core.conditions import Detail, State, Summary, absent, conclude
from modelward_operator.domain.core.failure import Failure
from modelward_operator.domain.core.note import Note
from modelward_operator.domain.core.record import ModelRecord
from modelward_operator.domain.evidence import publication
from modelward_operator.domain.rollout.decision_log import decided
from modelward_operator.domain.rollout.observation import InvalidVersion, Observation, Version
from modelward_operator.domain.rollout.plan import ENDED, REFUSED, UNDER_WAY, VersionPlan
from modelward_operator.domain.rollout.roles import age

MAX_TRANSITIONS = 16
LEASED = ConditionType.LEASE_TAKEN
"""The condition that is False while a pod refuses its lease; set on its version and on the challenger."""
KEPT = ConditionType.RECORD_KEPT
"""The condition that is False for a day after the record or the quarantine was deleted."""
CHAMPION = ConditionType.CHAMPION_PRESENT
"""The condition of all other versions that is False while the champion's ModelVersion is deleted."""
LOSS_IS_TOLD = 86_400.0
"""Seconds."""
_GROWTH_WORTH_TELLING = 1.05
PASSING: Mapping[Verdict, State] = {"Pass": "True", "Harm": "False", "Hold": "Unknown"}
"""The status of AnalysisPassing by verdict."""


@dataclass(frozen=True, slots=True)
class Facts:
    """The facts that a status shows beside the plan."""

    namespace: str
    now: datetime
    counts: PairedCounts
    documents: BundleDocuments | None
    record: ModelRecord
    """The record that is written before the status."""
    lost: str | None = None
    """The part of the record or the quarantine that was deleted by others."""
    refused: Failure | None = None
    """Why one of its pods, or of the champion's that would forward to it, refuses its lease."""
    certificate: Failure | None = None
    """Why one of its pods cannot use its TLS files any more."""
    orphan: Failure | None = None
    """That the champion's ModelVersion was deleted, and its pods serve on."""
    analysis_changed: bool = False
    """Whether its spec asks for another analysis than the one that judges its trial."""
    undivided: str | None = None
    """The champion, if its bundle declares no subgroups though the analysis asks for some."""


def next_status(version: Version, plan: VersionPlan, facts: Facts) -> ModelVersionStatus:
    """Return the version's next status; the old one if nothing worth telling has changed."""
    old = version.status
    quiet = _is_noise(old, plan)
    moved = old.phase != plan.phase
    message = old.message if quiet and old.message else plan.message
    shown_plan = replace(plan, message=message)
    return old.model_copy(
        update={
            "observed_generation": version.generation,
            "phase": plan.phase,
            "message": message,
            "phase_since": stamp(facts.now) if moved or old.phase_since is None else old.phase_since,
            "step": plan.step,
            "step_since": plan.step_since,
            "step_pairs": plan.step_pairs,
            "champion": plan.champion if plan.champion is not None else old.champion,
            "artifact": version.artifact or old.artifact,
            "weight": old.weight if quiet else _weight(plan, facts.counts),
            **_evidence(old, plan, quiet),
            "decided": decided(facts.record, version),
            "rolled_back_at": _rolled_back_at(version, plan, facts),
            "endpoints": _endpoints(version, plan, facts.namespace),
            "conditions": _conditions(version, shown_plan, facts),
            "history": _history(old, plan, facts.now) if moved else old.history,
        }
    )


def invalid_status(invalid: InvalidVersion, now: datetime) -> ModelVersionStatus:
    """Return the status of a version with an invalid spec: only the error is new."""
    summary = Summary("False", Reason.INVALID_SPEC, invalid.error, stalled=True)
    conditions = conclude(invalid.status.conditions, invalid.generation, now, summary)
    return invalid.status.model_copy(
        update={"observed_generation": invalid.generation, "message": invalid.error, "conditions": conditions}
    )


def note(version: Version, plan: VersionPlan) -> Note | None:
    """Return the Event of a change of phase or step."""
    old = version.status
    if old.phase == plan.phase and old.step == plan.step:
        return None
    kind = "Warning" if plan.phase in REFUSED or plan.stalled else "Normal"
    return Note("ModelVersion", version.name, kind, plan.reason, f"{plan.phase}: {plan.message}")  # type: ignore[arg-type]


def _is_noise(old: ModelVersionStatus, plan: VersionPlan) -> bool:
    """Whether only counts grew, and by little: statuses are not rewritten for every request."""
    if plan.assessment is None or not old.evidence or (old.phase, old.step) != (plan.phase, plan.step):
        return False
    ready = find(old.conditions, ConditionType.READY)
    if old.verdict != plan.assessment.verdict or ready is None or ready.reason != plan.reason:
        return False
    before, now = old.evidence[0].samples, plan.assessment.signals[0].samples
    return before <= now < before * _GROWTH_WORTH_TELLING + 1


def _evidence(old: ModelVersionStatus, plan: VersionPlan, quiet: bool) -> dict[str, object]:
    if plan.assessment is None or quiet:
        return {}
    summary = plan.assessment
    subgroups = publication.strata(old, summary.signals[0].samples, summary.verdict, summary.subgroups)
    return {"verdict": summary.verdict, "evidence": summary.signals, "subgroups": subgroups}


def _weight(plan: VersionPlan, counts: PairedCounts) -> Weight:
    actual = None
    if plan.assessment is not None and counts.requests:
        actual = publication.share(counts.answered, counts.requests)
    return Weight(requested=plan.weight, actual=actual)


def _rolled_back_at(version: Version, plan: VersionPlan, facts: Facts) -> str | None:
    """Return the time that a person must name to release it."""
    old = version.status
    if plan.phase not in ("RolledBack", "Quarantined") or old.phase == plan.phase:
        return old.rolled_back_at
    digest = version.digest
    known = next((entry for entry in facts.record.quarantined if entry.digest == digest), None)
    return known.time if known else stamp(facts.now)


def _endpoints(version: Version, plan: VersionPlan, namespace: str) -> Endpoints | None:
    if plan.phase != "Champion":
        return None
    host = f"{version.spec.model}.{namespace}.svc"
    return Endpoints(
        rest=f"{'https' if version.tls else 'http'}://{host}:{names.HTTP_PORT}/v2/models/{version.spec.model}",
        grpc=f"{host}:{names.GRPC_PORT}",
    )


def _history(old: ModelVersionStatus, plan: VersionPlan, now: datetime) -> tuple[Transition, ...]:
    step = Transition(
        time=stamp(now), from_phase=old.phase, to_phase=plan.phase, reason=plan.reason, message=plan.message
    )
    return (*old.history, step)[-MAX_TRANSITIONS:]


def _conditions(version: Version, plan: VersionPlan, facts: Facts) -> tuple[Condition, ...]:
    available = version.ready_pods > 0
    ready: State = "True" if plan.phase == "Standby" else "False"
    if plan.phase in ("Champion", "Shadow") and available and plan.reason != Reason.MODEL_MISMATCH:
        ready = "True"
    summary = Summary(
        ready,
        plan.reason,
        plan.message,
        reconciling=plan.phase in ("Pending", *UNDER_WAY, "Champion") and ready != "True",
        stalled=plan.stalled or plan.phase in REFUSED,
        others=_details(version, plan, facts, available),
    )
    return conclude(version.status.conditions, version.generation, facts.now, summary)


def _is_past(version: Version, facts: Facts) -> bool:
    """Whether a loss was shown for a day."""
    kept = find(version.status.conditions, KEPT)
    return kept is not None and facts.lost is None and elapsed(kept.last_transition_time, facts.now) > LOSS_IS_TOLD


def lost_note(observation: Observation) -> Note | None:
    """Return the Event of a loss, once: afterwards a condition shows it."""
    versions = [v for v in observation.versions if not v.deleting]
    kept = [find(v.status.conditions, KEPT) for v in versions]
    if observation.lost is None or not versions or any(c and c.message == observation.lost for c in kept):
        return None
    first = min(versions, key=lambda v: (v.status.phase != "Champion", v.name))
    return Note("ModelVersion", first.name, "Warning", Reason.RECORD_LOST, observation.lost)


def orphan_note(observation: Observation, orphan: Failure | None) -> Note | None:
    """Return the Event of a deleted champion, once: afterwards a condition shows it."""
    versions = [v for v in observation.versions if not v.deleting]
    told = [find(v.status.conditions, CHAMPION) for v in versions]
    if orphan is None or not versions or any(c and c.message == orphan.message for c in told):
        return None
    newest = max(versions, key=age)
    return Note("ModelVersion", newest.name, "Warning", orphan.reason, orphan.message)


def _tls(version: Version, certificate: Failure | None) -> Detail:
    failure = next((p.failure for p in version.pods if p.failure and p.failure.reason in TLS_FAILURES), certificate)
    if failure is not None:
        return Detail(ConditionType.TLS_READY, "False", failure.reason, failure.message)
    if any(pod.tls and pod.ready for pod in version.pods):
        return Detail(ConditionType.TLS_READY, "True", Reason.SERVING, "Serving over HTTPS")
    return Detail(ConditionType.TLS_READY, "Unknown", Reason.STARTING, "No pod serves HTTPS yet")


def _details(version: Version, plan: VersionPlan, facts: Facts, available: bool) -> tuple[Detail, ...]:
    """Return the conditions beside the summary. One that is neither set nor absent here stays as it was."""
    found: list[Detail] = []
    if any(pod.verified for pod in version.pods):
        found.append(
            Detail(
                ConditionType.ARTIFACT_VERIFIED,
                "True",
                Reason.DIGEST_MATCHES,
                "The bundle's digest matches spec.artifact.digest",
            )
        )
    elif plan.phase == "Failed":
        found.append(Detail(ConditionType.ARTIFACT_VERIFIED, "False", plan.reason, plan.message))
    if facts.documents is not None:
        parity = facts.documents.parity
        difference = f"{parity.max_abs_difference:.2g}"
        text = (
            f"ONNX and scikit-learn differ by at most {difference} on {parity.rows} rows (test rows and extreme values)"
        )
        found.append(Detail(ConditionType.PARITY_VERIFIED, "True" if parity.passed else "False", Reason.COMPARED, text))
    if plan.replicas:
        state, reason = ("True", Reason.PODS_READY) if available else ("False", Reason.NO_POD_READY)
        found.append(Detail(ConditionType.AVAILABLE, state, reason, f"{version.ready_pods} ready pods"))  # type: ignore[arg-type]
    else:
        found.append(absent(ConditionType.AVAILABLE))
    found.append(_tls(version, facts.certificate) if version.tls and plan.replicas else absent(ConditionType.TLS_READY))
    if plan.assessment is not None:
        found.append(
            Detail(
                ConditionType.ANALYSIS_PASSING, PASSING[plan.assessment.verdict], plan.assessment.reason, plan.message
            )
        )
    return (
        *found,
        *_outcome(version, plan),
        *_retirement(plan),
        *_losses(version, plan, facts),
        _pause(plan),
        *_analysis(facts),
    )


def _outcome(version: Version, plan: VersionPlan) -> tuple[Detail, ...]:
    """Return the conditions about promotion and rollback. A version that is released after a rollback begins anew."""
    found: list[Detail] = []
    if plan.phase == "Champion":
        found.append(Detail(ConditionType.PROMOTED, "True", plan.reason, plan.message))
    elif find(version.status.conditions, ConditionType.PROMOTED) is not None:
        found.append(Detail(ConditionType.PROMOTED, "False", plan.reason, plan.message))
    if plan.phase == "RolledBack":
        found.append(Detail(ConditionType.ROLLED_BACK, "True", plan.reason, plan.message))
    elif plan.phase in (*UNDER_WAY, "Champion"):
        found.append(absent(ConditionType.ROLLED_BACK))
    return tuple(found)


def _retirement(plan: VersionPlan) -> tuple[Detail, ...]:
    """Return the conditions of a retired version: kstatus reads Ready=False as 'not yet', and no Ready as 'done'."""
    if plan.phase != "Retired":
        return (absent(ConditionType.RETIRED),)
    return Detail(ConditionType.RETIRED, "True", plan.reason, plan.message), absent(ConditionType.READY)


def _losses(version: Version, plan: VersionPlan, facts: Facts) -> tuple[Detail, ...]:
    """Return the conditions about a lost record, a deleted champion and a refused lease."""
    found = []
    if facts.lost is not None and plan.phase not in ENDED:
        found.append(Detail(KEPT, "False", Reason.RECORD_LOST, facts.lost))
    elif _is_past(version, facts):
        found.append(absent(KEPT))
    orphan = facts.orphan
    found.append(Detail(CHAMPION, "False", orphan.reason, orphan.message) if orphan else absent(CHAMPION))
    if facts.refused is not None and plan.phase not in ENDED:
        found.append(Detail(LEASED, "False", facts.refused.reason, facts.refused.message))
    else:
        found.append(absent(LEASED))
    return tuple(found)


def _pause(plan: VersionPlan) -> Detail:
    return (
        Detail(
            ConditionType.PAUSED, "True", Reason.PAUSED, "Paused by spec.rollout.paused. Set it to false to continue"
        )
        if plan.paused
        else absent(ConditionType.PAUSED)
    )


def _analysis(facts: Facts) -> Iterator[Detail]:
    """Yield the conditions about an analysis that is not what it seems to be."""
    if facts.analysis_changed:
        message = (
            "spec.rollout.analysis was changed after the comparison had begun, which goes on with the analysis that it began "
            "with: a margin that moves with the evidence would bound nothing. To compare anew, set spec.rollout.withdrawn, "
            "then withdrawn: false and spec.rollout.release to status.rolledBackAt"
        )
        yield Detail(ConditionType.ANALYSIS_CURRENT, "False", Reason.ANALYSIS_CHANGED, message)
    else:
        yield absent(ConditionType.ANALYSIS_CURRENT)
    if facts.undivided is not None:
        message = (
            f"spec.rollout.analysis.subgroupMinimum asks for requests in each subgroup, but the bundle of {facts.undivided}, "
            "whose pods count, declares no subgroups: nothing is compared by subgroup. Train versions with "
            "spec.evaluation.subgroups, or set subgroupMinimum: 0"
        )
        yield Detail(ConditionType.SUBGROUPS_DECLARED, "False", Reason.NO_SUBGROUPS, message)
    else:
        yield absent(ConditionType.SUBGROUPS_DECLARED)
