"""Steps 4 and 5: a scikit-learn pipeline over the features, and a calibrator over its scores.

The pipeline gives a log-odds score f; the calibrator makes it a probability. Both are simple enough to be written as ONNX
exactly, which the parity check proves for every model.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, StratifiedKFold, cross_val_predict
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from modelward_api.resources.reasons import Reason
from modelward_api.resources.trainingjob import Estimator
from modelward_training.data.validate import Dataset
from modelward_training.errors import InvalidInputError

ALGORITHMS = {"logistic-regression": LogisticRegression, "gradient-boosting": GradientBoostingClassifier}
FOLDS = 5
STEEPEST = 20.0
"""The most that a probability may rise per unit of log-odds: steeper knots of an isotonic fit are noise, and cost precision."""


@dataclass(frozen=True)
class Linear:
    """p = expit(slope f + intercept): Platt's calibration, or none (1, 0)."""

    slope: float = 1.0
    intercept: float = 0.0

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        """Probabilities of scores, elementwise."""
        return 1.0 / (1.0 + np.exp(-(self.slope * scores + self.intercept)))


@dataclass(frozen=True)
class Piecewise:
    """p interpolated linearly between knots, constant beyond them: an isotonic fit."""

    knots: np.ndarray
    values: np.ndarray

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        """Probabilities of scores, elementwise."""
        return np.interp(scores, self.knots, self.values)


@dataclass(frozen=True)
class Model:
    """A fitted and calibrated model."""

    pipeline: Pipeline
    calibrator: Linear | Piecewise

    def predict(self, data: Dataset) -> np.ndarray:
        """P(positive), [n] of float64."""
        return self.calibrator(self.pipeline.decision_function(matrix(data)))


def matrix(data: Dataset) -> np.ndarray:
    """The features as one [n, k] array of objects, in the order of the declaration."""
    return np.column_stack([data.columns[column.name].astype(object) for column in data.features])


def build(estimator: Estimator, data: Dataset, seed: int) -> Pipeline:
    """An unfitted pipeline: imputation, encoding, scaling, estimator.

    Raises:
        InvalidInputError: UnknownParameter, InvalidParameter.
    """
    numeric = [i for i, c in enumerate(data.features) if c.kind != "categorical"]
    steps: list[tuple[str, object, list[int]]] = []
    if numeric:
        impute = SimpleImputer(strategy="median")
        # Trees need no scaling, and its rounding would move values over their edges.
        scaled = Pipeline([("impute", impute), ("scale", StandardScaler())])
        steps.append(("numeric", impute if estimator.algorithm == "gradient-boosting" else scaled, numeric))
    for i, column in enumerate(data.features):
        if column.kind == "categorical":
            known = column.allowed_values or sorted(set(data.columns[column.name]) - {""})
            # Missing is a category of its own; what is unknown later is none of them.
            encoder = OneHotEncoder(categories=[np.array(["", *known], dtype=object)], handle_unknown="ignore")
            steps.append((column.name, encoder, [i]))
    return Pipeline(
        [("features", ColumnTransformer(steps, sparse_threshold=0)), ("estimator", _estimator(estimator, seed))]
    )


def fit(pipeline: Pipeline, estimator: Estimator, data: Dataset) -> Pipeline:
    """Fit on the training rows.

    Raises:
        InvalidInputError: InvalidParameter.
    """
    try:
        return pipeline.fit(matrix(data), data.label, **_weights(estimator, data))
    except (ValueError, TypeError) as error:
        if "parameter" not in str(error):
            raise
        # scikit-learn's sentence repeats what was given; the parameter's name is one of those that were checked before.
        wrong = [name for name in estimator.params if f"'{name}'" in str(error)]
        told = f"{wrong[0]} has" if wrong else "a parameter has"
        message = f"{told} a value that {estimator.algorithm} does not take: see its documentation in scikit-learn"
        raise InvalidInputError(Reason.INVALID_PARAMETER, message, "spec.estimator.params") from None


def cross_fitted(pipeline: Pipeline, estimator: Estimator, data: Dataset, seed: int) -> np.ndarray:
    """Log-odds of the training rows, [n], each by a pipeline that was fitted without the row, and without its group's others.

    As the model scores rows that it has not seen: its scores of those that it was fitted on are too sure.
    """
    if data.group is not None and len(np.unique(data.group)) >= FOLDS:
        folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
        parts = list(folds.split(data.label, data.label, data.group))
        if any(np.ptp(data.label[fitted]) == 0 for fitted, _ in parts):  # all events are one patient's
            parts = list(StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(data.label, data.label))
    else:
        parts = list(StratifiedKFold(FOLDS, shuffle=True, random_state=seed).split(data.label, data.label))
    weights = _weights(estimator, data)
    return cross_val_predict(
        pipeline, matrix(data), data.label, cv=parts, method="decision_function", params=weights or None
    )


def calibrate(scores: np.ndarray, estimator: Estimator, data: Dataset) -> Linear | Piecewise:
    """Learn from cross-fitted scores how they become probabilities."""
    if estimator.calibration == "none":
        return Linear()
    if estimator.calibration == "sigmoid":
        platt = LogisticRegression(C=np.inf).fit(scores.reshape(-1, 1), data.label)
        return Linear(float(platt.coef_[0, 0]), float(platt.intercept_[0]))
    isotonic = IsotonicRegression(out_of_bounds="clip").fit(scores, data.label)
    return _thinned(isotonic.X_thresholds_, isotonic.y_thresholds_)


def _weights(estimator: Estimator, data: Dataset) -> dict[str, np.ndarray]:
    """What fit() is given so that the classes weigh the same, where the estimator has no parameter for it."""
    if estimator.class_weight != "balanced" or estimator.algorithm != "gradient-boosting":
        return {}
    rate = data.label.mean()
    return {"estimator__sample_weight": np.where(data.label == 1, 0.5 / rate, 0.5 / (1 - rate))}


def _estimator(estimator: Estimator, seed: int) -> object:
    kind = ALGORITHMS[estimator.algorithm]
    known = set(inspect.signature(kind).parameters) - {
        "random_state",
        "class_weight",
        "verbose",
        "n_jobs",
        "warm_start",
    }
    for name in estimator.params:
        if name not in known:
            message = f"{estimator.algorithm} has no parameter {name!r}; it has {', '.join(sorted(known))}"
            raise InvalidInputError(Reason.UNKNOWN_PARAMETER, message, f"spec.estimator.params.{name}")
    params: dict[str, object] = {"random_state": seed, **estimator.params}
    if kind is LogisticRegression:
        params.setdefault("max_iter", 1000)
        if estimator.class_weight == "balanced":
            params["class_weight"] = "balanced"
    return kind(**params)


def _thinned(knots: np.ndarray, values: np.ndarray) -> Piecewise:
    """The knots without those that make it steeper than anything the data can support."""
    kept_x, kept_y = [float(knots[0])], [float(values[0])]
    for x, y in zip(knots[1:], values[1:], strict=True):
        x = max(float(x), kept_x[-1] + (float(y) - kept_y[-1]) / STEEPEST, kept_x[-1] + 1e-6)
        kept_x.append(x)
        kept_y.append(float(y))
    return Piecewise(np.array(kept_x), np.clip(np.array(kept_y), 0.0, 1.0))
