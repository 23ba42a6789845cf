"""Predictions: scores and decisions."""

from __future__ import annotations

import msgspec
import numpy as np


class Prediction(msgspec.Struct, frozen=True):
    """Scores and decisions of one version, by row; a row that the model abstained from has NaN and False."""

    scores: np.ndarray
    """[n] of float32."""
    decisions: np.ndarray
    """[n] of bool."""


class ServedPrediction(msgspec.Struct, frozen=True):
    """A prediction, with the version and the arm that served it."""

    prediction: Prediction
    model: str
    version: str
    digest: str
    arm: str


def is_valid(scores: np.ndarray, count: int) -> bool:
    """Return whether scores are probabilities, one per row."""
    if scores.shape != (count,):
        return False
    if count == 1:
        score: float = scores.item()
        return 0.0 <= score <= 1.0
    # A NaN makes minimum and maximum NaN, and both comparisons false.
    return bool(np.minimum.reduce(scores, initial=0.0) >= 0.0 and np.maximum.reduce(scores, initial=0.0) <= 1.0)
