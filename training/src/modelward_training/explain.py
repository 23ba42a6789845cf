"""Step 7, second half: what explains the model in serving, proved on the test rows to add up to the ONNX scores."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

from modelward_api.bundle.attribution import attributor, linked
from modelward_api.bundle.documents import (
    Explainer,
    ExplainerReport,
    LinearExplainer,
    LinearTerm,
    ReferenceProfile,
    SampledExplainer,
    ScoreLink,
    TreeExplainer,
)
from modelward_training.data.validate import Dataset
from modelward_training.estimators.families import Linear, Model, matrix
from modelward_training.export import as_served, infer
from modelward_training.profile import plausible_numbers

TOLERANCE = 1e-4
SAMPLED_ROWS = 64
"""Test rows that a sampled explainer is checked on: it asks the graph thousands of times a row."""
BACKGROUND_ROWS = 32

Added = Callable[[list[object]], np.ndarray]
"""What values of one column add to the margin of the reference row."""


def explainer(
    graph: bytes, model: Model, train: Dataset, test: Dataset, profile: ReferenceProfile
) -> tuple[Explainer | None, tuple[str, ...]]:
    """The document for the bundle, or None and a warning that says why the model goes without one."""
    try:
        made = _document(model, train, profile)
        difference, rows = _difference(made, graph, test)
    except Exception as error:  # a model that serves well is not lost for its explanations
        return None, (f"no explanations: the explainer could not be made ({type(error).__name__})",)
    if not difference <= TOLERANCE:
        message = f"no explanations: contributions miss the ONNX score by {difference:.2g}, more than {TOLERANCE:g}"
        return None, (message,)
    report = ExplainerReport(rows=rows, max_abs_difference=difference, tolerance=TOLERANCE)
    return made.model_copy(update={"report": report}), ()


def _document(model: Model, train: Dataset, profile: ReferenceProfile) -> Explainer:
    features = tuple(column.name for column in train.features)
    estimator = model.pipeline[-1]
    if isinstance(estimator, LogisticRegression):
        return Explainer(features=features, link=_link(model), model=linear(model, train))
    if isinstance(estimator, GradientBoostingClassifier):
        return Explainer(features=features, link=_link(model), model=trees(model, train))
    return Explainer(features=features, link=ScoreLink(), model=sampled(train, profile))


def _difference(made: Explainer, graph: bytes, test: Dataset) -> tuple[float, int]:
    """The largest between the ONNX score and what base and contributions come to, and on how many rows."""
    rows = min(len(test), SAMPLED_ROWS) if isinstance(made.model, SampledExplainer) else len(test)
    columns = as_served(test.take(np.arange(rows))).columns
    found = attributor(made, lambda asked: infer(graph, asked)).explain(columns)
    score = linked(made.link, found.base + found.contributions.sum(axis=1))
    return float(np.max(np.abs(score - infer(graph, columns)))), rows


def _link(model: Model) -> ScoreLink:
    calibrator = model.calibrator
    if isinstance(calibrator, Linear):
        return ScoreLink(slope=calibrator.slope, intercept=calibrator.intercept)
    return ScoreLink(kind="piecewise", knots=tuple(calibrator.knots.tolist()), values=tuple(calibrator.values.tolist()))


def linear(model: Model, train: Dataset) -> LinearExplainer:
    """Terms by asking the fitted pipeline, so that imputation, encoding and scaling are in them whatever they are.

    The margin of a linear model is a sum over columns: what one column adds is how the margin differs from that of a
    reference row when only this column does.
    """
    margin = model.pipeline.decision_function(matrix(train))
    reference = matrix(train)[:1].copy()
    for index, column in enumerate(train.features):
        values = train.columns[column.name]
        reference[0, index] = "" if column.kind == "categorical" else _mean(values)

    def added(index: int, values: list[object]) -> np.ndarray:
        rows = np.repeat(reference, len(values) + 1, axis=0)
        rows[1:, index] = values
        margins = model.pipeline.decision_function(rows)
        return margins[1:] - margins[0]

    terms = []
    for index, column in enumerate(train.features):
        values = train.columns[column.name]
        if column.kind == "categorical":
            terms.append(_category_term(values, _known(model, index), lambda v, i=index: added(i, v)))
        else:
            terms.append(_number_term(values, float(reference[0, index]), lambda v, i=index: added(i, v)))
    return LinearExplainer(base=float(margin.mean()), terms=tuple(terms))


def _mean(values: np.ndarray) -> float:
    given = values[~np.isnan(values)]
    return float(given.mean()) if len(given) else 0.0


def _number_term(values: np.ndarray, mean: float, added: Added) -> LinearTerm:
    given = values[~np.isnan(values)]
    spread = (float(given.std()) if len(given) else 0.0) or 1.0
    step, missing = added([mean + spread, np.nan])
    weight, absent = step / spread, np.isnan(values).mean()
    average = absent * missing  # of what the column adds: the given values' mean adds 0
    centre = mean + average / weight if weight else mean
    return LinearTerm(weight=weight, centre=centre, missing=missing - average)


def _category_term(values: np.ndarray, known: tuple[str, ...], added: Added) -> LinearTerm:
    # No category can be this text: the values of data are stripped.
    *each, other = added([*known, " "])
    share = np.array([(values == category).mean() for category in known])
    average = float(share @ each + (1 - share.sum()) * other)
    return LinearTerm(
        categories={c: float(a - average) for c, a in zip(known, each, strict=True)}, other=other - average
    )


def trees(model: Model, train: Dataset) -> TreeExplainer:
    """The trees, their splits turned from encoded features back to columns, the imputed value into a direction."""
    boosting, encoder = model.pipeline[-1], model.pipeline[0]
    columns, categories = _encoded(model, train)
    absent = np.array([["" if c.kind == "categorical" else np.nan for c in train.features]], dtype=object)
    missing = encoder.transform(absent).astype(np.float32)[0]
    names = ("left", "right", "column", "threshold", "category", "missing_left", "value", "cover")
    lists: dict[str, list] = {name: [] for name in names}
    for estimator in boosting.estimators_[:, 0]:
        tree, begin = estimator.tree_, len(lists["left"])
        leaf = tree.children_left < 0
        lists["left"] += np.where(leaf, -1, tree.children_left + begin).tolist()
        lists["right"] += np.where(leaf, -1, tree.children_right + begin).tolist()
        lists["column"] += np.where(leaf, -1, columns[tree.feature]).tolist()
        lists["category"] += np.where(leaf, -1, categories[tree.feature]).tolist()
        lists["threshold"] += np.where(leaf, 0.0, tree.threshold).tolist()
        lists["missing_left"] += np.where(leaf, False, missing[tree.feature] <= tree.threshold).tolist()
        lists["value"] += np.where(leaf, boosting.learning_rate * tree.value[:, 0, 0], 0.0).tolist()
        lists["cover"] += tree.weighted_n_node_samples.tolist()
    row = encoder.transform(absent).astype(np.float32)
    grown = sum(boosting.learning_rate * e.predict(row)[0] for e in boosting.estimators_[:, 0])
    offset = float(boosting.decision_function(row)[0] - grown)
    known = tuple(_known(model, i) if c.kind == "categorical" else () for i, c in enumerate(train.features))
    return TreeExplainer(offset=offset, categories=known, **lists)


def sampled(train: Dataset, profile: ReferenceProfile) -> SampledExplainer:
    """Rows drawn from the profile's bins, each column by itself: as often as in training, but of no patient."""
    draw, background = np.random.default_rng(0), {}
    for column, reference in zip(train.features, profile.features, strict=True):
        missing: float | str | None = "" if column.kind == "categorical" else None
        if column.kind == "categorical":
            choices = [*reference.categories, missing]
        else:
            choices = [*plausible_numbers(column, reference), missing]
        counts = np.array(reference.counts[: reference.bins + 1], dtype=np.float64)
        picked = draw.choice(len(choices), BACKGROUND_ROWS, p=counts / counts.sum())
        background[column.name] = tuple(choices[int(i)] for i in picked)
    return SampledExplainer(background=background)


def _encoded(model: Model, train: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Of each encoded feature: its column, and its index among the column's categories or -1."""
    encoder = model.pipeline[0]
    columns, categories = [], []
    for name, step, given in encoder.transformers_:
        if name == "numeric":
            kept = np.array(given)[~np.isnan(step.statistics_.astype(np.float64))]  # all missing: imputed by nothing
            columns += kept.tolist()
            categories += [-1] * len(kept)
        elif name != "remainder":
            columns += list(given) * len(step.categories_[0])
            categories += range(len(step.categories_[0]))
    return np.array(columns), np.array(categories)


def _known(model: Model, index: int) -> tuple[str, ...]:
    """The categories of a column as the encoder knows them, the missing one first."""
    for name, step, given in model.pipeline[0].transformers_:
        if name not in ("numeric", "remainder") and list(given) == [index]:
            return tuple(str(category) for category in step.categories_[0])
    return ()
