"""Assessment of each declared subgroup: harm to one group is found even if the average looks fine.

The verdict rests on exact counts; what is told of it is in domain/evidence/shown.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from modelward_api.resources.modelversion import Analysis
from modelward_api.resources.reasons import Reason
from modelward_api.wire.exchange import PairedCounts
from modelward_operator.domain.evidence import signals, statistics
from modelward_operator.domain.evidence.shown import Finding, Groups, findings, is_too_small
from modelward_operator.domain.evidence.signals import Assessment


def assess(
    counts: PairedCounts,
    tripped: str | None,
    strata: Mapping[str, PairedCounts],
    analysis: Analysis,
    columns: Sequence[Collection[str]] = (),
) -> Assessment:
    """Judge the paired counts of all requests, and of each declared stratum of the subgroups (also of those without any pair).

    Harm: the strata take one test's share of ``alpha``, and e-BH divides it among all strata and signals: without any harm, harm
    in any is called with at most that chance. A pass needs each signal bounded in each stratum, with all of ``alpha``, as a
    challenger that harms one group must get past that group's own bound. Only a stratum that is shown to be less than
    ``subgroup_least_share`` of the requests is not waited for.

    Args:
        counts: Of the pairs of all requests.
        tripped: Why a champion pod stopped asking the challenger, or None.
        strata: The counts by stratum.
        analysis: The margins.
        columns: The strata of each column, which are published together; others are taken for those of one column.
    """
    if not strata:
        return signals.assess(counts, tripped, analysis)
    guarded = analysis.subgroups == "guard"
    whole = signals.assess(counts, tripped, analysis, others=1 if guarded else 0)
    found = [finding for stratum, own in strata.items() for finding in findings(stratum, own, analysis)]
    share = analysis.alpha / (signals.tested(analysis) + 1)
    rejected, needed = statistics.e_bh([finding.log_evidence for finding in found], share)
    harmed = frozenset((found[i].stratum, found[i].signal) for i in rejected)
    groups = Groups.of(counts, _by_column(strata, columns), harmed, needed, analysis)
    counted = counts.pairs if any(own.pairs for own in strata.values()) else 0
    small = {stratum for stratum, own in strata.items() if is_too_small(own.pairs, counted, analysis)}
    if whole.verdict == "Harm":
        return replace(whole, subgroups=groups.evidence())
    if harmed and guarded:
        message = groups.harm_message(len(found))
        return replace(whole, verdict="Harm", reason=Reason.SUBGROUP_HARM, message=message, subgroups=groups.evidence())
    if whole.verdict == "Pass" and groups.short():
        message = groups.short_message()
        return replace(
            whole, verdict="Hold", reason=Reason.INSUFFICIENT_EVIDENCE, message=message, subgroups=groups.evidence()
        )
    return _bounded(whole, groups, found, small) if guarded else replace(whole, subgroups=groups.evidence())


def _bounded(whole: Assessment, groups: Groups, found: list[Finding], small: set[str]) -> Assessment:
    """The assessment, as far as the bounds of the strata go: what does not harm does not pass yet for that."""
    unbounded = {finding.stratum for finding in found if not finding.bounded}
    if whole.verdict == "Hold":
        return replace(whole, message=whole.message + groups.also_needed(), subgroups=groups.evidence())
    if unbounded - small:
        message = f"Holding: {groups.needed_message()}"
        return replace(
            whole, verdict="Hold", reason=Reason.INSUFFICIENT_EVIDENCE, message=message, subgroups=groups.evidence()
        )
    left = frozenset(unbounded & small)
    return replace(whole, message=whole.message + groups.exempt(left), subgroups=groups.evidence(passed_over=left))


def _by_column(
    strata: Mapping[str, PairedCounts], columns: Sequence[Collection[str]]
) -> list[Mapping[str, PairedCounts]]:
    declared = {stratum for column in columns for stratum in column}
    everyone = [*columns, [stratum for stratum in strata if stratum not in declared]]
    return [found for column in everyone if (found := {name: strata[name] for name in column if name in strata})]
