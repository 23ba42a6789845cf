"""Metadata of the server and the model, for REST and gRPC."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from modelward_api.bundle.documents import Signature
from modelward_api.names import DECISION, SCORE

EXTENSIONS = ("binary_tensor_data",)


def server_metadata() -> dict[str, Any]:
    """Return the server's name, version and extensions."""
    return {"name": "modelward", "version": version("modelward-serving"), "extensions": list(EXTENSIONS)}


def model_metadata(signature: Signature) -> dict[str, Any]:
    """Return the model's inputs and outputs."""
    inputs = [
        {"name": c.name, "datatype": "BYTES" if c.kind == "categorical" else "FP32", "shape": [-1, 1]}
        for c in signature.inputs
    ]
    outputs = [
        {"name": SCORE, "datatype": "FP32", "shape": [-1, 1]},
        {"name": DECISION, "datatype": "BOOL", "shape": [-1, 1]},
    ]
    return {
        "name": signature.model,
        "versions": [signature.version],
        "platform": "onnx_onnxv1",
        "inputs": inputs,
        "outputs": outputs,
    }
