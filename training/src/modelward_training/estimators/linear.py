"""Logistic regression."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from modelward_api.bundle import curves
from modelward_api.bundle.attribution import added
from modelward_api.bundle.documents import LinearExplainer, LinearPart, LinearTerm
from modelward_training.data.dataset import Dataset
from modelward_training.data.rows import Rows
from modelward_training.estimators.base import ClassWeight, Family
from modelward_training.estimators.calibration import Calibrator
from modelward_training.estimators.encoding import Encoder, Output
from modelward_training.estimators.graph import Graph
from modelward_training.estimators.transformations import TRANSFORMATIONS


class LogisticRegressionFamily(Family):
    """Logistic regression: one product in ONNX, explained exactly by its terms."""

    algorithm = "logistic-regression"
    estimator = LogisticRegression

    def build(self, params: Mapping[str, object], class_weight: ClassWeight, seed: int) -> BaseEstimator:
        """Return the unfitted estimator, with enough iterations to converge and the class weight as its parameter."""
        balance = {"class_weight": "balanced"} if class_weight == "balanced" else {}
        return LogisticRegression(**{"random_state": seed, "max_iter": 1000, **params, **balance})

    def margin_nodes(self, pipeline: Pipeline, calibrator: Calibrator, graph: Graph) -> tuple[str, Calibrator]:
        """Append one product, in which the scaling and the affine part of the calibration are."""
        encoder, estimator = pipeline[0], pipeline[-1]
        weights, intercept, rest = calibrator.fold_into(*_layer(encoder, estimator))
        encoded = graph.double(encoder.to_onnx(graph))
        product = graph.add("Gemm", encoded, graph.constant(weights), graph.constant(intercept))
        return product, rest

    def explainer(self, pipeline: Pipeline, data: Dataset) -> LinearExplainer | None:
        """Return the terms: what each column adds to the margin, imputation, encoding and scaling included.

        None: the model has a feature of two columns, whose contribution is neither's alone.
        """
        encoder, estimator = pipeline[0], pipeline[-1]
        if any(len(output.columns) > 1 for output in encoder.outputs_):
            return None
        rows, weights = data.rows(), _layer(encoder, estimator)[0].reshape(-1)
        terms = []
        for index, column in enumerate(data.features):
            own = [i for i, output in enumerate(encoder.outputs_) if output.columns == (index,)]
            if column.kind == "categorical":
                terms.append(_category_term(encoder, index, weights[own], rows))
            else:
                outputs = [encoder.outputs_[i] for i in own]
                terms.append(_number_term(outputs, weights[own], encoder.fill(index), data.columns[column.name]))
        return LinearExplainer(base=float(self.margin(pipeline, rows).mean()), terms=tuple(terms))


def _layer(encoder: Encoder, estimator: LogisticRegression) -> tuple[np.ndarray, np.ndarray]:
    """Weights [k, 1] and intercept [1] for features before they are scaled."""
    weights = estimator.coef_.T / encoder.deviation_.reshape(-1, 1)
    return weights, estimator.intercept_ - encoder.mean_ @ weights


def _number_term(outputs: list[Output], weights: np.ndarray, fill: float, values: np.ndarray) -> LinearTerm:
    """The term of one column [n]: a line, derived features of it, and what a missing value adds."""
    by_part: dict[str, list[float]] = {}
    features, line, indicator = {}, 0.0, 0.0
    for output, weight in zip(outputs, weights.tolist(), strict=True):
        if output.derived is not None:
            features[output.derived.name] = output
            by_part.setdefault(output.derived.name, []).append(weight)
        elif output.kind == "missing":
            indicator = weight
        else:
            line = weight
    parts = tuple(
        LinearPart(feature=output.derived, weights=tuple(by_part[name]), undefined=output.fill)
        for name, output in features.items()
        if output.derived is not None
    )
    present = values[~np.isnan(values)].astype(np.float64)
    centre = float(present.mean()) if len(present) else 0.0
    raw = LinearTerm(weight=line, centre=centre, parts=parts, missing=_missing(line, centre, parts, fill) + indicator)
    average = float(added(raw, values).mean())
    if line and not parts:  # a line needs no offset: its centre is where it adds 0
        return LinearTerm(weight=line, centre=centre + average / line, missing=raw.missing - average)
    return raw.model_copy(update={"offset": -average, "missing": raw.missing - average})


def _missing(line: float, centre: float, parts: tuple[LinearPart, ...], fill: float) -> float:
    """What a missing number adds: expansions take the completed column, other derived features are imputed themselves."""
    total = line * (fill - centre)
    for part in parts:
        if TRANSFORMATIONS[part.feature.type].is_expansion:
            completed = curves.evaluate(part.feature, np.array([fill], dtype=np.float32))
            total += float(completed[0].astype(np.float64) @ np.array(part.weights))
        else:
            total += part.undefined * sum(part.weights)
    return total


def _category_term(encoder: Encoder, index: int, weights: np.ndarray, rows: Rows) -> LinearTerm:
    """The term of one column's categories, from the codes that the encoder has learned."""
    categories = encoder.categories(index)
    each = encoder.codes(index) @ weights
    counts = encoder.counts(index, rows)
    each = each - float(counts @ each) / len(rows)
    *known, other = each.tolist()
    return LinearTerm(categories=dict(zip(categories, known, strict=True)), other=other)
