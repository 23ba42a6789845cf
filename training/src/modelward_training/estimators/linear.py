"""Logistic regression."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from onnx import ModelProto, helper
from skl2onnx import convert_sklearn
from sklearn.base import BaseEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from modelward_api.bundle.documents import LinearExplainer, LinearTerm
from modelward_api.resources.columns import Column
from modelward_training.data.dataset import Dataset
from modelward_training.estimators.base import MARGIN, OPSET, ClassWeight, Family, finish_graph, graph_inputs
from modelward_training.estimators.calibration import Calibrator
from modelward_training.estimators.encoding import categories_of

Effect = Callable[[list[object]], np.ndarray]
"""From values of one column to what each adds to the margin of the reference row."""
NO_CATEGORY = " "
"""A text that no category can be: the values of data are stripped."""


class LogisticRegressionFamily(Family):
    """Logistic regression: one product in ONNX, explained exactly by its terms."""

    algorithm = "logistic-regression"
    estimator = LogisticRegression

    def build(self, params: Mapping[str, object], class_weight: ClassWeight, seed: int) -> BaseEstimator:
        """Return the unfitted estimator, with enough iterations to converge and the class weight as its parameter."""
        balance = {"class_weight": "balanced"} if class_weight == "balanced" else {}
        return LogisticRegression(**{"random_state": seed, "max_iter": 1000, **params, **balance})

    def to_onnx(self, pipeline: Pipeline, calibrator: Calibrator, features: tuple[Column, ...]) -> ModelProto:
        """Return the graph with one product for the estimator, which takes less time than ONNX's linear classifier."""
        model: ModelProto = convert_sklearn(pipeline[:-1], "model", graph_inputs(features), target_opset=OPSET)
        estimator = pipeline[-1]
        weights, intercept, rest = calibrator.fold_into(estimator.coef_.T, estimator.intercept_)
        product = helper.make_node("Gemm", [model.graph.output[0].name, "weights", "intercept"], [MARGIN])
        constants = {"weights": weights.astype(np.float32), "intercept": intercept.astype(np.float32)}
        finish_graph(model.graph, [product], constants, rest)
        return model

    def explainer(self, pipeline: Pipeline, data: Dataset) -> LinearExplainer:
        """Return the terms, found by asking the fitted pipeline: they include imputation, encoding and scaling.

        The margin of a linear model is a sum over columns: a column adds the difference between the margin of a reference row
        with this column changed and the margin of the reference row itself.
        """
        rows = data.matrix()
        reference = rows[:1].copy()
        for index, column in enumerate(data.features):
            values = data.columns[column.name]
            reference[0, index] = "" if column.kind == "categorical" else _mean(values)

        def effect(index: int) -> Effect:
            return lambda values: self._effect(pipeline, reference, index, values)

        terms = []
        for index, column in enumerate(data.features):
            values = data.columns[column.name]
            if column.kind == "categorical":
                terms.append(_category_term(values, categories_of(pipeline[0], index), effect(index)))
            else:
                terms.append(_number_term(values, float(reference[0, index]), effect(index)))
        return LinearExplainer(base=float(self.margin(pipeline, rows).mean()), terms=tuple(terms))

    def _effect(self, pipeline: Pipeline, reference: np.ndarray, index: int, values: list[object]) -> np.ndarray:
        rows = np.repeat(reference, len(values) + 1, axis=0)
        rows[1:, index] = values
        margins = self.margin(pipeline, rows)
        effects: np.ndarray = margins[1:] - margins[:1]
        return effects


def _mean(values: np.ndarray) -> float:
    present = values[~np.isnan(values)].astype(np.float64)
    return float(present.mean()) if len(present) else 0.0


def _number_term(values: np.ndarray, mean: float, effect: Effect) -> LinearTerm:
    present = values[~np.isnan(values)].astype(np.float64)
    spread = (float(present.std()) if len(present) else 0.0) or 1.0
    step, missing = effect([mean + spread, np.nan])
    weight, missing_share = step / spread, np.isnan(values).mean()
    average = missing_share * missing  # of what the column adds: the mean of the present values adds 0
    centre = mean + average / weight if weight else mean
    return LinearTerm(weight=weight, centre=centre, missing=missing - average)


def _category_term(values: np.ndarray, categories: tuple[str, ...], effect: Effect) -> LinearTerm:
    *each, other = effect([*categories, NO_CATEGORY])
    share = np.array([(values == category).mean() for category in categories])
    average = float(share @ each + (1 - share.sum()) * other)
    return LinearTerm(
        categories={category: float(added - average) for category, added in zip(categories, each, strict=True)},
        other=other - average,
    )
