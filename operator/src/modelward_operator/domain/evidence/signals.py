"""Assessment of a rollout's counts, for each signal and for all of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from math import floor, log, log10

from modelward_api.resources.modelversion import Analysis, SignalEvidence, SubgroupEvidence, Verdict
from modelward_api.resources.reasons import Reason
from modelward_api.wire.exchange import OPENING_PAIRS, PairedCounts
from modelward_operator.domain.evidence import publication, statistics
from modelward_operator.domain.evidence.registry import SIGNALS

WORDS = {signal.name: signal.words for signal in SIGNALS}
_ALLOWED = frozenset(signal.name for signal in SIGNALS if signal.allowance is not None)
"""Signals with an allowance of their own; the others share the error margin."""


@dataclass(frozen=True, slots=True)
class Assessment:
    """All signals and the verdict over them."""

    signals: tuple[SignalEvidence, ...]
    """The published ones (domain/evidence/publication)."""
    verdict: Verdict
    """Of the exact counts."""
    message: str
    """One line for people: 'Holding: 210 of at least 640 requests; harm at most 1.9%, margin 1%'."""
    reason: str
    """A CamelCase word: HardFailure, HarmShown, SubgroupHarm, InsufficientEvidence or HarmBounded."""
    subgroups: tuple[SubgroupEvidence, ...] = ()


def assess(counts: PairedCounts, tripped: str | None, analysis: Analysis, others: int = 0) -> Assessment:
    """Judge the paired counts of one challenger against one champion.

    Harm is called by any one signal, so they share ``alpha``. A pass needs every signal, so each bound has all of ``alpha``: a
    challenger that is truly worse than a margin would have to get past the test made for just that (intersection-union).
    A signal that is allowed everything is reported, neither tested nor waited for.

    Args:
        counts: Of the pairs of the two.
        tripped: Why a champion pod stopped asking the challenger, or None.
        analysis: The margins.
        others: How many more tests take their share of ``alpha``.
    """
    judge = partial(
        _signals,
        tripped=tripped,
        analysis=analysis,
        evidence_needed=log((tested(analysis) + others) / analysis.alpha),
    )
    rough = publication.rough(counts)
    exact = judge(counts, counts)
    published = publication.signals(
        exact,
        middle=judge(rough.middle, rough.middle),
        worst=judge(rough.most, rough.least),
        fewest=judge(rough.fewest, rough.fewest),
    )
    return _together(exact, published, counts, tripped)


def _signals(
    failed: PairedCounts, spared: PairedCounts, *, tripped: str | None, analysis: Analysis, evidence_needed: float
) -> tuple[SignalEvidence, ...]:
    """Assess exact counts, passed twice, or the ends of their cells:

    the challenger's failures from ``failed``, the champion's from ``spared``.
    """
    n, compared = failed.pairs, failed.compared
    difference, shift = (
        partial(_difference, analysis=analysis, evidence_needed=evidence_needed),
        partial(_shift, alpha=analysis.alpha, evidence_needed=evidence_needed),
    )
    return (
        _validity(failed, tripped),
        difference("errors", n, *_crossings(n, (failed.errors_challenger,), (spared.errors_champion,))[0]),
        difference("latency", n, *_crossings(n, (failed.late_challenger,), (spared.late_champion,))[0]),
        _flips(failed, analysis, evidence_needed),
        shift("latency-shift", compared, _slower(failed, spared), analysis.latency_shift),
        shift("score-shift", compared, _moved(failed, spared), analysis.score_shift),
    )


def percent(share: float) -> str:
    """A share as people read it: 0.0187 is '1.9%'."""
    return f"{significant(100 * share, 2):g}%"


def significant(value: float, digits: int = 4) -> float:
    """The value at that many significant digits: a status shall not change for noise."""
    if value == 0:
        return 0.0
    return round(value, digits - 1 - floor(log10(abs(value))))


def tested(analysis: Analysis) -> int:
    """Signals that can show harm: errors, latency, and those with an allowance below 1."""
    return sum(signal.is_tested(analysis) for signal in SIGNALS)


def _validity(counts: PairedCounts, tripped: str | None) -> SignalEvidence:
    failure = _hard_failure(counts, tripped)
    verdict: Verdict = "Harm" if failure else "Pass" if counts.pairs >= OPENING_PAIRS else "Hold"
    return SignalEvidence(
        name="validity", verdict=verdict, samples=counts.pairs, threshold=0.0, samples_needed=OPENING_PAIRS
    )


def _hard_failure(counts: PairedCounts, tripped: str | None) -> str | None:
    return statistics.hard_failure(counts.invalid, counts.opening_errors, counts.opening_pairs, tripped)


def _difference(
    name: str, pairs: int, challenger: int, champion: int, analysis: Analysis, evidence_needed: float
) -> SignalEvidence:
    evidence = statistics.log_evidence_of_harm(challenger, champion)
    bound = statistics.harm_bound(challenger, champion, pairs, analysis.alpha)
    needed = statistics.pairs_needed(challenger, champion, pairs, analysis.error_margin, analysis.alpha)
    return SignalEvidence.model_validate(
        {
            "name": name,
            "verdict": _verdict(evidence >= evidence_needed, bound < analysis.error_margin),
            "samples": pairs,
            "estimate": significant((challenger - champion) / pairs) if pairs else None,
            "bound": significant(bound),
            "threshold": analysis.error_margin,
            "log_evidence": significant(evidence),
            "evidence_needed": significant(evidence_needed),
            "samples_needed": _rounded_up(needed),
        }
    )


def _flips(counts: PairedCounts, analysis: Analysis, evidence_needed: float) -> SignalEvidence:
    n, k, allowance = counts.compared, counts.flips, analysis.flip_allowance
    evidence = statistics.log_evidence_of_excess(k, n, allowance)
    bound = statistics.rate_bound(k, n, analysis.alpha)
    needed = statistics.pairs_needed(k, 0, n, allowance, analysis.alpha) if allowance < 1 else 0
    return SignalEvidence(
        name="flips",
        verdict=_verdict(evidence >= evidence_needed, allowance >= 1 or bound < allowance),
        samples=n,
        estimate=significant(k / n) if n else None,
        bound=significant(bound),
        threshold=allowance,
        log_evidence=significant(evidence),
        evidence_needed=significant(evidence_needed),
        samples_needed=_rounded_up(needed),
    )


def _slower(failed: PairedCounts, spared: PairedCounts) -> statistics.Crossings:
    """One-sided, because faster responses are no harm."""
    return _crossings(failed.compared, failed.slower_challenger, spared.slower_champion)


def _moved(failed: PairedCounts, spared: PairedCounts) -> statistics.Crossings:
    """Two-sided: up and down."""
    up = _crossings(failed.compared, failed.higher_challenger, spared.higher_champion)
    return (*up, *_crossings(failed.compared, failed.higher_champion, spared.higher_challenger))


def _crossings(pairs: int, up: tuple[int, ...], down: tuple[int, ...]) -> statistics.Crossings:
    """With rough counts, the two together may exceed the pairs."""
    return tuple((b, min(c, pairs - b)) for b, c in zip(up, down, strict=True))


def _shift(
    name: str, pairs: int, crossings: statistics.Crossings, allowance: float, alpha: float, evidence_needed: float
) -> SignalEvidence:
    """Assess the worst level, by the rule of every signal: too little data means hold, and a pass needs the bound."""
    evidence = statistics.log_evidence_of_shift(crossings, pairs, allowance)
    bound = statistics.shift_bound(crossings, pairs, alpha)
    needed = statistics.shift_needed(crossings, pairs, allowance, alpha) if allowance < 1 else 0
    return SignalEvidence.model_validate(
        {
            "name": name,
            "verdict": _verdict(evidence >= evidence_needed, allowance >= 1 or bound < allowance),
            "samples": pairs,
            "estimate": significant(max(up - down for up, down in crossings) / pairs) if pairs else None,
            "bound": significant(bound),
            "threshold": allowance,
            "log_evidence": significant(evidence),
            "evidence_needed": significant(evidence_needed),
            "samples_needed": _rounded_up(needed),
        }
    )


def _verdict(harm: bool, bounded: bool) -> Verdict:
    return "Harm" if harm else "Pass" if bounded else "Hold"


def _rounded_up(needed: int | None) -> int | None:
    """Round to two digits, away from zero, so that the estimate does not flicker."""
    if not needed:
        return needed
    unit = 10 ** max(0, floor(log10(needed)) - 1)
    return int(-(-needed // unit) * unit)


def _together(
    exact: tuple[SignalEvidence, ...], signals: tuple[SignalEvidence, ...], counts: PairedCounts, tripped: str | None
) -> Assessment:
    failure = _hard_failure(counts, tripped)
    if failure:
        return Assessment(signals, "Harm", f"Harm: {failure}", Reason.HARD_FAILURE)
    harmful = [signal for signal in signals if signal.verdict == "Harm"]
    if harmful:
        return Assessment(signals, "Harm", _harm_message(harmful[0]), Reason.HARM_SHOWN)
    if any(signal.verdict == "Hold" for signal in exact):
        held = [signal for signal in signals if signal.verdict == "Hold"]
        return Assessment(signals, "Hold", _hold_message(held), Reason.INSUFFICIENT_EVIDENCE)
    return Assessment(signals, "Pass", _pass_message(signals), Reason.HARM_BOUNDED)


def _harm_message(signal: SignalEvidence) -> str:
    words = WORDS[signal.name]
    rate = percent(signal.estimate or 0.0)
    odds = f"(log-evidence {significant(signal.log_evidence or 0.0, 2):g}, threshold {signal.evidence_needed:.1f})"
    if signal.name in _ALLOWED:
        return f"Harm: {rate} {words}, {percent(signal.threshold)} allowed {odds}"
    return f"Harm: {rate} more {words} than the champion on about {signal.samples} paired requests {odds}"


def _hold_message(held: list[SignalEvidence]) -> str:
    """By the signal that is furthest from a pass."""
    endless = [signal for signal in held if signal.samples_needed is None]
    if endless:
        signal = endless[0]
        estimate = percent(signal.estimate or 0.0)
        return (
            f"Holding: {WORDS[signal.name]} at {estimate} after {signal.samples} requests, "
            f"margin {percent(signal.threshold)}: no pass at the present rate, no proof of harm either"
        )
    signal = max(held, key=lambda s: (s.samples_needed or 0) / max(1, s.samples))
    progress = f"Holding: {signal.samples} of at least {signal.samples_needed} requests"
    if signal.bound is None:
        return progress
    if signal.name in _ALLOWED:
        words = WORDS[signal.name]
        return f"{progress}; {words} at most {percent(signal.bound)}, allowed {percent(signal.threshold)}"
    return f"{progress}; harm at most {percent(signal.bound)}, margin {percent(signal.threshold)}"


def _pass_message(signals: tuple[SignalEvidence, ...]) -> str:
    worst = max((s for s in signals if s.name in ("errors", "latency")), key=lambda s: s.bound or 0.0)
    return (
        f"Passed after {worst.samples} requests: harm at most {percent(worst.bound or 0.0)}, "
        f"margin {percent(worst.threshold)}"
    )
