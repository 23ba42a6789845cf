"""One verified model, ready to score and to count."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from modelward_serving.bundle import Bundle
from modelward_serving.counters import ProfileCounter
from modelward_serving.protocol import Answer, Checker, Rows, is_valid
from modelward_serving.session import Session


class InvalidScoreError(Exception):
    """The model gave something that is no probability."""


class Predictor:
    """The model of this pod."""

    def __init__(self, bundle: Bundle) -> None:
        self.bundle = bundle
        self.model = bundle.signature.model
        self.version = bundle.signature.version
        self.session = Session(bundle)
        self.checker = Checker(bundle.signature)
        self.profile = ProfileCounter(bundle.reference)
        self._threshold = np.float32(bundle.signature.operating_threshold)

    def answer(self, rows: Rows) -> Answer:
        """Score checked rows.

        Raises:
            InvalidScoreError: not a number, not in [0, 1], or not one a row.
        """
        scores = self.session.score(rows.columns)
        if not is_valid(scores, rows.count):
            raise InvalidScoreError
        return Answer(scores, self.decide(scores))

    def decide(self, scores: np.ndarray) -> np.ndarray:
        """Whether each score is positive at the operating threshold."""
        decisions: np.ndarray = scores >= self._threshold
        return decisions

    def by_column(self, inputs: dict[str, list[Any]]) -> dict[str, list[Any]]:
        """Score rows given by column, through the same checks as a request of the protocol."""
        kinds = {column.name: column.kind for column in self.bundle.signature.inputs}
        tensors = [
            {
                "name": name,
                "shape": [len(values), 1],
                "datatype": "BYTES" if kinds.get(name) == "categorical" else "FP64",
                "data": values,
            }
            for name, values in inputs.items()
        ]
        answer = self.answer(self.checker.rows(json.dumps({"inputs": tensors}).encode()))
        return {"score": answer.scores.tolist(), "decision": answer.decisions.tolist()}
