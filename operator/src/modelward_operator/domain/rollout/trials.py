"""The trial of one challenger against one champion: which counts are its evidence, and which analysis judges them.

Both are fixed when it begins. Whoever may edit ``spec.rollout.analysis`` could else read a count from the margin at which the
verdict turns; and a trial that begins again, with another analysis, does not judge the counts of the one before.
"""

from __future__ import annotations

from collections.abc import Mapping

from modelward_api.base import Digest
from modelward_api.resources.modelversion import Analysis
from modelward_api.wire.exchange import PairedCounts
from modelward_operator.domain.core.record import ModelRecord, Trial
from modelward_operator.domain.evidence import ledger
from modelward_operator.domain.rollout.observation import Observation, Version
from modelward_operator.domain.rollout.plan import UNDER_WAY, VersionPlan

TRIED = frozenset({"Shadow", "Canary", "Promoting"})
"""The phases in which a challenger is compared."""


def trial(record: ModelRecord, version: Version, champion: Version) -> Trial | None:
    """Return the version's trial against this champion, as it began, or as it would begin now; None without their bundles."""
    if version.digest is None or champion.digest is None:
        return None
    known = record.ledger.trials.get(version.digest)
    if known is not None and known.champion == champion.digest and version.status.phase in UNDER_WAY:
        return known
    fresh = Trial(champion=champion.digest, analysis=version.spec.rollout.analysis)
    if version.status.phase in TRIED and version.status.champion in (None, champion.name):
        return fresh  # under way, but the record was lost, or is of an earlier release
    pair = version.digest, champion.digest
    before, strata = ledger.paired_totals(record.ledger, *pair), ledger.strata_totals(record.ledger, *pair)
    return fresh.model_copy(update={"before": before, "strata_before": strata})


def judged_by(record: ModelRecord, version: Version, champion: Version | None) -> Analysis:
    """Return the analysis in force."""
    found = trial(record, version, champion) if champion is not None else None
    return found.analysis if found is not None else version.spec.rollout.analysis


def next_trials(
    observation: Observation, plans: Mapping[str, VersionPlan], leader: Version | None
) -> dict[Digest, Trial]:
    """Return the trials to remember: those that begin now, and those under way."""
    found = {}
    for version in observation.versions:
        plan = plans.get(version.name)
        if plan is None or version.digest is None or leader is None or plan.phase not in UNDER_WAY:
            continue
        own = trial(observation.record, version, leader)
        if own is not None and (plan.phase in TRIED or version.digest in observation.record.ledger.trials):
            found[version.digest] = own
    return found


def own_counts(
    record: ModelRecord, version: Version, champion: Version
) -> tuple[PairedCounts, dict[str, PairedCounts]]:
    """Return what was counted in the version's trial against this champion, also by stratum."""
    found = trial(record, version, champion)
    if found is None or version.digest is None:
        return PairedCounts(), {}
    pair = version.digest, found.champion
    strata = ledger.strata_totals(record.ledger, *pair)
    nothing = PairedCounts()
    return (
        ledger.paired_totals(record.ledger, *pair) - found.before,
        {name: own - found.strata_before.get(name, nothing) for name, own in strata.items()},
    )
