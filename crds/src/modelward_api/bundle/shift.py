"""How far counts have shifted from reference counts, in the same cells: evidence, and sizes less what chance gives them.

References:
    Lindon, Malek: Anytime-valid inference for multinomial count data. NeurIPS 2022; arXiv 2205.14762.
    Yurdakul, Naranjo: Statistical properties of the population stability index. J. Risk Model Validation 2020.
    Lin: Divergence measures based on the Shannon entropy. IEEE Trans. Inf. Theory 1991.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import fsum, lgamma, log, log2

DRIFT_CONCENTRATION = 50.0
"""How tightly the alternative of the drift test keeps to the reference: the weight of this many rows."""

MIN_REFERENCE_ROWS = 100
"""Rows that a reference needs. Below 50, the weight of the alternative, the null is the vaguer one and the test inverts."""


def log_drift_evidence(reference: Sequence[int], counts: Sequence[int]) -> float:
    """Log Bayes factor of 'near the reference, but not it' against 'the reference', for one feature and one stretch of rows.

    With r = reference + 1/2, a = max(50 r / sum(r), 1/2) and the Dirichlet-multinomial marginal likelihood
    L(c; w) = lnG(sum w) - lnG(sum w + sum c) + sum[lnG(w + c) - lnG(w)]: L(c; a) - L(c; r). The reference is a sample of
    finite size: both hypotheses integrate over the shares, given the reference, so ``counts`` must be all rows of the stretch.
    Factors of parts must not be multiplied: each would charge the error of the same reference again. Under the null, averaged
    over references, the mean of the factor is 1 whatever the length of the stretch (Lindon and Malek, section 2).

    No weight of ``a`` is below that of an empty cell: else a cell that stays empty, as 'missing' does of most features, would
    count as evidence that grows for ever.

    Args:
        reference: counts at training, one per cell; at least :data:`MIN_REFERENCE_ROWS` rows, or the test means nothing.
        counts: counts in the stretch, in the same order.

    Raises:
        ValueError: the two differ in length.
    """
    smoothed = _smoothed(reference)
    share = DRIFT_CONCENTRATION / fsum(smoothed)
    spread = [max(share * r, 0.5) for r in smoothed]
    return _log_marginal(counts, spread) - _log_marginal(counts, smoothed)


def population_stability_index(reference: Sequence[int], counts: Sequence[int]) -> float:
    """PSI = sum (q - p) ln(q / p), with half a row added to each cell that is not empty in both."""
    return fsum((q - p) * log(q / p) for p, q in _shares(reference, counts))


def drift_effect(reference: Sequence[int], counts: Sequence[int]) -> float:
    """PSI less what chance alone gives it, (k - 1)(1/n + 1/m), for k cells that are not empty, n and m rows; at least 0.

    Of equal shares PSI is about chi-squared with k - 1 degrees of freedom times (1/n + 1/m) (Yurdakul and Naranjo 2020): 0.06 to
    0.13 for ten cells and 100 rows. 0 when nothing was counted.
    """
    return max(0.0, population_stability_index(reference, counts) - _noise(reference, counts))


def jensen_shannon(reference: Sequence[int], counts: Sequence[int]) -> float:
    """Jensen-Shannon divergence in bits, from 0 to 1, of the same smoothed shares (Lin 1991), less what chance gives it.

    Near equal shares it is PSI / (8 ln 2), and so is its expectation without change.
    """
    found = fsum(
        0.5 * p * log2(2 * p / (p + q)) + 0.5 * q * log2(2 * q / (p + q)) for p, q in _shares(reference, counts)
    )
    return max(0.0, found - _noise(reference, counts) / (8 * log(2)))


def _smoothed(counts: Sequence[int]) -> list[float]:
    return [count + 0.5 for count in counts]


def _occupied(reference: Sequence[int], counts: Sequence[int]) -> list[tuple[int, int]]:
    return [pair for pair in zip(reference, counts, strict=True) if pair != (0, 0)]


def _shares(reference: Sequence[int], counts: Sequence[int]) -> list[tuple[float, float]]:
    """Of the cells that are not empty in both: half a row in each of the others would be a shift where n and m differ."""
    if not any(counts) or not any(reference):
        return []
    p, q = (_smoothed(cells) for cells in zip(*_occupied(reference, counts), strict=True))
    p_total, q_total = fsum(p), fsum(q)
    return [(a / p_total, b / q_total) for a, b in zip(p, q, strict=True)]


def _noise(reference: Sequence[int], counts: Sequence[int]) -> float:
    """What PSI is expected to be without change."""
    n, m = sum(reference), sum(counts)
    return (len(_occupied(reference, counts)) - 1) * (1 / n + 1 / m) if n and m else 0.0


def _log_marginal(counts: Sequence[int], weights: Sequence[float]) -> float:
    total = fsum(weights)
    cells = fsum(lgamma(w + c) - lgamma(w) for w, c in zip(weights, counts, strict=True))
    return lgamma(total) - lgamma(total + sum(counts)) + cells
