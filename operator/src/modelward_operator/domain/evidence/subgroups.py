"""What each declared subgroup's pairs say: a harm that only one suffers is seen though the average looks fine.

What is told of a stratum is for people, and never small: counts from 1 to 10 are '<11', others are about what they are, so that
none follows from the rest, and numbers that would rest on 1 to 10 events are left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from math import inf, isinf
from typing import Literal

from modelward_api.resources.modelversion import Analysis, SubgroupEvidence
from modelward_api.resources.reasons import Reason
from modelward_api.wire.exchange import PairedCounts
from modelward_operator.domain.evidence import signals, statistics
from modelward_operator.domain.evidence.signals import WORDS, Assessment, percent, rounded, significant

MIN_PAIRS = 20
"""With fewer, that nothing was found in a stratum says nothing."""
MIN_SHOWN_COUNT = 11
MAX_SHOWN = 8

Signal = Literal["errors", "latency", "flips"]
State = Literal["InsufficientData", "Quiet", "Bounded", "TooSmall", "Harm"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What one signal says in one stratum; exact, and for no eyes."""

    stratum: str
    signal: Signal
    pairs: int
    failed: int
    """Pairs in which only the challenger failed, or flips."""
    spared: int
    """Pairs in which only the champion failed."""
    log_evidence: float
    margin: float
    bounded: bool
    """Whether harm is shown to be below the margin."""

    @property
    def events(self) -> int:
        """Pairs that it rests on: discordant ones, or flips."""
        return self.failed + self.spared

    @property
    def rate(self) -> float:
        """The extra rate, or the rate of flips."""
        return (self.failed - self.spared) / max(1, self.pairs)


def assess(
    counts: PairedCounts, tripped: str | None, strata: Mapping[str, PairedCounts], analysis: Analysis
) -> Assessment:
    """Judge the paired counts of all requests, and of each declared stratum of the subgroups (also of those without any pair).

    Harm: the strata take one test's share of ``alpha``, and e-BH divides it among all strata and signals: without any harm, harm
    in any is called with at most that chance. A pass needs each signal bounded in each stratum, with all of ``alpha``, as a
    challenger that harms one group must get past that group's own bound. Only a stratum that is shown to be less than
    ``subgroup_least_share`` of the requests is not waited for.
    """
    if not strata:
        return signals.assess(counts, tripped, analysis)
    guarded = analysis.subgroups == "guard"
    whole = signals.assess(counts, tripped, analysis, others=1 if guarded else 0)
    findings = [finding for stratum, own in strata.items() for finding in _findings(stratum, own, analysis)]
    share = analysis.alpha / (signals.tested(analysis) + 1)
    rejected, needed = statistics.e_bh([finding.log_evidence for finding in findings], share)
    harmed = [finding for i, finding in enumerate(findings) if i in rejected]
    counted = counts.pairs if any(own.pairs for own in strata.values()) else 0
    small = [stratum for stratum, own in strata.items() if _is_too_small(own.pairs, counted, analysis)]
    told = replace(whole, subgroups=_told(strata, findings, harmed, small, needed))
    if whole.verdict == "Harm":
        return told
    if harmed and guarded:
        message = _harm_message(harmed, len(findings), needed)
        return replace(told, verdict="Harm", reason=Reason.SUBGROUP_HARM, message=message)
    short = [stratum for stratum, own in strata.items() if own.pairs < analysis.subgroup_minimum]
    if whole.verdict == "Pass" and short:
        message = (
            f"Holding: {_about(strata[short[0]].pairs)} of {analysis.subgroup_minimum} requests in {_listed(short)}"
        )
        return replace(told, verdict="Hold", reason=Reason.INSUFFICIENT_EVIDENCE, message=message)
    return _bounded(told, findings, small, analysis) if guarded else told


def _bounded(told: Assessment, findings: list[Finding], small: list[str], analysis: Analysis) -> Assessment:
    """The assessment, as far as the bounds of the strata go: what does not harm does not pass yet for that."""
    waiting = [finding for finding in findings if not finding.bounded and finding.stratum not in small]
    if not waiting:
        unbounded = {finding.stratum for finding in findings if not finding.bounded}
        left = [stratum for stratum in small if stratum in unbounded]
        share = percent(analysis.subgroup_least_share)
        exempt = f"; too small to bound (under {share} of the requests): {', '.join(left)}"
        return replace(told, message=told.message + exempt) if left and told.verdict == "Pass" else told
    needs = _needs(waiting, analysis)
    if told.verdict == "Hold":
        return replace(told, message=f"{told.message}; {needs}")
    return replace(told, verdict="Hold", reason=Reason.INSUFFICIENT_EVIDENCE, message=f"Holding: {needs}")


def _needs(waiting: list[Finding], analysis: Analysis) -> str:
    """By the stratum that is furthest from its bound: how many requests of its own it still needs.

    What rests on fewer than 11 events is told as if there were none, as the least that it takes.
    """
    furthest = max(waiting, key=lambda finding: _missing(finding, analysis))
    missing, groups = _missing(furthest, analysis), {finding.stratum for finding in waiting}
    more = f" (and {len(groups) - 1} more groups)" if len(groups) > 1 else ""
    below = f"{WORDS[furthest.signal]} below {percent(furthest.margin)}"
    if isinf(missing):
        return f"no pass in sight for {furthest.stratum}{more}: it cannot show {below}"
    least = "at least " if furthest.events < MIN_SHOWN_COUNT else ""
    count = rounded(max(10, int(missing)))
    return f"{furthest.stratum}{more} needs {least}about {count} more requests of its own to show {below}"


def _missing(finding: Finding, analysis: Analysis) -> float:
    """Pairs that the bound of a stratum still takes, as far as one may tell; infinite if none will do."""
    known = finding.events >= MIN_SHOWN_COUNT
    seen = finding.pairs if finding.pairs >= MIN_SHOWN_COUNT else 0
    up, down = (finding.failed, finding.spared) if known else (0, 0)
    needed = statistics.pairs_needed(up, down, finding.pairs, finding.margin, analysis.alpha)
    return inf if needed is None else needed - seen


def _is_too_small(own: int, pairs: int, analysis: Analysis) -> bool:
    """Whether its share of the requests is shown to be below the least, at any time: few pairs of few show nothing, and none at
    all in any stratum show that pods did not count by strata.
    """
    least = analysis.subgroup_least_share
    return least > 0 and statistics.is_bounded(own, 0, max(own, pairs), least, analysis.alpha)


def _findings(stratum: str, counts: PairedCounts, analysis: Analysis) -> Iterator[Finding]:
    alpha, margin, allowed = analysis.alpha, analysis.subgroup_margin, analysis.flip_allowance
    for signal, failed, spared in (
        ("errors", counts.errors_challenger, counts.errors_champion),
        ("latency", counts.late_challenger, counts.late_champion),
    ):
        found = statistics.log_evidence_of_harm(failed, spared)
        bounded = statistics.is_bounded(failed, spared, counts.pairs, margin, alpha)
        yield Finding(stratum, signal, counts.pairs, failed, spared, found, margin, bounded)  # type: ignore[arg-type]
    if allowed < 1:
        found = statistics.log_evidence_of_excess(counts.flips, counts.compared, allowed)
        bounded = statistics.is_bounded(counts.flips, 0, counts.compared, allowed, alpha)
        yield Finding(stratum, "flips", counts.compared, counts.flips, 0, found, allowed, bounded)


def _told(
    strata: Mapping[str, PairedCounts],
    findings: list[Finding],
    harmed: list[Finding],
    small: list[str],
    needed: float,
) -> tuple[SubgroupEvidence, ...]:
    """Each stratum's worst signal; where there are too many strata, the most telling, in the order of their declaration."""
    worst = {
        stratum: max((f for f in findings if f.stratum == stratum), key=lambda f: (f in harmed, f.log_evidence))
        for stratum in strata
    }
    unbounded = {finding.stratum for finding in findings if not finding.bounded}
    states = {s: _state(s, worst[s], strata[s].pairs, harmed, small, unbounded) for s in strata}

    def telling(stratum: str) -> tuple[bool, bool, float]:
        return states[stratum] == "Harm", states[stratum] != "Bounded", worst[stratum].log_evidence

    chosen = sorted(worst, key=telling, reverse=True)[:MAX_SHOWN]
    return tuple(_evidence(worst[s], strata[s].pairs, states[s], needed) for s in strata if s in chosen)


def _state(
    stratum: str, worst: Finding, pairs: int, harmed: list[Finding], small: list[str], unbounded: set[str]
) -> State:
    if worst in harmed:
        return "Harm"
    if stratum not in unbounded:
        return "Bounded"
    if stratum in small:
        return "TooSmall"
    return "InsufficientData" if pairs < MIN_PAIRS else "Quiet"


def _evidence(finding: Finding, pairs: int, state: State, needed: float) -> SubgroupEvidence:
    too_few = pairs < MIN_PAIRS and state != "Harm"
    small = pairs < MIN_SHOWN_COUNT or 0 < finding.events < MIN_SHOWN_COUNT
    return SubgroupEvidence(
        stratum=finding.stratum,
        state=state,
        pairs=_about(pairs),
        signal=None if too_few else finding.signal,
        estimate=None if too_few or small else significant(finding.rate, 2),
        log_evidence=None if too_few or small else significant(finding.log_evidence, 2),
        evidence_needed=significant(needed, 2),
    )


def _about(count: int) -> str:
    if count < MIN_SHOWN_COUNT:
        return f"<{MIN_SHOWN_COUNT}" if count else "0"
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
