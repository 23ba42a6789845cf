"""Explanations add up to the score, and are the Shapley values: by the shap library, and by the definition."""

from __future__ import annotations

import itertools
import math
from functools import cache

import numpy as np
import pytest
from sklearn.pipeline import Pipeline
from sklearn.svm import SVC

from modelward_api.bundle.attribution import SampledAttributor, attributor, linked
from modelward_api.bundle.documents import SampledExplainer
from modelward_api.resources.trainingjob import Estimator
from modelward_training.data.dataset import Dataset
from modelward_training.estimators import fitting
from modelward_training.estimators.base import Family, FittedModel
from modelward_training.estimators.boosting import GradientBoostingFamily
from modelward_training.estimators.calibration import Sigmoid
from modelward_training.estimators.encoding import encoder
from modelward_training.explain.explainer import explainer
from modelward_training.export.onnx import OnnxModel
from modelward_training.reference.profile import reference_profile
from tests.support.cases import cases
from tests.unit.training.patients import COLUMNS, patients


def fitted(data: Dataset, algorithm="gradient-boosting", calibration="sigmoid", **params) -> FittedModel:
    estimator = Estimator(algorithm=algorithm, calibration=calibration, params=params)
    pipeline = fitting.fit(fitting.build(estimator, data, 0), estimator, data)
    return fitting.calibrate(pipeline, fitting.cross_fit(pipeline, estimator, data, 0), estimator, data)


@cache
def usual(algorithm="gradient-boosting", calibration="sigmoid") -> tuple[Dataset, FittedModel]:
    data = patients()
    return data, fitted(data, algorithm, calibration)


def made(trained: FittedModel, data: Dataset, test: Dataset):
    graph = OnnxModel(trained.to_onnx(data.features))
    profile = reference_profile(data, graph(data.columns).astype(np.float64))
    return (*explainer(graph, trained, data, test, profile), graph)


def explained(document, graph, data):
    return attributor(document, graph).explain(data.columns)


TRAINED = {
    "logistic regression": ("logistic-regression", "sigmoid", {}),
    "logistic regression with an L1 penalty": (
        "logistic-regression", "none", {"l1_ratio": 1.0, "C": 0.01, "solver": "saga"},
    ),
    "logistic regression, isotonic": ("logistic-regression", "isotonic", {}),
    "boosted trees": ("gradient-boosting", "sigmoid", {}),
    "boosted trees, isotonic": ("gradient-boosting", "isotonic", {"max_depth": 5, "n_estimators": 40}),
    "boosted stumps that begin at zero": (
        "gradient-boosting", "none", {"max_depth": 1, "init": "zero", "subsample": 0.7},
    ),
    "boosted trees grown best first": ("gradient-boosting", "none", {"max_depth": 12, "max_leaf_nodes": 20}),
}  # fmt: skip


@pytest.mark.parametrize(
    ("algorithm", "calibration", "params"), cases(TRAINED, ("logistic regression", "boosted trees, isotonic"))
)
def test_contributions_add_up_to_the_margin_and_through_the_link_to_the_onnx_score(algorithm, calibration, params):
    data, test = patients(), patients(300, seed=1)
    trained = fitted(data, algorithm, calibration, **params)
    document, warnings, graph = made(trained, data, test)
    assert warnings == ()
    assert document.report.max_abs_difference <= 1e-4
    found = explained(document, graph, test)
    margin = found.base + found.contributions.sum(axis=1)
    assert margin == pytest.approx(trained.pipeline.decision_function(test.rows()), abs=1e-6)
    assert linked(document.link, margin) == pytest.approx(graph(test.columns), abs=1e-4)


def test_a_linear_base_is_the_mean_margin_of_the_training_rows():
    data, trained = usual("logistic-regression")
    document, _, graph = made(trained, data, data)
    found = explained(document, graph, data)
    assert found.base == pytest.approx(trained.pipeline.decision_function(data.rows()).mean())
    assert found.contributions.mean(axis=0) == pytest.approx(np.zeros(len(COLUMNS)), abs=1e-5)


def test_linear_contributions_are_the_coefficients_of_what_the_column_is_encoded_as():
    data, trained = usual("logistic-regression")
    document, _, graph = made(trained, data, data)
    encoder, estimator = trained.pipeline[0], trained.pipeline[-1]
    encoded = encoder.transform(data.rows())
    terms = estimator.coef_[0] * (encoded - encoder.transform(data.rows()).mean(axis=0))
    width = [1, 1, 1, 1, 3, 4]  # sex and smoking: their categories and the missing one
    summed = np.add.reduceat(terms, np.cumsum([0, *width[:-1]]), axis=1)
    assert explained(document, graph, data).contributions == pytest.approx(summed, abs=1e-5)


@pytest.mark.slow  # the definition below is quick, and knows nothing of our code either
@pytest.mark.parametrize("depth", [1, 3, 6, 9])
def test_trees_over_numbers_are_explained_as_by_the_shap_library(depth):
    shap = pytest.importorskip("shap")
    data, test = patients(columns=COLUMNS[:4]), patients(200, COLUMNS[:4], seed=1)
    trained = fitted(data, max_depth=depth)
    document, _, graph = made(trained, data, test)
    theirs = shap.TreeExplainer(trained.pipeline[-1], feature_perturbation="tree_path_dependent")
    encoded = trained.pipeline[0].transform(test.rows())
    ours = explained(document, graph, test)
    assert ours.base == pytest.approx(float(np.ravel(theirs.expected_value)[0]), abs=1e-6)
    assert np.abs(ours.contributions - theirs.shap_values(encoded)).max() <= 1e-6


def expected(trained: FittedModel, row: np.ndarray, known: frozenset[int], owner: np.ndarray) -> float:
    """The margin when only these columns are known: at a split on another one both ways are gone, by cover."""
    boosting = trained.pipeline[-1]

    def below(tree, node):
        left, right = tree.children_left[node], tree.children_right[node]
        if left < 0:
            return tree.value[node, 0, 0]
        if owner[tree.feature[node]] in known:
            return below(tree, left if np.float32(row[tree.feature[node]]) <= tree.threshold[node] else right)
        cover = tree.weighted_n_node_samples
        return (cover[left] * below(tree, left) + cover[right] * below(tree, right)) / cover[node]

    return boosting.learning_rate * sum(below(e.tree_, 0) for e in boosting.estimators_[:, 0])


def shapley(size: int, worth) -> np.ndarray:
    """By the definition: over all subsets."""
    values = {
        frozenset(s): worth(frozenset(s)) for n in range(size + 1) for s in itertools.combinations(range(size), n)
    }
    found = np.zeros(size)
    for subset, value in values.items():
        for player in set(range(size)) - subset:
            weight = math.factorial(len(subset)) * math.factorial(size - len(subset) - 1) / math.factorial(size)
            found[player] += weight * (values[subset | {player}] - value)
    return found


def test_trees_over_categories_are_explained_as_the_definition_says_with_columns_as_players():
    data = patients()
    trained = fitted(data, max_depth=4, n_estimators=15)
    document, _, graph = made(trained, data, data)
    test = patients(12, seed=2)
    test.columns["smoking"][:3] = ["", "never seen", "c"]
    test.columns["glucose"][:2] = np.nan
    owner = np.array([0, 1, 2, 3, 4, 4, 4, 5, 5, 5, 5])
    encoded = trained.pipeline[0].transform(test.rows())
    ours = explained(document, graph, test).contributions
    for row, found in zip(encoded, ours, strict=True):
        exact = shapley(len(COLUMNS), lambda known, row=row: expected(trained, row, known, owner))
        assert found == pytest.approx(exact, abs=1e-6)


def test_a_missing_value_is_explained_as_what_is_imputed():
    for algorithm in ("logistic-regression", "gradient-boosting"):
        data, trained = usual(algorithm)
        document, _, graph = made(trained, data, data)
        test = patients(2, seed=3)
        test.columns["glucose"][:] = [np.nan, np.nanmedian(data.columns["glucose"])]
        for name in set(test.columns) - {"glucose"}:
            test.columns[name][1] = test.columns[name][0]
        one, other = explained(document, graph, test).contributions
        assert one == pytest.approx(other, abs=1e-6)


class SupportVectorFamily(Family):
    """A family that brings nothing but its estimator."""

    algorithm = "support-vectors"
    estimator = SVC


def test_a_family_without_an_exact_explainer_is_sampled_with_an_honest_standard_error():
    columns = (*COLUMNS[:2], *COLUMNS[4:])
    data, test = patients(columns=columns), patients(6, columns, seed=4)
    family = SupportVectorFamily()
    steps = [("features", encoder(data, scale=True)), ("estimator", family.build({"gamma": 0.01}, "none", 0))]
    trained = FittedModel(family, Pipeline(steps).fit(data.rows(), data.label), Sigmoid())
    document, warnings, graph = made(trained, data, test)
    assert (warnings, document.model.method) == ((), "sampled")
    assert len({*document.model.background["age"]}) > 3
    found = explained(document, graph, test)
    score = graph(test.columns)
    assert linked(document.link, found.base + found.contributions.sum(axis=1)) == pytest.approx(score, abs=1e-5)
    exact = np.array([_interventional(document.model, columns, graph, test, i) for i in range(len(test))])
    assert np.all(np.abs(found.contributions - exact) <= 4 * found.standard_error + 1e-6)
    assert np.abs(found.contributions - exact).max() > 0


def _interventional(document, columns, graph, test, row):
    names = [c.name for c in columns]
    filled = {
        name: np.array([np.nan if v is None else v for v in document.background[name]], dtype=test.columns[name].dtype)
        for name in names
    }

    def worth(known):
        asked = {n: np.repeat(test.columns[n][row], 32) if i in known else filled[n] for i, n in enumerate(names)}
        p = graph(asked).astype(np.float64)
        return np.log(p / (1 - p)).mean()

    return shapley(len(names), worth)


def test_one_column_is_sampled_without_an_order():
    background = SampledExplainer(background={"age": (40.0, 60.0, None, 80.0)})
    found = SampledAttributor(("age",), background, lambda asked: np.full(len(asked["age"]), 0.25)).explain(
        {"age": np.array([50.0, np.nan], dtype=np.float32)}
    )
    assert found.contributions.tolist() == [[0.0], [0.0]]


def test_an_explainer_that_does_not_add_up_is_left_out_with_a_warning(monkeypatch):
    data, trained = usual()
    real = GradientBoostingFamily.explainer

    def wrong(*given):
        return real(*given).model_copy(update={"offset": 1.0})

    monkeypatch.setattr(GradientBoostingFamily, "explainer", wrong)
    document, warnings, _ = made(trained, data, data)
    assert document is None
    assert "miss the ONNX score" in warnings[0]


def test_an_explainer_that_cannot_be_made_is_left_out_and_no_value_is_told(monkeypatch):
    data, trained = usual()
    monkeypatch.setattr(GradientBoostingFamily, "explainer", lambda *_: float("a value of the data"))
    document, warnings, _ = made(trained, data, data)
    assert document is None
    assert "ValueError" in warnings[0]
    assert "a value of the data" not in warnings[0]
