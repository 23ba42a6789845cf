"""Calibrators: functions from a model's margin (log-odds) to a probability, written as ONNX nodes and as score links."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from onnx import NodeProto, helper
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from modelward_api.bundle.documents import ScoreLink
from modelward_api.names import SCORE

Constants = dict[str, np.ndarray]
"""Initializers of an ONNX graph, by name."""
MAX_SLOPE = 20.0
"""The most that a probability may rise per unit of log-odds: steeper knots of an isotonic fit are noise, and cost precision."""


class Calibrator(Protocol):
    """A fitted function from margins to probabilities."""

    def __call__(self, margins: np.ndarray) -> np.ndarray:
        """Return the probabilities of margins, elementwise."""
        ...

    @property
    def link(self) -> ScoreLink:
        """The function as the bundle's explainer declares it."""
        ...

    def fold_into(self, weights: np.ndarray, intercept: np.ndarray) -> tuple[np.ndarray, np.ndarray, Calibrator]:
        """Move the affine part into a linear layer in front; returns the new layer and the calibrator that remains."""
        ...

    def to_onnx(self, margin: str) -> tuple[list[NodeProto], Constants]:
        """Nodes from the named tensor to ``score``, and the constants that they use."""
        ...


@dataclass(frozen=True)
class Sigmoid:
    """p = expit(slope f + intercept): Platt's calibration, or none (1, 0)."""

    slope: float = 1.0
    intercept: float = 0.0

    def __call__(self, margins: np.ndarray) -> np.ndarray:
        """Return the probabilities of margins, elementwise."""
        probabilities: np.ndarray = 1.0 / (1.0 + np.exp(-(self.slope * margins + self.intercept)))
        return probabilities

    @property
    def link(self) -> ScoreLink:
        """The function as the bundle's explainer declares it."""
        return ScoreLink(slope=self.slope, intercept=self.intercept)

    def fold_into(self, weights: np.ndarray, intercept: np.ndarray) -> tuple[np.ndarray, np.ndarray, Calibrator]:
        """Scale the layer, so that a plain sigmoid remains."""
        return weights * self.slope, intercept * self.slope + self.intercept, Sigmoid()

    def to_onnx(self, margin: str) -> tuple[list[NodeProto], Constants]:
        """One node without calibration, otherwise three."""
        if self == Sigmoid():
            return [helper.make_node("Sigmoid", [margin], [SCORE])], {}
        nodes = [
            helper.make_node("Mul", [margin, "cal_slope"], ["cal_scaled"]),
            helper.make_node("Add", ["cal_scaled", "cal_intercept"], ["cal_logit"]),
            helper.make_node("Sigmoid", ["cal_logit"], [SCORE]),
        ]
        return nodes, {
            "cal_slope": np.array([[self.slope]], dtype=np.float32),
            "cal_intercept": np.array([[self.intercept]], dtype=np.float32),
        }


@dataclass(frozen=True)
class Piecewise:
    """p interpolated linearly between knots, constant beyond them: an isotonic fit."""

    knots: np.ndarray
    values: np.ndarray

    def __call__(self, margins: np.ndarray) -> np.ndarray:
        """Return the probabilities of margins, elementwise."""
        probabilities: np.ndarray = np.interp(margins, self.knots, self.values)
        return probabilities

    @property
    def link(self) -> ScoreLink:
        """The function as the bundle's explainer declares it."""
        return ScoreLink(kind="piecewise", knots=tuple(self.knots.tolist()), values=tuple(self.values.tolist()))

    def fold_into(self, weights: np.ndarray, intercept: np.ndarray) -> tuple[np.ndarray, np.ndarray, Calibrator]:
        """Nothing to move: the function is not affine before its nonlinearity."""
        return weights, intercept, self

    def to_onnx(self, margin: str) -> tuple[list[NodeProto], Constants]:
        """values[0] + the sum over the segments of slope * (how far f reaches into the segment)."""
        widths = np.diff(self.knots)
        slopes = np.diff(self.values) / widths
        nodes = [
            helper.make_node("Sub", [margin, "cal_from"], ["cal_past"]),
            helper.make_node("Max", ["cal_past", "cal_zero"], ["cal_begun"]),
            helper.make_node("Min", ["cal_begun", "cal_width"], ["cal_into"]),
            helper.make_node("MatMul", ["cal_into", "cal_slopes"], ["cal_rise"]),
            helper.make_node("Add", ["cal_rise", "cal_first"], ["cal_sum"]),
            helper.make_node("Clip", ["cal_sum", "cal_low", "cal_high"], [SCORE]),
        ]
        return nodes, {
            "cal_from": self.knots[:-1].reshape(1, -1).astype(np.float32),
            "cal_zero": np.zeros((1, 1), dtype=np.float32),
            "cal_width": widths.reshape(1, -1).astype(np.float32),
            "cal_slopes": slopes.reshape(-1, 1).astype(np.float32),
            "cal_first": np.array([[self.values[0]]], dtype=np.float32),
            "cal_low": np.array(0, dtype=np.float32),
            "cal_high": np.array(1, dtype=np.float32),
        }


def uncalibrated(margins: np.ndarray, label: np.ndarray) -> Calibrator:
    """The plain sigmoid of the margin."""
    return Sigmoid()


def sigmoid(margins: np.ndarray, label: np.ndarray) -> Calibrator:
    """Platt scaling: a logistic regression of the label on the margin."""
    platt = LogisticRegression(C=np.inf).fit(margins.reshape(-1, 1), label)
    return Sigmoid(float(platt.coef_[0, 0]), float(platt.intercept_[0]))


def isotonic(margins: np.ndarray, label: np.ndarray) -> Calibrator:
    """Isotonic regression of the label on the margin, with bounded steepness."""
    fitted = IsotonicRegression(out_of_bounds="clip").fit(margins, label)
    return _bounded(fitted.X_thresholds_, fitted.y_thresholds_)


CALIBRATIONS: dict[str, Callable[[np.ndarray, np.ndarray], Calibrator]] = {
    "none": uncalibrated,
    "sigmoid": sigmoid,
    "isotonic": isotonic,
}
"""By the value of spec.estimator.calibration: how to fit a calibrator to cross-fitted margins [n] and labels [n]."""


def _bounded(knots: np.ndarray, values: np.ndarray) -> Piecewise:
    """Move knots apart where the function would be steeper than MAX_SLOPE."""
    kept_x, kept_y = [float(knots[0])], [float(values[0])]
    for x, y in zip(knots[1:], values[1:], strict=True):
        x = max(float(x), kept_x[-1] + (float(y) - kept_y[-1]) / MAX_SLOPE, kept_x[-1] + 1e-6)
        kept_x.append(x)
        kept_y.append(float(y))
    return Piecewise(np.array(kept_x), np.clip(np.array(kept_y), 0.0, 1.0))
