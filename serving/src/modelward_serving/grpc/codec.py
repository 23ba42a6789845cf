"""The Open Inference Protocol over gRPC: decode requests, encode responses."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from google.protobuf.message import DecodeError

from modelward_api.names import SCORE
from modelward_api.resources.reasons import Reason
from modelward_serving._generated import open_inference_pb2 as pb
from modelward_serving.errors import RefusedError
from modelward_serving.inference.response import parameters
from modelward_serving.protocol.prediction import ServedPrediction
from modelward_serving.protocol.tensors import BinaryTensor, InferenceRequest, InputTensor, RequestedOutput
from modelward_serving.validation.request import ValidatedRows

CONTENTS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}
"""Field of a tensor's contents for each datatype."""


NO_SHARED_MEMORY = "shared memory is not supported; send the values in the request"
SHARED_MEMORY = "shared_memory_region"
"""Parameter that asks for shared memory."""
SMALL = 256 * 1024
"""Bytes of a message that is too small to need a check before parsing."""
MAX_WEIGHT = 2_000_000
"""Limit of a message's size in memory; one number weighs 1."""
_FIELD, _PART = 8, 16
"""Weight of a field, and of a nested message."""
_PARTS = {(5,), (5, 5), (6,), (4,), (5, 4), (6, 4)}
"""Field paths of nested messages: inputs, their contents, outputs, and the parameters of each."""
_VARINTS = {(5, 3), *((5, 5, field) for field in range(1, 6))}
"""Field paths of packed varints: shapes and contents."""
_FIXED = {(5, 5, 6): 4, (5, 5, 7): 8}
"""Field paths of packed numbers of fixed size."""
_CONTINUED = bytes(range(0x80, 0x100))


def parse(content: bytes) -> pb.ModelInferRequest:
    """Parse a request's message.

    Raises:
        RefusedError: 400 if the bytes are not a message, 413 TooManyValues if they would take a hundred times their size.
    """
    if len(content) > SMALL and _weight(content, 0, len(content), ()) > MAX_WEIGHT:
        rule = f"a message may have at most {MAX_WEIGHT} values, fields included; raw contents count as one value"
        raise RefusedError(413, Reason.TOO_MANY_VALUES, "inputs", rule)
    try:
        message: pb.ModelInferRequest = pb.ModelInferRequest.FromString(content)
    except DecodeError as error:
        raise RefusedError(
            400, Reason.NOT_A_REQUEST, "", "the message is not a valid inference.ModelInferRequest"
        ) from error
    return message


def decode(message: pb.ModelInferRequest) -> InferenceRequest:
    """Convert a message to a request.

    Raises:
        RefusedError: raw contents and inputs do not match, or a value is invalid.
    """
    raw = message.raw_input_contents
    if raw and len(raw) != len(message.inputs):
        raise RefusedError(
            400, Reason.NOT_A_REQUEST, "raw_input_contents", "must have one entry for each input, or none"
        )
    if not message.inputs:
        raise RefusedError(422, Reason.MISSING_INPUT, "inputs", "must have at least one input")
    tensors: list[Any] = []
    for index, given in enumerate(message.inputs):
        values = _parameters(given.parameters, f"inputs[{index}].") if given.parameters else None
        if raw:
            if given.HasField("contents") and given.contents.ListFields():
                rule = "must be empty if raw_input_contents is set"
                raise RefusedError(400, Reason.NOT_A_REQUEST, f"inputs[{index}].contents", rule)
            tensors.append(BinaryTensor(given.name, list(given.shape), given.datatype, raw[index], values))
        else:
            tensors.append(
                InputTensor(given.name, list(given.shape), given.datatype, _values(given, f"inputs[{index}]"), values)
            )
    outputs = [
        RequestedOutput(output.name, _parameters(output.parameters, f"outputs[{index}]."))
        for index, output in enumerate(message.outputs)
    ]
    return InferenceRequest(tensors, message.id or None, outputs or None, _parameters(message.parameters))


def _values(given: Any, where: str) -> list[Any]:
    field = CONTENTS.get(given.datatype)
    if field is None:
        raise RefusedError(422, Reason.WRONG_DATATYPE, f"{where}.datatype", f"must be one of {', '.join(CONTENTS)}")
    if len(given.contents.ListFields()) > 1:
        rule = f"must have values in {field} only"
        raise RefusedError(400, Reason.NOT_A_REQUEST, f"{where}.contents", rule)
    values = getattr(given.contents, field)
    if given.datatype != "BYTES":
        return list(values)
    try:
        return [value.decode() for value in values]
    except UnicodeDecodeError as error:
        raise RefusedError(422, Reason.WRONG_KIND, f"{where}.contents", "must be valid UTF-8") from error


def _parameters(found: Any, where: str = "") -> dict[str, Any] | None:
    if not found:
        return None
    if SHARED_MEMORY in found:
        raise RefusedError(501, Reason.UNSUPPORTED, f"{where}parameters.{SHARED_MEMORY}", NO_SHARED_MEMORY)
    return {name: getattr(value, value.WhichOneof("parameter_choice") or "bool_param") for name, value in found.items()}


def encode(rows: ValidatedRows, given: ServedPrediction, *, raw: bool) -> bytes:
    """Return the response's message: raw contents if the request had them, else typed contents."""
    response = pb.ModelInferResponse(
        model_name=given.model, model_version=given.version, id=rows.id or "", outputs=_outputs(rows, given, raw)
    )
    for name, value in parameters(rows, given).items():
        response.parameters[name].string_param = value
    if raw:
        answer = given.prediction
        response.raw_output_contents.extend(
            (answer.scores if output.name == SCORE else answer.decisions).tobytes() for output in rows.outputs
        )
    content: bytes = response.SerializeToString()
    return content


def _outputs(rows: ValidatedRows, given: ServedPrediction, raw: bool) -> Iterable[Any]:
    tensor = pb.ModelInferResponse.InferOutputTensor
    for output in rows.outputs:
        is_score = output.name == SCORE
        made = tensor(name=output.name, datatype="FP32" if is_score else "BOOL", shape=(rows.count, 1))
        if not raw and is_score:
            made.contents.fp32_contents.extend(given.prediction.scores.tolist())
        elif not raw:
            made.contents.bool_contents.extend(given.prediction.decisions.tolist())
        yield made


def _weight(content: bytes, at: int, end: int, where: tuple[int, ...]) -> int:
    """Return the weight of a message in memory, from its bytes alone; stop counting beyond the limit.

    Counting stops at invalid bytes: the parser refuses them.
    """
    total = 0
    while at < end and total <= MAX_WEIGHT:
        tag, at = _varint(content, at, end)
        place, kind = (*where, tag >> 3), tag & 7
        total += _FIELD
        if kind == 0:
            _, at = _varint(content, at, end)
        elif kind == 1 or kind == 5:
            at += 8 if kind == 1 else 4
        elif kind == 2:
            size, at = _varint(content, at, end)
            until = min(at + size, end)
            if place in _PARTS:
                total += _PART + _weight(content, at, until, place)
            elif place in _VARINTS:
                total += len(content[at:until].translate(None, _CONTINUED))
            elif place in _FIXED:
                total += (until - at) // _FIXED[place]
            at = until
        else:
            break
    return total


def _varint(content: bytes, at: int, end: int) -> tuple[int, int]:
    """Return a varint, and where it ends."""
    value = shift = 0
    while at < end and shift < 64:
        byte = content[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            break
        shift += 7
    return value, at
