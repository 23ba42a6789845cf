"""The model of a pod: validation, scoring and counting."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from modelward_api.resources.reasons import Reason
from modelward_serving.counting.profile import ProfileCounter
from modelward_serving.counting.subgroups import Strata
from modelward_serving.errors import RefusedError
from modelward_serving.model.bundle import Bundle
from modelward_serving.model.session import Session
from modelward_serving.protocol.prediction import Prediction, is_valid
from modelward_serving.protocol.tensors import InferenceRequest, InputTensor, tell_booleans
from modelward_serving.validation.request import RequestValidator, ValidatedRows


class InvalidScoreError(Exception):
    """The model returned something other than a probability."""


class Predictor:
    """The model of this pod.

    Args:
        bundle: A verified bundle.
        by_stratum: Whether to count the rows of each stratum separately, too.
    """

    def __init__(self, bundle: Bundle, *, by_stratum: bool = True) -> None:
        self.bundle = bundle
        self.model = bundle.signature.model
        self.version = bundle.signature.version
        self.session = Session(bundle)
        self.validator = RequestValidator(bundle.signature)
        numeric = [column.name for column in self.validator.numeric]
        categorical = [column.name for column in self.validator.categorical]
        self.strata = Strata(bundle.signature if by_stratum else bundle.signature.model_copy(update={"subgroups": ()}))
        self.profile = ProfileCounter(bundle.reference, numeric, categorical, self.strata)
        self._threshold = np.float32(bundle.signature.operating_threshold)

    def predict(self, rows: ValidatedRows) -> Prediction:
        """Score checked rows.

        Raises:
            InvalidScoreError: a score is not in [0, 1], or there is not one per row.
        """
        scores = self.session.score(rows.numbers, rows.texts)
        if rows.abstained:
            return self._partly(rows, scores)
        if not is_valid(scores, rows.count):
            raise InvalidScoreError
        return Prediction(scores, self.decide(scores))

    def decide(self, scores: np.ndarray) -> np.ndarray:
        """Return whether each score reaches the operating threshold."""
        decisions: np.ndarray = scores >= self._threshold
        return decisions

    def _partly(self, rows: ValidatedRows, scores: np.ndarray) -> Prediction:
        left_out = np.zeros(rows.count, dtype=bool)
        left_out[list(rows.abstained)] = True
        if scores.shape != left_out.shape or not is_valid(scores[~left_out], int((~left_out).sum())):
            raise InvalidScoreError
        scores = np.where(left_out, np.float32(np.nan), scores)
        return Prediction(scores, scores >= self._threshold)

    def checked(self, inputs: Mapping[str, list[Any]]) -> ValidatedRows:
        """Validate rows given by column, as a request of the protocol is validated.

        Raises:
            RefusedError: the rows are invalid.
        """
        kinds = {name: column.kind for name, column in self.validator.columns.items()}
        tensors: list[Any] = [
            InputTensor(name, [len(values), 1], "BYTES" if kinds.get(name) == "categorical" else "FP64", values)
            for name, values in inputs.items()
        ]
        if not tensors:
            raise RefusedError(422, Reason.MISSING_INPUT, "inputs", "must have at least one input")
        tell_booleans(tensors)
        return self.validator.rows(InferenceRequest(tensors))

    def by_column(self, inputs: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
        """Score rows given by column."""
        answer = self.predict(self.checked(inputs))
        return {"score": answer.scores.tolist(), "decision": answer.decisions.tolist()}
