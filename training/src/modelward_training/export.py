"""Step 7: the model as one ONNX graph with the preprocessing inside, compared with scikit-learn on every test row."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnxruntime
from onnx import GraphProto, NodeProto, TensorProto, helper, numpy_helper
from skl2onnx import convert_sklearn
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.linear_model import LogisticRegression

from modelward_api.bundle.documents import ParityReport
from modelward_api.names import SCORE
from modelward_api.resources.reasons import Reason
from modelward_training.data.validate import Dataset
from modelward_training.errors import InvalidInputError
from modelward_training.estimators.families import Linear, Model, Piecewise

OPSET = 18
TOLERANCE = 1e-5


def export(model: Model, data: Dataset) -> bytes:
    """The graph: one [n, 1] input a feature, one output ``score``, FP32 [n, 1]."""
    inputs = [
        (c.name, StringTensorType([None, 1]) if c.kind == "categorical" else FloatTensorType([None, 1]))
        for c in data.features
    ]
    estimator = model.pipeline[-1]
    if isinstance(estimator, LogisticRegression):
        made = convert_sklearn(model.pipeline[:-1], "model", initial_types=inputs, target_opset=OPSET)
        _finish_linear(made.graph, estimator, model.calibrator)
    else:
        options = {type(estimator): {"raw_scores": True, "zipmap": False}}
        made = convert_sklearn(model.pipeline, "model", initial_types=inputs, options=options, target_opset=OPSET)
        raw, positive = made.graph.output[1].name, np.array([1], dtype=np.int64)  # raw scores are [-f, f]
        select = helper.make_node("Gather", [raw, "cal_positive"], ["cal_f"], axis=1)
        _finish(made.graph, [select], {"cal_positive": positive}, model.calibrator)
    return made.SerializeToString()


def infer(graph: bytes, columns: dict[str, np.ndarray]) -> np.ndarray:
    """Scores by ONNX Runtime, [n] of float32; float columns with NaN, text columns with '' for missing."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    feed = {}
    for node in session.get_inputs():
        values = columns[node.name].reshape(-1, 1)
        feed[node.name] = values.astype(object) if "string" in node.type else values.astype(np.float32)
    return session.run([SCORE], feed)[0].reshape(-1)


def compare(graph: bytes, model: Model, data: Dataset) -> ParityReport:
    """ONNX against scikit-learn on all rows.

    Raises:
        InvalidInputError: ParityFailed.
    """
    difference = float(np.max(np.abs(infer(graph, data.columns) - model.predict(as_served(data)))))
    report = ParityReport(
        rows=len(data),
        max_abs_difference=difference,
        tolerance=TOLERANCE,
        passed=difference <= TOLERANCE,
        opset=OPSET,
    )
    if not report.passed:
        message = f"ONNX and scikit-learn differ by {difference:.2g}, more than {TOLERANCE:g}: choose other parameters"
        raise InvalidInputError(Reason.PARITY_FAILED, message, "spec.estimator")
    return report


def as_served(data: Dataset) -> Dataset:
    """The values as they arrive in serving, which are FP32: else a tree's edge would count as a difference."""
    columns = {n: v if v.dtype == object else v.astype(np.float32).astype(np.float64) for n, v in data.columns.items()}
    return replace(data, columns=columns)


def _finish_linear(graph: GraphProto, estimator: LogisticRegression, calibrator: Linear | Piecewise) -> None:
    """From the estimator's features to ``score``: one product, which takes less time than ONNX's linear classifier."""
    weights, intercept = estimator.coef_.T, estimator.intercept_
    if isinstance(calibrator, Linear):
        weights, intercept = weights * calibrator.slope, intercept * calibrator.slope + calibrator.intercept
        calibrator = Linear()
    constants = {"weights": weights.astype(np.float32), "intercept": intercept.astype(np.float32)}
    product = helper.make_node("Gemm", [graph.output[0].name, "weights", "intercept"], ["cal_f"])
    _finish(graph, [product], constants, calibrator)


def _finish(
    graph: GraphProto, nodes: list[NodeProto], constants: dict[str, np.ndarray], calibrator: Linear | Piecewise
) -> None:
    """From ``cal_f``, which the nodes make, to ``score``: what the graph gave goes, the calibrator comes."""
    del graph.output[:]
    if isinstance(calibrator, Piecewise):
        nodes += _piecewise(calibrator, constants)
    elif calibrator == Linear():
        nodes.append(helper.make_node("Sigmoid", ["cal_f"], [SCORE]))
    else:
        constants |= {
            "cal_slope": np.array([[calibrator.slope]], dtype=np.float32),
            "cal_intercept": np.array([[calibrator.intercept]], dtype=np.float32),
        }
        nodes += [
            helper.make_node("Mul", ["cal_f", "cal_slope"], ["cal_scaled"]),
            helper.make_node("Add", ["cal_scaled", "cal_intercept"], ["cal_logit"]),
            helper.make_node("Sigmoid", ["cal_logit"], [SCORE]),
        ]
    graph.node.extend(nodes)
    graph.initializer.extend(numpy_helper.from_array(value, name) for name, value in constants.items())
    graph.output.append(helper.make_tensor_value_info(SCORE, TensorProto.FLOAT, [None, 1]))


def _piecewise(calibrator: Piecewise, constants: dict[str, np.ndarray]) -> list[NodeProto]:
    """values[0] + sum over the segments of slope * (how far f has come into the segment)."""
    widths = np.diff(calibrator.knots)
    slopes = np.diff(calibrator.values) / widths
    constants |= {
        "cal_from": calibrator.knots[:-1].reshape(1, -1).astype(np.float32),
        "cal_zero": np.zeros((1, 1), dtype=np.float32),
        "cal_width": widths.reshape(1, -1).astype(np.float32),
        "cal_slopes": slopes.reshape(-1, 1).astype(np.float32),
        "cal_first": np.array([[calibrator.values[0]]], dtype=np.float32),
        "cal_low": np.array(0, dtype=np.float32),
        "cal_high": np.array(1, dtype=np.float32),
    }
    return [
        helper.make_node("Sub", ["cal_f", "cal_from"], ["cal_past"]),
        helper.make_node("Max", ["cal_past", "cal_zero"], ["cal_begun"]),
        helper.make_node("Min", ["cal_begun", "cal_width"], ["cal_into"]),
        helper.make_node("MatMul", ["cal_into", "cal_slopes"], ["cal_rise"]),
        helper.make_node("Add", ["cal_rise", "cal_first"], ["cal_sum"]),
        helper.make_node("Clip", ["cal_sum", "cal_low", "cal_high"], [SCORE]),
    ]
