"""What is asked of the simulated rollouts: how often a rule calls, how soon, and how sure that is."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from tests.bench.evidence import vectorised
from tests.bench.evidence.rules import ALPHA, SIGNALS
from tests.bench.evidence.vectorised import Called
from tests.bench.evidence.worlds import EVERY, Seen, World, crossings, events, watch


@dataclass(frozen=True)
class Outcome:
    """How often a rule called within the looks, and after how many requests."""

    runs: int
    called: int
    mean_requests: float
    """Until the call; where there was none, all requests that were watched."""
    median_requests: float | None
    """None if fewer than half of the runs were called."""

    @property
    def rate(self) -> float:
        return self.called / self.runs

    @property
    def at_most(self) -> float:
        """Upper 95% confidence bound on the true rate, of Clopper and Pearson: exact for any number of calls."""
        return float(stats.binomtest(self.called, self.runs, alternative="less").proportion_ci(0.95, "exact").high)


def outcome(called: Called) -> Outcome:
    """Of [runs, looks] of calls; the first look is after ``EVERY`` requests."""
    runs, looks = called.shape
    ever = called.any(axis=1)
    after = EVERY * np.where(ever, called.argmax(axis=1) + 1, looks)
    median = float(np.median(np.where(ever, after, np.inf)))
    return Outcome(runs, int(ever.sum()), float(after.mean()), median if np.isfinite(median) else None)


def so_far(called: Called) -> NDArray[np.float64]:
    """[looks]: the share of runs that were called at this look or before."""
    return np.logical_or.accumulate(called, axis=1).mean(axis=0)


def false_alarms(runs: int, looks: int, rng: np.random.Generator) -> Iterable[tuple[str, str, Called]]:
    """(signal, what is true, calls) where there is nothing to call, or exactly what is allowed; each test at alpha."""
    for rate, shared in ((0.0, 0.0), (0.02, 0.0), (0.02, 0.75), (0.2, 0.0), (0.2, 0.75)):
        seen = watch(World(rate, rate, shared), runs, looks, rng)
        truth = f"both fail at {rate:.0%}" + (f", {shared:.0%} of it together" if shared else "")
        yield "errors, latency", truth, vectorised.harm(seen.only_challenger, seen.only_champion, ALPHA)
    trials = EVERY * np.arange(1, looks + 1)
    for rate in (0.02, 0.1, 0.3):
        flips = events(rate, runs, looks, rng)
        yield "flips", f"{rate:.0%}, as allowed", vectorised.excess(flips, trials, rate, ALPHA)
    # One level stands for all: where all move together, the mean over them is that of one, and differs most from the truth.
    for up, down in ((0.5, 0.0), (0.7, 0.2)):
        called = vectorised.shift([crossings(up, down, runs, looks, rng)], trials, 0.5, ALPHA)
        yield "latency-shift", f"{up:.0%} slower, {down:.0%} faster, 50% allowed", called
    for rate in (0.02, 0.2):
        up, down = crossings(rate, 0.0, runs, looks, rng)
        yield (
            "score-shift",
            f"{rate:.0%} higher, as allowed",
            vectorised.shift([(up, down), (down, up)], trials, rate, ALPHA),
        )
    yield "all, alpha shared", "errors, deadlines 2%; flips, slow answers as allowed", together(runs, looks, rng)


def together(runs: int, looks: int, rng: np.random.Generator) -> Called:
    """Any signal of a rollout as it is set out of the box, each of them at the edge of what is allowed."""
    share, trials = ALPHA / SIGNALS, EVERY * np.arange(1, looks + 1)
    errors, late = (watch(World(0.02, 0.02), runs, looks, rng) for _ in range(2))
    return (
        vectorised.harm(errors.only_challenger, errors.only_champion, share)
        | vectorised.harm(late.only_challenger, late.only_champion, share)
        | vectorised.excess(events(0.1, runs, looks, rng), trials, 0.1, share)
        | vectorised.shift([crossings(0.5, 0.0, runs, looks, rng)], trials, 0.5, share)
    )


def repeated_requests(times: int, runs: int, looks: int, rng: np.random.Generator) -> Called:
    """Errors at 2% of both, where callers send each request several times and it fails each time: pairs that are none."""
    _, challenger, champion, _ = World(0.02, 0.02).cells()
    b, c = crossings(challenger / times, champion / times, runs, looks, rng)
    return vectorised.harm(times * b, times * c, ALPHA)


def promoted(seen: Seen, margin: float) -> Called:
    """Whether harm is bounded below the margin at a look: what promotes, if the steps are done and other signals agree."""
    return vectorised.bounded(seen.only_challenger, seen.only_champion, seen.requests, margin, ALPHA)
