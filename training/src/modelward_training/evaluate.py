"""Step 6: how good the probabilities are on the test rows, with bootstrap intervals.

Sources: calibration slope and intercept, Cox 1958; net benefit, Vickers and Elkin 2006; reporting, TRIPOD+AI.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, roc_auc_score

from modelward_api.bundle import Metric

Measure = Callable[[np.ndarray, np.ndarray], float]
CONFIDENCE = 0.95


def evaluate(label: np.ndarray, score: np.ndarray, threshold: float, samples: int, seed: int) -> tuple[Metric, ...]:
    """Estimates and percentile intervals.

    Args:
        label: [n] of 0 and 1.
        score: [n] of P(positive).
        threshold: the operating threshold, at which net benefit is taken.
        samples: bootstrap samples; 0 for none.
        seed: of the bootstrap.
    """
    measures: dict[str, Measure] = {
        "auroc": roc_auc_score,
        "brier": brier_score_loss,
        "o_e": observed_over_expected,
        "calibration_slope": lambda y, p: recalibration(y, p)[0],
        "calibration_intercept": lambda y, p: recalibration(y, p)[1],
        "net_benefit": lambda y, p: net_benefit(y, p, threshold),
    }
    drawn = _bootstrap(label, score, list(measures.values()), samples, seed)
    return tuple(
        _metric(name, float(measure(label, score)), drawn[:, i]) for i, (name, measure) in enumerate(measures.items())
    )


def observed_over_expected(label: np.ndarray, score: np.ndarray) -> float:
    """Events that happened per event that was predicted; 1 is calibrated in the large."""
    return float(label.sum() / score.sum())


def recalibration(label: np.ndarray, score: np.ndarray) -> tuple[float, float]:
    """Slope and intercept of a logistic regression of the outcome on the predicted log-odds; (1, 0) is calibrated."""
    clipped = np.clip(score, 1e-6, 1 - 1e-6)
    fitted = LogisticRegression(C=np.inf).fit(np.log(clipped / (1 - clipped)).reshape(-1, 1), label)
    return float(fitted.coef_[0, 0]), float(fitted.intercept_[0])


def net_benefit(label: np.ndarray, score: np.ndarray, threshold: float) -> float:
    """True positives per row, less false positives weighed by the odds of the threshold."""
    if threshold >= 1:
        return 0.0
    positive = score >= threshold
    n = len(label)
    return float(
        (positive & (label == 1)).sum() / n - (positive & (label == 0)).sum() / n * threshold / (1 - threshold)
    )


def _bootstrap(label: np.ndarray, score: np.ndarray, measures: list[Measure], samples: int, seed: int) -> np.ndarray:
    draw, rows = np.random.default_rng(seed), []
    while len(rows) < samples:
        chosen = draw.integers(0, len(label), len(label))
        if label[chosen].min() != label[chosen].max():
            rows.append([measure(label[chosen], score[chosen]) for measure in measures])
    return np.array(rows).reshape(len(rows), len(measures))


def _metric(name: str, estimate: float, drawn: np.ndarray) -> Metric:
    if len(drawn) == 0:
        return Metric(name=name, estimate=round(estimate, 6))
    lower, upper = np.quantile(drawn, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Metric(name=name, estimate=round(estimate, 6), lower=round(float(lower), 6), upper=round(float(upper), 6))
