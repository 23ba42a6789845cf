"""Derived features, one class a type: its constants, its values in NumPy, and its ONNX nodes, which must be equal.

Every class takes all derived features of its type at once, so that a graph has few nodes. Point-wise types take values as they
come, in which a missing one is NaN, and give NaN where the result is undefined; expansions take completed values.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from modelward_api.bundle import curves
from modelward_api.resources.features import Derived
from modelward_training.estimators.graph import Graph


class Transformation:
    """The derived features of one type, m of them."""

    type: ClassVar[str]
    is_expansion: ClassVar[bool] = False
    """Whether it takes completed values and gives several outputs a feature."""

    def __init__(self, declared: tuple[Derived, ...]) -> None:
        self.declared = declared

    @property
    def widths(self) -> list[int]:
        """Number of outputs by feature."""
        return [1] * len(self.declared)

    def evaluate(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Return float32 [n, sum of widths] of the first and second columns, float32 [n, m] each."""
        raise NotImplementedError

    def nodes(self, graph: Graph, first: str, second: str) -> str:
        """Append the same as ONNX nodes and return the name of the result."""
        raise NotImplementedError


class Arithmetic(Transformation):
    """One operation of IEEE 754 on FP32, which NumPy and ONNX Runtime do equally, to the bit."""

    operator: ClassVar[str]
    ufunc: ClassVar[np.ufunc]

    def evaluate(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Return float32 [n, m]."""
        with np.errstate(all="ignore"):
            return curves.defined(self.ufunc(first, second))

    def nodes(self, graph: Graph, first: str, second: str) -> str:
        """Append the same as ONNX nodes and return the name of the result."""
        return graph.add(self.operator, first, second)


class Ratio(Arithmetic):
    """The first column over the second; a division by zero is undefined."""

    type = "ratio"
    operator = "Div"
    ufunc = np.divide


class Difference(Arithmetic):
    """The first column less the second."""

    type = "difference"
    operator = "Sub"
    ufunc = np.subtract


class Product(Arithmetic):
    """The first column times the second."""

    type = "product"
    operator = "Mul"
    ufunc = np.multiply


class Log(Transformation):
    """ln(1 + x)."""

    type = "log"

    def evaluate(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Return float32 [n, m]."""
        return curves.log(first)

    def nodes(self, graph: Graph, first: str, second: str) -> str:
        """Append the same as ONNX nodes and return the name of the result."""
        more = graph.add("Add", graph.double(first), graph.constant(np.array(1.0)))
        return graph.float(graph.add("Log", more))


class Power(Transformation):
    """x to the exponent."""

    type = "power"

    @property
    def exponents(self) -> np.ndarray:
        """[1, m] of float64."""
        return np.array([[1.0 if one.exponent is None else one.exponent for one in self.declared]])

    def evaluate(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Return float32 [n, m]."""
        return curves.power(first, self.exponents)

    def nodes(self, graph: Graph, first: str, second: str) -> str:
        """Append the same as ONNX nodes and return the name of the result."""
        return graph.float(graph.add("Pow", graph.double(first), graph.constant(self.exponents)))


class Clip(Transformation):
    """x between minimum and maximum, which are rounded to FP32."""

    type = "clip"

    @property
    def _limits(self) -> tuple[np.ndarray, np.ndarray]:
        """Each [1, m] of float32."""
        limits = np.array([curves.limits_of(one) for one in self.declared], dtype=np.float32)
        return limits[:, 0].reshape(1, -1), limits[:, 1].reshape(1, -1)

    def evaluate(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Return float32 [n, m]."""
        return curves.clip(first, *self._limits)

    def nodes(self, graph: Graph, first: str, second: str) -> str:
        """Append the same as ONNX nodes and return the name of the result."""
        # Where and not Clip, whose limits are scalars, nor Max, whose result for NaN is left to the implementation.
        low, high = (graph.constant(limit) for limit in self._limits)
        raised = graph.add("Where", graph.add("Less", first, low), low, first)
        return graph.add("Where", graph.add("Greater", raised, high), high, raised)


class Bins(Transformation):
    """Indicators of the pieces between edges, which are rounded to FP32."""

    type = "bins"
    is_expansion = True

    def __init__(self, declared: tuple[Derived, ...]) -> None:
        super().__init__(declared)
        low, high = zip(*(curves.edges_of(one) for one in declared), strict=True)
        self.low, self.high = np.concatenate(low), np.concatenate(high)

    @property
    def widths(self) -> list[int]:
        """Number of outputs by feature."""
        return [len(one.edges) + 1 for one in self.declared]

    @property
    def _owner(self) -> np.ndarray:
        return np.repeat(np.arange(len(self.declared)), self.widths)

    def evaluate(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Return float32 [n, pieces]."""
        return curves.pieces(first[:, self._owner], self.low, self.high)

    def nodes(self, graph: Graph, first: str, second: str) -> str:
        """Append the same as ONNX nodes and return the name of the result."""
        x = graph.select(first, self._owner)
        low, high = graph.constant(self.low.reshape(1, -1)), graph.constant(self.high.reshape(1, -1))
        return graph.float(graph.add("And", graph.add("GreaterOrEqual", x, low), graph.add("Less", x, high)))


class Spline(Transformation):
    """Natural cubic splines: x on the scale of its knots, and knots - 2 curves."""

    type = "spline"
    is_expansion = True

    @property
    def widths(self) -> list[int]:
        """Number of outputs by feature."""
        return [len(one.edges) - 1 for one in self.declared]

    def evaluate(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Return float32 [n, knots - 1 of each]."""
        splines = [curves.natural_spline(first[:, i], np.array(one.edges)) for i, one in enumerate(self.declared)]
        return np.concatenate(splines, axis=1)

    def nodes(self, graph: Graph, first: str, second: str) -> str:
        """Append the same as ONNX nodes and return the name of the result."""
        columns = graph.double(first)
        return graph.join([self._one(graph, graph.select(columns, [i]), i) for i in range(len(self.declared))])

    def _one(self, graph: Graph, x: str, index: int) -> str:
        knots = np.array(self.declared[index].edges)
        places = (knots - knots[0]) / (knots[-1] - knots[0])
        weights, slopes = curves.spline_weights(places)
        zero, one = graph.constant(np.zeros((1, 1))), graph.constant(np.ones((1, 1)))
        moved = graph.add("Sub", x, graph.constant(knots[:1].reshape(1, 1)))
        u = graph.add("Div", moved, graph.constant((knots[-1:] - knots[:1]).reshape(1, 1)))
        inside = graph.add("Min", graph.add("Max", u, zero), one)
        past = graph.add("Max", graph.add("Sub", inside, graph.constant(places.reshape(1, -1))), zero)
        cubes = graph.add("Mul", graph.add("Mul", past, past), past)
        beyond = graph.add("Max", graph.add("Sub", u, one), zero)
        bent = graph.add("MatMul", cubes, graph.constant(weights))
        curved = graph.add("Add", bent, graph.add("Mul", beyond, graph.constant(slopes)))
        both = graph.add("Concat", u, curved, axis=1)
        limits = graph.constant(np.array(-curves.MAX)), graph.constant(np.array(curves.MAX))
        return graph.float(graph.add("Clip", both, *limits))


class Interaction(Transformation):
    """Products of two columns' codes: a categorical column has an indicator a category, another one its completed value.

    The other types take a column each of [n, m]; this one takes the codes of one pair, [n, a] and [n, b].
    """

    type = "interaction"
    is_expansion = True

    def evaluate(self, first: np.ndarray, second: np.ndarray) -> np.ndarray:
        """Return float32 [n, a b], the second column's codes side by side for each of the first's."""
        with np.errstate(over="ignore"):
            products: np.ndarray = (first[:, :, None] * second[:, None, :]).reshape(len(first), -1)
        return products

    def nodes(self, graph: Graph, first: str, second: str) -> str:
        """Append the same as ONNX nodes and return the name of the result."""
        left = graph.add("Unsqueeze", first, graph.constant(np.array([2], dtype=np.int64)))
        right = graph.add("Unsqueeze", second, graph.constant(np.array([1], dtype=np.int64)))
        return graph.add("Flatten", graph.add("Mul", left, right), axis=1)


TRANSFORMATIONS: dict[str, type[Transformation]] = {
    kind.type: kind for kind in (Ratio, Difference, Product, Log, Power, Clip, Bins, Spline, Interaction)
}
"""By the value of spec.features.derived[].type."""


def undefined_to_nan(graph: Graph, values: str) -> str:
    """Append curves.defined as ONNX nodes: infinities, which overflow and division by zero give, become NaN."""
    is_finite = graph.add("LessOrEqual", graph.add("Abs", values), graph.constant(np.array(curves.MAX, np.float32)))
    return graph.add("Where", is_finite, values, graph.constant(np.array(np.nan, dtype=np.float32)))
