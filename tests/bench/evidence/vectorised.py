"""The formulas of ``modelward_operator.domain.evidence.statistics``, vectorised over runs; tests hold the two equal.

Each answers with [runs, looks] of bool: at which looks the test calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log

import numpy as np
from numpy.typing import NDArray

from modelward_operator.domain.evidence import statistics
from tests.bench.evidence.worlds import Counts

Called = NDArray[np.bool_]


def harm(only_challenger: Counts, only_champion: Counts, alpha: float) -> Called:
    """log_evidence_of_harm >= ln(1/alpha), by a table: the fewest b that call, for each c."""
    fewest, b = [], 0
    for c in range(int(only_champion.max()) + 1):
        while statistics.log_evidence_of_harm(b, c) < log(1 / alpha):
            b += 1
        fewest.append(b)
    return only_challenger >= np.array(fewest)[only_champion]


def excess(events: Counts, trials: Counts, allowance: float, alpha: float) -> Called:
    """log_evidence_of_excess >= ln(1/alpha), by a table: the fewest events that call, for each number of trials."""
    fewest, k = [], 0
    for n in trials.tolist():
        while k <= n and statistics.log_evidence_of_excess(k, n, allowance) < log(1 / alpha):
            k += 1
        fewest.append(k)
    return events >= np.array(fewest)


def log_wealth(mean: float, up: Counts, down: Counts, level: Counts) -> NDArray[np.float64]:
    """statistics.log_wealth."""
    total = np.full(np.broadcast_shapes(up.shape, down.shape, level.shape), -np.inf)
    with np.errstate(divide="ignore", invalid="ignore"):
        for j in range(9):
            bet = 2.0**-j
            lost = np.where(up > 0, up * np.log(1 - bet), 0.0)
            won = down * np.log1p(bet * (1 + mean) / (1 - mean)) + level * np.log1p(bet * mean / (1 - mean))
            total = np.logaddexp(total, log(10 / (9 * (j + 1) * (j + 2))) + lost + won)
    return total


def bounded(only_challenger: Counts, only_champion: Counts, pairs: Counts, margin: float, alpha: float) -> Called:
    """harm_bound <= margin, i.e. log_wealth at the margin >= ln(1/alpha)."""
    level = pairs - only_challenger - only_champion
    return log_wealth(margin, only_challenger, only_champion, level) >= log(1 / alpha)


def shift(crossings: Sequence[tuple[Counts, Counts]], pairs: Counts, allowance: float, alpha: float) -> Called:
    """log_evidence_of_shift >= ln(1/alpha)."""
    wealth = [log_wealth(-allowance, down, up, pairs - up - down) for up, down in crossings]
    return np.logaddexp.reduce(wealth, axis=0) - log(len(wealth)) >= log(1 / alpha)
