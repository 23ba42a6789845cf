"""Bundles that are valid in every digest and bad in production: made from a good one by adding nodes to its graph."""

from __future__ import annotations

import io
import json
import tarfile

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

from modelward_api import names
from modelward_api.bundle.documents import Golden, Manifest, file_digest

CUTOFF = 60.0
"""Answers go wrong for patients above this age; the golden rows are below it."""


def unpack(content: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        return {m.name.removeprefix("./"): archive.extractfile(m).read() for m in archive.getmembers() if m.isfile()}


def pack(files: dict[str, bytes]) -> bytes:
    output = io.BytesIO()
    with tarfile.open(fileobj=output, mode="w") as archive:
        for name, content in sorted(files.items()):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return output.getvalue()


def rebuilt(content: bytes, version: str, nodes) -> tuple[bytes, str]:
    """The bundle with ``nodes(graph)`` between the model and its output; its archive and digest."""
    files = unpack(content)
    model = onnx.load_model_from_string(files[names.MODEL_FILE])
    for node in model.graph.node:
        for index, output in enumerate(node.output):
            if output == names.SCORE:
                node.output[index] = "raw_score"
    model.graph.node.extend(nodes())
    files[names.MODEL_FILE] = model.SerializeToString()
    signature = json.loads(files[names.SIGNATURE_FILE])
    files[names.SIGNATURE_FILE] = json.dumps({**signature, "version": version}).encode()
    files[names.GOLDEN_FILE] = _golden(files).encode()
    old = Manifest.model_validate_json(files.pop(names.MANIFEST_FILE))
    listed = {name: file_digest(files[name]) for name in old.files}
    manifest = Manifest(model=old.model, version=version, files=listed)
    files[names.MANIFEST_FILE] = manifest.canonical()
    return pack(files), manifest.digest


def unchanged():
    """The same answers from another bundle."""
    return [helper.make_node("Identity", ["raw_score"], [names.SCORE])]


def not_a_number():
    """NaN for older patients."""
    return [
        helper.make_node(
            "Constant", [], ["cutoff"], value=helper.make_tensor("c", TensorProto.FLOAT, [1, 1], [CUTOFF])
        ),
        helper.make_node("Constant", [], ["nan"], value=helper.make_tensor("n", TensorProto.FLOAT, [1, 1], [np.nan])),
        helper.make_node("Greater", ["age", "cutoff"], ["is_old"]),
        helper.make_node("Where", ["is_old", "nan", "raw_score"], [names.SCORE]),
    ]


def not_a_probability():
    """Two for older patients."""
    return [
        helper.make_node(
            "Constant", [], ["cutoff"], value=helper.make_tensor("c", TensorProto.FLOAT, [1, 1], [CUTOFF])
        ),
        helper.make_node("Constant", [], ["two"], value=helper.make_tensor("n", TensorProto.FLOAT, [1, 1], [2.0])),
        helper.make_node("Greater", ["age", "cutoff"], ["is_old"]),
        helper.make_node("Where", ["is_old", "two", "raw_score"], [names.SCORE]),
    ]


def slow():
    """Right, and late: a large matrix product on the way."""
    zero = helper.make_tensor("z", TensorProto.FLOAT, [1, 1], [0.0])
    return [
        helper.make_node("RandomUniform", [], ["noise"], shape=[1400, 1400], low=0.0, high=1.0),
        helper.make_node("MatMul", ["noise", "noise"], ["product"]),
        helper.make_node("ReduceMean", ["product"], ["mean"], keepdims=0),
        helper.make_node("Constant", [], ["zero"], value=zero),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
        helper.make_node("Add", ["raw_score", "nothing"], [names.SCORE]),
    ]


def _golden(files: dict[str, bytes]) -> str:
    golden = Golden.model_validate_json(files[names.GOLDEN_FILE])
    inputs = {**golden.inputs, "age": tuple(50.0 for _ in golden.inputs["age"])}
    session = onnxruntime.InferenceSession(files[names.MODEL_FILE], providers=["CPUExecutionProvider"])
    feed = {node.name: _column(inputs[node.name], "string" in node.type) for node in session.get_inputs()}
    scores = session.run([names.SCORE], feed)[0].ravel()
    changed = golden.model_copy(update={"inputs": inputs, "scores": tuple(float(s) for s in scores)})
    return json.dumps(changed.to_json())


def _column(values, is_text: bool):
    if is_text:
        return np.array([["" if v is None else v] for v in values], dtype=object)
    return np.array([[np.nan if v is None else v] for v in values], dtype=np.float32)
