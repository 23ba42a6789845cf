"""Small real bundles: score = expit(weight * age + shift), over one numeric and one categorical column."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from modelward_api import names
from modelward_api.bundle.documents import (
    Evaluation,
    Explainer,
    FeatureReference,
    Golden,
    LinearExplainer,
    LinearTerm,
    Manifest,
    ParityReport,
    ReferenceProfile,
    ScoreLink,
    Signature,
    Subgroup,
    file_digest,
)

AGE = FeatureReference(
    name="age", kind="numeric", edges=(40.0, 60.0), minimum=0, maximum=120, counts=(100, 100, 100, 0, 0, 0)
)
SEX = FeatureReference(name="sex", kind="categorical", categories=("f", "m"), counts=(150, 150, 0, 0, 0))
SCORE = FeatureReference(name="score", kind="numeric", edges=(0.5,), counts=(150, 150, 0, 0, 0))
COLUMNS = (
    {"name": "age", "kind": "numeric", "nullable": True},
    {"name": "sex", "kind": "categorical", "allowedValues": ("f", "m")},
)
BY_SEX = Subgroup(column="sex", strata=("sex=f", "sex=m"), categories=("f", "m"))
BY_AGE = Subgroup(column="age", strata=("age<40", "40<=age<65", "age>=65"), cuts=(40.0, 65.0))
NAN_ABOVE = 90.0


def graph(weight: float = 0.1, shift: float = -5.0, *, broken: bool = False, rows: int | None = None) -> bytes:
    constants = {
        "weight": [[weight]],
        "shift": [[shift]],
        "fifty": [[50.0]],
        "cutoff": [[NAN_ABOVE]],
        "nan": [[np.nan]],
    }
    nodes = [
        helper.make_node("IsNaN", ["age"], ["missing"]),
        helper.make_node("Where", ["missing", "fifty", "age"], ["imputed"]),
        helper.make_node("Mul", ["imputed", "weight"], ["scaled"]),
        helper.make_node("Add", ["scaled", "shift"], ["logit"]),
        helper.make_node("Sigmoid", ["logit"], ["raw"]),
        helper.make_node("Greater", ["imputed", "cutoff"], ["old"]),
        helper.make_node("Where", ["old", "nan" if broken else "raw", "raw"], [names.SCORE]),
        helper.make_node("Identity", ["sex"], ["unused"]),
    ]
    inputs = [
        helper.make_tensor_value_info("age", TensorProto.FLOAT, [None, 1]),
        helper.make_tensor_value_info("sex", TensorProto.STRING, [None, 1]),
    ]
    outputs = [helper.make_tensor_value_info(names.SCORE, TensorProto.FLOAT, [None, 1])]
    initial = [numpy_helper.from_array(np.array(v, dtype=np.float32), k) for k, v in constants.items()]
    made = helper.make_graph(nodes, "model", inputs, outputs, initial)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)])
    model.ir_version = 10
    return model.SerializeToString()


def explains(weight: float = 0.1, shift: float = -5.0) -> Explainer:
    """Return the graph's explainer: age contributes by its distance from 50, sex nothing."""
    terms = (LinearTerm(weight=weight, centre=50), LinearTerm(categories={"": 0.0, "f": 0.0, "m": 0.0}))
    model = LinearExplainer(base=weight * 50 + shift, terms=terms)
    return Explainer(features=("age", "sex"), link=ScoreLink(), model=model)


def signature(
    model: str = "mortality", version: str = "1.0.0", subgroups: tuple[Subgroup, ...] = (), columns: tuple = COLUMNS
) -> Signature:
    """Return the graph's signature."""
    return Signature(
        model=model,
        version=version,
        inputs=columns,
        label="outcome",
        positive="dead",
        operating_threshold=0.5,
        subgroups=subgroups,
    )


def write(
    directory: Path,
    version: str = "1.0.0",
    *,
    golden: float | None = None,
    model: str = "mortality",
    explainer: Explainer | None = None,
    subgroups: tuple[Subgroup, ...] = (),
    **how,
) -> str:
    """Write an unpacked bundle and return its digest."""
    weight, shift = how.get("weight", 0.1), how.get("shift", -5.0)
    expected = 1 / (1 + math.exp(-(weight * 55 + shift))) if golden is None else golden
    documents = {
        names.SIGNATURE_FILE: signature(model, version, subgroups),
        names.REFERENCE_FILE: ReferenceProfile(rows=300, features=(AGE, SEX), score=SCORE),
        names.EVALUATION_FILE: Evaluation(train_rows=300, test_rows=100, test_events=20, metrics=()),
        names.PARITY_FILE: ParityReport(rows=100, max_abs_difference=0, tolerance=1e-5, passed=True, opset=18),
        names.GOLDEN_FILE: Golden(inputs={"age": (55.0,), "sex": ("f",)}, scores=(expected,)),
    }
    if explainer is not None:
        documents[names.EXPLAINER_FILE] = explainer
    files = {name: json.dumps(document.to_json()).encode() for name, document in documents.items()}
    files[names.MODEL_FILE] = graph(**how)
    manifest = Manifest(model=model, version=version, files={n: file_digest(c) for n, c in files.items()})
    files[names.MANIFEST_FILE] = manifest.canonical()
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (directory / name).write_bytes(content)
    return manifest.digest


def away(monkeypatch):
    """An object store at an address without a listener."""
    given = {"ENDPOINT": "http://127.0.0.1:9", "ALLOW_HTTP": "true", "REGION": "x", "ACCESS_KEY_ID": "a"}
    for name, value in {**given, "SECRET_ACCESS_KEY": "b"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
