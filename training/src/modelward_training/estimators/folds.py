"""Folds of the training rows, for everything that is learned from rows other than the one it is applied to."""

from __future__ import annotations

import numpy as np

from modelward_training.data import split
from modelward_training.data.dataset import Dataset
from modelward_training.errors import InvalidInputError

FOLDS = 5


def folds(label: np.ndarray, group: np.ndarray | None, seed: int) -> list[split.Fold]:
    """Return pairs of indices: a fold's rows come second, all others first. All rows of a group are in one fold."""
    try:
        return split.folds(Dataset((), {}, label, None, group), "random", FOLDS, seed)
    except InvalidInputError:  # fewer patients than folds, or one patient has all events
        return split.folds(Dataset((), {}, label, None, None), "random", FOLDS, seed)
