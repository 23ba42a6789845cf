"""Scores and decisions, and whose they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True)
class Answer:
    """Scores and decisions of one version, by row; a row that the model abstained from has NaN and False."""

    scores: np.ndarray
    """[n] of float32."""
    decisions: np.ndarray
    """[n] of bool."""


@dataclass(frozen=True, slots=True)
class Given:
    """The answer that a caller gets, and the version that gave it."""

    answer: Answer
    model: str
    version: str
    digest: str
    arm: str


def is_valid(scores: np.ndarray, count: int) -> bool:
    """Whether scores are probabilities, one a row."""
    # One comparison chain over all rows; false for NaN, too.
    return scores.shape == (count,) and bool(((scores >= 0) & (scores <= 1)).all())
