"""Forwarding of requests to a challenger, and parsing of its responses."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from modelward_api.names import DECISION, SCORE
from modelward_serving.protocol.headers import JSON_LENGTH
from modelward_serving.protocol.prediction import Prediction, is_valid
from modelward_serving.protocol.tensors import BinaryTensor, InferenceRequest

_encoder = msgspec.json.Encoder()


class Forward(msgspec.Struct, frozen=True):
    """A request for a challenger, always over HTTP."""

    body: bytes
    headers: Mapping[bytes, bytes]
    """In addition to those of every request to a challenger."""


class OutputTensor(msgspec.Struct):
    """One output of a challenger's response."""

    name: str
    data: list[Any]


class InferenceResponse(msgspec.Struct):
    """A challenger's response."""

    outputs: list[OutputTensor]


_responses = msgspec.json.Decoder(InferenceResponse)


def parse_answer(body: bytes, count: int) -> Prediction | None:
    """Parse a challenger's prediction; None if it is invalid: not JSON, not one value per row, not a probability."""
    try:
        outputs = {output.name: output.data for output in _responses.decode(body).outputs}
        scores = np.array(outputs[SCORE], dtype=np.float32).reshape(-1)
        decisions = np.array(outputs[DECISION], dtype=bool).reshape(-1)
    except (msgspec.MsgspecError, KeyError, ValueError, TypeError, OverflowError, RecursionError):
        return None
    if decisions.shape != (count,) or not is_valid(scores, count):
        return None
    return Prediction(scores, decisions)


def forward(request: InferenceRequest, headers: dict[bytes, bytes]) -> Forward:
    """Encode a request for a challenger over HTTP, with extra headers; binary tensors stay binary."""
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
