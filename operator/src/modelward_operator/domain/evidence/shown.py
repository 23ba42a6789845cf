"""Published figures of strata: functions of cells (domain/evidence/publication), of the finding of harm, and of the pass."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import floor, inf, isinf, log10
from typing import Literal

from modelward_api.resources.modelversion import Analysis, SubgroupEvidence
from modelward_api.small_counts import MIN_SHOWN_COUNT
from modelward_api.wire.exchange import PairedCounts
from modelward_operator.domain.evidence import publication, statistics
from modelward_operator.domain.evidence.publication import (
    ENOUGH,
    FEW,
    Told,
    failures_of_column,
    requests_cell,
    requests_of_column,
)
from modelward_operator.domain.evidence.signals import WORDS, percent, significant

Signal = Literal["errors", "latency", "flips"]
State = Literal["InsufficientData", "Quiet", "Bounded", "TooSmall", "Harm"]

MAX_SHOWN = 8
_REQUESTS = ("pairs", "compared")
_FAILURES = ("errors_challenger", "errors_champion", "late_challenger", "late_champion", "flips")
_FAILED: Mapping[Signal, tuple[str, ...]] = {
    "errors": ("errors_challenger", "errors_champion"),
    "latency": ("late_challenger", "late_champion"),
    "flips": ("flips",),
}
"""What speaks against the challenger, and what for it."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One signal in one stratum."""

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
    """Yield each signal's finding, from exact counts or from the numbers that stand for them."""
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
    """The published figures of one signal in one stratum."""

    finding: Finding
    """Of the numbers that stand for the counts."""
    harmed: bool
    """Exact."""
    bounded: bool
    """Whether harm is bounded wherever in their cells the counts are."""
    known: bool
    """Whether figures are published: not if they rest on few requests or failures, of this stratum or another of its column."""

    @property
    def weight(self) -> tuple[bool, float]:
        """How strongly it counts against the challenger."""
        return self.harmed, self.finding.log_evidence if self.known else 0.0


@dataclass(frozen=True, slots=True)
class Group:
    """The published figures of one stratum."""

    name: str
    pairs: Told
    signals: tuple[Shown, ...]
    small: bool
    """Whether its share is too small to wait for it, wherever in their cells the counts are."""

    @property
    def worst(self) -> Shown:
        """The signal that counts most against the challenger."""
        return max(self.signals, key=lambda shown: shown.weight)

    @property
    def state(self) -> State:
        """As far as the cells reveal; a pass reveals more."""
        if self.worst.harmed:
            return "Harm"
        if all(shown.bounded for shown in self.signals):
            return "Bounded"
        if self.small:
            return "TooSmall"
        return "InsufficientData" if self.pairs.word == FEW else "Quiet"


@dataclass(frozen=True, slots=True)
class Groups:
    """The published figures of all strata."""

    groups: tuple[Group, ...]
    needed: float
    """The logarithm of the evidence that calls harm."""
    analysis: Analysis

    @classmethod
    def of(
        cls,
        whole: PairedCounts,
        columns: Sequence[Mapping[str, PairedCounts]],
        harmed: frozenset[tuple[str, Signal]],
        needed: float,
        analysis: Analysis,
    ) -> Groups:
        """Of exact counts, by column and stratum."""
        groups = []
        for strata in columns:
            for name, told in _told(whole, strata).items():
                small = is_too_small(told["pairs"].cell.most, requests_cell(whole.pairs).least, analysis)
                groups.append(Group(name, told["pairs"], tuple(_shown(name, told, whole, harmed, analysis)), small))
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
        worst, too_few = group.worst, group.pairs.word == FEW and state != "Harm"
        rate, evidence = self._figures(group)
        return SubgroupEvidence(
            stratum=group.name,
            state=state,
            pairs=group.pairs.word,
            signal=None if too_few else worst.finding.signal,
            estimate=None if too_few else rate,
            log_evidence=None if too_few else evidence,
            evidence_needed=significant(self.needed, 2),
        )

    def _figures(self, group: Group) -> tuple[float | None, float | None]:
        """Rate and evidence of its worst signal, if they are told."""
        worst = group.worst
        if not worst.known:
            return None, None
        finding = worst.finding
        rate = significant((finding.failed - finding.spared) / max(1, finding.pairs), 2)
        return rate, publication.power(finding.log_evidence, self.needed, above=worst.harmed)

    def harm_message(self, tests: int) -> str:
        """Return the reason for harm, by the stratum with the most evidence."""
        harmed = [group for group in self.groups if group.worst.harmed]
        group = max(harmed, key=lambda g: g.worst.weight)
        more = f" (and in {_counted(len(harmed) - 1, 'more group')})" if len(harmed) > 1 else ""
        rate, evidence = self._figures(group)
        signal = group.worst.finding.signal
        failures = f"{'more ' if signal != 'flips' else ''}{WORDS[signal]}"
        against = " than the champion" if signal != "flips" else ""
        if rate is not None:
            failures = f"{percent(rate)} {failures}"
        shown = f"above {self.needed:.1f}" if evidence is None else f"{evidence:g}"
        return (
            f"Harm in {group.name}{more}: {failures}{against} on {group.pairs.word} paired requests "
            f"(log-evidence {shown}, threshold {self.needed:.1f}, {tests} tests)"
        )

    def short(self) -> list[Group]:
        """Return the strata whose published number of pairs may be less than a promotion waits for.

        The exact number decides nothing: by the minimum at which a verdict turns it could be read.
        """
        return [g for g in self.groups if g.pairs.cell.least < self.analysis.subgroup_minimum]

    def short_message(self) -> str:
        """Which strata have fewer pairs than a promotion waits for."""
        least, short = self.analysis.subgroup_minimum, self.short()
        more = f" (and in {_counted(len(short) - 1, 'more group')} too few)" if len(short) > 1 else ""
        return f"Holding: {short[0].pairs.word} of {least} requests in {short[0].name}{more}"

    def also_needed(self) -> str:
        """Return what the strata also need while the whole holds, if what is published of them shows any failures."""
        open_ = self._open()
        return f"; {self._needs(open_)}" if any(missing > 0 for missing in open_.values()) else ""

    def needed_message(self) -> str:
        """Return what a pass waits for."""
        return self._needs(self._open())

    def exempt(self, small: frozenset[str]) -> str:
        """Which strata a pass does not bound."""
        share = percent(self.analysis.subgroup_least_share)
        left = ", ".join(group.name for group in self.groups if group.name in small)
        return f"; too small to bound (under {share} of the requests): {left}" if small else ""

    def _open(self) -> dict[Shown, float]:
        """The signals that a pass may wait for, as far as is told, and how many pairs each takes, about.

        Of a stratum with a number of requests that is not told, beside one with few, it is not known.
        """
        waiting = (group for group in self.groups if not group.small and group.pairs.word != ENOUGH)
        return {
            s: _missing(s, group.pairs, self.analysis.alpha)
            for group in waiting
            for s in group.signals
            if not s.bounded
        }

    def _needs(self, open_: Mapping[Shown, float]) -> str:
        """By the signal that is furthest from its bound."""
        if not open_:
            return "a group is not bounded yet; which one is not told, as another of its column has few requests"
        shown = max(open_, key=open_.__getitem__)
        found, missing = shown.finding, open_[shown]
        others = len({s.finding.stratum for s in open_}) - 1
        more = f" ({_counted(others, 'more group')} may, too)" if others else ""
        below = f"{WORDS[found.signal]} below {percent(found.margin)}"
        if isinf(missing):
            return f"no pass for {found.stratum} at the present rate: it does not show {below} so far"
        if missing <= 0:
            return f"{found.stratum} has yet to show {below}{more}"
        if shown.known:
            return f"{found.stratum} needs about {_rounded(missing)} more requests of its own to show {below}{more}"
        takes = _rounded(_without_failures(shown, self.analysis.alpha))
        return f"{found.stratum} needs about {takes} requests of its own without any failure to show {below}{more}"


def _told(whole: PairedCounts, strata: Mapping[str, PairedCounts]) -> dict[str, dict[str, Told]]:
    """What is told of the counts of one column, by stratum and count."""
    found: dict[str, dict[str, Told]] = {name: {} for name in strata}
    for names, tell in ((_REQUESTS, requests_of_column), (_FAILURES, failures_of_column)):
        for count in names:
            told = tell([getattr(own, count) for own in strata.values()], getattr(whole, count))
            for own, cell in zip(found.values(), told, strict=True):
                own[count] = cell
    return found


def _shown(
    stratum: str,
    told: Mapping[str, Told],
    whole: PairedCounts,
    harmed: Collection[tuple[str, Signal]],
    analysis: Analysis,
) -> Iterator[Shown]:
    cells = {name: count.cell for name, count in told.items()}
    requests = {name: cells[name].least for name in _REQUESTS}

    def at(end: Literal["least", "middle", "most"]) -> PairedCounts:
        room = {name: requests["compared" if name == "flips" else "pairs"] for name in _FAILURES}
        return PairedCounts(**requests, **{name: min(getattr(cells[name], end), room[name]) for name in _FAILURES})

    worst = bounds(at("most"), at("least"), analysis)
    for found, bounded in zip(findings(stratum, at("middle"), analysis), worst, strict=True):
        yield Shown(found, (stratum, found.signal) in harmed, bounded, _is_known(found.signal, told, whole))


def _is_known(signal: Signal, told: Mapping[str, Told], whole: PairedCounts) -> bool:
    """Whether all counts that its figures rest on are; where all requests have few of one kind, their cell will do."""
    failures = _FAILED[signal]
    known = [told[name].is_known for name in failures]
    enough = any(known) and all(k or getattr(whole, n) < MIN_SHOWN_COUNT for k, n in zip(known, failures, strict=True))
    return enough and told["compared" if signal == "flips" else "pairs"].is_known


def _missing(shown: Shown, pairs: Told, alpha: float) -> float:
    """Return the missing requests. Few failures are published as if there were none."""
    found, seen = shown.finding, shown.finding.pairs if pairs.is_known else 0
    if not shown.known:
        return _without_failures(shown, alpha) - seen
    needed = statistics.pairs_needed(found.failed, found.spared, found.pairs, found.margin, alpha)
    return inf if needed is None else needed - seen


def _without_failures(shown: Shown, alpha: float) -> float:
    needed = statistics.pairs_needed(0, 0, 0, shown.finding.margin, alpha)
    return inf if needed is None else needed


def _rounded(pairs: float) -> int:
    """Round to tens, and to two digits."""
    unit: int = 10 ** max(1, floor(log10(max(pairs, 10))) - 1)
    return max(10, round(pairs / unit) * unit)


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' if count != 1 else ''}"
