"""Counts of requests that champion and challenger both scored: the evidence of a rollout."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec

from modelward_api.wire.exchange import OPENING_PAIRS, PairedCounts

"""The first pairs of a challenger; at most half of them may fail."""
_COUNTED = tuple(name for name, field in PairedCounts.model_fields.items() if field.annotation is int)
_BY_LEVEL = {name: field.default for name, field in PairedCounts.model_fields.items() if name not in _COUNTED}


@dataclass(slots=True)
class Counts:
    """The counts of PairedCounts, while counting."""

    plain: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_COUNTED, 0))
    by_level: dict[str, list[int]] = field(default_factory=lambda: {name: [*zero] for name, zero in _BY_LEVEL.items()})

    def to_wire(self) -> PairedCounts:
        """Return the counts for the operator."""
        return PairedCounts(**self.plain, **self.by_level)


@dataclass(slots=True)
class Tally:
    """Counts of one challenger."""

    whole: Counts
    strata: dict[str, Counts]
    tripped: str | None = None


class PairedResult(msgspec.Struct, frozen=True):
    """Outcome of one request that both versions scored."""

    error_challenger: bool = False
    error_champion: bool = False
    late_challenger: bool = False
    late_champion: bool = False
    invalid: bool = False
    flip: bool | None = None
    """Whether the decisions differ; None without two predictions."""
    slower: tuple[int, int] = (0, 0)
    """Levels of LATENCY_LEVELS that the challenger's and the champion's latency exceed; only if both answered."""
    higher: tuple[int, int] = (0, 0)
    """Levels of SCORE_LEVELS that the first row's scores of challenger and champion reach; only if both answered."""
    strata: tuple[str, ...] = ()
    """Return the strata of the first row."""


def count_pair(counts: Counts, pair: PairedResult) -> None:
    """Count one pair."""
    plain = counts.plain
    plain["pairs"] += 1
    if pair.error_challenger or pair.error_champion:
        _count(plain, "errors", pair.error_challenger, pair.error_champion)
    if pair.late_challenger or pair.late_champion:
        _count(plain, "late", pair.late_challenger, pair.late_champion)
    if pair.invalid and not pair.error_champion:
        plain["invalid"] += 1
    if pair.flip is not None:
        plain["compared"] += 1
        plain["flips"] += pair.flip
        if pair.slower[0] != pair.slower[1]:
            _count_crossed(counts.by_level, "slower", *pair.slower)
        if pair.higher[0] != pair.higher[1]:
            _count_crossed(counts.by_level, "higher", *pair.higher)
    if plain["opening_pairs"] < OPENING_PAIRS:
        plain["opening_pairs"] += 1
        plain["opening_errors"] += pair.error_challenger and not pair.error_champion


def _count(counts: dict[str, int], what: str, challenger: bool, champion: bool) -> None:
    side = "both" if challenger and champion else "challenger" if challenger else "champion"
    counts[f"{what}_{side}"] += 1


def _count_crossed(by_level: dict[str, list[int]], what: str, challenger: int, champion: int) -> None:
    """Count a pair at the levels that only one version passed: from the lower number up to the higher."""
    crossed = by_level[f"{what}_challenger" if challenger > champion else f"{what}_champion"]
    for level in range(min(challenger, champion), max(challenger, champion)):
        crossed[level] += 1
