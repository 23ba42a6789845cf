"""Gradient-boosted trees."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.pipeline import Pipeline

from modelward_api.bundle.curves import MAX
from modelward_api.bundle.documents import TreeExplainer
from modelward_training.data.dataset import Dataset
from modelward_training.estimators.base import ClassWeight, Family
from modelward_training.estimators.calibration import Calibrator
from modelward_training.estimators.encoding import Output, missing_row
from modelward_training.estimators.graph import Graph
from modelward_training.estimators.trees import Trees

NODE_FIELDS = ("left", "right", "column", "threshold", "category", "missing_left", "value", "cover")


class GradientBoostingFamily(Family):
    """Gradient-boosted trees, explained exactly by path-dependent TreeSHAP."""

    algorithm = "gradient-boosting"
    estimator = GradientBoostingClassifier
    needs_scaling = False  # and its rounding would move values over the trees' edges

    def fit_parameters(self, class_weight: ClassWeight, label: np.ndarray) -> dict[str, np.ndarray]:
        """Return weights of the rows, as the estimator has no parameter for the classes' weights."""
        if class_weight != "balanced":
            return {}
        rate = label.mean()
        return {"sample_weight": np.where(label == 1, 0.5 / rate, 0.5 / (1 - rate))}

    def margin_nodes(self, pipeline: Pipeline, calibrator: Calibrator, graph: Graph) -> tuple[str, Calibrator]:
        """Append the trees as one node."""
        encoder, boosting = pipeline[0], pipeline[-1]
        encoded = encoder.to_onnx(graph)
        offset = np.array(_offset(boosting, np.zeros((1, len(encoder.outputs_)), dtype=np.float32)))
        slope, offset, rest = calibrator.fold_into(np.array(1.0), offset)
        trees = Trees([estimator.tree_ for estimator in boosting.estimators_[:, 0]], boosting.learning_rate)
        return trees.nodes(graph, encoded, float(slope), float(offset)), rest

    def edges(self, pipeline: Pipeline) -> dict[int, list[float]]:
        """By index of a feature: the thresholds of its splits."""
        outputs, found = pipeline[0].outputs_, dict[int, list[float]]()
        for estimator in pipeline[-1].estimators_[:, 0]:
            tree = estimator.tree_
            for node in np.flatnonzero(tree.children_left >= 0):
                output = outputs[tree.feature[node]]
                if output.kind == "number":
                    found.setdefault(output.columns[0], []).append(float(tree.threshold[node]))
        return found

    def explainer(self, pipeline: Pipeline, data: Dataset) -> TreeExplainer | None:
        """Return the trees with their splits turned from encoded features back to columns.

        Imputation becomes the direction that a missing value takes at each split. None: a split asks something that is no
        condition on one column's value.
        """
        encoder, boosting = pipeline[0], pipeline[-1]
        trees = [estimator.tree_ for estimator in boosting.estimators_[:, 0]]
        splits = [_column_splits(tree, encoder.outputs_) for tree in trees]
        row = encoder.transform(missing_row(data))
        lists: dict[str, list[float]] = {name: [] for name in NODE_FIELDS}
        for tree, split in zip(trees, splits, strict=True):
            if split is None:
                return None
            begin, leaf = len(lists["left"]), tree.children_left < 0
            lists["left"] += np.where(leaf, -1, tree.children_left + begin).tolist()
            lists["right"] += np.where(leaf, -1, tree.children_right + begin).tolist()
            lists["column"] += split.column.tolist()
            lists["category"] += split.category.tolist()
            lists["threshold"] += split.threshold.tolist()
            lists["missing_left"] += np.where(leaf, False, row[0][tree.feature] <= tree.threshold).tolist()
            lists["value"] += np.where(leaf, boosting.learning_rate * tree.value[:, 0, 0], 0.0).tolist()
            lists["cover"] += tree.weighted_n_node_samples.tolist()
        nodes = {name: tuple(values) for name, values in lists.items()}
        return TreeExplainer.model_validate(
            {
                "offset": _offset(boosting, row),
                "categories": tuple(encoder.categories(i) for i in range(len(data.features))),
                **nodes,
            }
        )


def _offset(boosting: GradientBoostingClassifier, row: np.ndarray) -> float:
    """The margin before the first tree, found from any encoded row."""
    grown = sum(boosting.learning_rate * e.predict(row)[0] for e in boosting.estimators_[:, 0])
    return float(boosting.decision_function(row)[0] - grown)


@dataclass(frozen=True)
class _Splits:
    """One tree's splits as conditions on columns, [nodes] each."""

    column: np.ndarray
    category: np.ndarray
    threshold: np.ndarray


def _column_splits(tree: Any, outputs: tuple[Output, ...]) -> _Splits | None:
    """Return the splits; None: one of them cannot be told as a condition on a column."""
    leaf = tree.children_left < 0
    asked = [outputs[feature] for feature in np.where(leaf, 0, tree.feature)]
    if any(not leaf[i] and output.kind not in ("number", "category", "missing") for i, output in enumerate(asked)):
        return None
    column = np.array([output.columns[0] for output in asked])
    category = np.array([output.category for output in asked])
    # Every number is at most the largest one: only a missing value goes right.
    is_missing = np.array([output.kind == "missing" for output in asked])
    threshold = np.where(is_missing, MAX, tree.threshold)
    return _Splits(np.where(leaf, -1, column), np.where(leaf, -1, category), np.where(leaf, 0.0, threshold))
