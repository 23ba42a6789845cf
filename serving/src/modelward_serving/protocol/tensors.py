"""The Open Inference Protocol's tensors, as REST and gRPC both carry them, and what is said of those that are wrong.

An error says which field breaks which rule; it never repeats a value.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

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
"""How the numbers of a datatype lie in a binary tensor."""
FLOATS = frozenset({"FP32", "FP64"})
"""Datatypes that hold any number that JSON or a column may have."""
LIMITS: dict[str, tuple[float, float]] = {
    name: (float(np.iinfo(kind).min), float(np.iinfo(kind).max))
    for name, kind in DTYPES.items()
    if kind[-2:-1] in ("i", "u")
}
LIMITS |= {"BOOL": (0.0, 1.0), "FP16": (-65504.0, 65504.0)}
"""The least and the greatest number of the others; all but FP16 are whole."""


class InputTensor(msgspec.Struct):
    """One input of a request."""

    name: str
    shape: list[int]
    datatype: str
    data: list[Any] | None = None
    parameters: dict[str, Any] | None = None


class RequestedOutput(msgspec.Struct):
    """One output that the caller wants."""

    name: str
    parameters: dict[str, Any] | None = None


class InferenceRequest(msgspec.Struct):
    """A request, whatever carried it."""

    inputs: list[InputTensor]
    id: str | None = None
    outputs: list[RequestedOutput] | None = None
    parameters: dict[str, Any] | None = None


@dataclass(slots=True)
class BinaryTensor:
    """One input whose values came as bytes. It takes an InputTensor's place and looks like one."""

    name: str
    shape: list[int]
    datatype: str
    content: bytes | memoryview
    parameters: dict[str, Any] | None = None
    data: None = None


@dataclass(slots=True)
class NumberTensor:
    """One input whose values are numbers in one array. It takes an InputTensor's place and looks like one."""

    name: str
    shape: list[int]
    datatype: str
    numbers: np.ndarray
    """[n] of float64; none is missing."""
    parameters: dict[str, Any] | None = None

    @property
    def data(self) -> list[float]:
        """The values, for those who want objects."""
        found: list[float] = self.numbers.tolist()
        return found


Tensor = InputTensor | BinaryTensor | NumberTensor


def binary_numbers(tensor: BinaryTensor, where: str) -> np.ndarray:
    """The numbers of a binary tensor, flat, of the tensor's own type; BOOL as the bytes that they are, of which 7 is none.

    Raises:
        RefusedError: its length is not a multiple of the type's.
    """
    dtype = np.dtype("u1" if tensor.datatype == "BOOL" else DTYPES[tensor.datatype])
    if len(tensor.content) % dtype.itemsize:
        rule = f"{tensor.datatype} takes {dtype.itemsize} bytes a value"
        raise RefusedError(422, "WrongShape", f"{where}.data", rule)
    return np.frombuffer(tensor.content, dtype)


def binary_texts(content: bytes | memoryview, where: str) -> list[str]:
    """The texts of a BYTES tensor: each its length, as four bytes, the least first, and then its UTF-8.

    Raises:
        RefusedError: lengths that do not add up, or bytes that are no UTF-8.
    """
    raw, at, texts = bytes(content), 0, []
    while at < len(raw):
        if at + 4 > len(raw):
            raise RefusedError(422, "WrongShape", f"{where}.data", "each text follows its length in four bytes")
        (length,) = struct.unpack_from("<I", raw, at)
        at += 4
        if at + length > len(raw):
            raise RefusedError(422, "WrongShape", f"{where}.data", "a text is shorter than its length says")
        try:
            texts.append(raw[at : at + length].decode())
        except UnicodeDecodeError as error:
            raise RefusedError(422, "WrongKind", f"{where}.data", "texts are UTF-8") from error
        at += length
    return texts
