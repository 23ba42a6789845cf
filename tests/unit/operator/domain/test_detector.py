"""One feature's detector, and the small version of the drift tables of `make bench-evidence`."""

from __future__ import annotations

import base64
import random
from functools import cache, partial
from itertools import pairwise
from math import log, log2

import numpy as np
import pytest

from modelward_operator.domain.core.record import Ledger, ModelRecord
from modelward_operator.domain.drift.detector import Detector, Stretch, look, max_stretches, pack, read, unpack
from modelward_operator.domain.evidence import publication, statistics
from modelward_operator.manifests.record import LEDGER, config_map
from tests.bench.evidence import drifts
from tests.bench.evidence.drifts import ALPHA, EFFECT, FEATURES
from tests.support.builders import KEY

THRESHOLD = log(FEATURES / ALPHA)
DIGEST = "sha256:" + "a" * 64


def after(reference, windows, detector=None, most=1000):
    detector, readings = detector or Detector(), []
    for window in windows:
        detector, reading = look(detector, tuple(map(int, reference)), tuple(map(int, window)), THRESHOLD, EFFECT, most)
        readings.append(reading)
    return detector, readings


def test_the_start_points_are_few_and_all_rows_stay_counted():
    for windows in (1, 2, 3, 10, 100, 720):
        detector, _ = after((500, 500), [(3, 4)] * windows)
        assert len(detector.stretches) <= 2 * log2(windows + 1) + 1
        assert sum(s.windows for s in detector.stretches) == windows
        assert sum(s.counts[1] for s in detector.stretches) == 4 * windows
        ages = np.cumsum([s.windows for s in reversed(detector.stretches)])
        assert all(later <= 2 * age + 1 for age, later in pairwise(ages)), "a start point in each age"


def test_a_constant_column_gives_no_evidence_however_often_it_is_seen():
    detector, readings = after((1000, 0, 0, 0), [(1000, 0, 0, 0)] * 720)
    assert max(reading.log_evidence for reading in readings) < THRESHOLD / 2
    assert not detector.drifting


def test_cells_that_are_empty_in_both_are_no_effect():
    few, many = (10,) * 10, (1000,) * 10
    nothing = statistics.population_stability_index(many, few)
    assert statistics.population_stability_index((*many, 0, 0, 0), (*few, 0, 0, 0)) == pytest.approx(nothing)
    assert statistics.drift_effect(many, (0,) * 10) == 0
    assert statistics.jensen_shannon(many, (0,) * 10) == 0


@pytest.mark.parametrize("rows", [50, 100, 1000])
def test_the_effect_without_drift_is_nothing_but_chance(rows):
    rng = np.random.default_rng(6)
    psi, effects = [], []
    for _ in range(400):
        reference, window = rng.multinomial(1000, [0.1] * 10), rng.multinomial(rows, [0.1] * 10)
        psi.append(statistics.population_stability_index(reference, window))
        effects.append(psi[-1] - 9 * (1 / 1000 + 1 / rows))
    assert np.mean(psi) > 0.9 * 9 / rows
    assert abs(np.mean(effects)) < 0.1 * np.mean(psi)


def test_a_reference_of_the_smallest_size_does_not_invert_the_test():
    rng, evidence = np.random.default_rng(7), {True: [], False: []}
    for drift in (True, False):
        for _ in range(100):
            reference = rng.multinomial(statistics.MIN_REFERENCE_ROWS, drifts.shifted(0))
            window = rng.multinomial(500, drifts.shifted(0.7 if drift else 0))
            evidence[drift].append(statistics.log_drift_evidence(reference, window))
    assert np.mean(evidence[False]) < 0 < np.mean(evidence[True])


def test_what_is_packed_is_what_is_unpacked_and_of_its_champion_alone():
    detectors = {"age": Detector((Stretch(2, (1, 2)), Stretch(1, (0, 3))), drifting=True, calm=2), "sex": Detector()}
    packed = pack(DIGEST, detectors)
    assert unpack(packed, DIGEST) == detectors
    assert unpack(packed, "sha256:" + "b" * 64) == {}
    assert unpack("edited", DIGEST) == {}
    assert unpack(base64.b64encode(b"{}").decode(), DIGEST) == {}
    assert unpack(None, DIGEST) == {}


def size(features, cells, windows):
    """Bytes of a record that holds the detectors of so many features at the end of a year of hours."""
    draw, most = random.Random(1), max_stretches(features * cells, 1)
    lengths = [2**k for k in range(12) for _ in range(2)][:most]
    stretches = tuple(
        Stretch(n, tuple(draw.randint(n * windows // 2, n * windows) for _ in range(cells))) for n in reversed(lengths)
    )
    ledger = Ledger(detectors={"watch": pack(DIGEST, {f"feature_{n}": Detector(stretches) for n in range(features)})})
    return len(base64.b64decode(config_map("n", "m", ModelRecord(ledger=ledger), KEY)["binaryData"][LEDGER]))


def test_the_detectors_of_a_model_fit_its_record():
    assert size(40 + 32, 13, 10_000) < 75_000, "forty features and the score of 32 strata"
    assert size(512 + 128, 13, 10_000) < 250_000, "the most features and strata: fewer start points are kept"


def test_another_number_of_cells_begins_anew():
    detector, _ = after((500, 500), [(30, 20)] * 5)
    detector, _ = after((500, 300, 200), [(30, 20, 5)], detector)
    assert detector.stretches == (Stretch(1, (30, 20, 5)),)


def test_numpy_says_what_the_operator_says():
    rng = np.random.default_rng(8)
    reference = rng.multinomial(1000, drifts.shifted(0))
    windows = [rng.multinomial(100, drifts.shifted(1.0 if 20 <= t < 30 else 0)) for t in range(45)]
    many, detector = drifts.Detectors(reference[None]), Detector()
    cells = tuple(map(int, (*reference, 0, 0, 0)))
    view = partial(publication.nearest, cells)
    for t, window in enumerate(windows):
        was = detector.drifting
        counts = tuple(map(int, (*window, 0, 0, 0)))
        detector, reading = look(detector, cells, counts, THRESHOLD, EFFECT, 1000, view)
        called, drifting = many.look(window[None], THRESHOLD, EFFECT)
        assert (called[0], drifting[0]) == (detector.drifting and not was, detector.drifting), t
        if t < 30:
            assert many.effect[0] == pytest.approx(read(cells, detector.stretches, view).effect, abs=1e-9)
            assert many.log_evidence[0] == pytest.approx(reading.log_evidence, abs=1e-6)


def test_numpy_rounds_as_the_operator_does():
    rng = np.random.default_rng(12)
    for rows in (30, 101, 499, 700, 5003, 60_000):
        reference, counts = rng.multinomial(1000, drifts.shifted(0), 40), rng.multinomial(rows, drifts.shifted(1.5), 40)
        counts[:5] = 0
        counts[:5, 3] = rows
        told = drifts.nearest(reference, counts)
        for own, exact, found in zip(reference, counts, told, strict=True):
            padded = publication.nearest((*map(int, own), 0, 0, 0), (*map(int, exact), 0, 0, 0))
            assert padded[:-3] == tuple(found)


def test_of_what_is_counted_three_times_no_row_is_lost_and_none_counts_more_than_once():
    detector = Detector()
    for _ in range(30):
        detector, _ = look(detector, (500, 500), (4, 5), THRESHOLD, EFFECT, 1000, copies=3)
    assert tuple(map(sum, zip(*(s.counts for s in detector.stretches), strict=True))) == (40, 50)
    detector, _ = look(detector, (500, 500), (4, 5), THRESHOLD, EFFECT, 1000, copies=3)
    assert detector.rest == (1, 2)
    assert unpack(pack(DIGEST, {"age": detector}), DIGEST)["age"] == detector


@cache
def quiet(reference, rows):
    return drifts.watch(6, 720, np.random.default_rng(reference + rows), reference=reference, rows=rows)


@pytest.mark.slow
@pytest.mark.parametrize(("reference", "rows"), [(300, 50), (300, 1000), (10_000, 100)])
def test_without_drift_alarms_are_at_most_as_many_as_alpha_says(reference, rows):
    watched = quiet(reference, rows)
    assert watched.alarms.sum() <= ALPHA * 720 * 6


@pytest.mark.slow
@pytest.mark.parametrize("rows", [50, 100])
def test_an_episode_is_called_at_once_and_ends(rows):
    shift = lambda t: 1.0 if 50 <= t < 74 else 0.0  # noqa: E731
    watched = drifts.watch(6, 250, np.random.default_rng(rows), reference=1000, rows=rows, shift=shift)
    assert max(watched.delays(50)) <= 3
    assert watched.alarms.max() <= 3
    assert watched.drifting_windows.max() <= 45
    assert not watched.drifting[:, -100:].any()


@pytest.mark.slow
@pytest.mark.parametrize("quiet_windows", [10, 200])
def test_a_shift_of_half_a_standard_deviation_is_called_within_five_windows(quiet_windows):
    shift = lambda t: 0.5 if t >= quiet_windows else 0.0  # noqa: E731
    watched = drifts.watch(10, quiet_windows + 10, np.random.default_rng(9), reference=1000, rows=100, shift=shift)
    delays = watched.delays(quiet_windows)
    assert None not in delays
    assert (np.median(delays) <= 3, max(delays) <= 5) == (True, True)
