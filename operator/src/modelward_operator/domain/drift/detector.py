"""Drift of one feature, looked for in all stretches of windows that end now: an e-detector over cumulative counts."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from operator import add

from modelward_operator.domain.core.packing import unpacked
from modelward_operator.domain.evidence import statistics

CALM_WINDOWS = 3
"""Consecutive windows with about half of the minimum effect, or less, that end an episode."""
CALM_EFFECTS = (0.0, 0.0125, 0.05, 0.2, 0.8, 3.2)
"""Half of the minimum effect is rounded down to one of these: by choosing it finely, the exact effect could be found."""
STANDARD_EFFECT = 0.1
"""The exact effect is held against this one only, which nobody can choose; any other minimum against rough counts."""
MAX_CELLS = 65_536
"""Counts that the monitors of a model remember together: in the model's record they take some 150 kB at most."""
MAX_UNPACKED = 4 * 1024 * 1024
"""Bytes of all detectors as text, before they are compressed."""
MIN_STRETCHES = 4
"""Stretches that a feature remembers, however many features there are."""

Cells = tuple[int, ...]
View = Callable[[Cells], Cells]


def _sharply(counts: Cells) -> Cells:
    return counts


@dataclass(frozen=True, slots=True)
class Stretch:
    """Counts of consecutive windows."""

    windows: int
    counts: Cells

    def __add__(self, other: Stretch) -> Stretch:
        return Stretch(self.windows + other.windows, tuple(map(add, self.counts, other.counts)))


@dataclass(frozen=True, slots=True)
class Detector:
    """The memory of one feature: adjacent stretches, oldest first, one of which begins at each start point.

    The newest are of one window each, then two of two, of four and so on, about 2 log2(t) after t windows: three of one length
    become two (the exponential histogram of Datar et al., SIAM J. Comput. 2002).
    """

    stretches: tuple[Stretch, ...] = ()
    drifting: bool = False
    calm: int = 0
    """Windows in a row with less, while drifting."""
    rest: Cells = ()
    """Rows that make no whole observation yet, where one is counted several times."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A detector's result after a window."""

    log_evidence: float
    effect: float
    """PSI less its noise, of the stretch with the most evidence; so is the next."""
    jensen_shannon: float


def look(
    before: Detector,
    reference: Sequence[int],
    window: Cells,
    threshold: float,
    minimum_effect: float,
    most: int,
    view: View = _sharply,
    copies: int = 1,
) -> tuple[Detector, Reading]:
    """Add a window.

    The minimum effect is held against what is to be seen of the counts, or against the standard effect if that is more: whoever
    may choose the minimum could else find the exact effect by trying.

    Args:
        before: What is remembered.
        reference: Counts at training.
        window: Counts of the window, in the same cells.
        threshold: The log evidence above which drift is called.
        minimum_effect: The effect that a call needs, too.
        most: Stretches to remember at most; the oldest go.
        view: What is to be seen of counts.
        copies: How often one observation may have been counted: the effective size of a window is that much smaller.
    """
    if any(len(stretch.counts) != len(reference) for stretch in before.stretches):
        before = Detector(drifting=before.drifting, calm=before.calm)
    window, rest = _once(window, before.rest, copies)
    stretches = _thinned((*before.stretches, Stretch(1, window)))[-most:]
    reading = read(reference, stretches)
    if not before.drifting:
        enough = read(reference, stretches, view).effect >= minimum_effect
        enough = enough or minimum_effect <= STANDARD_EFFECT <= reading.effect
        called = reading.log_evidence > threshold and enough
        return Detector(stretches, drifting=called, rest=rest), reading
    calm = before.calm + 1 if statistics.drift_effect(reference, window) < _calm_below(minimum_effect) else 0
    if calm >= CALM_WINDOWS:
        return Detector(), Reading(0.0, 0.0, 0.0)
    return Detector(stretches, drifting=True, calm=calm, rest=rest), reading


def read(reference: Sequence[int], stretches: Sequence[Stretch], view: View = _sharply) -> Reading:
    """Return the evidence and effect of stretches; none without stretches.

    Args:
        reference: Counts at training.
        stretches: Adjacent stretches, oldest first.
        view: What is to be seen of the counts from any start point until now.
    """
    if not stretches:
        return Reading(0.0, 0.0, 0.0)
    ending_now = [view(stretch.counts) for stretch in accumulate(reversed(stretches), add)]
    evidence = [statistics.log_drift_evidence(reference, counts) for counts in ending_now]
    strongest = ending_now[max(range(len(evidence)), key=evidence.__getitem__)]
    return Reading(
        statistics.log_drift_detector(evidence),
        statistics.drift_effect(reference, strongest),
        statistics.jensen_shannon(reference, strongest),
    )


def max_stretches(cells: int, monitors: int) -> int:
    """Return how many stretches a feature may keep, given the cells of all features of a monitor."""
    return max(MIN_STRETCHES, MAX_CELLS // (max(cells, 1) * max(monitors, 1)))


def pack(watched: str, detectors: Mapping[str, Detector]) -> str:
    """The detectors as text, small enough for a record; they hold exact counts, so no status may have it.

    Args:
        watched: Names the champion and the threshold: whoever could choose it again and again for the same counts would find
            the exact evidence by trying.
        detectors: By feature.
    """
    features = {
        name: [detector.drifting, detector.calm, [[s.windows, *s.counts] for s in detector.stretches], detector.rest]
        for name, detector in sorted(detectors.items())
    }
    written = json.dumps([watched, features], separators=(",", ":")).encode()
    return base64.b64encode(zlib.compress(written)).decode()


def unpack(packed: str | None, watched: str) -> dict[str, Detector]:
    """The detectors of this champion and threshold; none if those packed are of others, or if pack() has not made it."""
    if packed is None:
        return {}
    try:
        whose, features = json.loads(unpacked(base64.b64decode(packed), MAX_UNPACKED))
        if whose != watched:
            return {}
        return {
            name: Detector(tuple(Stretch(w, tuple(counts)) for w, *counts in stretches), drifting, calm, tuple(rest))
            for name, (drifting, calm, stretches, rest) in features.items()
        }
    except (ValueError, TypeError, AttributeError):
        return {}


def _once(window: Cells, rest: Cells, copies: int) -> tuple[Cells, Cells]:
    """Return the window's whole observations, and what is left for the next."""
    if copies == 1:
        return window, ()
    counted = tuple(map(add, window, rest)) if len(rest) == len(window) else window
    return tuple(count // copies for count in counted), tuple(count % copies for count in counted)


def _calm_below(minimum_effect: float) -> float:
    return max(step for step in CALM_EFFECTS if step <= minimum_effect / 2)


def _thinned(stretches: Sequence[Stretch]) -> tuple[Stretch, ...]:
    """Merge the two older of any three stretches of one length, beginning with the newest."""
    kept = list(stretches)
    for i in range(len(kept) - 3, -1, -1):
        if kept[i].windows == kept[i + 1].windows == kept[i + 2].windows:
            kept[i : i + 2] = [kept[i] + kept[i + 1]]
    return tuple(kept)
