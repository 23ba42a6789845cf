"""Scores and decisions, and whose they are."""

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
    """The answer that a caller gets, and the version that gave it."""

    prediction: Prediction
    model: str
    version: str
    digest: str
    arm: str


def is_valid(scores: np.ndarray, count: int) -> bool:
    """Whether scores are probabilities, one a row."""
    if scores.shape != (count,):
        return False
    if count == 1:
        score: float = scores.item()
        return 0.0 <= score <= 1.0
    # NaN is the least and the most of what it is among, and neither.
    return bool(np.minimum.reduce(scores, initial=0.0) >= 0.0 and np.maximum.reduce(scores, initial=0.0) <= 1.0)
