"""Golden rows: synthetic rows with the scores that the graph gives them, for serving to verify."""

from __future__ import annotations

import numpy as np

from modelward_api.bundle.attribution import Score
from modelward_api.bundle.documents import Golden, ReferenceProfile
from modelward_api.resources.columns import Column
from modelward_training.data.dataset import Dataset
from modelward_training.reference.profile import plausible_numbers

ROWS = 8


def golden_rows(score: Score, data: Dataset, profile: ReferenceProfile) -> Golden:
    """Draw rows from bin limits and categories, never from patients, and score them."""
    draw = np.random.default_rng(0)
    inputs: dict[str, tuple[float | str | None, ...]] = {}
    for column, reference in zip(data.features, profile.features, strict=True):
        choices: list[float | str | None] = [*(reference.categories or plausible_numbers(column, reference))]
        drawn = [choices[int(i)] for i in draw.integers(0, len(choices), ROWS)]
        if column.nullable:
            drawn[-1] = None
        inputs[column.name] = tuple(drawn)
    scores = score({column.name: _as_array(column, inputs[column.name]) for column in data.features})
    return Golden(inputs=inputs, scores=tuple(float(s) for s in scores))


def _as_array(column: Column, values: tuple[float | str | None, ...]) -> np.ndarray:
    """A column's values as the graph takes them: missing is NaN or the empty text."""
    if column.kind == "categorical":
        return np.array(["" if v is None else v for v in values], dtype=object)
    return np.array([np.nan if v is None else v for v in values], dtype=np.float64)
