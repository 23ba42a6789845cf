"""Bundles that fail for a share of the rows, and rows that make them fail: by the values alone, so every system sees the same.

All are one small logistic regression. A champion never fails, or for 2% of the rows; a challenger fails for all rows from a
moment on (the rows change then), or for 6%. The rows on which the two fail have nothing to do with each other.
"""

from __future__ import annotations

import argparse
import json
import random
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper

from modelward_api import names
from modelward_api.bundle.documents import Golden, Manifest, file_digest
from tests.bench.batch import train
from tests.support.faulty_bundles import pack, unpack

FEATURES = 4
BEYOND = 500.0
"""n0 is above this in the rows for which a challenger that fails hard has no answer, and never in others."""
LOW, HIGH = 50.0, 150.0
"""n1 and n2 are drawn evenly from here: a share of the rows is below a cut."""
ORDINARY = 100.0


@dataclass(frozen=True)
class Fault:
    """A version's fault."""

    nonsense: tuple[str, str, float] | None = None
    """A column, 'Greater' or 'Less', and a cut: not a number for these rows, so that the server answers 500."""
    limits: Mapping[str, dict[str, float]] = field(default_factory=dict)
    """By column, a plausible range: other rows are refused with 422."""


def below(share: float) -> float:
    """The cut below which that share of n1 and of n2 is."""
    return LOW + share * (HIGH - LOW)


BASE, RISEN = 0.02, 0.06
GOOD = Fault()
FAULTS = {
    "good": GOOD,
    "nonsense": Fault(nonsense=("n0", "Greater", BEYOND)),
    "refusing": Fault(limits={"n0": {"maximum": BEYOND}}),
    "base": Fault(nonsense=("n1", "Less", below(BASE))),
    "risen": Fault(limits={"n2": {"minimum": below(RISEN)}}),
    "as-before": Fault(limits={"n2": {"minimum": below(BASE)}}),
}


def row(draw: random.Random, *, bad: bool) -> bytes:
    """One row as a request of the Open Inference Protocol; a bad one is beyond what a hard fault bears."""
    first = draw.uniform(2 * BEYOND, 3 * BEYOND) if bad else draw.uniform(LOW, HIGH)
    values = [first, *(draw.uniform(LOW, HIGH) for _ in range(FEATURES - 1))]
    inputs = [{"name": f"n{i}", "shape": [1, 1], "datatype": "FP32", "data": [value]} for i, value in enumerate(values)]
    return json.dumps({"inputs": inputs}).encode()


def trained() -> bytes:
    """The archive that all bundles are made from."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        train(folder, argparse.Namespace(numeric=FEATURES, categorical=0, algorithm="logistic-regression"))
        (archive,) = folder.glob("models/**/*.bentomodel")
        return archive.read_bytes()


def bundle(archive: bytes, model: str, version: str, fault: Fault) -> tuple[bytes, str]:
    """The bundle of a version of a model with that fault: its archive and digest."""
    files = unpack(archive)
    signature = json.loads(files[names.SIGNATURE_FILE])
    for column in signature["inputs"]:
        if column["name"] in fault.limits:
            column.update(range=fault.limits[column["name"]], outOfRange="reject")
    files[names.SIGNATURE_FILE] = json.dumps({**signature, "model": model, "version": version}).encode()
    if fault.nonsense is not None:
        files[names.MODEL_FILE] = _with_nonsense(files[names.MODEL_FILE], *fault.nonsense)
    files[names.GOLDEN_FILE] = _golden(files)
    old = Manifest.model_validate_json(files.pop(names.MANIFEST_FILE))
    manifest = Manifest(model=model, version=version, files={name: file_digest(files[name]) for name in old.files})
    files[names.MANIFEST_FILE] = manifest.canonical()
    return pack(files), manifest.digest


def _with_nonsense(graph: bytes, column: str, comparison: str, cut: float) -> bytes:
    model = onnx.load_model_from_string(graph)
    for node in model.graph.node:
        for index, output in enumerate(node.output):
            if output == names.SCORE:
                node.output[index] = "raw_score"
    model.graph.node.extend(
        [
            _constant("cut", cut),
            _constant("nonsense", np.nan),
            helper.make_node(comparison, [column, "cut"], ["is_bad"]),
            helper.make_node("Where", ["is_bad", "nonsense", "raw_score"], [names.SCORE]),
        ]
    )
    serialized: bytes = model.SerializeToString()
    return serialized


def _constant(name: str, value: float) -> onnx.NodeProto:
    return helper.make_node("Constant", [], [name], value=helper.make_tensor(name, TensorProto.FLOAT, [1, 1], [value]))


def _golden(files: dict[str, bytes]) -> bytes:
    """Golden rows that no fault concerns."""
    golden = Golden.model_validate_json(files[names.GOLDEN_FILE])
    count = len(golden.scores)
    session = onnxruntime.InferenceSession(files[names.MODEL_FILE], providers=["CPUExecutionProvider"])
    rows = np.linspace(0.9 * ORDINARY, 1.1 * ORDINARY, count, dtype=np.float32).reshape(-1, 1)
    scores = session.run([names.SCORE], {f"n{i}": rows for i in range(FEATURES)})[0].ravel()
    inputs = {f"n{i}": tuple(float(value) for value in rows[:, 0]) for i in range(FEATURES)}
    changed = golden.model_copy(update={"inputs": inputs, "scores": tuple(float(score) for score in scores)})
    return json.dumps(changed.to_json()).encode()
