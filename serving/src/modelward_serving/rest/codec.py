"""The Open Inference Protocol over HTTP: JSON, and binary tensors behind it."""

from __future__ import annotations

from typing import Any

import msgspec

from modelward_api.names import SCORE
from modelward_serving.errors import RefusedError
from modelward_serving.inference.response import parameters
from modelward_serving.protocol.json_limits import SMALL, check_number, most_values
from modelward_serving.protocol.prediction import Given
from modelward_serving.protocol.tensors import BinaryTensor, InferenceRequest
from modelward_serving.rest import matrix_json
from modelward_serving.validation.request import Rows

_decoder = msgspec.json.Decoder(InferenceRequest)
_encoder = msgspec.json.Encoder()


def decode(
    body: bytes | bytearray, json_length: bytes | None = None, most: int = most_values(1000)
) -> InferenceRequest:
    """A request's document; its binary tensors, if any, follow after ``json_length`` bytes.

    Args:
        body: Not compressed any more.
        json_length: Of the document, if more follows; as the header says it.
        most: Values that the document may have: see most_values().

    Raises:
        RefusedError: 400 when it is no request, 413 when its document has more values than the largest request.
    """
    if json_length is None:
        return matrix_json.read(body) or _document(body, most)
    if not json_length.isdigit() or int(json_length) > len(body):
        rule = "the length in bytes of the JSON that the body begins with"
        raise RefusedError(400, "NotARequest", "Inference-Header-Content-Length", rule)
    view, at = memoryview(body), int(json_length)
    request = _document(view[:at], most)
    inputs: list[Any] = request.inputs
    for index, tensor in enumerate(inputs):
        size = (tensor.parameters or {}).pop("binary_data_size", None)
        if size is None:
            continue
        if type(size) is not int or not 0 <= size <= len(body) - at:
            field = f"inputs[{index}].parameters.binary_data_size"
            raise RefusedError(400, "NotARequest", field, "the tensors' sizes must add up to the body's")
        content = view[at : at + size]
        inputs[index] = BinaryTensor(tensor.name, tensor.shape, tensor.datatype, content, tensor.parameters)
        at += size
    if at != len(body):
        raise RefusedError(400, "NotARequest", "inputs", "the tensors' sizes must add up to the body's")
    return request


def _document(content: bytes | bytearray | memoryview, most: int) -> InferenceRequest:
    if len(content) > SMALL:
        check_number(content, most)
    try:
        request = _decoder.decode(content)
    except msgspec.ValidationError as error:
        text = str(error)
        field = text.rpartition("`$")[2].rstrip("`").lstrip(".") if "`$" in text else ""
        raise RefusedError(400, "NotARequest", field, text.partition(" - at")[0]) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RefusedError(400, "NotJson", "", "the body is no JSON document") from error
    if not request.inputs:
        raise RefusedError(422, "MissingInput", "inputs", "at least one")
    return request


class Encoded(msgspec.Struct, frozen=True):
    """A response's body, and how much of it is JSON when binary tensors follow."""

    content: bytes
    json_length: int | None = None


def encode(rows: Rows, given: Given) -> Encoded:
    """The response to a request."""
    shape = [rows.count, 1]
    outputs: list[dict[str, Any]] = []
    binary = b""
    for output in rows.outputs:
        is_score = output.name == SCORE
        values = given.answer.scores if is_score else given.answer.decisions
        made = {"name": output.name, "shape": shape, "datatype": "FP32" if is_score else "BOOL"}
        if output.binary:
            raw = values.tobytes()
            outputs.append({**made, "parameters": {"binary_data_size": len(raw)}})
            binary += raw
        else:
            outputs.append({**made, "data": values.tolist()})
    document: dict[str, Any] = {"model_name": given.model, "model_version": given.version}
    if rows.id is not None:
        document["id"] = rows.id
    document["parameters"] = parameters(rows, given)
    document["outputs"] = outputs
    content = _encoder.encode(document)
    return Encoded(content + binary, len(content)) if binary else Encoded(content)
