"""The model as an ONNX Runtime session on one thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping

import numpy as np
import onnxruntime

from modelward_api.bundle.documents import Golden, Signature
from modelward_api.names import SCORE
from modelward_api.resources.reasons import Reason
from modelward_serving.model import graph_rewrite
from modelward_serving.model.bundle import Bundle

Columns = Mapping[str, np.ndarray]
"""By feature: [n, 1] of float32 (NaN for missing) or object (text, '' for missing)."""
WARM_UPS = 8
MAX_BOUND_ROWS = 256
MAX_BINDINGS = 8
"""Distinct row counts with bound memory; clients reuse few."""
SLOW = 0.005
"""Seconds for the golden rows above which a model runs in a thread."""


class UnservableError(Exception):
    """A verified bundle that cannot be served: a CamelCase reason and a sentence."""

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
        options.log_severity_level = 4  # its messages may contain values
        self._numeric = [c.name for c in bundle.signature.inputs if c.kind != "categorical"]
        self._categorical = [c.name for c in bundle.signature.inputs if c.kind == "categorical"]
        graph, self._merged = graph_rewrite.merged(bundle.graph, self._numeric)
        try:
            self._session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
        except Exception as error:
            raise UnservableError(
                Reason.MODEL_UNLOADABLE, f"ONNX Runtime cannot load the model: {type(error).__name__}"
            ) from error
        self._check_inputs()
        self._bound: dict[int, _Bound] = {}
        self.slow = self._warm_up(bundle.golden, bundle.signature) > SLOW

    def score(self, numbers: np.ndarray, texts: list[np.ndarray]) -> np.ndarray:
        """Return P(positive), [n] of float32, of [n, features] of float32 and [n, 1] of texts per categorical column."""
        count = len(numbers)
        if not self._categorical and count <= MAX_BOUND_ROWS and (bound := self._bound_to(count)) is not None:
            return bound.score(numbers)
        if self._merged is None:
            return self.score_columns(self.by_name(numbers, texts))
        return self._run(
            {self._merged: np.ascontiguousarray(numbers), **dict(zip(self._categorical, texts, strict=True))}
        )

    def score_columns(self, columns: Columns) -> np.ndarray:
        """The same, by name."""
        if self._merged is None:
            return self._run(columns)
        numbers = np.concatenate([columns[name] for name in self._numeric], axis=1)
        return self._run({self._merged: numbers, **{name: columns[name] for name in self._categorical}})

    def _run(self, inputs: Columns) -> np.ndarray:
        scores: np.ndarray = self._session.run([SCORE], inputs)[0]
        return scores.reshape(-1)

    def by_name(self, numbers: np.ndarray, texts: list[np.ndarray]) -> dict[str, np.ndarray]:
        """Return the inputs of score() as [n, 1] by column name."""
        columns = np.ascontiguousarray(numbers.T)
        found = {name: values.reshape(-1, 1) for name, values in zip(self._numeric, columns, strict=True)}
        found.update(zip(self._categorical, texts, strict=True))
        return found

    def _bound_to(self, count: int) -> _Bound | None:
        if count not in self._bound and len(self._bound) < MAX_BINDINGS:
            self._bound[count] = _Bound(self._session, self._merged, self._numeric, count)
        return self._bound.get(count)

    def _check_inputs(self) -> None:
        wanted = {*([self._merged] if self._merged else self._numeric), *self._categorical}
        present = {node.name for node in self._session.get_inputs()}
        if wanted != present or SCORE not in {node.name for node in self._session.get_outputs()}:
            message = "the graph's inputs and outputs differ from the signature's"
            raise UnservableError(Reason.MODEL_UNLOADABLE, message)

    def _warm_up(self, golden: Golden, signature: Signature) -> float:
        numbers, texts = as_columns(signature, golden)
        elapsed = 0.0
        try:
            for _ in range(WARM_UPS):
                started = time.perf_counter()
                scores = self.score(numbers, texts)
                elapsed = time.perf_counter() - started
            first = self.score(numbers[:1], [text[:1] for text in texts])
        except Exception as error:
            raise UnservableError(
                Reason.MODEL_UNLOADABLE, f"the model fails on its golden rows: {type(error).__name__}"
            ) from error
        expected = np.array(golden.scores, dtype=np.float32)
        if scores.shape != expected.shape or not np.all(np.abs(scores - expected) <= golden.tolerance):
            message = "the scores of the golden rows differ from those at training"
            raise UnservableError(Reason.PARITY_FAILED, message)
        if first.shape != (1,) or not np.abs(first[0] - expected[0]) <= golden.tolerance:
            raise UnservableError(Reason.PARITY_FAILED, "the model scores a row differently alone than in a batch")
        return elapsed


class _Bound:
    """Memory bound to the session once, for a fixed number of rows.

    ONNX Runtime cannot bind texts.
    """

    def __init__(self, session: onnxruntime.InferenceSession, merged: str | None, names: list[str], count: int) -> None:
        self._session = session
        self._binding = session.io_binding()
        self._lock = threading.Lock()
        if merged is not None:
            self._numbers = rows = np.zeros((count, len(names)), dtype=np.float32)
            self._binding.bind_input(merged, "cpu", 0, np.float32, list(rows.shape), rows.ctypes.data)
        else:
            columns = np.zeros((len(names), count), dtype=np.float32)
            self._numbers = columns.T
            for name, column in zip(names, columns, strict=True):
                self._binding.bind_input(name, "cpu", 0, np.float32, [count, 1], column.ctypes.data)
        # The graph determines the output's shape, and a wrong one must be noticed: memory is bound for the output of zeros, and
        # ONNX Runtime fails if other numbers give another shape.
        self._binding.bind_output(SCORE)
        session.run_with_iobinding(self._binding)
        made = self._binding.get_outputs()[0].numpy()
        self._scores = np.zeros(made.size, made.dtype)
        self._binding.bind_output(SCORE, "cpu", 0, made.dtype, list(made.shape), self._scores.ctypes.data)

    def score(self, numbers: np.ndarray) -> np.ndarray:
        """Score rows, as Session.score() does."""
        with self._lock:
            self._numbers[:] = numbers
            self._session.run_with_iobinding(self._binding)
            return self._scores.copy()


def as_columns(signature: Signature, golden: Golden) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return the golden rows as the session takes them."""
    numeric = [golden.inputs[c.name] for c in signature.inputs if c.kind != "categorical"]
    categorical = [golden.inputs[c.name] for c in signature.inputs if c.kind == "categorical"]
    numbers = np.array(numeric, dtype=np.float32).reshape(len(numeric), len(golden.scores)).T
    texts = [np.array([v or "" for v in values], dtype=object).reshape(-1, 1) for values in categorical]
    return numbers, texts
