"""The parity check: the ONNX graph must give scikit-learn's scores."""

from __future__ import annotations

import numpy as np

from modelward_api.bundle.attribution import Score
from modelward_api.bundle.documents import ParityReport
from modelward_api.resources.reasons import Reason
from modelward_training.data.dataset import Dataset
from modelward_training.errors import InvalidInputError
from modelward_training.estimators.base import OPSET, FittedModel

TOLERANCE = 1e-5


def compare(score: Score, model: FittedModel, data: Dataset) -> ParityReport:
    """Compare the graph with scikit-learn on all rows.

    Raises:
        InvalidInputError: ParityFailed.
    """
    difference = float(np.max(np.abs(score(dict(data.columns)) - model.predict(data))))
    report = ParityReport(
        rows=len(data),
        max_abs_difference=difference,
        tolerance=TOLERANCE,
        passed=difference <= TOLERANCE,
        opset=OPSET,
    )
    if not report.passed:
        message = f"ONNX and scikit-learn differ by {difference:.2g} (tolerance {TOLERANCE:g}): choose other parameters"
        raise InvalidInputError(Reason.PARITY_FAILED, message, "spec.estimator")
    return report
