"""spec.features: every transformation gives the same in NumPy, in the graph and in explanations, defined for every input."""

from __future__ import annotations

from typing import get_args

import numpy as np
import onnx
import onnxruntime
import pytest

from modelward_api.bundle.attribution import LinearAttributor, TreeAttributor, attributor, linked
from modelward_api.bundle.curves import MAX
from modelward_api.resources.columns import Column
from modelward_api.resources.features import Derived, DerivedType, Features, Preparation
from modelward_api.resources.trainingjob import Estimator
from modelward_serving.model import graph_rewrite
from modelward_training.data.dataset import Dataset
from modelward_training.errors import InvalidInputError
from modelward_training.estimators import FAMILIES, fitting
from modelward_training.estimators.encoding import encoder
from modelward_training.estimators.transformations import TRANSFORMATIONS
from modelward_training.explain.explainer import explainer
from modelward_training.export.onnx import OnnxModel
from modelward_training.export.parity import compare
from modelward_training.export.probes import probing_rows
from modelward_training.reference.profile import reference_profile
from tests.unit.training.patients import COLUMNS, patients

ORDERED = Preparation(column="smoking", encoding="ordinal", order=("n", "x", "c"))


def derived(kind, *columns, **fields) -> Features:
    return Features(derived=(Derived(name="d", type=kind, columns=columns, **fields),))


def prepared(column, **fields) -> Features:
    return Features(preparation=(Preparation(column=column, **fields),))


TYPES = {
    "ratio": derived("ratio", "glucose", "lactate"),
    "difference": derived("difference", "glucose", "age"),
    "product": derived("product", "glucose", "lactate"),
    "interaction": derived("interaction", "sex", "glucose"),
    "log": derived("log", "glucose"),
    "power": derived("power", "glucose", exponent=2),
    "clip": derived("clip", "glucose", minimum=50.1, maximum=70.3),
    "bins": derived("bins", "glucose", edges=(40.1, 60, 80)),
    "spline": derived("spline", "glucose", edges=(30, 50.1, 70, 90)),
}
"""One of each type of derived feature."""
PREPARED = {
    "mean": prepared("glucose", impute="mean"),
    "most frequent number": prepared("glucose", impute="most-frequent"),
    "constant number": prepared("glucose", impute="constant", fill="61.7"),
    "missing number": prepared("glucose", indicator=True),
    "missing category": prepared("smoking", indicator=True, impute="most-frequent"),
    "most frequent category": prepared("smoking", impute="most-frequent"),
    "constant category": prepared("smoking", impute="constant", fill="c"),
    "rare categories": prepared("smoking", min_rows=210),
    "ordinal": Features(preparation=(ORDERED,)),
    "target": prepared("smoking", encoding="target"),
}
MORE = {
    "root": derived("power", "glucose", exponent=0.5),
    "reciprocal": derived("power", "glucose", exponent=-1),
    "one limit": derived("clip", "glucose", minimum=55),
    "two categories": derived("interaction", "smoking", "sex"),
    "one edge": derived("bins", "glucose", edges=(60,)),
    "a ratio to itself that is omitted": derived("ratio", "glucose", "lactate").model_copy(
        update={"omit": ("glucose", "lactate")}
    ),
    "all at once": Features(
        preparation=(
            ORDERED,
            Preparation(column="glucose", impute="mean", indicator=True),
            Preparation(column="lactate", indicator=True),
        ),
        derived=tuple(
            features.derived[0].model_copy(update={"name": f"{name}{again}"})
            for name, features in TYPES.items()
            for again in range(2)
        ),
        omit=("lactate",),
    ),
}
MATRIX = {**TYPES, **PREPARED, **MORE}
PAIRS = ("ratio", "difference", "product", "interaction")


def changed(data, **values):
    """Rows with other values, by column and row."""
    columns = {name: given.copy() for name, given in data.columns.items()}
    for name, by_row in values.items():
        for row, value in by_row.items():
            columns[name][row] = value
    return Dataset(data.features, columns, data.label, None, None)


def fitted(features, algorithm="logistic-regression", calibration="none", data=None):
    data = patients() if data is None else data
    params = {"n_estimators": 30} if algorithm == "gradient-boosting" else {}
    spec = Estimator(algorithm=algorithm, calibration=calibration, params=params)
    pipeline = fitting.fit(fitting.build(spec, data, 0, features), spec, data)
    margins = fitting.cross_fit(pipeline, spec, data, 0) if calibration != "none" else np.empty(0)
    return fitting.calibrate(pipeline, margins, spec, data)


def choices(field):
    """What a field of Preparation may be."""
    annotation = Preparation.model_fields[field].annotation
    choices = {choice for one in get_args(annotation) for choice in (get_args(one) or (one,))}
    return choices - {type(None)}


def test_every_type_of_the_api_is_written_and_in_the_matrix():
    assert set(get_args(DerivedType)) == set(TRANSFORMATIONS) == set(TYPES)
    assert {name: kind.type for name, kind in TRANSFORMATIONS.items()} == {name: name for name in TRANSFORMATIONS}
    assert all(features.derived[0].type == name for name, features in TYPES.items())
    for field in ("impute", "encoding"):
        tried = {getattr(one, field) for features in PREPARED.values() for one in features.preparation}
        assert choices(field) <= {*tried, "median"}


@pytest.mark.parametrize("algorithm", FAMILIES)
@pytest.mark.parametrize("features", MATRIX.values(), ids=MATRIX.keys())
def test_the_graph_gives_the_scores_of_the_model_for_every_input(features, algorithm):
    model = fitted(features, algorithm)
    score = OnnxModel(model.to_onnx(COLUMNS))
    for rows in (patients(2000, seed=1), probing_rows(model, patients(seed=2))):
        difference = np.abs(score(dict(rows.columns)) - model.predict(rows))
        assert difference.max() <= 1e-6  # NaN is not


@pytest.mark.parametrize("algorithm", FAMILIES)
@pytest.mark.parametrize("features", MATRIX.values(), ids=MATRIX.keys())
def test_contributions_are_of_the_columns_that_callers_send_and_add_up_to_the_score(features, algorithm):
    data, test = patients(), patients(6, seed=4)
    test = changed(test, glucose={0: np.nan, 1: -5}, smoking={2: "", 3: "never seen"})
    model = fitted(features, algorithm)
    graph = OnnxModel(model.to_onnx(COLUMNS))
    profile = reference_profile(data, graph(data.columns).astype(np.float64))
    document, warnings = explainer(graph, model, data, test, profile)
    assert warnings == ()
    assert document.features == tuple(column.name for column in COLUMNS)
    found = attributor(document, graph).explain(test.columns)
    margin = found.base + found.contributions.sum(axis=1)
    assert linked(document.link, margin) == pytest.approx(graph(test.columns), abs=1e-5)
    if algorithm == "logistic-regression":
        has_pairs = any(one.type in PAIRS for one in features.derived)
        assert document.model.method == ("sampled" if has_pairs else "linear")


def test_trees_that_split_on_a_missing_indicator_are_explained_exactly():
    data = patients()
    data = Dataset(COLUMNS, data.columns, np.isnan(data.columns["glucose"]).astype(int), None, None)
    model = fitted(prepared("glucose", indicator=True), "gradient-boosting", data=data)
    exact, graph = model.family.explainer(model.pipeline, data), OnnxModel(model.to_onnx(COLUMNS))
    assert MAX in exact.threshold, "the indicator is asked"
    found = TreeAttributor(tuple(c.name for c in COLUMNS), exact).explain(data.columns)
    margin = found.base + found.contributions.sum(axis=1)
    assert 1 / (1 + np.exp(-margin)) == pytest.approx(graph(data.columns), abs=1e-6)
    assert np.abs(np.delete(found.contributions, 2, axis=1)).max() < 0.01 * np.abs(found.contributions[:, 2]).min()


def test_trees_that_split_on_what_no_column_tells_alone_are_sampled():
    data = patients()
    risk = data.columns["age"] / data.columns["lactate"]
    data = Dataset(COLUMNS, data.columns, (risk > 1).astype(int), None, None)
    model = fitted(derived("ratio", "age", "lactate"), "gradient-boosting", data=data)
    assert model.family.explainer(model.pipeline, data) is None


def test_a_linear_contribution_of_a_derived_feature_is_its_columns():
    data = patients()
    features = derived("spline", "glucose", edges=(30, 60, 90))
    model = fitted(features, data=data)
    exact = model.family.explainer(model.pipeline, data)
    prepared, weights = model.pipeline[0], model.pipeline[-1].coef_[0]
    own = [i for i, output in enumerate(prepared.outputs_) if output.columns == (COLUMNS.index(COLUMNS[2]),)]
    encoded = prepared.transform(data.rows())
    by_hand = encoded[:, own] @ weights[own]
    found = LinearAttributor(tuple(c.name for c in COLUMNS), exact).explain(data.columns).contributions[:, 2]
    assert len(own) == 3
    assert found == pytest.approx(by_hand - by_hand.mean(), abs=1e-5)


def encoded(features, columns, **given):
    """The encoder's output for rows, fitted on them."""
    count = len(next(iter(given.values())))
    label = np.arange(count) % 2
    data = Dataset(columns, {name: np.array(values) for name, values in given.items()}, label, None, None)
    return encoder(data, scale=False, features=features).fit(data.rows(), label).transform(data.rows())


A, B = Column(name="a", kind="numeric", nullable=True), Column(name="b", kind="numeric", nullable=True)
C = Column(name="c", kind="categorical", nullable=True)
UNDEFINED = {
    "a division by zero": (derived("ratio", "a", "b"), [8.0, 4.0, 1.0], [2.0, 2.0, 0.0], 3.0),
    "zero by zero": (derived("ratio", "a", "b"), [8.0, 4.0, 0.0], [2.0, 2.0, 0.0], 3.0),
    "an overflow": (derived("product", "a", "b"), [1.0, 3.0, MAX], [1.0, 1.0, 2.0], 2.0),
    "an overflow of a difference": (derived("difference", "a", "b"), [1.0, 3.0, MAX], [0.0, 0.0, -MAX], 2.0),
    "a logarithm of a negative number": (derived("log", "a"), [np.e - 1, np.e - 1, -1.5], [0.0] * 3, 1.0),
    "a logarithm of zero": (derived("log", "a"), [np.e - 1, np.e - 1, -1.0], [0.0] * 3, 1.0),
    "a root of a negative number": (derived("power", "a", exponent=0.5), [4.0, 16.0, -1.0], [0.0] * 3, 3.0),
    "a power that overflows": (derived("power", "a", exponent=2), [1.0, 2.0, 1e30], [0.0] * 3, 2.5),
    "a missing input": (derived("ratio", "a", "b"), [8.0, 4.0, np.nan], [2.0, 2.0, 1.0], 3.0),
}


@pytest.mark.parametrize(("features", "a", "b", "imputed"), UNDEFINED.values(), ids=UNDEFINED.keys())
def test_what_is_undefined_is_imputed_with_the_median_of_what_is_defined(features, a, b, imputed):
    assert encoded(features, (A, B), a=a, b=b)[:, 2].tolist()[2] == pytest.approx(imputed, rel=1e-6)


def test_a_piece_includes_its_lower_edge_and_a_missing_value_is_in_the_piece_of_what_is_imputed():
    found = encoded(derived("bins", "a", edges=(1.0, 2.0)), (A, B), a=[0.5, 1.0, 2.0, 3.0, np.nan], b=[0.0] * 5)
    assert found[:, 2:].tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 1], [0, 1, 0]]


def test_a_natural_spline_is_cubic_between_knots_smooth_at_them_and_linear_beyond():
    x = np.linspace(-3, 6, 9001)
    found = encoded(derived("spline", "a", edges=(0, 1, 3)), (A, B), a=x, b=np.zeros(9001))[:, 2:].astype(np.float64)
    assert found[:, 0] == pytest.approx(x / 3, abs=1e-6)

    def d(knot):  # Hastie, Tibshirani and Friedman, equation 5.5, with the outer knots at 0 and 1
        u = x / 3
        return (np.maximum(u - knot, 0) ** 3 - np.maximum(u - 1, 0) ** 3) / (1 - knot)

    assert found[:, 1] == pytest.approx(d(0) - d(1 / 3), abs=1e-5)


def test_categories_with_few_rows_and_unknown_ones_are_one_category():
    columns = (C, A)
    texts = np.array(["x"] * 5 + ["y", "z", ""], dtype=object)
    data = Dataset(columns, {"c": texts, "a": np.zeros(8)}, np.arange(8) % 2, None, None)
    fitted = encoder(data, scale=False, features=prepared("c", min_rows=2)).fit(data.rows(), data.label)
    asked = {"c": np.array(["x", "y", "z", "", "new"], object), "a": np.zeros(5)}
    asked = Dataset(columns, asked, np.zeros(5), None, None)
    found = fitted.transform(asked.rows())
    assert found[:, 1:].tolist() == [[0, 1, 0], [0, 0, 1], [0, 0, 1], [1, 0, 0], [0, 0, 1]]


def test_without_few_rows_an_unknown_category_has_no_code():
    data = Dataset((C, A), {"c": np.array(["x", "y"], object), "a": np.zeros(2)}, np.array([0, 1]), None, None)
    fitted = encoder(data, scale=False).fit(data.rows(), data.label)
    asked = Dataset((C, A), {"c": np.array(["new", ""], object), "a": np.zeros(2)}, data.label, None, None)
    assert fitted.transform(asked.rows())[:, 1:].tolist() == [[0, 0, 0], [1, 0, 0]]


def test_ordinal_codes_are_places_and_what_is_missing_has_the_median_place():
    features = prepared("c", encoding="ordinal", order=("low", "mid", "high"))
    found = encoded(features, (C, A), c=np.array(["high", "low", "mid", "", "high"], object), a=np.zeros(5))
    assert found[:, 1].tolist() == [2, 0, 1, 1.5, 2]


def test_a_category_that_the_order_does_not_hold_is_refused_without_its_name():
    features = prepared("c", encoding="ordinal", order=("low", "mid"))
    with pytest.raises(InvalidInputError) as caught:
        encoded(features, (C, A), c=np.array(["high", "low", "mid"], object), a=np.zeros(3))
    assert (caught.value.reason, caught.value.field) == ("UnknownCategory", "spec.features.preparation[0].order")
    assert "high" not in str(caught.value)


def test_a_fill_that_no_row_has_is_refused():
    with pytest.raises(InvalidInputError) as caught:
        encoded(prepared("c", impute="constant", fill="no"), (C, A), c=np.array(["x", "", "y"], object), a=np.zeros(3))
    assert (caught.value.reason, caught.value.field) == ("UnknownCategory", "spec.features.preparation[0].fill")


def test_an_interaction_of_too_many_categories_is_refused():
    many = np.array([f"c{i}" for i in range(40)], object)
    with pytest.raises(InvalidInputError) as caught:
        encoded(derived("interaction", "c", "e"), (C, C.model_copy(update={"name": "e"})), c=many, e=many)
    assert (caught.value.reason, caught.value.field) == ("TooLarge", "spec.features.derived[0]")


WRONG = {
    "an undeclared column": (prepared("nobody"), "UnknownColumn", "preparation[0].column"),
    "a ratio to an undeclared column": (derived("ratio", "a", "nobody"), "UnknownColumn", "derived[0].columns"),
    "an undeclared column left out": (Features(omit=("nobody",)), "UnknownColumn", "omit[0]"),
    "a logarithm of categories": (derived("log", "c"), "WrongKind", "derived[0].columns"),
    "a number that is none": (prepared("a", impute="constant", fill="high"), "WrongKind", "preparation[0].fill"),
    "an infinite number": (prepared("a", impute="constant", fill="1e39"), "WrongKind", "preparation[0].fill"),
}


@pytest.mark.parametrize(("features", "reason", "field"), WRONG.values(), ids=WRONG.keys())
def test_what_no_api_server_has_refused_is_refused_in_training(features, reason, field):
    with pytest.raises(InvalidInputError) as caught:
        encoded(features, (C, A), c=np.array(["x", "", "y"], object), a=np.zeros(3))
    assert (caught.value.reason, caught.value.field) == (reason, f"spec.features.{field}")


def test_a_constant_of_a_boolean_is_true_or_false():
    columns = (Column(name="b", kind="boolean", nullable=True), A)
    found = encoded(prepared("b", impute="constant", fill="true"), columns, b=[0.0, np.nan], a=np.zeros(2))
    assert found[:, 0].tolist() == [0, 1]


def noise(rows, categories, groups=None):
    """A category that says nothing about the label."""
    draw = np.random.default_rng(7)
    texts = np.array([f"c{i}" for i in draw.integers(0, categories, rows)], dtype=object)
    label = draw.integers(0, 2, rows)
    group = None if groups is None else np.arange(rows) % groups
    return Dataset((C, A), {"c": texts, "a": draw.normal(size=rows)}, label, None, group)


def test_an_estimator_is_fitted_on_event_rates_of_other_rows():
    data = noise(600, 200)
    own = encoder(data, scale=False, features=prepared("c", encoding="target"))
    seen = own.fit_transform(data.rows(), data.label)[:, 1]
    served = own.transform(data.rows())[:, 1]
    assert np.corrcoef(served, data.label)[0, 1] > 0.3, "a rate holds the row's own label"
    assert np.corrcoef(seen, data.label)[0, 1] < 0.1


def test_event_rates_of_a_row_hold_no_label_of_its_group():
    data = noise(600, 6, groups=60)
    patient = np.array([f"p{i}" for i in data.group], dtype=object)
    of_patient = Dataset((C, A), {**data.columns, "c": patient}, (data.group % 2).astype(int), None, data.group)
    own = encoder(of_patient, scale=False, features=prepared("c", encoding="target"))
    found = own.fit_transform(of_patient.rows(), of_patient.label, of_patient.group)[:, 1]
    assert len(np.unique(found)) <= 5, "only the overall rates of the folds are known"


def test_event_rates_are_shrunken_and_unknown_categories_have_the_overall_one():
    texts = np.array(["x"] * 100 + ["y"] * 100 + ["z"], dtype=object)
    label = np.array([1] * 80 + [0] * 20 + [1] * 20 + [0] * 80 + [1])
    data = Dataset((C, A), {"c": texts, "a": np.zeros(201)}, label, None, None)
    own = encoder(data, scale=False, features=prepared("c", encoding="target")).fit(data.rows(), label)
    asked = Dataset((C, A), {"c": np.array(["x", "y", "new", ""], object), "a": np.zeros(4)}, label[:4], None, None)
    x, y, new, missing = own.transform(asked.rows())[:, 1].tolist()
    assert 0.75 < x < 0.8
    assert 0.2 < y < 0.25
    assert new == missing == pytest.approx(label.mean())


def test_omitted_columns_stay_inputs_of_the_graph():
    model = fitted(MORE["a ratio to itself that is omitted"])
    graph = onnx.load_from_string(model.to_onnx(COLUMNS))
    assert [node.name for node in graph.graph.input] == [column.name for column in COLUMNS]
    assert {output.columns for output in model.pipeline[0].outputs_} >= {(2, 3)}
    assert {(2,), (3,)}.isdisjoint(output.columns for output in model.pipeline[0].outputs_)


@pytest.mark.parametrize(
    "features", [Features(), MORE["all at once"]], ids=["no derived features", "all derived features"]
)
def test_serving_merges_the_numeric_inputs_of_the_graph_and_the_scores_stay(features):
    model = fitted(features)
    graph = model.to_onnx(COLUMNS)
    numbers = [column.name for column in COLUMNS if column.kind != "categorical"]
    merged, name = graph_rewrite.merged(graph, numbers)
    assert name is not None
    rows = patients(50, seed=9)
    session = onnxruntime.InferenceSession(merged, providers=["CPUExecutionProvider"])
    feed = {name: np.column_stack([rows.columns[n] for n in numbers]).astype(np.float32)}
    feed |= {c.name: rows.columns[c.name].reshape(-1, 1) for c in COLUMNS if c.kind == "categorical"}
    assert session.run(None, feed)[0].reshape(-1).tolist() == OnnxModel(graph)(rows.columns).tolist()


@pytest.mark.parametrize("name", ["weights", "score_", "cal_f", "label", "probabilities", "encoded", "X"])
def test_a_column_may_be_called_as_a_tensor_of_a_converter(name):
    columns = tuple(c.model_copy(update={"name": name}) if c.name == "glucose" else c for c in COLUMNS)
    data = patients()
    data = Dataset(columns, {**data.columns, name: data.columns["glucose"]}, data.label, None, None)
    model = fitted(Features(), data=data)
    assert OnnxModel(model.to_onnx(columns))(data.columns) == pytest.approx(model.predict(data), abs=1e-6)


def test_trees_without_a_split_are_one_leaf_each():
    data = patients()
    spec = Estimator(
        algorithm="gradient-boosting", calibration="none", params={"n_estimators": 3, "min_samples_leaf": 700}
    )
    pipeline = fitting.fit(fitting.build(spec, data, 0), spec, data)
    model = fitting.calibrate(pipeline, np.empty(0), spec, data)
    assert {e.tree_.node_count for e in pipeline[-1].estimators_[:, 0]} == {1}
    assert OnnxModel(model.to_onnx(COLUMNS))(data.columns) == pytest.approx(model.predict(data), abs=1e-6)


@pytest.mark.parametrize("calibration", ["sigmoid", "isotonic"])
def test_calibration_keeps_the_graph_within_the_tolerance(calibration):
    model = fitted(MATRIX["all at once"], "gradient-boosting", calibration)
    score = OnnxModel(model.to_onnx(COLUMNS))
    for rows in (patients(2000, seed=1), probing_rows(model, patients(seed=2))):
        assert np.abs(score(dict(rows.columns)) - model.predict(rows)).max() <= 1e-6


def test_the_parity_check_finds_what_no_test_row_shows():
    data = patients()
    model, other = fitted(Features(), data=data), fitted(prepared("age", impute="constant", fill="0"), data=data)
    graph = OnnxModel(other.to_onnx(COLUMNS))
    assert np.abs(graph(data.columns) - model.predict(data)).max() <= 1e-6  # age is never missing
    with pytest.raises(InvalidInputError) as caught:
        compare(graph, model, data)
    assert caught.value.reason == "ParityFailed"


def test_the_same_features_give_the_same_graph():
    one, other = (fitted(MORE["all at once"]).to_onnx(COLUMNS) for _ in range(2))
    assert one == other
