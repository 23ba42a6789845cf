"""Functions of one column that a model may contain: training computes features with them, explanations its contributions.

Numbers come and go as FP32, as in the graph, and NaN stands for a missing or undefined result. Steps between are FP64, so that
rounding happens once.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from modelward_api.resources.features import Derived

Floats = NDArray[np.float32]
MAX = float(np.finfo(np.float32).max)


def defined(values: NDArray[Any]) -> Floats:
    """The values as FP32, NaN where FP32 has no finite number for them."""
    with np.errstate(over="ignore", invalid="ignore"):
        rounded = values.astype(np.float32)
        return np.where(np.abs(rounded) <= np.float32(MAX), rounded, np.float32(np.nan))


def log(x: Floats) -> Floats:
    """ln(1 + x); undefined from -1 down."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return defined(np.log(x.astype(np.float64) + 1.0))


def power(x: Floats, exponent: NDArray[np.float64]) -> Floats:
    """X to the exponent; undefined where that is no finite real number."""
    with np.errstate(all="ignore"):
        return defined(np.power(x.astype(np.float64), exponent))


def clip(x: Floats, low: Floats, high: Floats) -> Floats:
    """X between low and high."""
    raised = np.where(x < low, low, x)
    return np.where(raised > high, high, raised)


def pieces(x: Floats, low: Floats, high: Floats) -> Floats:
    """1 where low <= x < high, otherwise 0."""
    return ((x >= low) & (x < high)).astype(np.float32)


def natural_spline(x: Floats, knots: NDArray[np.float64]) -> Floats:
    """The natural cubic basis without its constant: [n] and [k] knots give [n, k - 1].

    u and N_1 to N_{k-2} of Hastie, Tibshirani and Friedman, The Elements of Statistical Learning (2009), equation 5.4, where u is
    x with the outer knots at 0 and 1. Beyond the outer knots the basis is linear, and is computed so: cubes of large numbers
    would leave nothing but rounding.
    """
    span = knots[-1] - knots[0]
    u = (x.astype(np.float64).reshape(-1, 1) - knots[0]) / span
    places = (knots - knots[0]) / span
    inside = np.minimum(np.maximum(u, 0.0), 1.0)
    cubes = np.maximum(inside - places, 0.0)
    beyond = np.maximum(u - 1.0, 0.0)
    weights, slopes = spline_weights(places)
    curved = (cubes * cubes * cubes) @ weights + beyond * slopes
    basis: Floats = np.clip(np.concatenate([u, curved], axis=1), -MAX, MAX).astype(np.float32)
    return basis


def spline_weights(places: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What natural_spline multiplies cubes by, [k, k - 2], and the slopes beyond the last knot, [1, k - 2]; places in [0, 1]."""
    size = len(places)
    weights = np.zeros((size, size - 2))
    for j in range(size - 2):
        weights[j, j] += 1 / (1 - places[j])
        weights[-2, j] -= 1 / (1 - places[-2])
        weights[-1, j] += 1 / (1 - places[-2]) - 1 / (1 - places[j])
    slopes = 3 * ((1 - places[:-2]) - (1 - places[-2])).reshape(1, -1)
    return weights, slopes


def edges_of(derived: Derived) -> tuple[Floats, Floats]:
    """The lower and upper edges of the pieces of bins, in FP32."""
    edges = np.array(derived.edges, dtype=np.float32)
    inf = np.array([np.inf], dtype=np.float32)
    return np.concatenate([-inf, edges]), np.concatenate([edges, inf])


def limits_of(derived: Derived) -> tuple[float, float]:
    """The limits of a clip."""
    low = -MAX if derived.minimum is None else derived.minimum
    return low, MAX if derived.maximum is None else derived.maximum


def evaluate(derived: Derived, x: Floats) -> Floats:
    """Return the outputs [n, k] of a derived feature of one column [n]; NaN in x gives anything."""
    if derived.type == "log":
        return log(x).reshape(-1, 1)
    if derived.type == "power":
        return power(x, np.array(derived.exponent)).reshape(-1, 1)
    if derived.type == "clip":
        low, high = np.array(limits_of(derived), dtype=np.float32)
        return clip(x, low, high).reshape(-1, 1)
    if derived.type == "bins":
        return pieces(x.reshape(-1, 1), *edges_of(derived))
    if derived.type == "spline":
        return natural_spline(x, np.array(derived.edges))
    raise ValueError(f"{derived.type} is no function of one column")
