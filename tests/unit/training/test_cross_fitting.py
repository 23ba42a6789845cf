"""The score's reference is made of scores as the model gives them to rows that it has not seen."""

from __future__ import annotations

from math import log

import numpy as np
import pytest

from modelward_api.resources.columns import Column
from modelward_api.resources.trainingjob import Estimator
from modelward_operator.domain.drift.detector import Detector, look
from modelward_serving.counting.profile import ScoreCounter
from modelward_training.data.dataset import Dataset
from modelward_training.estimators import fitting
from modelward_training.estimators.calibration import CALIBRATIONS
from modelward_training.reference.profile import reference_profile

COLUMNS = tuple(Column(name=f"x{i}", kind="numeric") for i in range(8))


def rows(rng, n, group=None) -> Dataset:
    values = rng.normal(size=(n, 8))
    label = (rng.random(n) < 1 / (1 + np.exp(-(values[:, 0] + values[:, 1] - 1)))).astype(int)
    return Dataset(COLUMNS, {c.name: values[:, i] for i, c in enumerate(COLUMNS)}, label, None, group)


def is_called(reference, scores, windows=40):
    """Whether a monitor of twenty features and the score calls drift in the score."""
    counter, before, detector = ScoreCounter(reference), (0,) * len(reference.counts), Detector()
    for window in np.array_split(scores.astype(np.float32), windows):
        counter.count(window, [np.zeros(len(window), dtype=np.intp)])
        total = counter.read()[0]
        counts = tuple(a - b for a, b in zip(total, before, strict=True))
        detector, _ = look(detector, reference.counts, counts, log(21 / 0.001), 0.1, 1000)
        before = total
        if detector.drifting:
            return True
    return False


@pytest.mark.slow
@pytest.mark.parametrize(("size", "calibration"), [(300, "none"), (300, "sigmoid")])
def test_fresh_rows_without_drift_are_no_drift_of_a_boosted_score(size, calibration):
    estimator, called = Estimator(algorithm="gradient-boosting", calibration=calibration), []
    for seed in range(2):
        rng = np.random.default_rng(seed)
        train, fresh = rows(rng, size), rows(rng, 4000)
        pipeline = fitting.fit(fitting.build(estimator, train, 0), estimator, train)
        unseen = fitting.cross_fit(pipeline, estimator, train, 0)
        fitted = fitting.calibrate(pipeline, unseen, estimator, train)
        scores = fitted.predict(fresh)
        own, honest = (reference_profile(train, s).score for s in (fitted.predict(train), fitted.calibrator(unseen)))
        called.append((is_called(own, scores), is_called(honest, scores)))
    assert [with_own for with_own, _ in called] == [True, True], "scores of the rows that it was fitted on"
    assert [with_unseen for _, with_unseen in called] == [False, False]


def test_no_row_is_scored_by_a_model_that_was_fitted_on_a_row_of_its_group():
    rng = np.random.default_rng(4)
    one = rows(rng, 60)
    six = np.repeat(np.arange(60), 6)
    data = one.take(six)
    data = Dataset(data.features, data.columns, data.label, None, six)
    estimator = Estimator(algorithm="gradient-boosting", calibration="none")
    pipeline = fitting.build(estimator, data, 0)
    of_groups = fitting.cross_fit(pipeline, estimator, data, 0)
    of_rows = fitting.cross_fit(pipeline, estimator, Dataset(data.features, data.columns, data.label, None, None), 0)

    def agreement(scores):
        return np.mean((scores > 0) == (data.label == 1))

    assert agreement(of_rows) > 0.98, "a copy of each row was in the other folds"
    assert agreement(of_groups) < 0.9


def test_balanced_boosting_is_calibrated_on_scores_of_balanced_fits():
    rng = np.random.default_rng(5)
    data = rows(rng, 600)
    scores = []
    for weight in ("none", "balanced"):
        estimator = Estimator(algorithm="gradient-boosting", class_weight=weight, calibration="none")
        scores.append(fitting.cross_fit(fitting.build(estimator, data, 0), estimator, data, 0))
    assert scores[1].mean() > scores[0].mean() + 0.3


@pytest.mark.parametrize("calibration", ["sigmoid", "isotonic"])
def test_rows_that_only_calibration_uses_take_the_place_of_cross_fitted_ones(calibration):
    rng = np.random.default_rng(5)
    train, held_out = rows(rng, 200), rows(rng, 150)
    estimator = Estimator(calibration=calibration)
    pipeline = fitting.fit(fitting.build(estimator, train, 0), estimator, train)
    margins = fitting.cross_fit(pipeline, estimator, train, 0)
    fitted = fitting.calibrate(pipeline, margins, estimator, train, held_out)
    expected = CALIBRATIONS[calibration](pipeline.decision_function(held_out.rows()), held_out.label)
    at = np.linspace(-3, 3, 50)
    assert fitted.calibrator(at) == pytest.approx(expected(at))
    assert fitted.calibrator(at) != pytest.approx(fitting.calibrate(pipeline, margins, estimator, train).calibrator(at))
