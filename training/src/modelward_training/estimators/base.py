"""The interface of an estimator family, and of a fitted model."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from onnx import GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline

from modelward_api.bundle.documents import LinearExplainer, TreeExplainer
from modelward_api.names import SCORE
from modelward_api.resources.columns import Column
from modelward_training.data.dataset import Dataset
from modelward_training.estimators.calibration import Calibrator, Constants

OPSET = 18
MARGIN = "cal_f"
"""Name of the margin's tensor in every graph."""
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

    def margin(self, pipeline: Pipeline, rows: np.ndarray) -> np.ndarray:
        """Return the log-odds of rows [n, k] as float64 [n]."""
        margins: np.ndarray = pipeline.decision_function(rows)
        return margins

    def to_onnx(self, pipeline: Pipeline, calibrator: Calibrator, features: tuple[Column, ...]) -> ModelProto:
        """Return the graph from one [n, 1] input a feature to the output ``score``.

        By default skl2onnx converts the whole pipeline, and its raw scores [-margin, margin] are calibrated.
        """
        options = {type(pipeline[-1]): {"raw_scores": True, "zipmap": False}}
        model: ModelProto = convert_sklearn(
            pipeline, "model", graph_inputs(features), options=options, target_opset=OPSET
        )
        select = helper.make_node("Gather", [model.graph.output[1].name, "cal_positive"], [MARGIN], axis=1)
        finish_graph(model.graph, [select], {"cal_positive": np.array([1], dtype=np.int64)}, calibrator)
        return model

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

    def margin(self, data: Dataset) -> np.ndarray:
        """Return the log-odds before calibration, [n] of float64."""
        return self.family.margin(self.pipeline, data.matrix())

    def predict(self, data: Dataset) -> np.ndarray:
        """Return P(positive), [n] of float64."""
        return self.calibrator(self.margin(data))

    def to_onnx(self, features: tuple[Column, ...]) -> bytes:
        """Return the graph: one [n, 1] input a feature, one output ``score``, FP32 [n, 1]."""
        model = self.family.to_onnx(self.pipeline, self.calibrator, features)
        # skl2onnx lists them in the order of a set, which differs from process to process and would change the digest.
        opsets = sorted(model.opset_import, key=lambda opset: str(opset.domain))
        del model.opset_import[:]
        model.opset_import.extend(opsets)
        graph: bytes = model.SerializeToString()
        return graph


def graph_inputs(features: tuple[Column, ...]) -> list[tuple[str, object]]:
    """The graph's inputs as skl2onnx takes them: text for categorical columns, FP32 for all others."""
    return [
        (column.name, StringTensorType([None, 1]) if column.kind == "categorical" else FloatTensorType([None, 1]))
        for column in features
    ]


def finish_graph(graph: GraphProto, nodes: list[NodeProto], constants: Constants, calibrator: Calibrator) -> None:
    """Replace the graph's outputs by ``score``: the nodes compute the margin, and the calibrator turns it into the score."""
    calibration, more = calibrator.to_onnx(MARGIN)
    del graph.output[:]
    graph.node.extend([*nodes, *calibration])
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in {**constants, **more}.items())
    graph.output.append(helper.make_tensor_value_info(SCORE, TensorProto.FLOAT, [None, 1]))
