"""Every formula that a decision rests on. Counts in, numbers out: no state, no I/O, the standard library only (ADR 12).

Training compares sites by the formulas of a shift between counts, too: they are in modelward_api.bundle.shift.

The tests may be looked at after every request: their error rates hold at any stopping time (Ville's inequality on
non-negative supermartingales), but for the drift test, which is a Bayes factor with a simulated error rate. They assume
nothing of how requests depend on one another; a null hypothesis is about each next pair, given all pairs before it.
docs/evidence.md has the simulated error rates and delays.

References:
    Grünwald, de Heide, Koolen: Safe testing. JRSS-B 2024, arXiv 1906.07801.
    Lindon, Malek: Anytime-valid inference for multinomial count data. NeurIPS 2022; arXiv 2205.14762.
    Waudby-Smith, Ramdas: Estimating means of bounded random variables by betting. JRSS-B 2024, arXiv 2010.09686.
    Vovk, Wang: E-values: calibration, combination and applications. Annals of Statistics 2021, arXiv 1912.06116.
    Wang, Ramdas: False discovery rate control with e-values. JRSS-B 2022, arXiv 2009.02824.
    Roberts: A comparison of some control chart procedures. Technometrics 1966; Shiryaev: Theory Probab. Appl. 1963.
    Shin, Ramdas, Rinaldo: E-detectors, a nonparametric framework for sequential change detection. NEJSDS 2023, arXiv 2203.03532.
    Yurdakul, Naranjo: Statistical properties of the population stability index. J. Risk Model Validation 2020.
    Lin: Divergence measures based on the Shannon entropy. IEEE Trans. Inf. Theory 1991.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from math import exp, fsum, inf, isinf, lgamma, log, log1p
from typing import TypeAlias

from modelward_api.bundle.shift import (
    DRIFT_CONCENTRATION,
    MIN_REFERENCE_ROWS,
    drift_effect,
    jensen_shannon,
    log_drift_evidence,
    population_stability_index,
)
from modelward_api.wire.exchange import OPENING_PAIRS

__all__ = [
    "DRIFT_CONCENTRATION",
    "MIN_REFERENCE_ROWS",
    "Crossings",
    "drift_effect",
    "e_bh",
    "hard_failure",
    "harm_bound",
    "is_bounded",
    "jensen_shannon",
    "log_drift_detector",
    "log_drift_evidence",
    "log_evidence_of_excess",
    "log_evidence_of_harm",
    "log_evidence_of_shift",
    "log_wealth",
    "pairs_needed",
    "population_stability_index",
    "rate_bound",
    "shift_bound",
    "shift_needed",
]

_BETS = tuple(2.0**-j for j in range(9))
_PRIOR = tuple(10.0 / (9.0 * (j + 1) * (j + 2)) for j in range(9))
"""Bet sizes, as fractions of the largest allowed, and the capital each starts with (sums to 1)."""
_GAMBLERS = tuple(
    (bet, log(capital), log1p(-bet) if bet < 1 else -inf) for bet, capital in zip(_BETS, _PRIOR, strict=True)
)
"""Each bet with the logarithms of its capital at the start, and of what an X = 1 leaves of it."""

Crossings: TypeAlias = tuple[tuple[int, int], ...]
"""By level: pairs in which only the challenger passed it, and pairs in which only the champion did."""

_MAX_PAIRS = 10_000_000
_MAX_BOUNDS, _MAX_SHIFTS = 4096, 512
"""Bounds that are remembered: between two requests a reconcile asks for the same ones again."""


@lru_cache(_MAX_BOUNDS)
def log_evidence_of_harm(only_challenger: int, only_champion: int) -> float:
    """Log e-value against 'among discordant pairs the challenger fails at most as often as the champion'.

    With b pairs where only the challenger failed and c where only the champion did, and a uniform prior on (1/2, 1]
    for the probability that it is the challenger that failed:

        ln B(1+b, 1+c) + ln P(Beta(1+b, 1+c) > 1/2) + (b+c+1) ln 2

    An e-process: P(ever >= ln(1/alpha)) <= alpha when there is no harm. Source: the sign test's mixture e-process,
    Grünwald et al.; Turner, Ly, Grünwald for 2x2 tables.

    Returns:
        The natural logarithm of e; 0 when there is no discordant pair.
    """
    b, c = only_challenger, only_champion
    return _log_beta(1 + b, 1 + c) + _log_beta_tail(1 + b, 1 + c, 0.5) + (b + c + 1) * log(2)


@lru_cache(_MAX_BOUNDS)
def log_evidence_of_excess(events: int, trials: int, allowance: float) -> float:
    """Log e-value against 'the rate of the event is at most ``allowance``', with a uniform prior on (allowance, 1].

    ln B(1+k, 1+n-k) + ln P(Beta(1+k, 1+n-k) > a) - ln(1-a) - k ln a - (n-k) ln(1-a). For each rate above a the likelihood
    ratio against a is a supermartingale under all rates up to a, and so is the mixture (Grünwald et al.).

    Returns:
        The natural logarithm of e; 0 when everything is allowed or nothing was seen.
    """
    if allowance >= 1 or trials <= 0:
        return 0.0
    k, rest = events, trials - events
    mixture = _log_beta(1 + k, 1 + rest) + _log_beta_tail(1 + k, 1 + rest, allowance) - log1p(-allowance)
    return mixture - k * log(allowance) - rest * log1p(-allowance)


def log_wealth(mean: float, up: float, down: float, level: float) -> float:
    """Log capital of a fixed mixture of gamblers who bet that the mean of X in {-1, 0, 1} is below ``mean``.

    With counts ``up`` of X = 1, ``down`` of X = -1 and ``level`` of X = 0, the gambler of bet t holds
    prod(1 - t (X_i - mean) / (1 - mean)): a non-negative supermartingale whenever E[X] >= mean, that grows with ``mean``
    (Waudby-Smith and Ramdas, section 4, with lambda = -t / (1 - mean)). It depends on the counts only, so the order of the
    requests does not matter. Counts may be fractions, for projections.
    """
    gain, still = (1.0 + mean) / (1.0 - mean), mean / (1.0 - mean)
    return _log_sum(
        capital + (up * loss if up else 0.0) + down * log1p(bet * gain) + level * log1p(bet * still)
        for bet, capital, loss in _GAMBLERS
    )


@lru_cache(_MAX_BOUNDS)
def harm_bound(only_challenger: int, only_champion: int, pairs: int, alpha: float) -> float:
    """Upper confidence bound, valid at any time, on (failure rate of the challenger - failure rate of the champion).

    The smallest mean whose 'the difference is at least this' the gamblers of :func:`log_wealth` have refuted, i.e.
    log_wealth >= ln(1/alpha), with X = 1 for pairs where only the challenger failed and -1 where only the champion did.
    The wealth grows with the mean, so the means that are refuted are all those from the bound up; if the difference is d all
    along, P(the bound is ever below d) = P(the wealth against d ever reaches 1/alpha) <= alpha. Of a difference that changes
    it bounds the least, not the latest: what sets in late is for the evidence, and for the drift monitors.

    Returns:
        The bound, from -1 to 1; 1 when nothing was seen.
    """
    level = pairs - only_challenger - only_champion
    refuted = log(1 / alpha)
    low, high = -1.0, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        if log_wealth(middle, only_challenger, only_champion, level) >= refuted:
            high = middle
        else:
            low = middle
    return high


@lru_cache(_MAX_BOUNDS)
def is_bounded(only_challenger: int, only_champion: int, pairs: int, margin: float, alpha: float) -> bool:
    """Whether :func:`harm_bound` is at most the margin, which is quicker told than the bound."""
    level = pairs - only_challenger - only_champion
    return log_wealth(margin, only_challenger, only_champion, level) >= log(1 / alpha)


def rate_bound(events: int, trials: int, alpha: float) -> float:
    """Upper confidence bound, valid at any time, on the rate of an event: :func:`harm_bound` for X in {0, 1}."""
    return max(0.0, harm_bound(events, 0, trials, alpha))


@lru_cache(_MAX_BOUNDS)
def pairs_needed(only_challenger: int, only_champion: int, pairs: int, margin: float, alpha: float) -> int | None:
    """About how many pairs in all it takes until the bound is at the margin, if the rates stay as they are.

    Returns:
        The number of pairs; None if no number suffices at these rates (the estimate is not below the margin).
    """
    up, down = (only_challenger / pairs, only_champion / pairs) if pairs else (0.0, 0.0)
    if up - down >= margin:
        return None
    refuted = log(1 / alpha)

    def suffices(n: int) -> bool:
        return log_wealth(margin, up * n, down * n, (1 - up - down) * n) >= refuted

    high = 1
    while not suffices(high):
        high *= 2
        if high > _MAX_PAIRS:
            return None
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if suffices(middle) else (middle, high)
    return high


@lru_cache(_MAX_SHIFTS)
def log_evidence_of_shift(crossings: Crossings, pairs: int, allowance: float) -> float:
    """Log e-value against 'at no level does the challenger pass more often than the champion, by over ``allowance``'.

    A one-sided Kolmogorov-Smirnov test at fixed levels: at each, the gamblers of :func:`log_wealth` bet the other way,
    that the mean of X (1 where only the challenger passes the level, -1 where only the champion does) is above the
    allowance. The mean of e-processes over the levels is one, however they depend on one another (Vovk and Wang, section 3).
    For two sides give each level twice, the second time turned round.

    Returns:
        The natural logarithm of e; 0 when everything is allowed or nothing was seen.
    """
    if allowance >= 1 or pairs <= 0:
        return 0.0
    wealth = [log_wealth(-allowance, down, up, pairs - up - down) for up, down in crossings]
    return _log_sum(wealth) - log(len(wealth))


@lru_cache(_MAX_SHIFTS)
def shift_bound(crossings: Crossings, pairs: int, alpha: float) -> float:
    """Upper confidence bound, valid at any time, on the largest growth over the levels: the largest :func:`harm_bound`.

    It needs no correction for the number of levels: to miss, it must miss at the level that is truly the worst.
    """
    worst = -1.0
    for up, down in sorted(crossings, key=lambda crossed: crossed[1] - crossed[0]):
        if worst < 1 and log_wealth(worst, up, down, pairs - up - down) < log(1 / alpha):
            worst = harm_bound(up, down, pairs, alpha)
    return worst


def shift_needed(crossings: Crossings, pairs: int, allowance: float, alpha: float) -> int | None:
    """About how many pairs in all until :func:`shift_bound` is at the allowance: the most that a level needs, or None."""
    needed = [pairs_needed(up, down, pairs, allowance, alpha) for up, down in crossings]
    return None if None in needed else max(n for n in needed if n is not None)


def e_bh(log_evidence: Sequence[float], alpha: float) -> tuple[frozenset[int], float]:
    """The e-BH procedure: which of K hypotheses to reject so that of those at most a share of ``alpha`` is expected to be true.

    Rejects the k with the largest e-values, for the largest k with e_(k) >= K / (k alpha) (Wang and Ramdas, definition 1). It
    holds however the e-values depend on one another. Of e-processes it may be looked at as often as one likes: at the first
    rejection each is an e-value, and if no hypothesis is false, P(ever any rejection) <= alpha.

    Args:
        log_evidence: natural logarithms of K e-values, one a hypothesis, tested or not: the K must not depend on the data.
        alpha: the false discovery rate.

    Returns:
        The indices of the rejected, and the logarithm that they had to reach (of the first one, if there is none).
    """
    order = sorted(range(len(log_evidence)), key=lambda i: -log_evidence[i])
    needed = [log(len(order) / (rank * alpha)) for rank in range(1, len(order) + 1)]
    passed = [rank for rank, i in enumerate(order) if log_evidence[i] >= needed[rank]]
    if not passed:
        return frozenset(), needed[0] if needed else inf
    return frozenset(order[: passed[-1] + 1]), needed[passed[-1]]


def hard_failure(invalid: int, opening_errors: int, opening_pairs: int, tripped: str | None) -> str | None:
    """Why the challenger is out at once, without any test, or None.

    ``opening_*`` are sums over champion pods, each with up to :data:`OPENING_PAIRS` pairs; a pod that sees more than
    half of its own fail trips by itself.
    """
    if tripped:
        return f"a champion pod stopped asking it: {tripped}"
    if invalid > 0:
        return "it gave an answer that is none: not a number, not a probability, or of the wrong shape"
    if opening_errors > max(OPENING_PAIRS, opening_pairs) / 2:
        return f"more than half of its first {OPENING_PAIRS} requests failed"
    return None


def log_drift_detector(log_evidence: Sequence[float]) -> float:
    """Log of R = the sum of the Bayes factors of all stretches that end now, one a start point; 0 (R = 1) without any.

    An e-detector (Shin, Ramdas, Rinaldo), of Shiryaev and Roberts: a sum over start points sees drift that
    begins late as soon as drift that begins early, and leaving start points out only lowers it. With R > A as the alarm, F
    detectors and A = F / alpha, alarms without drift are meant to come at most once in 1 / alpha windows on average. Factors
    from later starts do not know the rows before them, so that is not proved: docs/evidence.md has it simulated.
    """
    return _log_sum(log_evidence) if log_evidence else 0.0


def _log_sum(logs: Iterable[float]) -> float:
    terms = list(logs)
    largest = max(terms)
    if isinf(largest):
        return largest
    return largest + log(fsum(exp(term - largest) for term in terms))


def _log_beta(a: float, b: float) -> float:
    return lgamma(a) + lgamma(b) - lgamma(a + b)


def _log_beta_tail(a: float, b: float, x: float) -> float:
    """ln P(Beta(a, b) > x), also where the probability itself would underflow."""
    if x <= 0:
        return 0.0
    if x >= 1:
        return -inf
    front = a * log(x) + b * log1p(-x) - _log_beta(a, b)
    if x > (a + 1) / (a + b + 2):
        return front - log(b) + log(_beta_fraction(b, a, 1 - x))
    below = exp(front - log(a)) * _beta_fraction(a, b, x)
    return log1p(-min(below, 1 - 1e-16))


def _beta_fraction(a: float, b: float, x: float) -> float:
    """The continued fraction of the incomplete beta function, by Lentz's method (DLMF 8.17.22; Numerical Recipes 6.4)."""
    tiny = 1e-300
    c, d = 1.0, 1.0 / _away_from_zero(1 - (a + b) * x / (a + 1), tiny)
    result = d
    for m in range(1, 10_000):
        even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m))
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1))
        step = 1.0
        for numerator in (even, odd):
            d = 1.0 / _away_from_zero(1 + numerator * d, tiny)
            c = _away_from_zero(1 + numerator / c, tiny)
            step = d * c
            result *= step
        if abs(step - 1) < 1e-14:
            break
    return result


def _away_from_zero(value: float, tiny: float) -> float:
    return tiny if abs(value) < tiny else value
