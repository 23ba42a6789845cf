"""The training pipeline on real clinical data, and on every kind of bad data."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from functools import cache

import numpy as np
import obstore
import pytest
import yaml

from examples import monica
from modelward_api import names
from modelward_api.bundle.attribution import linked
from modelward_api.bundle.documents import ReferenceProfile, Signature
from modelward_api.resources.trainingjob import TrainingJobSpec
from modelward_serving.model import bundle as served
from modelward_training import __main__ as command
from modelward_training import pipeline
from modelward_training.bundle import archive
from modelward_training.data.harmonise import harmonise
from modelward_training.data.sources import read
from modelward_training.data.split import split
from modelward_training.data.validate import validate
from modelward_training.errors import InvalidInputError
from modelward_training.progress import Progress
from modelward_training.report.summary import Facts
from tests.support.cases import cases
from tests.support.cluster.layout import REPOSITORY

ROWS = monica.hospitalised(85, 86)


@pytest.fixture
def store(tmp_path):
    (tmp_path / "data").mkdir()
    write(tmp_path, ROWS)
    return tmp_path


def write(store, rows):
    (store / "data" / "monica-1985-1986.csv").write_text(monica.as_csv(rows))


def spec(number=2, **changes) -> TrainingJobSpec:
    document = yaml.safe_load((REPOSITORY / f"examples/mortality/trainingjob-v{number}.yaml").read_text())["spec"]
    document["evaluation"]["bootstrap"] = 20
    for path, value in changes.items():
        part, keys = document, path.split("__")
        for key in keys[:-1]:
            part = part[int(key) if key.isdigit() else key]
        part[int(keys[-1]) if keys[-1].isdigit() else keys[-1]] = value
    return TrainingJobSpec.model_validate(document)


def train(store, trained=None):
    return pipeline.run("job", trained or spec(), f"file://{store}", Progress(), Facts())


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The outcome and the files of the bundle that a spec gives on all rows; each spec is trained once."""
    store = tmp_path_factory.mktemp("trained")
    (store / "data").mkdir()
    write(store, ROWS)

    @cache
    def once(document: str):
        outcome = train(store, TrainingJobSpec.model_validate_json(document))
        content = (store / outcome.uri.removeprefix("store://")).read_bytes()
        return outcome, served.unpack(content, outcome.digest)

    return lambda wanted=None: once((wanted or spec()).model_dump_json())


FEATURES = {
    "preparation": [
        {"column": "smstat", "encoding": "target", "indicator": True},
        {"column": "premi", "impute": "most-frequent"},
    ],
    "derived": [
        {"name": "age.curve", "type": "spline", "columns": ["age"], "edges": [40, 55, 65]},
        {"name": "age.log", "type": "log", "columns": ["age"]},
        {"name": "age.sex", "type": "interaction", "columns": ["sex", "age"]},
    ],
}
ESTIMATORS = {
    "logistic regression, sigmoid": {},
    "logistic regression, isotonic": {"estimator__calibration": "isotonic"},
    "logistic regression, balanced": {"estimator__class_weight": "balanced"},
    "boosted trees": {"estimator__algorithm": "gradient-boosting", "estimator__calibration": "none"},
    "boosted trees, isotonic": {"estimator__algorithm": "gradient-boosting", "estimator__calibration": "isotonic"},
    "split by time": {"split": {"method": "time", "testFrom": "86"}},
    "derived features": {"features": FEATURES},
    "derived features of one column, boosted": {
        "features": {**FEATURES, "derived": FEATURES["derived"][:2]},
        "estimator__algorithm": "gradient-boosting",
    },
}
ALWAYS = ("logistic regression, sigmoid", "boosted trees, isotonic", "derived features")


@pytest.mark.parametrize("changes", cases(ESTIMATORS, ALWAYS))
def test_onnx_gives_what_scikit_learn_gives(trained, changes):
    outcome, _ = trained(spec(**changes))
    assert outcome.parity_max_abs_difference <= 1e-6
    metrics = {m.name: m for m in outcome.metrics}
    assert metrics["auroc"].lower < metrics["auroc"].estimate < metrics["auroc"].upper
    assert metrics["auroc"].estimate > 0.6
    assert {"brier", "o_e", "calibration_slope", "calibration_intercept", "net_benefit"} <= set(metrics)


def test_the_same_input_gives_the_same_digest(trained, store):
    outcome, _ = trained()
    assert train(store).digest == outcome.digest


def test_serving_verifies_and_serves_what_training_made(trained, tmp_path):
    from modelward_serving.model.predictor import Predictor

    outcome, files = trained()
    directory = tmp_path / "bundle"
    directory.mkdir()
    for name, content in files.items():
        (directory / name).write_bytes(content)
    predictor = Predictor(served.load(directory, outcome.digest))
    answer = predictor.by_column(
        {
            c.name: ["m" if c.name == "sex" else 60 if c.name == "age" else None]
            for c in predictor.bundle.signature.inputs
        }
    )
    assert 0 < answer["score"][0] < 1


@pytest.mark.parametrize("changes", cases(ESTIMATORS, ALWAYS))
def test_serving_explains_what_training_made(trained, tmp_path, changes):
    from modelward_serving.model.explain import Explanations
    from modelward_serving.model.predictor import Predictor
    from modelward_serving.rest import codec

    outcome, files = trained(spec(**changes))
    directory = tmp_path / "served"
    directory.mkdir()
    for name, content in files.items():
        (directory / name).write_bytes(content)
    predictor = Predictor(served.load(directory, outcome.digest))
    assert outcome.warnings == ()
    tensors = [
        {"name": c.name, "shape": [2, 1], "datatype": "FP32", "data": [70, 40]}
        if c.kind != "categorical"
        else {"name": c.name, "shape": [2, 1], "datatype": "BYTES", "data": ["m", "never seen"]}
        for c in predictor.bundle.signature.inputs
    ]
    rows = predictor.validator.rows(codec.decode(json.dumps({"inputs": tensors}).encode()))
    contributions, score = json.loads(asyncio.run(Explanations(predictor).explain(rows, "champion")))["outputs"]
    margin = contributions["parameters"]["base"] + np.reshape(contributions["data"], contributions["shape"]).sum(axis=1)
    link = predictor.bundle.explainer.link
    assert linked(link, margin) == pytest.approx(score["data"], abs=1e-4)


def test_the_reference_profile_counts_every_training_row_in_each_feature(trained):
    outcome, files = trained()
    profile = ReferenceProfile.model_validate_json(files[names.REFERENCE_FILE])
    assert {sum(feature.counts) for feature in (*profile.features, profile.score)} == {outcome.train_rows}
    edges = next(f for f in profile.features if f.name == "age").edges
    assert list(edges) == sorted(set(edges))


BY_AGE = [{"column": "sex"}, {"column": "age", "cuts": [50, 60]}]


def test_the_reference_profile_is_told_for_each_stratum_of_the_declared_subgroups(trained):
    _, files = trained(spec(evaluation__subgroups=BY_AGE))
    strata = ("sex=m", "sex=f", "age<50", "50<=age<60", "age>=60")
    assert Signature.model_validate_json(files[names.SIGNATURE_FILE]).strata == strata
    profile = ReferenceProfile.model_validate_json(files[names.REFERENCE_FILE])
    for subgroup in (strata[:2], strata[2:]):
        parts = [profile.of_stratum(stratum, "score").counts for stratum in subgroup]
        assert tuple(map(sum, zip(*parts, strict=True))) == profile.score.counts, "each row is in one stratum of each"
    assert profile.of_stratum("sex=f", "sex").counts[0] == 0, "no men among the women"


def test_a_stratum_of_few_rows_has_no_reference_and_says_so(trained):
    outcome, files = trained(spec(evaluation__subgroups=[{"column": "age", "cuts": [36]}]))
    profile = ReferenceProfile.model_validate_json(files[names.REFERENCE_FILE])
    assert set(profile.strata) == {"age>=36"}
    assert "age<36: fewer than 100 training rows, so its drift is not monitored" in outcome.warnings


def test_serving_counts_the_training_rows_into_the_same_cells(trained, store):
    from modelward_serving.counting.profile import ProfileCounter
    from modelward_serving.counting.subgroups import Strata

    wanted = spec(evaluation__subgroups=BY_AGE)
    _, files = trained(wanted)
    signature = Signature.model_validate_json(files[names.SIGNATURE_FILE])
    profile = ReferenceProfile.model_validate_json(files[names.REFERENCE_FILE])
    table = harmonise(wanted.data, read(wanted.data, f"file://{store}"))
    rows = split(wanted.split, validate(wanted, table, datetime.now(UTC)).data).training
    numeric = [c.name for c in rows.features if c.kind != "categorical"]
    categorical = [c.name for c in rows.features if c.kind == "categorical"]
    numbers = np.array([rows.columns[name] for name in numeric], dtype=np.float32).T
    texts = [rows.columns[name].reshape(-1, 1) for name in categorical]
    counter = ProfileCounter(profile, numeric, categorical, Strata(signature))
    counter.count(numbers, texts, np.zeros(len(rows), dtype=np.float32))
    counted = counter.read()
    assert all(counted.features[feature.name] == feature.counts for feature in profile.features)
    for stratum, reference in profile.strata.items():
        assert {k: v for k, v in counted.strata[stratum].items() if k != "score"} == {
            k: v for k, v in reference.items() if k != "score"
        }


def changed(column, value):
    return lambda rows: [{**row, column: value(i) if callable(value) else value} for i, row in enumerate(rows)]


SAME = list
BAD = {
    "a missing file": (SAME, {"data__sources__0__uri": "store://nobody.csv"}, "MissingFile", "spec.data.sources[0].uri"),
    "an address that leaves the store": (SAME, {"data__sources__0__uri": "store://../x"}, "InvalidAddress", "uri"),
    "a header without rows": (lambda rows: [], {}, "EmptyData", "spec.data.sources[0]"),
    "a column that is not there": (SAME, {"data__columns__2__name": "agee"}, "UnknownColumn", "spec.data.columns[2].name"),
    "a unit that is none": (SAME, {"data__columns__2__unit": "years of age"}, "InvalidUnit", "spec.data.columns[2].unit"),
    "a subgroup that is no feature": (
        SAME,
        {"evaluation__subgroups": [{"column": "yronset", "cuts": [86]}]},
        "InvalidSubgroup",
        "spec.evaluation.subgroups[0].column",
    ),
    "a subgroup of a number without cuts": (
        SAME,
        {"evaluation__subgroups": [{"column": "age"}]},
        "InvalidSubgroup",
        "spec.evaluation.subgroups[0].cuts",
    ),
    "an unknown parameter": (SAME, {"estimator__params": {"depht": 3}}, "UnknownParameter", "spec.estimator.params.depht"),
    "an impossible parameter": (SAME, {"estimator__params": {"C": -1.0}}, "InvalidParameter", "spec.estimator.params"),
    "one class only": (changed("outcome", "live"), {}, "OneClass", "spec.data.label.positive"),
    "a positive value that never occurs": (SAME, {"data__label__positive": "gone"}, "OneClass", "spec.data.label.positive"),
    "a column that is all missing": (changed("angina", "nk"), {}, "AllMissing", "spec.data.columns[9]"),
    "missing values where none may be": (
        changed("sex", lambda i: "" if i % 9 == 0 else "m"), {}, "MissingValues", "spec.data.columns[3].nullable",
    ),
    "texts in a numeric column": (
        changed("age", lambda i: "old" if i == 7 else "60"), {}, "WrongKind", "spec.data.columns[2].kind",
    ),
    "a category that is not declared": (
        changed("stroke", lambda i: "maybe" if i == 7 else "y"), {}, "UnknownCategory", "spec.data.columns[10].allowedValues",
    ),
    "too few rows": (lambda rows: rows[:30], {}, "TooFewRows", "spec.data.sources"),
    "a split that leaves nothing": (SAME, {"split": {"method": "time", "testFrom": "99"}}, "EmptySplit", "spec.split"),
    "an unknown format": (SAME, {"data__sources__0__format": "parquet"}, "UnreadableFile", "spec.data.sources[0].format"),
}  # fmt: skip


@pytest.mark.parametrize(("rows", "changes", "reason", "field"), BAD.values(), ids=BAD.keys())
def test_bad_input_is_said_with_reason_and_field(store, rows, changes, reason, field):
    write(store, rows(ROWS))
    with pytest.raises(InvalidInputError) as caught:
        train(store, spec(**changes))
    assert caught.value.reason == reason
    assert field in caught.value.field
    for value in ("old", "maybe"):
        assert value not in caught.value.message.split()


def test_a_store_without_room_is_said(store, monkeypatch):
    def full(target, name, content):
        raise obstore.exceptions.GenericError("Unable to copy data to file: No space left on device (os error 28)")

    monkeypatch.setattr(archive.obstore, "put", full)
    with pytest.raises(InvalidInputError) as caught:
        train(store)
    assert (caught.value.reason, caught.value.field) == ("StoreFull", "spec.output.uri")


def test_a_feature_that_separates_the_classes_is_warned_of(store):
    ages = [80 + i % 9 if row["outcome"] == "dead" else 40 + i % 9 for i, row in enumerate(ROWS)]
    write(store, [{**row, "age": str(age)} for row, age in zip(ROWS, ages, strict=True)])
    assert any("AUROC 1.0" in warning for warning in train(store).warnings)


def test_a_copy_of_the_target_is_refused_unless_it_is_not_forbidden(store):
    write(store, [{**row, "age": "80" if row["outcome"] == "dead" else "40"} for row in ROWS])
    with pytest.raises(InvalidInputError) as caught:
        train(store)
    assert (caught.value.reason, caught.value.field) == ("ForbiddenFinding", "spec.data.columns[2]")
    outcome = train(store, spec(data__quality={"forbid": []}))
    assert any("age is a copy of the label" in warning for warning in outcome.warnings)


def test_rows_that_only_calibration_uses_calibrate(store):
    three = {"method": "random", "testFraction": 0.25, "calibrationFraction": 0.2}
    outcome = train(store, spec(split=three))
    assert outcome.train_rows == pytest.approx(0.55 * len(ROWS), abs=2)
    assert outcome.test_rows == pytest.approx(0.25 * len(ROWS), abs=2)


def command_line(store, tmp_path, document):
    (tmp_path / "job.json").write_text(json.dumps({"name": "j", "namespace": "n", "spec": document}))
    words = ["modelward_training", "run", "--spec", str(tmp_path / "job.json"), "--port", "0"]
    return [*words, "--termination-log", str(tmp_path / "end"), "--store", f"file://{store}"]


def test_the_outcome_stands_in_the_termination_log(store, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", command_line(store, tmp_path, spec().to_json()))
    assert command.main() == 0
    assert json.loads((tmp_path / "end").read_text())["succeeded"]


def test_bad_input_exits_with_65(store, tmp_path, monkeypatch):
    document = spec(data__sources__0__uri="store://nobody.csv").to_json()
    monkeypatch.setattr("sys.argv", command_line(store, tmp_path, document))
    assert command.main() == 65
    assert json.loads((tmp_path / "end").read_text())["reason"] == "MissingFile"


def test_an_unexpected_error_tells_its_type_and_no_value(store, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.argv", command_line(store, tmp_path, spec().to_json()))
    monkeypatch.setattr(pipeline, "split", lambda *_: int("a value of the data"))
    assert command.main() == 1
    outcome = json.loads((tmp_path / "end").read_text())
    assert outcome["reason"] == "InternalError"
    assert "a value of the data" not in json.dumps(outcome)
