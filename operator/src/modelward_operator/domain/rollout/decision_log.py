"""The log of decisions: quarantined digests, and a record of each promotion, rollback and release."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from modelward_api.base import Digest, Timestamp
from modelward_api.resources.modelversion import Decided, Outcome, SubgroupEvidence
from modelward_api.wire.exchange import PairedCounts
from modelward_operator.domain.core.clock import stamp
from modelward_operator.domain.core.record import DecisionRecord, Evidence, ModelRecord, Quarantine
from modelward_operator.domain.evidence import ledger, publication
from modelward_operator.domain.rollout import trials
from modelward_operator.domain.rollout.observation import Observation, Version
from modelward_operator.domain.rollout.plan import UNDER_WAY, VersionPlan
from modelward_operator.domain.rollout.roles import quarantined

MAX_QUARANTINES = 256
MAX_DECISIONS = 64


def next_record(
    observation: Observation,
    plans: Mapping[str, VersionPlan],
    champion: str | None,
    counts: PairedCounts,
    now: datetime,
) -> ModelRecord:
    """Return the record to write before anything else that these plans need.

    Args:
        observation: What was seen; its record is the one before.
        courses: Every version's course.
        champion: Who answers from now on.
        counts: Of the pairs of the candidate and the champion.
        now: The time.
    """
    versions = {v.name: v for v in observation.versions}
    leader = versions.get(champion or "")
    challengers = [versions[name] for name, plan in plans.items() if plan.phase in UNDER_WAY]
    decisions = _decisions(observation, plans, counts, now)[-MAX_DECISIONS:]
    steps, exact = _steps(observation, plans, counts), _exact(observation.record, decisions, counts)
    begun = trials.next_trials(observation, plans, leader)
    return ModelRecord(
        quarantined=_quarantines(observation, plans, leader.digest if leader else None, now)[-MAX_QUARANTINES:],
        decisions=decisions,
        ledger=ledger.keep_only(
            observation.record.ledger.model_copy(update={"steps": steps, "decided": exact, "trials": begun}),
            _digests(challengers),
            _digests([leader] if leader else []),
            {monitor.name for monitor in observation.monitors},
            {feature for monitor in observation.monitors for feature in monitor.spec.subgroups},
        ),
    )


def decided(record: ModelRecord, version: Version) -> Decided | None:
    """Return the last decision on a version, as its status shows it."""
    own = (d for d in reversed(record.decisions) if d.model_version == version.name and _is_about(d, version))
    last = next(own, None)
    if last is None:
        return version.status.decided
    return Decided(time=last.time, outcome=last.outcome, reason=last.reason, evidence_digest=last.evidence_digest)


def pairs_before_step(record: ModelRecord, version: Version) -> int:
    """Return the pairs seen before the current step began; about so many, if the exact number was lost."""
    steps = record.ledger.steps.get(version.digest or "", {})
    return steps.get(version.status.step_since or "", version.status.step_pairs or 0)


def _steps(
    observation: Observation, plans: Mapping[str, VersionPlan], counts: PairedCounts
) -> dict[Digest, dict[Timestamp, int]]:
    """Add the step that begins now; the one before is kept until the status names this one."""
    steps = {}
    for version in observation.versions:
        plan = plans.get(version.name)
        if plan is None or plan.step_since is None or version.digest is None or plan.phase not in UNDER_WAY:
            continue
        known, before = observation.record.ledger.steps.get(version.digest, {}), version.status
        if (plan.step_since, plan.step, plan.champion) != (before.step_since, before.step, before.champion):
            known = dict([*({**known, plan.step_since: counts.pairs}).items()][-2:])
        steps[version.digest] = known
    return {digest: known for digest, known in steps.items() if known}


def _exact(record: ModelRecord, decisions: tuple[DecisionRecord, ...], counts: PairedCounts) -> dict[str, PairedCounts]:
    """Return the exact counts of each remembered decision that was made by comparison."""
    known = record.ledger.decided
    fresh = {entry.key: counts for entry in decisions if entry not in record.decisions and entry.evidence.signals}
    return {entry.key: known[entry.key] for entry in decisions if entry.key in known} | fresh


def _quarantines(
    observation: Observation, plans: Mapping[str, VersionPlan], serving: Digest | None, now: datetime
) -> tuple[Quarantine, ...]:
    """Add new entries and drop released ones. The digest that serves now is never quarantined, under any name."""
    versions = {v.name: v for v in observation.versions}
    released = {(versions[n].digest, versions[n].status.rolled_back_at) for n, c in plans.items() if _releases(c)}
    known = [entry for entry in observation.record.quarantined if (entry.digest, entry.time) not in released]
    for name, plan in plans.items():
        version = versions[name]
        if not plan.quarantine or version.artifact is None or version.artifact.digest == serving:
            continue
        if quarantined(observation, version.artifact.digest):
            continue
        known.append(
            Quarantine(
                digest=version.artifact.digest,
                version=version.spec.version,
                reason=plan.reason,
                message=plan.message,
                time=stamp(now),
            )
        )
    return tuple(known)


def _releases(plan: VersionPlan) -> bool:
    return plan.decides == "release"


def _decisions(
    observation: Observation, plans: Mapping[str, VersionPlan], counts: PairedCounts, now: datetime
) -> tuple[DecisionRecord, ...]:
    entries = list(observation.record.decisions)
    versions = {v.name: v for v in observation.versions}
    for name, plan in plans.items():
        if plan.decides is not None and not _is_recorded(entries, versions[name], plan):
            entries.append(_entry(observation, name, plan, plan.decides, counts, now))
    return tuple(entries)


def _entry(
    observation: Observation, name: str, plan: VersionPlan, outcome: Outcome, counts: PairedCounts, now: datetime
) -> DecisionRecord:
    versions = {v.name: v for v in observation.versions}
    version, champion = versions[name], versions.get(plan.champion or "")
    compared = plan.assessment is not None
    evidence = Evidence(
        challenger=version.digest,
        champion=champion.digest if champion else None,
        analysis=trials.judged_by(observation.record, version, champion),
        counts=publication.rough(counts).middle if compared else PairedCounts(),
        signals=plan.assessment.signals if plan.assessment else (),
        subgroups=_strata(version, plan),
    )
    return DecisionRecord(
        time=stamp(now),
        outcome=outcome,
        model_version=name,
        version=version.spec.version,
        champion=plan.champion,
        reason=plan.reason,
        message=plan.message,
        evidence=evidence,
        evidence_digest=evidence.digest,
    )


def _strata(version: Version, plan: VersionPlan) -> tuple[SubgroupEvidence, ...]:
    """Return the same release as in the status."""
    if (evidence := plan.assessment) is None:
        return ()
    return publication.strata(version.status, evidence.signals[0].samples, evidence.verdict, evidence.subgroups)


def _is_recorded(entries: Iterable[DecisionRecord], version: Version, plan: VersionPlan) -> bool:
    """Whether this decision was recorded before a crash: the version is still in the phase in which it was made."""
    since = version.status.phase_since or ""
    return any(
        entry.model_version == version.name
        and entry.outcome == plan.decides
        and _is_about(entry, version)
        and since <= entry.time
        for entry in entries
    )


def _is_about(entry: DecisionRecord, version: Version) -> bool:
    return entry.evidence.challenger == version.digest


def _digests(versions: Iterable[Version]) -> set[Digest]:
    return {v.artifact.digest for v in versions if v.artifact}
