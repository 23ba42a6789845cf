"""Explanations: what each column of a request added to its score, by the pod's own model."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import numpy as np

from modelward_api.bundle.attribution import Attribution, attributor, linked
from modelward_api.bundle.documents import Explainer as Document
from modelward_api.bundle.documents import Golden, SampledExplainer, Signature
from modelward_api.names import SCORE
from modelward_api.resources.reasons import Reason
from modelward_serving.errors import RefusedError
from modelward_serving.model.predictor import Predictor
from modelward_serving.model.session import Columns, Session, as_columns
from modelward_serving.validation.request import ValidatedRows

MAX_ROWS = 256
TOLERANCE = 1e-4
"""Between a golden score and the sum of its base and contributions."""
CONTRIBUTIONS = "contributions"


class UnexplainableError(Exception):
    """The explainer does not explain this model."""


class Explainer:
    """Explains rows. Its contributions are checked against the golden scores."""

    def __init__(self, document: Document, session: Session, signature: Signature, golden: Golden) -> None:
        """Load the explainer and check it on the golden rows.

        Raises:
            UnexplainableError: base and contributions add up to other scores.
        """
        self.document = document
        self._attributor = attributor(document, session.score_columns)
        found = self.explain(session.by_name(*as_columns(signature, golden)))
        score = linked(document.link, found.base + found.contributions.sum(axis=1))
        if not np.all(np.abs(score - np.array(golden.scores)) <= TOLERANCE):
            raise UnexplainableError

    def explain(self, columns: Columns) -> Attribution:
        """Return the base, and contributions [n, features] in the signature's order."""
        return self._attributor.explain(columns)


class Explanations:
    """Explanations, computed in a thread so that predictions do not wait for them."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self._explainer: Explainer | None = None
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="explain")

    async def explain(self, rows: ValidatedRows, arm: str) -> bytes:
        """Explain rows; return the response as JSON.

        Raises:
            RefusedError: 404 NoExplainer, 422 TooManyRows.
        """
        if self._predictor.bundle.explainer is None:
            rule = "this version has no explainer; see the warnings of its TrainingJob, or train it again"
            raise RefusedError(404, Reason.NO_EXPLAINER, "", rule)
        if rows.count > MAX_ROWS:
            raise RefusedError(
                422, Reason.TOO_MANY_ROWS, "inputs[0].shape", f"an explanation may have at most {MAX_ROWS} rows"
            )
        return await asyncio.get_running_loop().run_in_executor(self._executor, self._answered, rows, arm)

    def _answered(self, rows: ValidatedRows, arm: str) -> bytes:
        explainer = self._ready()
        found = explainer.explain(self._predictor.session.by_name(rows.numbers, rows.texts))
        bundle = self._predictor.bundle
        outputs = [
            _output(CONTRIBUTIONS, found.contributions) | {"parameters": _parameters(explainer.document, found)},
            _output(SCORE, self._predictor.predict(rows).scores.reshape(-1, 1)),
        ]
        document: dict[str, Any] = {
            "model_name": self._predictor.model,
            "model_version": self._predictor.version,
            "outputs": outputs,
            "parameters": {"arm": arm, "digest": bundle.digest},
        }
        if rows.id is not None:
            document["id"] = rows.id
        return msgspec.json.encode(document)

    def _ready(self) -> Explainer:
        """Return the explainer, created on first use so that startup does not wait for it."""
        bundle = self._predictor.bundle
        if self._explainer is None and bundle.explainer is not None:
            session = self._predictor.session
            self._explainer = Explainer(bundle.explainer, session, bundle.signature, bundle.golden)
        if self._explainer is None:
            raise UnexplainableError
        return self._explainer


def _output(name: str, values: np.ndarray) -> dict[str, Any]:
    data = values.astype(np.float32).reshape(-1).tolist()
    return {"name": name, "shape": list(values.shape), "datatype": "FP32", "data": data}


def _parameters(document: Document, found: Attribution) -> dict[str, Any]:
    """Return the meaning of the contributions, and how base and sum become the score."""
    link = document.link
    parameters: dict[str, Any] = {
        "features": document.features,
        "base": found.base,
        "scale": "log-odds",
        "method": document.model.method,
        "stage": "calibrated" if isinstance(document.model, SampledExplainer) else "before-calibration",
        "calibration": link.kind,
    }
    if link.kind == "logistic":
        parameters |= {"slope": link.slope, "intercept": link.intercept}
    if found.standard_error is not None:
        parameters["standard_error"] = float(found.standard_error.max())
    return parameters
