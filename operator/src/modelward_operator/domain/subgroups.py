"""What each declared subgroup's pairs say: a harm that only one suffers is seen though the average looks fine.

What is told of a stratum is for people, and never small: counts from 1 to 10 are '<11', others are about what they are, so that
none follows from the rest, and numbers that would rest on 1 to 10 events are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal

from modelward_api.modelversion import Analysis, SubgroupEvidence
from modelward_api.wire import PairedCounts
from modelward_operator.domain import evidence, statistics
from modelward_operator.domain.evidence import WORDS, Assessment, percent, rounded, significant

FEWEST_PAIRS = 20
"""With fewer, that nothing was found in a stratum says nothing."""
SMALLEST = 11
MOST_SHOWN = 8

Signal = Literal["errors", "latency", "flips"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What one signal says in one stratum; exact, and for no eyes."""

    stratum: str
    signal: Signal
    pairs: int
    events: int
    """Pairs that it rests on: discordant ones, or flips."""
    rate: float
    """The extra rate, or the rate of flips."""
    log_evidence: float


def assess(
    counts: PairedCounts, tripped: str | None, strata: Mapping[str, PairedCounts], analysis: Analysis
) -> Assessment:
    """Judge the paired counts of all requests, and of each stratum of the declared subgroups.

    The strata take one test's share of ``alpha``, and e-BH divides it among all strata and signals: without any harm, harm in any
    is called with at most that chance. A stratum never passes, and one that is seldom seen holds nothing up, unless
    ``subgroupMinimum`` says so.
    """
    if not strata:
        return evidence.assess(counts, tripped, analysis)
    guarded = analysis.subgroups == "guard"
    whole = evidence.assess(counts, tripped, analysis, others=1 if guarded else 0)
    findings = [finding for stratum, own in strata.items() for finding in _findings(stratum, own, analysis)]
    share = analysis.alpha / (evidence.tested(analysis) + 1)
    rejected, needed = statistics.e_bh([finding.log_evidence for finding in findings], share)
    harmed = [finding for i, finding in enumerate(findings) if i in rejected]
    told = replace(whole, subgroups=_told(strata, findings, harmed, needed))
    if whole.verdict == "Harm":
        return told
    if harmed and guarded:
        message = _harm_message(harmed, len(findings), needed)
        return replace(told, verdict="Harm", reason="SubgroupHarm", message=message)
    short = [stratum for stratum, own in strata.items() if own.pairs < analysis.subgroup_minimum]
    if whole.verdict == "Pass" and short:
        message = (
            f"Holding: {_about(strata[short[0]].pairs)} of {analysis.subgroup_minimum} requests in {_listed(short)}"
        )
        return replace(told, verdict="Hold", reason="InsufficientEvidence", message=message)
    return told


def _findings(stratum: str, counts: PairedCounts, analysis: Analysis) -> Iterator[Finding]:
    for signal, failed, spared in (
        ("errors", counts.errors_challenger, counts.errors_champion),
        ("latency", counts.late_challenger, counts.late_champion),
    ):
        rate = (failed - spared) / max(1, counts.pairs)
        found = statistics.log_evidence_of_harm(failed, spared)
        yield Finding(stratum, signal, counts.pairs, failed + spared, rate, found)  # type: ignore[arg-type]
    if analysis.flip_allowance < 1:
        rate = counts.flips / max(1, counts.compared)
        found = statistics.log_evidence_of_excess(counts.flips, counts.compared, analysis.flip_allowance)
        yield Finding(stratum, "flips", counts.compared, counts.flips, rate, found)


def _told(
    strata: Mapping[str, PairedCounts], findings: list[Finding], harmed: list[Finding], needed: float
) -> tuple[SubgroupEvidence, ...]:
    """Each stratum's worst signal; where there are too many strata, the most telling, in the order of their declaration."""
    worst = {
        stratum: max((f for f in findings if f.stratum == stratum), key=lambda f: (f in harmed, f.log_evidence))
        for stratum in strata
    }
    chosen = sorted(worst, key=lambda s: (worst[s] in harmed, worst[s].log_evidence), reverse=True)[:MOST_SHOWN]
    return tuple(
        _evidence(worst[stratum], strata[stratum].pairs, worst[stratum] in harmed, needed)
        for stratum in strata
        if stratum in chosen
    )


def _evidence(finding: Finding, pairs: int, harmed: bool, needed: float) -> SubgroupEvidence:
    too_few = pairs < FEWEST_PAIRS and not harmed
    small = pairs < SMALLEST or 0 < finding.events < SMALLEST
    return SubgroupEvidence(
        stratum=finding.stratum,
        state="Harm" if harmed else "InsufficientData" if too_few else "Quiet",
        pairs=_about(pairs),
        signal=None if too_few else finding.signal,
        estimate=None if too_few or small else significant(finding.rate, 2),
        log_evidence=None if too_few or small else significant(finding.log_evidence, 2),
        evidence_needed=significant(needed, 2),
    )


def _about(count: int) -> str:
    if count < SMALLEST:
        return f"<{SMALLEST}" if count else "0"
    return f"about {rounded(count)}"


def _listed(strata: list[str]) -> str:
    return strata[0] if len(strata) == 1 else f"{strata[0]} (and in {len(strata) - 1} more groups too few)"


def _harm_message(harmed: list[Finding], tests: int, needed: float) -> str:
    worst = max(harmed, key=lambda finding: finding.log_evidence)
    others = len({finding.stratum for finding in harmed}) - 1
    more = f" (and in {others} more group{'s' if others > 1 else ''})" if others else ""
    comparison = "" if worst.signal == "flips" else "more "
    against = "" if worst.signal == "flips" else " than the champion"
    odds = f"evidence e^{significant(worst.log_evidence, 2):g} of e^{needed:.1f} needed over {tests} tests"
    return (
        f"Harm in {worst.stratum}{more}: {percent(worst.rate)} {comparison}{WORDS[worst.signal]}{against} on the same "
        f"{_about(worst.pairs)} requests; {odds}"
    )
