"""Sums of regression trees as one ONNX node.

FP64 throughout, on FP32 inputs: scikit-learn compares the same numbers, so that no row takes another way in the graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from onnx import numpy_helper

from modelward_training.estimators.graph import Graph

LESS_OR_EQUAL, SUM, NO_TRANSFORM = 0, 1, 0


@dataclass(frozen=True)
class Trees:
    """Trees whose leaves are added."""

    fitted: Sequence[Any]
    """scikit-learn's Tree structures."""
    rate: float
    """What the leaves' values are multiplied by."""

    def nodes(self, graph: Graph, encoded: str, slope: float, offset: float) -> str:
        """Append slope * (the sum of the leaves) + offset, FP64 [n, 1], of FP32 [n, k]."""
        parts = [_Arrays.of(tree, self.rate * slope) for tree in self.fitted]
        parts[0].weights += offset
        inner = np.cumsum([0, *(len(part.feature) for part in parts)])
        leaves = np.cumsum([0, *(len(part.weights) for part in parts)])
        weights = np.concatenate([part.weights for part in parts])
        joined = {
            name: np.concatenate([getattr(part, name) for part in parts])
            for name in ("feature", "threshold", "is_leaf_left", "is_leaf_right")
        }
        left, right = (
            np.concatenate(
                [
                    np.where(getattr(part, f"is_leaf_{side}"), leaves[i], inner[i]) + getattr(part, side)
                    for i, part in enumerate(parts)
                ]
            )
            for side in ("left", "right")
        )
        return graph.ml(
            "TreeEnsemble",
            graph.double(encoded),
            n_targets=1,
            aggregate_function=SUM,
            post_transform=NO_TRANSFORM,
            tree_roots=inner[:-1].tolist(),
            nodes_featureids=joined["feature"].tolist(),
            nodes_splits=numpy_helper.from_array(joined["threshold"], "splits"),
            nodes_modes=numpy_helper.from_array(np.full(inner[-1], LESS_OR_EQUAL, dtype=np.uint8), "modes"),
            nodes_truenodeids=left.tolist(),
            nodes_trueleafs=joined["is_leaf_left"].astype(np.int64).tolist(),
            nodes_falsenodeids=right.tolist(),
            nodes_falseleafs=joined["is_leaf_right"].astype(np.int64).tolist(),
            leaf_targetids=[0] * len(weights),
            leaf_weights=numpy_helper.from_array(weights, "weights"),
        )


@dataclass
class _Arrays:
    """One tree with inner nodes and leaves numbered apart."""

    feature: np.ndarray
    threshold: np.ndarray
    left: np.ndarray
    """Of each inner node: the number of its left child, an inner node or a leaf."""
    right: np.ndarray
    is_leaf_left: np.ndarray
    is_leaf_right: np.ndarray
    weights: np.ndarray
    """Of each leaf."""

    @classmethod
    def of(cls, tree: Any, rate: float) -> _Arrays:
        is_leaf = tree.children_left < 0
        values = rate * tree.value[:, 0, 0]
        if is_leaf[0]:  # the node needs a split: both sides lead to the one leaf
            zero, true = np.zeros(1, dtype=np.int64), np.ones(1, dtype=bool)
            return cls(zero, np.zeros(1), zero, zero, true, true, values[:1])
        inner = np.flatnonzero(~is_leaf)
        number = np.where(is_leaf, np.cumsum(is_leaf) - 1, np.cumsum(~is_leaf) - 1)
        left, right = tree.children_left[inner], tree.children_right[inner]
        return cls(
            tree.feature[inner],
            tree.threshold[inner],
            number[left],
            number[right],
            is_leaf[left],
            is_leaf[right],
            values[is_leaf],
        )
