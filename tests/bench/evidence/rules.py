"""Rules for a rollback: ours and others. Each returns the looks at which it would roll back, [runs, looks]."""

from __future__ import annotations

from collections.abc import Callable
from math import log, sqrt

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from scipy.special import betaln

from tests.bench.evidence import vectorised
from tests.bench.evidence.vectorised import Called
from tests.bench.evidence.worlds import Seen

ALPHA = 0.05
SIGNALS = 4
"""That share alpha by default: errors, missed deadlines, changed decisions, slow answers."""

Rule = Callable[[Seen], Called]


def paired(seen: Seen) -> Called:
    """Ours, as one test at alpha: every request is a pair."""
    return vectorised.harm(seen.only_challenger, seen.only_champion, ALPHA)


def paired_shared(seen: Seen) -> Called:
    """Ours, as it is set out of the box: the errors have a quarter of alpha."""
    return vectorised.harm(seen.only_challenger, seen.only_champion, ALPHA / SIGNALS)


def paired_canary(seen: Seen) -> Called:
    """Ours without mirroring: only the requests that the challenger answered are pairs."""
    return vectorised.harm(seen.canary_only_challenger, seen.canary_only_champion, ALPHA)


def z(seen: Seen) -> NDArray[np.float64]:
    """The pooled z statistic of two independent proportions, canary against champion; 0 without any variance."""
    n1, n0 = seen.canary, seen.requests - seen.canary
    with np.errstate(divide="ignore", invalid="ignore"):
        pooled = (seen.canary_failures + seen.champion_failures) / (n1 + n0)
        difference = seen.canary_failures / n1 - seen.champion_failures / n0
        found = difference / np.sqrt(pooled * (1 - pooled) * (1 / n1 + 1 / n0))
    return np.nan_to_num(found, nan=0.0, posinf=0.0, neginf=0.0)


def repeated_z(seen: Seen) -> Called:
    """A one-sided z-test at 5%, repeated at each look."""
    return z(seen) >= stats.norm.isf(ALPHA)


def obrien_fleming(seen: Seen) -> Called:
    """The group-sequential z-test, one-sided at 5%, for a number of looks that is fixed beforehand."""
    return z(seen) >= obrien_fleming_boundary(len(seen.requests))


def obrien_fleming_boundary(looks: int) -> NDArray[np.float64]:
    """[looks]: C sqrt(looks / k) at look k.

    C is that of a Brownian motion watched all the time, 2 (1 - Phi(C)) = alpha, brought down for discrete looks by
    0.5826 / sqrt(looks) (O'Brien, Fleming: Biometrics 1979; Siegmund: Sequential Analysis, 1985, chapter X).
    """
    constant = stats.norm.isf(ALPHA / 2) - 0.5826 / sqrt(looks)
    boundary: NDArray[np.float64] = constant * np.sqrt(looks / np.arange(1, looks + 1))
    return boundary


def threshold_ratio(seen: Seen) -> Called:
    """More than 1.5 times the champion's error rate, once the canary has answered 20 requests."""
    others = seen.requests - seen.canary
    return (seen.canary >= 20) & (seen.canary_failures * others > 1.5 * seen.champion_failures * seen.canary)


def threshold_rate(seen: Seen) -> Called:
    """As Flagger's examples have it: a success rate below 99% in an interval fails its check; the fifth failed check rolls back.

    Failed checks add up: good intervals between them do not take them back (its scheduler.go).
    """
    requests = np.diff(seen.canary, axis=1, prepend=0)
    failures = np.diff(seen.canary_failures, axis=1, prepend=0)
    return np.cumsum(failures > 0.01 * requests, axis=1) >= 5


def independent_arms(seen: Seen) -> Called:
    """A Bayes factor of 20 for 'two rates' against 'one rate', uniform priors, the canary's being the higher.

    Gunel, Dickey: Bayes factors for independence in contingency tables. Biometrika 1974.
    """
    n1, n0, k1, k0 = seen.canary, seen.requests - seen.canary, seen.canary_failures, seen.champion_failures
    two = betaln(1 + k1, 1 + n1 - k1) + betaln(1 + k0, 1 + n0 - k0)
    one = betaln(1 + k1 + k0, 1 + n1 + n0 - k1 - k0)
    return (two - one >= log(1 / ALPHA)) & (k1 * n0 > k0 * n1)


OURS: dict[str, Rule] = {
    "Modelward, every request mirrored": paired,
    "the same, alpha shared by four signals": paired_shared,
    "the same, the canary's requests alone": paired_canary,
}
OTHERS: dict[str, Rule] = {
    "z-test at each look": repeated_z,
    "O'Brien-Fleming": obrien_fleming,
    "1.5x after 20 requests": threshold_ratio,
    "5 checks below 99% (Flagger)": threshold_rate,
    "independent arms, Bayes factor": independent_arms,
}
RULES = {**OURS, **OTHERS}


def naive_promotion(seen: Seen, margin: float) -> Called:
    """The 95% bound of a textbook (Wald, paired difference) at each look from the 50th request on."""
    b, c, n = seen.only_challenger, seen.only_champion, seen.requests
    difference = (b - c) / n
    deviation = np.sqrt(np.maximum((b + c) / n - difference**2, 0) / n)
    return (n >= 50) & (difference + stats.norm.isf(ALPHA) * deviation < margin)
