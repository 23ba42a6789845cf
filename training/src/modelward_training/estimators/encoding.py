"""Encoding of columns as numbers for an estimator: imputation, one-hot encoding, scaling."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from modelward_training.data.dataset import Dataset

NUMERIC = "numeric"
"""Name of the step for all columns that are not categorical; categorical columns have a step each, named after the column."""


def encoder(data: Dataset, *, scale: bool) -> ColumnTransformer:
    """An unfitted encoder of the features: the median for missing numbers, one-hot codes for categories."""
    numeric = [i for i, column in enumerate(data.features) if column.kind != "categorical"]
    steps: list[tuple[str, object, list[int]]] = []
    if numeric:
        impute = SimpleImputer(strategy="median")
        step = Pipeline([("impute", impute), ("scale", StandardScaler())]) if scale else impute
        steps.append((NUMERIC, step, numeric))
    for i, column in enumerate(data.features):
        if column.kind == "categorical":
            categories = column.allowed_values or sorted(set(data.columns[column.name]) - {""})
            # Missing is a category of its own; a category that is unknown in serving has no code.
            one_hot = OneHotEncoder(categories=[np.array(["", *categories], dtype=object)], handle_unknown="ignore")
            steps.append((column.name, one_hot, [i]))
    return ColumnTransformer(steps, sparse_threshold=0)


@dataclass(frozen=True)
class EncodedFeatures:
    """The meaning of the columns of an encoder's output, [k] each."""

    column: np.ndarray
    """Index of the feature."""
    category: np.ndarray
    """Index among the feature's categories; -1 for a number."""


def encoded_features(fitted: ColumnTransformer) -> EncodedFeatures:
    """Trace the output of a fitted encoder (without scaling) back to the features."""
    columns: list[int] = []
    categories: list[int] = []
    for name, step, indices in fitted.transformers_:
        if name == NUMERIC:
            kept = np.array(indices)[
                ~np.isnan(step.statistics_.astype(np.float64))
            ]  # all missing: not imputed, dropped
            columns += kept.tolist()
            categories += [-1] * len(kept)
        elif name != "remainder":
            columns += list(indices) * len(step.categories_[0])
            categories += range(len(step.categories_[0]))
    return EncodedFeatures(np.array(columns), np.array(categories))


def categories_of(fitted: ColumnTransformer, index: int) -> tuple[str, ...]:
    """The categories of a feature in the order of their codes, the missing one first; empty for a number."""
    for name, step, indices in fitted.transformers_:
        if name not in (NUMERIC, "remainder") and list(indices) == [index]:
            return tuple(str(category) for category in step.categories_[0])
    return ()
