"""Calibrators: functions from a model's margin (log-odds) to a probability, written as ONNX nodes and as score links."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from sklearn.isotonic import IsotonicRegression
from sklearn.linear_model import LogisticRegression

from modelward_api.bundle.documents import ScoreLink
from modelward_training.estimators.graph import Graph

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

    def nodes(self, graph: Graph, margin: str) -> str:
        """Append the nodes from the named tensor to probabilities, FP64 both, and return the result's name."""
        ...


@dataclass(frozen=True)
class Sigmoid:
    """p = expit(slope f + intercept): Platt's calibration, or none (1, 0)."""

    slope: float = 1.0
    intercept: float = 0.0

    def __call__(self, margins: np.ndarray) -> np.ndarray:
        """Return the probabilities of margins, elementwise."""
        with np.errstate(over="ignore"):
            probabilities: np.ndarray = 1.0 / (1.0 + np.exp(-(self.slope * margins + self.intercept)))
        return probabilities

    @property
    def link(self) -> ScoreLink:
        """The function as the bundle's explainer declares it."""
        return ScoreLink(slope=self.slope, intercept=self.intercept)

    def fold_into(self, weights: np.ndarray, intercept: np.ndarray) -> tuple[np.ndarray, np.ndarray, Calibrator]:
        """Scale the layer, so that a plain sigmoid remains."""
        return weights * self.slope, intercept * self.slope + self.intercept, Sigmoid()

    def nodes(self, graph: Graph, margin: str) -> str:
        """One node without calibration, otherwise three."""
        if self == Sigmoid():
            return graph.add("Sigmoid", margin)
        scaled = graph.add("Mul", margin, graph.constant(np.array([[self.slope]])))
        return graph.add("Sigmoid", graph.add("Add", scaled, graph.constant(np.array([[self.intercept]]))))


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

    def nodes(self, graph: Graph, margin: str) -> str:
        """values[0] + the sum over the segments of slope * (how far f reaches into the segment)."""
        widths = np.diff(self.knots).reshape(1, -1)
        slopes = np.diff(self.values).reshape(-1, 1) / widths.T
        past = graph.add("Sub", margin, graph.constant(self.knots[:-1].reshape(1, -1)))
        begun = graph.add("Max", past, graph.constant(np.zeros((1, 1))))
        into = graph.add("Min", begun, graph.constant(widths))
        rise = graph.add("MatMul", into, graph.constant(slopes))
        total = graph.add("Add", rise, graph.constant(self.values[:1].reshape(1, 1)))
        return graph.add("Clip", total, graph.constant(np.array(0.0)), graph.constant(np.array(1.0)))


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
