"""Gradient-boosted trees."""

from __future__ import annotations

import numpy as np
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.pipeline import Pipeline

from modelward_api.bundle.documents import TreeExplainer
from modelward_training.data.dataset import Dataset
from modelward_training.estimators.base import ClassWeight, Family
from modelward_training.estimators.encoding import categories_of, encoded_features

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

    def explainer(self, pipeline: Pipeline, data: Dataset) -> TreeExplainer:
        """Return the trees with their splits turned from encoded features back to columns.

        Imputation becomes the direction that a missing value takes at each split.
        """
        encoder, boosting = pipeline[0], pipeline[-1]
        encoded = encoded_features(encoder)
        missing_row = np.array([["" if c.kind == "categorical" else np.nan for c in data.features]], dtype=object)
        row = encoder.transform(missing_row).astype(np.float32)
        missing = row[0]
        lists: dict[str, list[float]] = {name: [] for name in NODE_FIELDS}
        for estimator in boosting.estimators_[:, 0]:
            tree, begin = estimator.tree_, len(lists["left"])
            leaf = tree.children_left < 0
            lists["left"] += np.where(leaf, -1, tree.children_left + begin).tolist()
            lists["right"] += np.where(leaf, -1, tree.children_right + begin).tolist()
            lists["column"] += np.where(leaf, -1, encoded.column[tree.feature]).tolist()
            lists["category"] += np.where(leaf, -1, encoded.category[tree.feature]).tolist()
            lists["threshold"] += np.where(leaf, 0.0, tree.threshold).tolist()
            lists["missing_left"] += np.where(leaf, False, missing[tree.feature] <= tree.threshold).tolist()
            lists["value"] += np.where(leaf, boosting.learning_rate * tree.value[:, 0, 0], 0.0).tolist()
            lists["cover"] += tree.weighted_n_node_samples.tolist()
        grown = sum(boosting.learning_rate * e.predict(row)[0] for e in boosting.estimators_[:, 0])
        nodes = {name: tuple(values) for name, values in lists.items()}
        return TreeExplainer.model_validate(
            {
                "offset": float(boosting.decision_function(row)[0] - grown),
                "categories": tuple(categories_of(encoder, i) for i in range(len(data.features))),
                **nodes,
            }
        )
