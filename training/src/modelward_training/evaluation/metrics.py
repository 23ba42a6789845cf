"""The quality of probabilities on the test rows, with bootstrap intervals.

Sources: calibration slope and intercept, Cox 1958; net benefit, Vickers and Elkin 2006; reporting, TRIPOD+AI.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from modelward_api.bundle.documents import Metric
from modelward_training.evaluation.bootstrap import resampled

Measure = Callable[[np.ndarray, np.ndarray], float]
"""A function of labels and scores, [n] each, that raises NotDefinedError."""
CONFIDENCE = 0.95


class NotDefinedError(ValueError):
    """A metric is undefined on these rows; the text says why."""


@dataclass(frozen=True)
class Evaluated:
    """A model's metrics."""

    metrics: tuple[Metric, ...]
    undefined: tuple[str, ...]
    """A sentence for each metric that has no value, or no interval, on these rows."""


def evaluate(
    label: np.ndarray,
    score: np.ndarray,
    threshold: float,
    samples: int,
    seed: int,
    group: np.ndarray | None = None,
) -> Evaluated:
    """Return estimates with percentile intervals. A metric that is not defined is left out, and a sentence says why.

    Args:
        label: [n] of 0 and 1.
        score: [n] of P(positive).
        threshold: the operating threshold, at which net benefit is computed.
        samples: bootstrap samples; 0 for none.
        seed: seed of the bootstrap.
        group: [n], the patient of each row: the bootstrap draws patients, not rows. None: each row is its own patient.
    """
    measures: dict[str, Measure] = {
        "auroc": discrimination,
        "brier": lambda y, p: float(np.mean((p - y) ** 2)),
        "o_e": observed_over_expected,
        "calibration_slope": lambda y, p: recalibration(y, p)[0],
        "calibration_intercept": lambda y, p: recalibration(y, p)[1],
        "net_benefit": lambda y, p: net_benefit(y, p, threshold),
    }
    metrics, undefined, estimates = [], [], {}
    for name, measure in measures.items():
        try:
            estimates[name] = measure(label, score)
        except NotDefinedError as why:
            undefined.append(f"{name} is not defined: {why}")
    defined = [measures[name] for name in estimates]
    drawn = np.array(
        [_measured(defined, label[rows], score[rows]) for rows in resampled(len(label), group, samples, seed)]
    )
    for i, (name, estimate) in enumerate(estimates.items()):
        values = drawn[:, i][~np.isnan(drawn[:, i])] if len(drawn) else drawn
        has_too_few = len(values) < CONFIDENCE * len(drawn)
        metrics.append(_metric(name, estimate, values[:0] if has_too_few else values))
        if has_too_few:
            undefined.append(
                f"{name} has no interval: it is not defined in {len(drawn) - len(values)} of {len(drawn)} samples"
            )
    return Evaluated(tuple(metrics), tuple(undefined))


def discrimination(label: np.ndarray, score: np.ndarray) -> float:
    """Area under the ROC curve: P(an event scores higher than a non-event), ties counted half."""
    _needs_both(label)
    return float(roc_auc_score(label, score))


def observed_over_expected(label: np.ndarray, score: np.ndarray) -> float:
    """Observed events per expected event; 1 is calibrated in the large."""
    if score.sum() <= 0:
        raise NotDefinedError("every score is 0")
    return float(label.sum() / score.sum())


def recalibration(label: np.ndarray, score: np.ndarray) -> tuple[float, float]:
    """Slope and intercept of a logistic regression of the outcome on the predicted log-odds; (1, 0) is calibrated.

    Neither exists if all scores are equal, or is finite if a threshold separates the classes (Albert and Anderson 1984): a solver
    would return the point at which it stopped.
    """
    _needs_both(label)
    clipped = np.clip(score, 1e-6, 1 - 1e-6)
    if np.ptp(clipped) < 1e-9:
        raise NotDefinedError("all scores are equal")
    events, others = clipped[label == 1], clipped[label == 0]
    if events.min() >= others.max() or events.max() <= others.min():
        raise NotDefinedError("the scores separate the classes perfectly")
    fitted = LogisticRegression(C=np.inf).fit(np.log(clipped / (1 - clipped)).reshape(-1, 1), label)
    return float(fitted.coef_[0, 0]), float(fitted.intercept_[0])


def net_benefit(label: np.ndarray, score: np.ndarray, threshold: float) -> float:
    """True positives per row, minus false positives weighted by the odds of the threshold."""
    if threshold >= 1:
        return 0.0
    positive = score >= threshold
    n = len(label)
    return float(
        (positive & (label == 1)).sum() / n - (positive & (label == 0)).sum() / n * threshold / (1 - threshold)
    )


def _measured(measures: list[Measure], label: np.ndarray, score: np.ndarray) -> list[float]:
    """Return the value of each measure, NaN where it is not defined."""
    values = []
    for measure in measures:
        try:
            values.append(measure(label, score))
        except NotDefinedError:
            values.append(np.nan)
    return values


def _needs_both(label: np.ndarray) -> None:
    if label.min() == label.max():
        raise NotDefinedError("there is only one class")


def _metric(name: str, estimate: float, drawn: np.ndarray) -> Metric:
    if len(drawn) == 0:
        return Metric(name=name, estimate=round(estimate, 6))
    lower, upper = np.quantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Metric(name=name, estimate=round(estimate, 6), lower=round(float(lower), 6), upper=round(float(upper), 6))
