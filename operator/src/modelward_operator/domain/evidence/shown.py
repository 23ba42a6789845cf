"""What people may read of strata: functions of cells (domain/evidence/publication), of the call of harm, and of the pass."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import floor, inf, isinf, log10
from typing import Literal

from modelward_api.resources.modelversion import Analysis, SubgroupEvidence
from modelward_api.wire.exchange import PairedCounts
from modelward_operator.domain.evidence import publication, statistics
from modelward_operator.domain.evidence.publication import MIN_SHOWN_COUNT, about, requests_cell
from modelward_operator.domain.evidence.signals import WORDS, percent, significant

MIN_PAIRS = 20
"""With fewer, that nothing was found in a stratum says nothing."""
MAX_SHOWN = 8

Signal = Literal["errors", "latency", "flips"]
State = Literal["InsufficientData", "Quiet", "Bounded", "TooSmall", "Harm"]


@dataclass(frozen=True, slots=True)
class Finding:
    """What one signal says in one stratum."""

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


def findings(stratum: str, counts: PairedCounts, analysis: Analysis) -> Iterator[Finding]:
    """What each signal says of exact counts, or of the numbers that stand for them."""
    bounded = bounds(counts, counts, analysis)
    for signal, failed, spared in (
        ("errors", counts.errors_challenger, counts.errors_champion),
        ("latency", counts.late_challenger, counts.late_champion),
    ):
        found = statistics.log_evidence_of_harm(failed, spared)
        margin = analysis.subgroup_margin
        yield Finding(stratum, signal, counts.pairs, failed, spared, found, margin, next(bounded))  # type: ignore[arg-type]
    if (allowed := analysis.flip_allowance) < 1:
        found = statistics.log_evidence_of_excess(counts.flips, counts.compared, allowed)
        yield Finding(stratum, "flips", counts.compared, counts.flips, 0, found, allowed, next(bounded))


def bounds(failed: PairedCounts, spared: PairedCounts, analysis: Analysis) -> Iterator[bool]:
    """Whether harm is bounded, signal by signal, of counts of which both are the same, or of opposite ends of their cells."""
    for b, c in (
        (failed.errors_challenger, spared.errors_champion),
        (failed.late_challenger, spared.late_champion),
    ):
        fewer = min(c, failed.pairs - b)  # of rough counts both together may be more than the pairs
        yield statistics.is_bounded(b, fewer, failed.pairs, analysis.subgroup_margin, analysis.alpha)
    if (allowed := analysis.flip_allowance) < 1:
        yield statistics.is_bounded(failed.flips, 0, failed.compared, allowed, analysis.alpha)


def is_too_small(own: int, pairs: int, analysis: Analysis) -> bool:
    """Whether its share of the requests is shown to be below the least, at any time: few pairs of few show nothing, and none at
    all in any stratum show that pods did not count by strata.
    """
    least = analysis.subgroup_least_share
    return least > 0 and statistics.is_bounded(own, 0, max(own, pairs), least, analysis.alpha)


@dataclass(frozen=True, slots=True)
class Shown:
    """What is told of one signal in one stratum."""

    finding: Finding
    """Of the numbers that stand for the counts."""
    harmed: bool
    """Exact."""
    bounded: bool
    """Whether harm is bounded wherever in their cells the counts are."""

    @property
    def known(self) -> bool:
        """Whether it rests on 11 failures or more: of fewer nothing is told."""
        return self.finding.failed + self.finding.spared >= MIN_SHOWN_COUNT

    @property
    def weight(self) -> tuple[bool, float]:
        """How much it speaks against the challenger."""
        return self.harmed, self.finding.log_evidence if self.known else 0.0


@dataclass(frozen=True, slots=True)
class Group:
    """What is told of one stratum."""

    name: str
    pairs: int
    """Exact; told as ``publication.about``."""
    signals: tuple[Shown, ...]
    small: bool
    """Whether its share is too small to wait for it, wherever in their cells the counts are."""

    @property
    def worst(self) -> Shown:
        """The signal that speaks most against the challenger."""
        return max(self.signals, key=lambda shown: shown.weight)

    @property
    def state(self) -> State:
        """As far as the cells tell; a pass tells more."""
        if self.worst.harmed:
            return "Harm"
        if all(shown.bounded for shown in self.signals):
            return "Bounded"
        if self.small:
            return "TooSmall"
        return "InsufficientData" if self.pairs < MIN_PAIRS else "Quiet"


@dataclass(frozen=True, slots=True)
class Groups:
    """What is told of all strata."""

    groups: tuple[Group, ...]
    needed: float
    """The logarithm of the evidence that calls harm."""
    analysis: Analysis

    @classmethod
    def of(
        cls,
        pairs: int,
        strata: Mapping[str, PairedCounts],
        harmed: frozenset[tuple[str, Signal]],
        needed: float,
        analysis: Analysis,
    ) -> Groups:
        """Of exact counts."""
        whole = requests_cell(pairs) if any(own.pairs for own in strata.values()) else requests_cell(0)
        groups = []
        for name, own in strata.items():
            cell = requests_cell(own.pairs)
            small = is_too_small(cell.most, whole.least, analysis)
            groups.append(Group(name, own.pairs, _shown(name, own, harmed, analysis), small))
        return cls(tuple(groups), needed, analysis)

    def evidence(self, passed_over: frozenset[str] | None = None) -> tuple[SubgroupEvidence, ...]:
        """Each stratum's worst signal; of too many strata the most telling, in the order of their declaration.

        Args:
            passed_over: Of a pass, the strata that are too small to be bounded: all others are.
        """
        states = {group.name: group.state for group in self.groups}
        if passed_over is not None:
            states = {name: "TooSmall" if name in passed_over else "Bounded" for name in states}

        def telling(group: Group) -> tuple[object, ...]:
            return states[group.name] == "Harm", states[group.name] != "Bounded", *group.worst.weight

        chosen = {group.name for group in sorted(self.groups, key=telling, reverse=True)[:MAX_SHOWN]}
        return tuple(self._evidence(group, states[group.name]) for group in self.groups if group.name in chosen)

    def _evidence(self, group: Group, state: State) -> SubgroupEvidence:
        worst, too_few = group.worst, group.pairs < MIN_PAIRS and state != "Harm"
        rate, evidence = self._figures(group)
        return SubgroupEvidence(
            stratum=group.name,
            state=state,
            pairs=about(group.pairs),
            signal=None if too_few else worst.finding.signal,
            estimate=None if too_few else rate,
            log_evidence=None if too_few else evidence,
            evidence_needed=significant(self.needed, 2),
        )

    def _figures(self, group: Group) -> tuple[float | None, float | None]:
        """Rate and evidence of its worst signal, unless they would rest on few requests or on 0 to 10 failures."""
        worst = group.worst
        if group.pairs < MIN_SHOWN_COUNT or not worst.known:
            return None, None
        finding = worst.finding
        rate = significant((finding.failed - finding.spared) / max(1, finding.pairs), 2)
        return rate, publication.power(finding.log_evidence, self.needed, above=worst.harmed)

    def harm_message(self, tests: int) -> str:
        """Why harm is called, by the stratum that speaks most for it."""
        harmed = [group for group in self.groups if group.worst.harmed]
        group = max(harmed, key=lambda g: g.worst.weight)
        more = f" (and in {_counted(len(harmed) - 1, 'more group')})" if len(harmed) > 1 else ""
        rate, evidence = self._figures(group)
        signal = group.worst.finding.signal
        what = f"{'more ' if signal != 'flips' else ''}{WORDS[signal]}"
        against = " than the champion" if signal != "flips" else ""
        if rate is not None:
            what = f"{percent(rate)} {what}"
        shown = f"above {self.needed:.1f}" if evidence is None else f"{evidence:g}"
        return (
            f"Harm in {group.name}{more}: {what}{against} on {about(group.pairs)} paired requests "
            f"(log-evidence {shown}, threshold {self.needed:.1f}, {tests} tests)"
        )

    def short(self) -> list[Group]:
        """Return the strata whose published number of pairs may be less than a promotion waits for.

        The exact number decides nothing: by the minimum at which a verdict turns it could be read.
        """
        return [g for g in self.groups if requests_cell(g.pairs).least < self.analysis.subgroup_minimum]

    def short_message(self) -> str:
        """Which strata have fewer pairs than a promotion waits for."""
        least, short = self.analysis.subgroup_minimum, self.short()
        more = f" (and in {_counted(len(short) - 1, 'more group')} too few)" if len(short) > 1 else ""
        return f"Holding: {about(short[0].pairs)} of {least} requests in {short[0].name}{more}"

    def also_needed(self) -> str:
        """What the strata need, too, while the whole holds, where the cells tell that there is something."""
        open_ = self._open()
        return f"; {self._needs(open_)}" if any(missing > 0 for missing in open_.values()) else ""

    def needed_message(self) -> str:
        """What a pass waits for."""
        return self._needs(self._open())

    def exempt(self, small: frozenset[str]) -> str:
        """Which strata a pass does not bound."""
        share = percent(self.analysis.subgroup_least_share)
        left = ", ".join(group.name for group in self.groups if group.name in small)
        return f"; too small to bound (under {share} of the requests): {left}" if small else ""

    def _open(self) -> dict[Shown, float]:
        """The signals that a pass may wait for, as far as the cells tell, and how many pairs each takes, about."""
        alpha = self.analysis.alpha
        return {
            s: _missing(s, alpha) for group in self.groups if not group.small for s in group.signals if not s.bounded
        }

    def _needs(self, open_: Mapping[Shown, float]) -> str:
        """By the signal that is furthest from its bound."""
        shown = max(open_, key=open_.__getitem__)
        found, missing = shown.finding, open_[shown]
        others = len({s.finding.stratum for s in open_}) - 1
        more = f" ({_counted(others, 'more group')} may, too)" if others else ""
        below = f"{WORDS[found.signal]} below {percent(found.margin)}"
        if isinf(missing):
            return f"no pass for {found.stratum} at the present rate: it does not show {below} so far"
        if missing <= 0:
            return f"{found.stratum} needs more requests of its own to show {below}{more}"
        if shown.known:
            return f"{found.stratum} needs about {_rounded(missing)} more requests of its own to show {below}{more}"
        takes = _rounded(_without_failures(shown, self.analysis.alpha))
        return f"{found.stratum} needs about {takes} requests of its own without any failure to show {below}{more}"


def _shown(
    stratum: str, own: PairedCounts, harmed: frozenset[tuple[str, Signal]], analysis: Analysis
) -> tuple[Shown, ...]:
    rough = publication.rough_of_stratum(own)
    middle = findings(stratum, rough.middle, analysis)
    worst = bounds(rough.most, rough.least, analysis)
    return tuple(
        Shown(found, (stratum, found.signal) in harmed, bounded) for found, bounded in zip(middle, worst, strict=True)
    )


def _missing(shown: Shown, alpha: float) -> float:
    """Of 0 to 10 failures it is told as if there were none."""
    found = shown.finding
    seen = found.pairs if found.pairs >= MIN_PAIRS else 0
    if not shown.known:
        return _without_failures(shown, alpha) - seen
    needed = statistics.pairs_needed(found.failed, found.spared, found.pairs, found.margin, alpha)
    return inf if needed is None else needed - seen


def _without_failures(shown: Shown, alpha: float) -> float:
    needed = statistics.pairs_needed(0, 0, 0, shown.finding.margin, alpha)
    return inf if needed is None else needed


def _rounded(pairs: float) -> int:
    """To tens, and to two digits."""
    unit: int = 10 ** max(1, floor(log10(max(pairs, 10))) - 1)
    return max(10, round(pairs / unit) * unit)


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'s' if count != 1 else ''}"
