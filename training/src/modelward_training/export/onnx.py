"""Scores of an ONNX graph."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import onnxruntime

from modelward_api.names import SCORE


class OnnxModel:
    """A graph in ONNX Runtime, on one thread, so that sums are the same on every machine."""

    def __init__(self, graph: bytes) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])

    def __call__(self, columns: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return scores, [n] of float32, of columns: numbers with NaN, texts with '' for missing."""
        feed = {}
        for node in self._session.get_inputs():
            values = columns[node.name].reshape(-1, 1)
            feed[node.name] = values.astype(object) if "string" in node.type else values.astype(np.float32)
        scores: np.ndarray = self._session.run([SCORE], feed)[0].reshape(-1)
        return scores
