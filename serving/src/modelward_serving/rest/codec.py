"""The Open Inference Protocol over HTTP: JSON, and binary tensors behind it."""

from __future__ import annotations

import zlib
from typing import Any

import msgspec
import numpy as np

from modelward_api.names import DECISION, SCORE
from modelward_serving.protocol.prediction import Answer, Given, is_valid
from modelward_serving.protocol.tensors import (
    LARGEST_BODY,
    MOST_ROWS,
    BinaryTensor,
    Forward,
    InferenceRequest,
    RefusedError,
)
from modelward_serving.rest import matrix_json
from modelward_serving.validation.request import Rows

JSON_HEAD = b"content-type: application/json\r\n"
ENCODING = b"content-encoding"
JSON_LENGTH = b"inference-header-content-length"
SMALL = 64 * 1024
"""Bytes of a document that can become no more than a few megabytes."""
_decoder = msgspec.json.Decoder(InferenceRequest)
_encoder = msgspec.json.Encoder()


def most_values(columns: int) -> int:
    """How many values the document of a model with so many columns may have, with room for what is said beside them."""
    return MOST_ROWS * max(columns, 1) + 4096


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


def check_number(content: bytes | bytearray | memoryview, most: int) -> None:
    """Refuse what would become more objects than any request has, before it does: each takes up to 30 times its bytes.

    A category may hold a comma, so twice as many of them are let through as there are values.

    Raises:
        RefusedError: 413 TooManyValues.
    """
    if len(content) <= SMALL:
        return
    if isinstance(content, memoryview):
        content = bytes(content)
    if content.count(b",") > 2 * most or content.count(b"[") + content.count(b"{") > most:
        rule = f"a request may have {MOST_ROWS} rows at most, and has more values than fit in those"
        raise RefusedError(413, "TooManyValues", "inputs", rule)


def plain(body: bytes | bytearray, encoding: bytes | None) -> bytes | bytearray:
    """A body, without the encoding that Content-Encoding names.

    Raises:
        RefusedError: see decompress().
    """
    if encoding is None or encoding.strip().lower() == b"identity":
        return body
    return decompress(bytes(body), encoding)


def decompress(body: bytes, encoding: bytes, largest: int = LARGEST_BODY) -> bytes:
    """A body in the encoding that Content-Encoding names; names are the same in any case (RFC 9110, 8.4.1).

    Raises:
        RefusedError: another encoding, damaged, or too large when unpacked.
    """
    encoding = encoding.strip().lower().removeprefix(b"x-")
    if encoding not in (b"gzip", b"deflate"):
        raise RefusedError(415, "UnsupportedEncoding", "Content-Encoding", "gzip, deflate or identity")
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 32)
    try:
        content = unpacker.decompress(body, largest)
    except zlib.error as error:
        raise RefusedError(400, "NotARequest", "Content-Encoding", f"the body is no {encoding.decode()}") from error
    if unpacker.unconsumed_tail:
        raise RefusedError(413, "TooLarge", "", f"a body may have {largest} bytes at most")
    if not unpacker.eof:
        raise RefusedError(
            400, "NotARequest", "Content-Encoding", f"the body is no {encoding.decode()}: it ends too early"
        )
    return content


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


def parameters(rows: Rows, given: Given) -> dict[str, str]:
    """What is said of an answer beside its tensors: texts, as the protocol wants them."""
    said = {"arm": given.arm, "digest": given.digest}
    if rows.flagged:
        said["out_of_range"] = ",".join(rows.flagged)
    if rows.abstained:
        said["abstained"] = ",".join(map(str, rows.abstained))
        said["abstained_because"] = "; ".join(rows.reasons)
    return said


class OutputTensor(msgspec.Struct):
    """What is read of one output of another server's response."""

    name: str
    data: list[Any]


class InferenceResponse(msgspec.Struct):
    """Another server's response."""

    outputs: list[OutputTensor]


_responses = msgspec.json.Decoder(InferenceResponse)


def parse_answer(body: bytes, count: int) -> Answer | None:
    """A challenger's answer; None if it is none: not JSON, not as many values as rows, not a probability."""
    try:
        outputs = {output.name: output.data for output in _responses.decode(body).outputs}
        scores = np.array(outputs[SCORE], dtype=np.float32).reshape(-1)
        decisions = np.array(outputs[DECISION], dtype=bool).reshape(-1)
    except (msgspec.MsgspecError, KeyError, ValueError, TypeError, OverflowError, RecursionError):
        return None
    if decisions.shape != (count,) or not is_valid(scores, count):
        return None
    return Answer(scores, decisions)


def forward(request: InferenceRequest, headers: dict[bytes, bytes]) -> Forward:
    """A request as another server takes it over HTTP, with more headers: binary tensors stay binary."""
    inputs: list[dict[str, Any]] = []
    binary: list[bytes | memoryview] = []
    tensors: list[Any] = request.inputs
    for tensor in tensors:
        made = {"name": tensor.name, "shape": tensor.shape, "datatype": tensor.datatype}
        said = dict(tensor.parameters or {})
        if isinstance(tensor, BinaryTensor):
            binary.append(tensor.content)
            inputs.append({**made, "parameters": {**said, "binary_data_size": len(tensor.content)}})
        else:
            inputs.append({**made, "parameters": said, "data": tensor.data})
    head = _encoder.encode({"inputs": inputs})
    lengths = {JSON_LENGTH: b"%d" % len(head)} if binary else {}
    return Forward(b"".join((head, *binary)), headers | lengths)
