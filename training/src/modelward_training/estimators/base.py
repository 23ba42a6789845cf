"""What every estimator family does, and a fitted model of one."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from onnx.compose import add_prefix
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline

from modelward_api.bundle.documents import LinearExplainer, TreeExplainer
from modelward_api.resources.columns import Column
from modelward_training.data.dataset import Dataset
from modelward_training.data.rows import Rows
from modelward_training.estimators.calibration import Calibrator
from modelward_training.estimators.graph import OPSET, Graph

ESTIMATOR = "/estimator/"
"""Before the names of tensors that skl2onnx chooses."""
ClassWeight = Literal["none", "balanced"]
OURS = frozenset({"random_state", "class_weight", "verbose", "n_jobs", "warm_start"})
"""Parameters of scikit-learn that a TrainingJob sets elsewhere, or that change nothing about the model."""


class Family:
    """One family of estimators. A new one is a file with a subclass, listed in ``estimators.FAMILIES``.

    The margin is the model's log-odds before calibration. The pipelines that the methods take are an encoder and the estimator
    that ``build`` returned, fitted.
    """

    algorithm: ClassVar[str]
    """Its name in spec.estimator.algorithm."""
    estimator: ClassVar[type[BaseEstimator]]
    """The scikit-learn class, whose constructor names the parameters that a TrainingJob may set."""
    needs_scaling: ClassVar[bool] = True
    """Whether numbers are standardised in front of the estimator."""

    @property
    def parameters(self) -> frozenset[str]:
        """Names that spec.estimator.params may hold."""
        return frozenset(inspect.signature(self.estimator).parameters) - OURS

    def build(self, params: Mapping[str, object], class_weight: ClassWeight, seed: int) -> BaseEstimator:
        """Return the unfitted estimator."""
        return self.estimator(random_state=seed, **params)

    def fit_parameters(self, class_weight: ClassWeight, label: np.ndarray) -> dict[str, np.ndarray]:
        """Return what the estimator's fit() takes beside rows and labels, [n] each."""
        return {}

    def margin(self, pipeline: Pipeline, rows: Rows) -> np.ndarray:
        """Return the log-odds of rows as float64 [n]."""
        margins: np.ndarray = pipeline.decision_function(rows)
        return margins

    def margin_nodes(self, pipeline: Pipeline, calibrator: Calibrator, graph: Graph) -> tuple[str, Calibrator]:
        """Append the nodes from the graph's inputs to the margin, FP64 [n, 1].

        Returns the margin's name and what remains of the calibrator: its affine part may be in the nodes. By default skl2onnx
        converts the estimator, which may have no rows with missing values, and its raw scores are [-margin, margin].
        """
        encoder, estimator = pipeline[0], pipeline[-1]
        encoded = encoder.to_onnx(graph)
        if self.needs_scaling:
            centred = graph.add("Sub", graph.double(encoded), graph.constant(encoder.mean_))
            encoded = graph.float(graph.add("Div", centred, graph.constant(encoder.deviation_)))
        given = [("encoded", FloatTensorType([None, len(encoder.outputs_)]))]
        options = {type(estimator): {"raw_scores": True, "zipmap": False}}
        converted = convert_sklearn(estimator, "estimator", given, options=options, target_opset=OPSET)
        _, raw_scores = graph.include(add_prefix(converted, ESTIMATOR), encoded)
        return graph.double(graph.select(raw_scores, [1])), calibrator

    def edges(self, pipeline: Pipeline) -> dict[int, list[float]]:
        """By index of a feature: values at which the estimator's answer jumps."""
        return {}

    def explainer(self, pipeline: Pipeline, data: Dataset) -> LinearExplainer | TreeExplainer | None:
        """Return an exact explainer of the margin, made from the training rows; None: sample instead."""
        return None


@dataclass(frozen=True)
class FittedModel:
    """A fitted and calibrated model."""

    family: Family
    pipeline: Pipeline
    calibrator: Calibrator

    @property
    def params(self) -> dict[str, Any]:
        """All parameters of the fitted estimator, scikit-learn's defaults included."""
        params: dict[str, Any] = self.pipeline[-1].get_params()
        return params

    @property
    def edges(self) -> dict[int, list[float]]:
        """By index of a feature: values at which the model's answer may jump or bend."""
        of_encoder, of_family = self.pipeline[0].edges(), self.family.edges(self.pipeline)
        return {i: [*of_encoder.get(i, ()), *of_family.get(i, ())] for i in {*of_encoder, *of_family}}

    def margin(self, data: Dataset) -> np.ndarray:
        """Return the log-odds before calibration, [n] of float64."""
        with np.errstate(invalid="ignore"):  # scikit-learn adds numbers up to find infinities among them
            return self.family.margin(self.pipeline, data.rows())

    def predict(self, data: Dataset) -> np.ndarray:
        """Return P(positive), [n] of float64."""
        return self.calibrator(self.margin(data))

    def to_onnx(self, features: tuple[Column, ...]) -> bytes:
        """Return the graph: one [n, 1] input a feature, one output ``score``, FP32 [n, 1]."""
        graph = Graph(features)
        margin, calibrator = self.family.margin_nodes(self.pipeline, self.calibrator, graph)
        content: bytes = graph.model(calibrator.nodes(graph, margin)).SerializeToString()
        return content
