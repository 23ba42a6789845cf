"""Streams of windows for a drift monitor, many at once: the detectors of the operator (domain/drift/detector.py) in numpy."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln, logsumexp
from scipy.stats import norm

from modelward_operator.domain.drift.detector import CALM_WINDOWS, STANDARD_EFFECT
from modelward_operator.domain.evidence.statistics import DRIFT_CONCENTRATION

Counts = NDArray[np.int64]
FEATURES, BINS, ALPHA, EFFECT = 21, 10, 0.001, 0.1
"""Twenty features and the score, in ten bins each, and a DriftMonitor's defaults."""
EMPTY = 3
"""Cells that stay empty in both: missing, out of range, other."""


@dataclass(frozen=True)
class Watched:
    """Results of the monitors of some streams."""

    called: NDArray[np.bool_]
    """[streams, windows, features]: drift is called that was not called before."""
    drifting: NDArray[np.bool_]
    """[streams, windows, features]"""

    @property
    def alarms(self) -> NDArray[np.int64]:
        """[streams]: alarms of each stream, over all its windows and features."""
        return self.called.sum(axis=(1, 2))

    @property
    def drifting_windows(self) -> NDArray[np.int64]:
        """[streams]: windows in which any feature drifts."""
        return self.drifting.any(axis=2).sum(axis=1)

    def delays(self, begins: int) -> list[int | None]:
        """By stream: windows from the shift of the first feature to its first call since then."""
        found = self.called[:, begins:, 0]
        return [int(own.argmax()) if own.any() else None for own in found]


def shifted(sd: float) -> NDArray[np.float64]:
    """The shares of the bins, deciles of the standard normal, when the feature has moved by so many standard deviations."""
    edges = norm.ppf(np.arange(1, BINS) / BINS)
    return np.diff(norm.cdf(edges - sd), prepend=0, append=1)


def watch(
    streams: int,
    windows: int,
    rng: np.random.Generator,
    *,
    reference: int,
    rows: int,
    shift: Callable[[int], float] = lambda _: 0.0,
) -> Watched:
    """Streams, each with a reference of its own, whose first feature is shifted by so many standard deviations in each window."""
    size = streams * FEATURES
    known = rng.multinomial(reference, shifted(0), size)
    detectors, threshold = Detectors(known), np.log(FEATURES / ALPHA)
    drifting, called = np.zeros((2, windows, size), dtype=bool)
    for window in range(windows):
        shares = np.tile(shifted(0), (size, 1))
        shares[::FEATURES] = shifted(shift(window))
        called[window], drifting[window] = detectors.look(rng.multinomial(rows, shares), threshold, EFFECT)

    def by_stream(found: NDArray[np.bool_]) -> NDArray[np.bool_]:
        return found.reshape(windows, streams, FEATURES).swapaxes(0, 1)

    return Watched(by_stream(called), by_stream(drifting))


class Detectors:
    """As many detectors as there are references, [n, cells]. One that has begun anew starts at the same points as the others."""

    def __init__(self, references: Counts) -> None:
        self.references = references
        smoothed = references + 0.5
        share = DRIFT_CONCENTRATION / (smoothed.sum(axis=1, keepdims=True) + EMPTY / 2)
        self._near, self._null = np.maximum(share * smoothed, 0.5), smoothed
        self.lengths: list[int] = []
        self.counts = np.zeros((0, *references.shape), dtype=np.int64)
        """[stretches, n, cells], oldest first."""
        self._born = np.zeros(len(references), dtype=np.int64)
        self._drifting = np.zeros(len(references), dtype=bool)
        self._calm = np.zeros(len(references), dtype=np.int64)
        self._windows = 0
        self.log_evidence = np.zeros(len(references))
        self.effect = np.zeros(len(references))

    def look(self, window: Counts, threshold: float, minimum: float) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Take in a window, [n, cells]; returns whether each calls now, and whether it is drifting."""
        self._append(window)
        ending_now = np.cumsum(self.counts[::-1], axis=0)
        begins = self._windows - np.cumsum(self.lengths[::-1])
        duplicate = np.vstack([np.zeros((1, len(window)), dtype=bool), begins[:-1, None] <= self._born[None, :]])
        self.log_evidence = logsumexp(self._evidence(ending_now, duplicate), axis=0)
        told = nearest(self.references, ending_now)
        self.effect = self._effect_of_strongest(told, duplicate)
        exact = self._effect_of_strongest(ending_now, duplicate)
        enough = (self.effect >= minimum) | ((minimum <= STANDARD_EFFECT) & (exact >= STANDARD_EFFECT))
        was = self._drifting.copy()
        called = ~was & (self.log_evidence > threshold) & enough
        calm = effect(self.references, window) < minimum / 2
        self._calm = np.where(was & calm, self._calm + 1, 0)
        ended = was & (self._calm >= CALM_WINDOWS)
        self._drifting = (was | called) & ~ended
        self.counts[:, ended] = 0
        self._born[ended], self._calm[ended] = self._windows, 0
        return called, self._drifting.copy()

    def _effect_of_strongest(self, counts: Counts, duplicate: NDArray[np.bool_]) -> NDArray[np.float64]:
        strongest = self._evidence(counts, duplicate).argmax(axis=0)[None, :, None]
        return effect(self.references, np.take_along_axis(counts, strongest, axis=0)[0])

    def _evidence(self, counts: Counts, duplicate: NDArray[np.bool_]) -> NDArray[np.float64]:
        found = _marginal(counts, self._near) - _marginal(counts, self._null)
        return np.where(duplicate, -np.inf, found)

    def _append(self, window: Counts) -> None:
        self._windows += 1
        self.lengths.append(1)
        self.counts = np.concatenate([self.counts, window[None]])
        for i in range(len(self.lengths) - 3, -1, -1):
            if self.lengths[i] == self.lengths[i + 1] == self.lengths[i + 2]:
                self.lengths[i : i + 2] = [2 * self.lengths[i]]
                self.counts[i] += self.counts[i + 1]
                self.counts = np.delete(self.counts, i + 1, axis=0)


def nearest(references: Counts, counts: Counts) -> Counts:
    """Counts of [..., n, cells] as they are published (evidence/publication.nearest)."""
    rows, cells = _requests(counts.sum(axis=-1, keepdims=True)), counts.shape[-1] + EMPTY
    least, most = np.where(counts > 10, np.maximum(_floor(counts), 11), 0), np.where(counts > 10, _top(counts), 10)
    alone = ((counts > 10).sum(axis=-1, keepdims=True) == 1) & (counts > 10)
    least, most = np.where(alone, np.maximum(0, rows - 10 * (cells - 1)), least), np.where(alone, rows, most)
    expected = np.rint(rows * references / references.sum(axis=-1, keepdims=True)).astype(np.int64)
    found: Counts = np.clip(expected, least, most)
    return found


def _requests(counts: Counts) -> Counts:
    return np.where(counts < 20, np.where(counts > 0, 10, 0), _floor(counts))


def _step(counts: Counts) -> Counts:
    digits = np.floor(np.log10(np.maximum(counts, 500) / 500) + 1e-12).astype(np.int64)
    return np.where(counts < 500, 10, 50 * 10**digits)


def _floor(counts: Counts) -> Counts:
    return counts // _step(counts) * _step(counts)


def _top(counts: Counts) -> Counts:
    return _floor(counts) + _step(counts) - 1


def effect(references: Counts, counts: Counts) -> NDArray[np.float64]:
    """PSI less its noise, of [n, cells] each."""
    occupied = (references + counts) > 0
    p, q = ((c + 0.5) * occupied for c in (references, counts))
    p, q = p / p.sum(axis=1, keepdims=True), q / q.sum(axis=1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        psi = np.where(occupied, (q - p) * np.log(q / p), 0).sum(axis=1)
    noise = (occupied.sum(axis=1) - 1) * (1 / references.sum(axis=1) + 1 / counts.sum(axis=1))
    return np.maximum(psi - noise, 0)


def _marginal(counts: Counts, weights: NDArray[np.float64]) -> NDArray[np.float64]:
    total = weights.sum(axis=-1) + EMPTY / 2
    cells = (gammaln(weights + counts) - gammaln(weights)).sum(axis=-1)
    return gammaln(total) - gammaln(total + counts.sum(axis=-1)) + cells
