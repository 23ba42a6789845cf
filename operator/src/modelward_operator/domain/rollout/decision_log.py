"""The log of decisions: quarantined digests, and a record of each promotion, rollback and release."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from modelward_api.base import Digest
from modelward_api.resources.modelversion import Decided, Outcome
from modelward_api.wire.exchange import PairedCounts
from modelward_operator.domain.core.clock import stamp
from modelward_operator.domain.core.record import DecisionRecord, Evidence, ModelRecord, Quarantine
from modelward_operator.domain.evidence import ledger
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
    return ModelRecord(
        quarantined=_quarantines(observation, plans, leader.digest if leader else None, now)[-MAX_QUARANTINES:],
        decisions=_decisions(observation, plans, counts, now)[-MAX_DECISIONS:],
        ledger=ledger.keep_only(
            observation.record.ledger,
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
            entries.append(_entry(versions, name, plan, plan.decides, counts, now))
    return tuple(entries)


def _entry(
    versions: Mapping[str, Version], name: str, plan: VersionPlan, outcome: Outcome, counts: PairedCounts, now: datetime
) -> DecisionRecord:
    version, champion = versions[name], versions.get(plan.champion or "")
    compared = plan.assessment is not None
    evidence = Evidence(
        challenger=version.digest,
        champion=champion.digest if champion else None,
        analysis=version.spec.rollout.analysis,
        counts=counts if compared else PairedCounts(),
        signals=plan.assessment.signals if plan.assessment else (),
        subgroups=plan.assessment.subgroups if plan.assessment else (),
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
