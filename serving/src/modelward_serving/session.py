"""The model: one ONNX Runtime session on one thread."""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np
import onnxruntime

from modelward_api.bundle import Golden
from modelward_api.names import SCORE
from modelward_serving.bundle import Bundle

Columns = Mapping[str, np.ndarray]
"""By feature: [n, 1] of float32 (NaN for missing) or object (text, '' for missing)."""
WARM_UPS = 8


class UnservableError(Exception):
    """The bundle is what it should be, and cannot be served all the same."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class Session:
    """Scores rows."""

    def __init__(self, bundle: Bundle) -> None:
        """Load, warm up, and check the golden rows.

        Raises:
            UnservableError: ModelUnloadable, ParityFailed.
        """
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 4  # its messages may hold values
        try:
            self._session = onnxruntime.InferenceSession(bundle.graph, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise UnservableError(
                "ModelUnloadable", f"ONNX Runtime cannot load the model: {type(error).__name__}"
            ) from error
        self._check_inputs(bundle)
        self.slow = self._warm_up(bundle.golden, bundle) > 0.005

    def score(self, columns: Columns) -> np.ndarray:
        """P(positive) of each row, [n] of float32."""
        scores: np.ndarray = self._session.run([SCORE], columns)[0]
        return scores.reshape(-1)

    def _check_inputs(self, bundle: Bundle) -> None:
        wanted = {column.name for column in bundle.signature.inputs}
        present = {node.name for node in self._session.get_inputs()}
        if wanted != present or SCORE not in {node.name for node in self._session.get_outputs()}:
            message = "the graph's inputs and outputs are not those of the signature"
            raise UnservableError("ModelUnloadable", message)

    def _warm_up(self, golden: Golden, bundle: Bundle) -> float:
        columns = {c.name: as_column(c.kind, golden.inputs[c.name]) for c in bundle.signature.inputs}
        elapsed = 0.0
        try:
            for _ in range(WARM_UPS):
                started = time.perf_counter()
                scores = self.score(columns)
                elapsed = time.perf_counter() - started
        except Exception as error:
            raise UnservableError(
                "ModelUnloadable", f"the model fails on its golden rows: {type(error).__name__}"
            ) from error
        difference = np.abs(scores - np.array(golden.scores, dtype=np.float32))
        if scores.shape != (len(golden.scores),) or not np.all(difference <= golden.tolerance):
            message = "the model's scores of the golden rows are not those of its training"
            raise UnservableError("ParityFailed", message)
        return elapsed


def as_column(kind: str, values: tuple[float | str | None, ...]) -> np.ndarray:
    """Values as the graph takes them."""
    if kind == "categorical":
        return np.array(["" if v is None else v for v in values], dtype=object).reshape(-1, 1)
    return np.array([np.nan if v is None else v for v in values], dtype=np.float32).reshape(-1, 1)
