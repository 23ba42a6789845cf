"""Simulated rollouts: the counts at each look, in many runs at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Counts = NDArray[np.int64]
EVERY = 10
"""Requests between two looks."""
CANARY = 0.2
"""The part of the requests that the challenger answers."""


@dataclass(frozen=True)
class World:
    """How often the two versions fail, and how much on the same requests."""

    champion: float
    challenger: float
    shared: float = 0.0
    """The part of the smaller rate that both fail on together; beyond that they fail together by chance alone."""

    def cells(self) -> tuple[float, float, float, float]:
        """Of one request: P(both fail), P(only the challenger), P(only the champion), P(neither)."""
        both = self.shared * min(self.champion, self.challenger)
        rest = 1 - both
        own, other = (self.champion - both) / rest, (self.challenger - both) / rest
        both += rest * own * other
        return both, self.challenger - both, self.champion - both, 1 - self.challenger - self.champion + both


@dataclass(frozen=True)
class Seen:
    """Cumulative counts, [runs, looks] each but for ``requests``, which is [looks]."""

    requests: Counts
    only_challenger: Counts
    only_champion: Counts
    canary: Counts
    """Requests that the challenger answered; the champion alone saw the others."""
    canary_only_challenger: Counts
    canary_only_champion: Counts
    canary_failures: Counts
    champion_failures: Counts
    """Of the requests that the champion answered."""


def watch(world: World, runs: int, looks: int, rng: np.random.Generator) -> Seen:
    """Runs of ``looks`` looks, one every :data:`EVERY` requests."""
    cells = np.array(world.cells())
    drawn = rng.multinomial(EVERY, np.concatenate([CANARY * cells, (1 - CANARY) * cells]), size=(runs, looks))
    both, challenger, champion, neither, both_, challenger_, champion_, _ = np.cumsum(drawn, axis=1).transpose(2, 0, 1)
    return Seen(
        requests=EVERY * np.arange(1, looks + 1),
        only_challenger=challenger + challenger_,
        only_champion=champion + champion_,
        canary=both + challenger + champion + neither,
        canary_only_challenger=challenger,
        canary_only_champion=champion,
        canary_failures=both + challenger,
        champion_failures=both_ + champion_,
    )


def events(rate: float, runs: int, looks: int, rng: np.random.Generator) -> Counts:
    """[runs, looks]: cumulative counts of an event, such as a changed decision."""
    return np.cumsum(rng.binomial(EVERY, rate, size=(runs, looks)), axis=1)


def crossings(up: float, down: float, runs: int, looks: int, rng: np.random.Generator) -> tuple[Counts, Counts]:
    """[runs, looks] twice: pairs in which only the challenger passed a level, and in which only the champion did."""
    drawn = np.cumsum(rng.multinomial(EVERY, [up, down, 1 - up - down], size=(runs, looks)), axis=1)
    return drawn[..., 0], drawn[..., 1]
