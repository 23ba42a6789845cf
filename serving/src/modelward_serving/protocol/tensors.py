"""Tensors of the Open Inference Protocol, independent of REST and gRPC.

An error names the field and the rule that it breaks, and never a value.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from modelward_api.resources.reasons import Reason
from modelward_serving.errors import RefusedError

DTYPES = {
    "FP16": "<f2",
    "FP32": "<f4",
    "FP64": "<f8",
    "INT8": "<i1",
    "INT16": "<i2",
    "INT32": "<i4",
    "INT64": "<i8",
    "UINT8": "<u1",
    "UINT16": "<u2",
    "UINT32": "<u4",
    "UINT64": "<u8",
    "BOOL": "?",
}
"""NumPy dtype of each datatype in a binary tensor."""
FLOATS = frozenset({"FP32", "FP64"})
"""Datatypes without a range check."""
LIMITS: dict[str, tuple[float, float]] = {
    name: (float(np.iinfo(kind).min), float(np.iinfo(kind).max))
    for name, kind in DTYPES.items()
    if kind[-2:-1] in ("i", "u")
}
LIMITS |= {"BOOL": (0.0, 1.0), "FP16": (-65504.0, 65504.0)}
"""Minimum and maximum of the other datatypes; all but FP16 are integers."""


class InputTensor(msgspec.Struct):
    """One input of a request."""

    name: str
    shape: list[int]
    datatype: str
    data: list[Any] | None = None
    parameters: dict[str, Any] | None = None


class BooleanTensor(InputTensor):
    """One input with true or false among its values. Python takes those for numbers; a numeric column must not."""


class RequestedOutput(msgspec.Struct):
    """One requested output."""

    name: str
    parameters: dict[str, Any] | None = None


class InferenceRequest(msgspec.Struct):
    """An inference request, independent of its protocol."""

    inputs: list[InputTensor]
    id: str | None = None
    outputs: list[RequestedOutput] | None = None
    parameters: dict[str, Any] | None = None


def holds_booleans(values: list[Any] | None) -> bool:
    """Whether true or false is among a tensor's values, which may be given row by row."""
    return any(type(value) is bool or (type(value) is list and bool in map(type, value)) for value in values or ())


def tell_booleans(inputs: list[Any]) -> None:
    """Replace each tensor that holds true or false by one of a boolean type."""
    for index, tensor in enumerate(inputs):
        if holds_booleans(tensor.data):
            inputs[index] = BooleanTensor(tensor.name, tensor.shape, tensor.datatype, tensor.data, tensor.parameters)


@dataclass(slots=True)
class BinaryTensor:
    """One input as bytes. It stands in for an InputTensor."""

    name: str
    shape: list[int]
    datatype: str
    content: bytes | memoryview
    parameters: dict[str, Any] | None = None
    data: None = None


@dataclass(slots=True)
class NumberTensor:
    """One input as an array of numbers. It stands in for an InputTensor."""

    name: str
    shape: list[int]
    datatype: str
    numbers: np.ndarray
    """[n] of float64; none is missing."""
    parameters: dict[str, Any] | None = None

    @property
    def data(self) -> list[float]:
        """The values as a list."""
        found: list[float] = self.numbers.tolist()
        return found


Tensor = InputTensor | BinaryTensor | NumberTensor


def binary_numbers(tensor: BinaryTensor, where: str) -> np.ndarray:
    """Return the values of a binary tensor, flat, in its own dtype; BOOL as bytes, which may be invalid, such as 7.

    Raises:
        RefusedError: the length is not a multiple of the datatype's.
    """
    dtype = np.dtype("u1" if tensor.datatype == "BOOL" else DTYPES[tensor.datatype])
    if len(tensor.content) % dtype.itemsize:
        rule = f"{tensor.datatype} must have {dtype.itemsize} bytes per value"
        raise RefusedError(422, Reason.WRONG_SHAPE, f"{where}.data", rule)
    return np.frombuffer(tensor.content, dtype)


def binary_texts(content: bytes | memoryview, where: str) -> list[str]:
    """Return the strings of a BYTES tensor: each is its length, as a little-endian uint32, then UTF-8.

    Raises:
        RefusedError: the lengths do not add up, or a string is not UTF-8.
    """
    raw, at, texts = bytes(content), 0, []
    while at < len(raw):
        if at + 4 > len(raw):
            raise RefusedError(
                422, Reason.WRONG_SHAPE, f"{where}.data", "each string must follow its length, as four bytes"
            )
        (length,) = struct.unpack_from("<I", raw, at)
        at += 4
        if at + length > len(raw):
            raise RefusedError(422, Reason.WRONG_SHAPE, f"{where}.data", "a string is shorter than its length")
        try:
            texts.append(raw[at : at + length].decode())
        except UnicodeDecodeError as error:
            raise RefusedError(422, Reason.WRONG_KIND, f"{where}.data", "must be valid UTF-8") from error
        at += length
    return texts
