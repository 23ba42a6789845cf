"""Publication of counts: the one rule for statuses, Events, metrics, messages and records of decisions.

Decisions rest on exact counts. Whatever is published is computed from *rough* counts: each count is replaced by the cell that
it lies in, and figures (rates, bounds, evidence, requests needed) are functions of the cells. However figures are combined, they
tell no more than the cells. This is rounding to a base with a least cell (Hundepool et al., Statistical Disclosure Control, 2012,
chapter 5), applied before the arithmetic instead of after it.

- Requests are rounded down on one grid, the same for the whole and for each stratum.
- Whoever counts all requests or failures exactly (the pods' metrics do) must not get at a small stratum by subtraction. So the
  strata of one column are told together (:func:`requests_of_column`, :func:`failures_of_column`): as long as one of them has few,
  none of the others is told by its cell. They have few below 20, not 11: else the last of few would be told by the step to 11.
- Of all requests' failures 0 is told, as it harms nobody; then 1 to 5, 6 to 10, tens.
- A verdict is exact. Figures are kept on the verdict's side of their thresholds, which tells nothing that the verdict does not.
- Releases are monotone: a published value changes only when a cell or a verdict does, and the strata are told anew only when
  the number of all requests reaches its next cell, or the verdict changes (:func:`strata`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, floor
from typing import Any

from modelward_api.resources.modelversion import ModelVersionStatus, SignalEvidence, SubgroupEvidence, Verdict
from modelward_api.small_counts import MIN_SHOWN_COUNT
from modelward_api.wire.exchange import PairedCounts

MIN_OF_STRATUM = 20
"""Requests and failures of a stratum are published from here on, if all strata of its column have as many."""
FEW, ENOUGH = "few", f"{MIN_OF_STRATUM} or more"
"""How a stratum's number of requests is published instead."""
MIN_REQUESTS = 50
"""Below this number of requests, the challenger's share of them is not published."""
_REQUESTS = frozenset({"pairs", "compared", "opening_pairs", "requests"})
_COMPARED = ("flips", "slower_challenger", "slower_champion", "higher_challenger", "higher_champion")
_ROOM = dict.fromkeys(_COMPARED, "compared") | {"answered": "requests", "fallbacks": "requests"}
"""Which number of requests a number of failures is part of, if not the pairs."""


@dataclass(frozen=True, slots=True)
class Cell:
    """All counts that are published alike."""

    least: int
    most: int

    @property
    def middle(self) -> int:
        """The one number that stands for them."""
        return (self.least + self.most) // 2


def requests(count: int) -> int:
    """The published number of requests: rounded down to 10 below 500, to 50 below 5,000, to 500 and so on; 10 for 1 to 19."""
    return 10 if 0 < count < 2 * MIN_SHOWN_COUNT - 2 else _grid(count).least


def requests_cell(count: int) -> Cell:
    """The numbers of requests that are published alike."""
    if count < 2 * MIN_SHOWN_COUNT - 2:
        return Cell(1, 2 * MIN_SHOWN_COUNT - 3) if count else Cell(0, 0)
    return _grid(count)


def failures(count: int) -> Cell:
    """Of all requests."""
    if count >= MIN_SHOWN_COUNT:
        return _large(count)
    return Cell(0, 0) if count == 0 else Cell(1, 5) if count <= 5 else Cell(6, 10)


def rows_of_bin(count: int) -> Cell:
    """Publish the rows of one bin of a feature, without revealing whether there are any."""
    return _large(count) if count >= MIN_SHOWN_COUNT else Cell(0, MIN_SHOWN_COUNT - 1)


@dataclass(frozen=True, slots=True)
class Told:
    """A count of a stratum as far as it is told."""

    cell: Cell
    word: str
    """For people."""

    @property
    def is_known(self) -> bool:
        """Whether its own cell is told."""
        return self.word not in (FEW, ENOUGH)


def requests_of_column(counts: Sequence[int], whole: int) -> tuple[Told, ...]:
    """The requests of all strata of one column.

    To one who knows the sum exactly, each of 0 to 19 remains possible for a stratum that has few: the others may have any
    number from 20 on, and there are enough requests for all of them.

    Args:
        counts: By stratum.
        whole: The number of all requests, which is published by its cell.
    """
    most = requests_cell(whole).most
    if sum(counts) < MIN_OF_STRATUM * len(counts):
        return (Told(Cell(0, most), FEW),) * len(counts)
    if min(counts) >= MIN_OF_STRATUM:
        return tuple(Told(requests_cell(count), f"about {requests(count)}") for count in counts)
    few, enough = Told(Cell(0, MIN_OF_STRATUM - 1), FEW), Told(Cell(MIN_OF_STRATUM, most), ENOUGH)
    return tuple(few if count < MIN_OF_STRATUM else enough for count in counts)


def failures_of_column(counts: Sequence[int], whole: int) -> tuple[Told, ...]:
    """The failures of one kind of all strata of one column: none of them is told if one of them has few.

    Args:
        counts: By stratum.
        whole: The failures of all requests, which are published by their cell.
    """
    if min(counts) >= MIN_OF_STRATUM:
        return tuple(Told(failures(count), "") for count in counts)
    return (Told(Cell(0, failures(whole).most), FEW),) * len(counts)


def share(part: int, whole: int) -> float | None:
    """A percentage of requests; None where it would rest on few."""
    if whole < MIN_REQUESTS:
        return None
    return float(round(100 * min(1.0, failures(part).middle / requests(whole))))


@dataclass(frozen=True, slots=True)
class Rough:
    """Counts as far as they are published."""

    middle: PairedCounts
    """Rates and evidence are computed from these."""
    most: PairedCounts
    """The most failures of the fewest requests. A challenger's from these and a champion's from ``least`` are the worst case."""
    least: PairedCounts
    """The fewest failures of the most requests."""
    fewest: PairedCounts
    """The fewest failures, with requests as they are published: the requests needed are computed from these, as the least."""


def rough(exact: PairedCounts) -> Rough:
    """The cells of the counts of all requests."""
    return Rough(
        middle=_each(exact, requests, lambda count: failures(count).middle),
        most=_each(exact, lambda count: requests_cell(count).least, lambda count: failures(count).most),
        least=_each(exact, lambda count: requests_cell(count).most, lambda count: failures(count).least),
        fewest=_each(exact, requests, lambda count: failures(count).least),
    )


def _each(exact: PairedCounts, of_requests: Callable[[int], int], of_failures: Callable[[int], int]) -> PairedCounts:
    """No more failures than requests."""
    found: dict[str, Any] = {name: of_requests(getattr(exact, name)) for name in _REQUESTS}
    for name in PairedCounts.model_fields.keys() - _REQUESTS:
        value, room = getattr(exact, name), found[_ROOM.get(name, "pairs")]
        if isinstance(value, tuple):
            found[name] = tuple(min(of_failures(count), room) for count in value)
        else:
            found[name] = min(of_failures(value), room)
    return PairedCounts(**found)


def signals(
    exact: Sequence[SignalEvidence],
    middle: Sequence[SignalEvidence],
    worst: Sequence[SignalEvidence],
    fewest: Sequence[SignalEvidence],
) -> tuple[SignalEvidence, ...]:
    """Return the published verdicts of signals: exactly which show harm, and whether all of them pass.

    The moment at which a single signal begins to pass could reveal small counts, so it is published once it holds for the whole
    cell.

    Args:
        exact: Of the exact counts.
        middle: Of the numbers that stand for them.
        worst: Of the ends of their cells that speak most against the challenger.
        fewest: Of the fewest failures.
    """
    passed = all(signal.verdict == "Pass" for signal in exact)
    results = []
    for sharp, figures, end, other in zip(exact, middle, worst, fewest, strict=True):
        known = figures.model_copy(update={"bound": end.bound, "samples_needed": other.samples_needed})
        results.append(_on_its_side(known, _verdict(sharp, end, passed=passed)))
    return tuple(results)


def _verdict(sharp: SignalEvidence, end: SignalEvidence, *, passed: bool) -> Verdict:
    if passed or sharp.verdict == "Harm" or sharp.bound is None:
        return sharp.verdict
    return "Pass" if end.verdict == "Pass" else "Hold"


def _on_its_side(figures: SignalEvidence, verdict: Verdict) -> SignalEvidence:
    bound, evidence, needed = figures.bound, figures.log_evidence, figures.samples_needed
    if bound is not None and verdict != "Harm":
        bound = min(bound, figures.threshold) if verdict == "Pass" else max(bound, figures.threshold)
    if evidence is not None and figures.evidence_needed is not None:
        evidence = power(evidence, figures.evidence_needed, above=verdict == "Harm")
    if verdict == "Pass":
        needed = min(figures.samples if needed is None else needed, figures.samples)
    elif verdict == "Hold" and needed is not None:
        needed = max(needed, figures.samples)
    return figures.model_copy(
        update={"verdict": verdict, "bound": bound, "log_evidence": evidence, "samples_needed": needed}
    )


def power(log_evidence: float, threshold: float, *, above: bool) -> float:
    """A whole power of e, on the side of the threshold where the exact evidence is."""
    return float(max(round(log_evidence), ceil(threshold)) if above else min(round(log_evidence), floor(threshold)))


def strata(
    old: ModelVersionStatus, samples: int, verdict: Verdict, fresh: tuple[SubgroupEvidence, ...]
) -> tuple[SubgroupEvidence, ...]:
    """Return the published strata: unchanged until the number of all requests reaches its next cell or the verdict changes.

    A phase may change at any request, also because a person requests it. If the strata were published again at that moment,
    frequent looks could narrow down counts.

    Args:
        old: The status as it stands.
        samples: The published number of all requests.
        verdict: Over all signals and strata.
        fresh: The strata as they would be told now.
    """
    known = [subgroup.stratum for subgroup in old.subgroups]
    same = bool(old.evidence) and (old.evidence[0].samples, old.verdict) == (samples, verdict)
    return old.subgroups if same and set(known) == {subgroup.stratum for subgroup in fresh} else fresh


def nearest(reference: Sequence[int], counts: Sequence[int]) -> tuple[int, ...]:
    """Return a feature's counts for publication: within its rough cell, each is as close to the reference as possible.

    Figures computed from them show about the smallest shift that fits, and rounding is not mistaken for a shift. The only large
    count is published as what the others leave: its own cell would reveal them to a reader who knows the number of all rows.
    """
    rows, total = requests(sum(counts)), max(1, sum(reference))
    most_of_others = (MIN_SHOWN_COUNT - 1) * (len(counts) - 1)
    is_alone = sum(count >= MIN_SHOWN_COUNT for count in counts) == 1
    found = []
    for expected, count in zip(reference, counts, strict=True):
        cell = rows_of_bin(count)
        if is_alone and count >= MIN_SHOWN_COUNT:
            cell = Cell(max(0, rows - most_of_others), rows)
        found.append(min(max(round(rows * expected / total), cell.least), cell.most))
    return tuple(found)


def _grid(count: int) -> Cell:
    step = 10
    while count >= (50 if step == 10 else 100) * step:
        step *= 5 if step == 10 else 10
    least = count // step * step
    return Cell(least, least + step - 1)


def _large(count: int) -> Cell:
    cell = _grid(count)
    return Cell(max(cell.least, MIN_SHOWN_COUNT), cell.most)
