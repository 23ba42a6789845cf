"""The Open Inference Protocol over gRPC: its messages into requests, and answers into its messages."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from google.protobuf.message import DecodeError

from modelward_api.names import SCORE
from modelward_serving._generated import open_inference_pb2 as pb
from modelward_serving.answer import Given
from modelward_serving.checker import Rows
from modelward_serving.rest import parameters
from modelward_serving.tensors import BinaryTensor, InferenceRequest, InputTensor, RefusedError, RequestedOutput

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
"""Where a datatype's values stand in a tensor's contents."""


def parse(content: bytes) -> pb.ModelInferRequest:
    """A request's message.

    Raises:
        RefusedError: the bytes are none.
    """
    try:
        return pb.ModelInferRequest.FromString(content)
    except DecodeError as error:
        raise RefusedError(400, "NotARequest", "", "the message is no inference.ModelInferRequest") from error


def decode(message: pb.ModelInferRequest) -> InferenceRequest:
    """The request in a message.

    Raises:
        RefusedError: 400 when raw contents and inputs do not match.
    """
    raw = message.raw_input_contents
    if raw and len(raw) != len(message.inputs):
        raise RefusedError(400, "NotARequest", "raw_input_contents", "one for each input, or none at all")
    if not message.inputs:
        raise RefusedError(422, "MissingInput", "inputs", "at least one")
    tensors: list[Any] = []
    for index, given in enumerate(message.inputs):
        said = _parameters(given.parameters)
        if raw:
            tensors.append(BinaryTensor(given.name, list(given.shape), given.datatype, raw[index], said))
        else:
            tensors.append(
                InputTensor(given.name, list(given.shape), given.datatype, _values(given, f"inputs[{index}]"), said)
            )
    outputs = [RequestedOutput(output.name, _parameters(output.parameters)) for output in message.outputs]
    return InferenceRequest(tensors, message.id or None, outputs or None, _parameters(message.parameters))


def _values(given: Any, where: str) -> list[Any]:
    field = CONTENTS.get(given.datatype)
    if field is None:
        raise RefusedError(422, "WrongDatatype", f"{where}.datatype", f"one of {', '.join(CONTENTS)}")
    values = getattr(given.contents, field)
    if given.datatype != "BYTES":
        return list(values)
    try:
        return [value.decode() for value in values]
    except UnicodeDecodeError as error:
        raise RefusedError(422, "WrongKind", f"{where}.contents", "texts are UTF-8") from error


def _parameters(found: Any) -> dict[str, Any] | None:
    if not found:
        return None
    return {name: getattr(value, value.WhichOneof("parameter_choice") or "bool_param") for name, value in found.items()}


def encode(rows: Rows, given: Given, *, raw: bool) -> bytes:
    """The response's message: raw contents to those who sent raw contents, typed ones to others."""
    response = pb.ModelInferResponse(
        model_name=given.model, model_version=given.version, id=rows.id or "", outputs=_outputs(rows, given, raw)
    )
    for name, value in parameters(rows, given).items():
        response.parameters[name].string_param = value
    if raw:
        answer = given.answer
        response.raw_output_contents.extend(
            (answer.scores if output.name == SCORE else answer.decisions).tobytes() for output in rows.outputs
        )
    content: bytes = response.SerializeToString()
    return content


def _outputs(rows: Rows, given: Given, raw: bool) -> Iterable[Any]:
    tensor = pb.ModelInferResponse.InferOutputTensor
    for output in rows.outputs:
        is_score = output.name == SCORE
        made = tensor(name=output.name, datatype="FP32" if is_score else "BOOL", shape=(rows.count, 1))
        if not raw and is_score:
            made.contents.fp32_contents.extend(given.answer.scores.tolist())
        elif not raw:
            made.contents.bool_contents.extend(given.answer.decisions.tolist())
        yield made
