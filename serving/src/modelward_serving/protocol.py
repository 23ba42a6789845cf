"""The Open Inference Protocol, version 2, over JSON: decoded into columns, checked against the signature, encoded again.

An error says which field breaks which rule; it never repeats a value.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from modelward_api.bundle import Signature
from modelward_api.columns import Column
from modelward_api.names import DECISION, SCORE
from modelward_serving import rules

MOST_ROWS = 10_000
LARGEST_BODY = 16 * 1024 * 1024
NUMBERS = frozenset(
    {"FP16", "FP32", "FP64", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64", "BOOL"}
)


class RefusedError(Exception):
    """A request that is wrong, and where."""

    def __init__(self, status: int, reason: str, field: str, rule: str) -> None:
        super().__init__(rule)
        self.status = status
        self.reason = reason
        self.field = field
        self.rule = rule

    def body(self) -> bytes:
        """The error as JSON."""
        document = {"error": f"{self.field}: {self.rule}" if self.field else self.rule, "reason": self.reason}
        return msgspec.json.encode({**document, "field": self.field})


class InputTensor(msgspec.Struct):
    """One input of a request."""

    name: str
    shape: list[int]
    datatype: str
    data: list[Any]
    parameters: dict[str, Any] | None = None


class RequestedOutput(msgspec.Struct):
    """One output that the caller wants."""

    name: str
    parameters: dict[str, Any] | None = None


class InferenceRequest(msgspec.Struct):
    """A request's document."""

    inputs: list[InputTensor]
    id: str | None = None
    outputs: list[RequestedOutput] | None = None
    parameters: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Rows:
    """A checked request."""

    columns: dict[str, np.ndarray]
    count: int
    id: str | None
    outputs: tuple[str, ...]


_decoder = msgspec.json.Decoder(InferenceRequest)
_encoder = msgspec.json.Encoder()


class Checker:
    """Checks requests against one signature."""

    def __init__(self, signature: Signature) -> None:
        self._columns = {column.name: column for column in signature.inputs}

    def rows(self, body: bytes) -> Rows:
        """The columns of a request.

        Raises:
            RefusedError: 400 when it is no request, 422 when it is not one of this model.
        """
        request = self._decode(body)
        columns: dict[str, np.ndarray] = {}
        count = self._count(request.inputs)
        for index, tensor in enumerate(request.inputs):
            where = f"inputs[{index}]"
            column = self._columns.get(tensor.name)
            if column is None:
                known = ", ".join(self._columns)
                raise RefusedError(422, "UnknownInput", f"{where}.name", f"the model has no such input; it has {known}")
            if column.name in columns:
                raise RefusedError(422, "DuplicateInput", f"{where}.name", f"input {column.name} is given twice")
            columns[column.name] = _column(column, tensor, where, count)
        if missing := [name for name in self._columns if name not in columns]:
            raise RefusedError(422, "MissingInput", "inputs", f"missing: {', '.join(missing)}")
        return Rows(columns, count, request.id, self._outputs(request))

    def _decode(self, body: bytes) -> InferenceRequest:
        if len(body) > LARGEST_BODY:
            raise RefusedError(413, "TooLarge", "", f"a body may have {LARGEST_BODY} bytes at most")
        try:
            return _decoder.decode(body)
        except msgspec.ValidationError as error:
            text = str(error)
            field = text.rpartition("`$")[2].rstrip("`").lstrip(".") if "`$" in text else ""
            raise RefusedError(400, "NotARequest", field, text.partition(" - at")[0]) from error
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise RefusedError(400, "NotJson", "", "the body is no JSON document") from error

    def _count(self, inputs: Sequence[InputTensor]) -> int:
        if not inputs:
            raise RefusedError(422, "MissingInput", "inputs", f"missing: {', '.join(self._columns)}")
        shape = inputs[0].shape
        count = shape[0] if shape else 0
        if not 1 <= count <= MOST_ROWS:
            raise RefusedError(422, "TooManyRows", "inputs[0].shape", f"from 1 to {MOST_ROWS} rows a request")
        return count

    def _outputs(self, request: InferenceRequest) -> tuple[str, ...]:
        if not request.outputs:
            return (SCORE, DECISION)
        for index, output in enumerate(request.outputs):
            if output.name not in (SCORE, DECISION):
                rule = f"the model gives {SCORE} and {DECISION}"
                raise RefusedError(422, "UnknownOutput", f"outputs[{index}].name", rule)
        return tuple(output.name for output in request.outputs)


def _column(column: Column, tensor: InputTensor, where: str, count: int) -> np.ndarray:
    if tensor.shape not in ([count], [count, 1]):
        rule = f"shape must be [{count}, 1] or [{count}], as of the first input"
        raise RefusedError(422, "WrongShape", f"{where}.shape", rule)
    values = tensor.data
    if values and isinstance(values[0], list):
        values = [v for row in values for v in (row if isinstance(row, list) else [row])]
    if len(values) != count:
        raise RefusedError(422, "WrongShape", f"{where}.data", f"as many values as the shape says: {count}")
    read = _texts if column.kind == "categorical" else _numbers
    return read(column, tensor.datatype, values, where)


def _numbers(column: Column, datatype: str, values: list[Any], where: str) -> np.ndarray:
    if datatype not in NUMBERS:
        raise RefusedError(
            422, "WrongDatatype", f"{where}.datatype", f"{column.name} is {column.kind}: FP32, for example"
        )
    for value in values:
        if value is not None and not isinstance(value, int | float):
            raise RefusedError(422, "WrongKind", f"{where}.data", rules.no_number(column))
    try:
        found = np.array(values, dtype=np.float32)
    except (OverflowError, ValueError) as error:
        raise RefusedError(422, "WrongKind", f"{where}.data", "numbers that fit FP32") from error
    _refuse(rules.of_numbers(column, found), where)
    return found.reshape(-1, 1)


def _texts(column: Column, datatype: str, values: list[Any], where: str) -> np.ndarray:
    if datatype != "BYTES":
        raise RefusedError(422, "WrongDatatype", f"{where}.datatype", f"{column.name} is categorical: BYTES")
    lengths = [0 if v is None else len(v) if isinstance(v, str) else rules.NO_TEXT for v in values]
    _refuse(rules.of_texts(column, np.array(lengths, dtype=np.int64)), where)
    found = np.empty((len(values), 1), dtype=object)
    found[:, 0] = ["" if v is None else v for v in values]
    return found


def _refuse(faults: Iterator[rules.Fault], where: str) -> None:
    """One wrong row refuses the whole request."""
    for fault in faults:
        raise RefusedError(422, fault.reason, f"{where}.data", fault.rule)


@dataclass(frozen=True, slots=True)
class Answer:
    """Scores and decisions of one version, by row."""

    scores: np.ndarray
    decisions: np.ndarray


def encode(rows: Rows, answer: Answer, model: str, version: str, digest: str, arm: str) -> bytes:
    """The response's document."""
    shape = [rows.count, 1]
    outputs = []
    for name in rows.outputs:
        if name == SCORE:
            outputs.append({"name": SCORE, "shape": shape, "datatype": "FP32", "data": answer.scores.tolist()})
        else:
            outputs.append({"name": DECISION, "shape": shape, "datatype": "BOOL", "data": answer.decisions.tolist()})
    document: dict[str, Any] = {
        "model_name": model,
        "model_version": version,
        "outputs": outputs,
        "parameters": {"arm": arm, "digest": digest},
    }
    if rows.id is not None:
        document["id"] = rows.id
    return _encoder.encode(document)


class OutputTensor(msgspec.Struct):
    """One output of another server's response."""

    name: str
    shape: list[int]
    datatype: str
    data: list[Any]


class InferenceResponse(msgspec.Struct):
    """Another server's response."""

    outputs: list[OutputTensor]


_responses = msgspec.json.Decoder(InferenceResponse)


def parse_answer(body: bytes, count: int) -> Answer | None:
    """A challenger's answer; None if it is none: not JSON, a wrong shape, not a probability."""
    try:
        outputs = {output.name: output for output in _responses.decode(body).outputs}
        scores = np.array(outputs[SCORE].data, dtype=np.float32).reshape(-1)
        decisions = np.array(outputs[DECISION].data, dtype=bool).reshape(-1)
    except (msgspec.MsgspecError, KeyError, ValueError, TypeError, OverflowError):
        return None
    if scores.shape != (count,) or decisions.shape != (count,):
        return None
    if not np.all((scores >= 0) & (scores <= 1)):  # false for NaN, too
        return None
    return Answer(scores, decisions)


def is_valid(scores: np.ndarray, count: int) -> bool:
    """Whether scores are probabilities, one a row."""
    return scores.shape == (count,) and bool(np.all((scores >= 0) & (scores <= 1)))
