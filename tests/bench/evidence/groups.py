"""Rollouts in which one subgroup fares otherwise than the rest, judged as the operator judges them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from modelward_api.resources.modelversion import Analysis, Verdict
from modelward_api.wire.exchange import PairedCounts
from modelward_operator.domain.evidence.subgroups import assess

EVERY = 100
"""Requests between two looks."""


@dataclass(frozen=True)
class Groups:
    """Two strata of one column; the errors of the two versions are independent."""

    share: float
    """Of the requests that are in the group."""
    champion: float
    """Its error rate in both strata, and the challenger's among the others."""
    harmed: float
    """The challenger's error rate in the group."""
    flips: float = 0.02


End = tuple[Verdict, int]
"""A rollout's outcome, and the number of requests until then; Hold if it did not end."""


def rollouts(
    groups: Groups,
    runs: int,
    rng: np.random.Generator,
    until: int,
    analysis: Analysis | None = None,
    declared: bool = True,
) -> list[End]:
    """Seeded runs, every request a pair, with a look after every hundred; the first Pass or Harm ends a run."""
    return [_rollout(groups, rng, until, analysis or Analysis(), declared) for _ in range(runs)]


def _rollout(groups: Groups, rng: np.random.Generator, until: int, analysis: Analysis, declared: bool) -> End:
    inside = rng.random(until) < groups.share
    challenger = rng.random(until) < np.where(inside, groups.harmed, groups.champion)
    champion, flips = rng.random(until) < groups.champion, rng.random(until) < groups.flips
    by_stratum = [_totals(where, challenger, champion, flips) for where in (inside, ~inside)]
    for look in range(until // EVERY):
        few, many = (_counts(totals[look]) for totals in by_stratum)
        found = assess(few + many, None, {"few": few, "many": many} if declared else {}, analysis)
        if found.verdict != "Hold":
            return found.verdict, (look + 1) * EVERY
    return "Hold", until


def _totals(
    where: NDArray[np.bool_], challenger: NDArray[np.bool_], champion: NDArray[np.bool_], flips: NDArray[np.bool_]
) -> NDArray[np.int64]:
    """[looks, 5]: pairs, those in which only one failed, compared ones, flips."""
    compared = ~challenger & ~champion
    events = (where, challenger & ~champion, champion & ~challenger, compared, flips & compared)
    return np.cumsum(np.stack([where & event for event in events], axis=1), axis=0)[EVERY - 1 :: EVERY]


def _counts(totals: NDArray[np.int64]) -> PairedCounts:
    pairs, only_challenger, only_champion, compared, flips = (int(x) for x in totals)
    return PairedCounts(
        pairs=pairs,
        errors_challenger=only_challenger,
        errors_champion=only_champion,
        compared=compared,
        flips=flips,
        opening_pairs=min(pairs, 20),
    )
