"""The parity check: the ONNX graph must give scikit-learn's scores."""

from __future__ import annotations

import numpy as np

from modelward_api.bundle.attribution import Score
from modelward_api.bundle.documents import ParityReport
from modelward_api.resources.reasons import Reason
from modelward_training.data.dataset import Dataset
from modelward_training.errors import InvalidInputError
from modelward_training.estimators.base import FittedModel
from modelward_training.estimators.graph import OPSET
from modelward_training.export.probes import probing_rows

TOLERANCE = 1e-6


def compare(score: Score, model: FittedModel, data: Dataset) -> ParityReport:
    """Compare the graph with scikit-learn on all rows, and on rows with missing, unknown and extreme values and at edges.

    Raises:
        InvalidInputError: ParityFailed.
    """
    asked = (data, probing_rows(model, data))
    difference = float(np.max([np.max(np.abs(score(dict(rows.columns)) - model.predict(rows))) for rows in asked]))
    report = ParityReport(
        rows=sum(len(rows) for rows in asked),
        max_abs_difference=difference,
        tolerance=TOLERANCE,
        passed=difference <= TOLERANCE,
        opset=OPSET,
    )
    if not report.passed:
        message = f"ONNX and scikit-learn differ by {difference:.2g} (tolerance {TOLERANCE:g}): choose other parameters"
        raise InvalidInputError(Reason.PARITY_FAILED, message, "spec.estimator")
    return report
