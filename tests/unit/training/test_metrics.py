"""Metrics of probabilities: the bootstrap draws patients, and undefined metrics are reported as such."""

from __future__ import annotations

import numpy as np
import pytest

from modelward_training.evaluation.bootstrap import resampled
from modelward_training.evaluation.metrics import evaluate


def expit(x):
    return 1 / (1 + np.exp(-x))


def intervals(rng, patients=80, rows=6, groups=True):
    """The interval of the mean of rows whose patients differ: as that of O/E and Brier's score of such rows."""
    risk = np.repeat(expit(rng.normal(-0.5, 2, patients)), rows)
    label = (rng.random(patients * rows) < risk).astype(float)
    group = np.repeat(np.arange(patients), rows) if groups else None
    drawn = [label[chosen].mean() for chosen in resampled(len(label), group, 200, 0)]
    return np.quantile(drawn, [0.025, 0.975])


def coverage(groups, times=150):
    rng = np.random.default_rng(3)
    truth = expit(rng.normal(-0.5, 2, 10**6)).mean()
    found = [intervals(rng, groups=groups) for _ in range(times)]
    return np.mean([low <= truth <= high for low, high in found])


@pytest.mark.slow
def test_intervals_hold_what_they_say_where_each_patient_has_six_rows():
    assert coverage(groups=False) < 0.8
    assert 0.92 <= coverage(groups=True) <= 0.98


def test_rows_without_groups_are_drawn_one_by_one():
    rows = next(iter(resampled(100, None, 1, 0)))
    assert (len(rows), rows.min() >= 0, rows.max() < 100) == (100, True, True)
    assert len(set(rows.tolist())) < 80


def test_a_patient_is_drawn_with_all_rows():
    group = np.array(["a", "b", "a", "c", "b", "a"])
    for rows in resampled(6, group, 20, 0):
        counts = np.bincount(rows, minlength=6)
        assert counts[0] == counts[2] == counts[5]
        assert counts[1] == counts[4]


LABEL = np.array([0.0, 1.0] * 100)
SCORES = {
    "perfect": (np.where(LABEL == 1, 0.9, 0.1), {"calibration_slope", "calibration_intercept"}),
    "the wrong way round": (np.where(LABEL == 1, 0.1, 0.9), {"calibration_slope", "calibration_intercept"}),
    "constant": (np.full(200, 0.3), {"calibration_slope", "calibration_intercept"}),
    "all zero": (np.zeros(200), {"o_e", "calibration_slope", "calibration_intercept"}),
    "all one": (np.ones(200), {"calibration_slope", "calibration_intercept"}),
    "0 and 1 exactly": (LABEL, {"calibration_slope", "calibration_intercept"}),
}


@pytest.mark.parametrize(("score", "undefined"), SCORES.values(), ids=SCORES.keys())
def test_what_is_not_defined_is_left_out_and_it_is_said_why_of_a_score_that_is(score, undefined):
    evaluated = evaluate(LABEL, score, 0.5, 20, 0)
    known = {metric.name for metric in evaluated.metrics}
    assert known | undefined == {"auroc", "brier", "o_e", "calibration_slope", "calibration_intercept", "net_benefit"}
    assert not known & undefined
    assert {sentence.split()[0] for sentence in evaluated.undefined} == undefined
    assert all("is not defined: " in sentence for sentence in evaluated.undefined)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_one_class_has_no_auroc_and_no_calibration(value):
    evaluated = evaluate(np.full(50, value), np.linspace(0.1, 0.9, 50), 0.5, 10, 0)
    assert {metric.name for metric in evaluated.metrics} == {"brier", "o_e", "net_benefit"}


def test_a_calibrated_score_has_a_slope_of_one():
    rng = np.random.default_rng(5)
    score = expit(rng.normal(0, 1.5, 4000))
    evaluated = evaluate((rng.random(4000) < score).astype(float), score, 0.5, 50, 0)
    slope = next(metric for metric in evaluated.metrics if metric.name == "calibration_slope")
    assert slope.lower < 1 < slope.upper
    assert slope.upper - slope.lower < 0.3
    assert evaluated.undefined == ()
