"""The bundle's explainer, proved on the test rows to add up to the ONNX scores."""

from __future__ import annotations

import numpy as np

from modelward_api.bundle.attribution import Score, attributor, linked
from modelward_api.bundle.documents import Explainer, ExplainerReport, ReferenceProfile, SampledExplainer, ScoreLink
from modelward_training.data.dataset import Dataset
from modelward_training.estimators.base import FittedModel
from modelward_training.reference.profile import plausible_numbers

TOLERANCE = 1e-4
SAMPLED_ROWS = 64
"""Test rows on which a sampled explainer is checked. It evaluates the graph thousands of times per row."""
BACKGROUND_ROWS = 32


def explainer(
    score: Score, model: FittedModel, train: Dataset, test: Dataset, profile: ReferenceProfile
) -> tuple[Explainer | None, tuple[str, ...]]:
    """Return the document for the bundle, or None and a warning that says why the model has no explainer."""
    try:
        document = _document(model, train, profile)
        difference, rows = _difference(document, score, test)
    except Exception as error:  # a model that serves well is not lost for its explanations
        return None, (f"no explanations: the explainer could not be made ({type(error).__name__})",)
    if not difference <= TOLERANCE:
        message = f"no explanations: contributions miss the ONNX score by {difference:.2g} (tolerance {TOLERANCE:g})"
        return None, (message,)
    report = ExplainerReport(rows=rows, max_abs_difference=difference, tolerance=TOLERANCE)
    return document.model_copy(update={"report": report}), ()


def _document(model: FittedModel, train: Dataset, profile: ReferenceProfile) -> Explainer:
    features = tuple(column.name for column in train.features)
    exact = model.family.explainer(model.pipeline, train)
    if exact is None:
        return Explainer(features=features, link=ScoreLink(), model=sampled(train, profile))
    return Explainer(features=features, link=model.calibrator.link, model=exact)


def _difference(document: Explainer, score: Score, test: Dataset) -> tuple[float, int]:
    """The largest difference between the ONNX score and the sum of base and contributions, and on how many rows."""
    rows = min(len(test), SAMPLED_ROWS) if document.model.method == "sampled" else len(test)
    columns = dict(test.take(np.arange(rows)).columns)
    attribution = attributor(document, score).explain(columns)
    explained = linked(document.link, attribution.base + attribution.contributions.sum(axis=1))
    return float(np.max(np.abs(explained - score(columns)))), rows


def sampled(train: Dataset, profile: ReferenceProfile) -> SampledExplainer:
    """Draw background rows from the profile's bins, each column independently: as frequent as in training, but no patient's."""
    draw, background = np.random.default_rng(0), {}
    for column, reference in zip(train.features, profile.features, strict=True):
        is_categorical = column.kind == "categorical"
        values = reference.categories if is_categorical else plausible_numbers(column, reference)
        choices: list[float | str | None] = [*values, "" if is_categorical else None]
        counts = np.array(reference.counts[: reference.bins + 1], dtype=np.float64)
        drawn = draw.choice(len(choices), BACKGROUND_ROWS, p=counts / counts.sum())
        background[column.name] = tuple(choices[int(i)] for i in drawn)
    return SampledExplainer(background=background)
