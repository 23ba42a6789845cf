"""Every registered family and calibration: what a TrainingJob may ask for, and that ONNX and explanations agree with it."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from modelward_api.bundle.attribution import attributor, linked
from modelward_api.bundle.documents import Explainer
from modelward_api.resources.trainingjob import Estimator
from modelward_training.errors import InvalidInputError
from modelward_training.estimators import FAMILIES, fitting
from modelward_training.estimators.calibration import CALIBRATIONS
from modelward_training.export.onnx import OnnxModel
from tests.unit.training.patients import COLUMNS, patients


def allowed(field):
    return set(get_args(Estimator.model_fields[field].annotation))


def test_a_trainingjob_allows_exactly_the_registered_families_and_calibrations():
    assert allowed("algorithm") == set(FAMILIES)
    assert allowed("calibration") == set(CALIBRATIONS)


def test_a_family_is_registered_under_its_own_name():
    assert {name: family.algorithm for name, family in FAMILIES.items()} == {name: name for name in FAMILIES}


def hard(data):
    """Rows that a converter gets wrong first: all missing, one missing, a category that nobody has seen, extreme numbers."""
    rows = data.take(np.arange(7))
    for column in COLUMNS:
        values = rows.columns[column.name]
        is_text = column.kind == "categorical"
        values[0] = "" if is_text else np.nan
        values[1] = "never seen" if is_text else values[1]
        values[2:4] = values[2:4] if is_text else [1e6, -1e6]
    for row, column in enumerate(COLUMNS[1:4], 4):
        rows.columns[column.name][row] = np.nan
    return rows


@pytest.mark.parametrize("class_weight", ["none", "balanced"])
@pytest.mark.parametrize("calibration", CALIBRATIONS)
@pytest.mark.parametrize("algorithm", FAMILIES)
def test_onnx_and_explanations_give_the_scores_of_the_model(algorithm, calibration, class_weight):
    data, spec = patients(), Estimator(algorithm=algorithm, calibration=calibration, class_weight=class_weight)
    pipeline = fitting.fit(fitting.build(spec, data, 0), spec, data)
    model = fitting.calibrate(pipeline, fitting.cross_fit(pipeline, spec, data, 0), spec, data)
    score = OnnxModel(model.to_onnx(data.features))
    for rows in (patients(300, seed=1), hard(patients(seed=2))):
        assert score(rows.columns) == pytest.approx(model.predict(rows), abs=1e-6)
    test = patients(300, seed=1)
    exact = model.family.explainer(model.pipeline, data)
    if exact is not None:
        names = tuple(column.name for column in COLUMNS)
        document = Explainer(features=names, link=model.calibrator.link, model=exact)
        found = attributor(document, score).explain(test.columns)
        margin = found.base + found.contributions.sum(axis=1)
        assert linked(document.link, margin) == pytest.approx(score(test.columns), abs=1e-4)


@pytest.mark.parametrize("algorithm", FAMILIES)
def test_a_parameter_that_is_set_elsewhere_or_unknown_is_refused_by_its_name(algorithm):
    for name in ("random_state", "class_weight", "depht"):
        with pytest.raises(InvalidInputError) as caught:
            fitting.build(Estimator(algorithm=algorithm, params={name: 1}), patients(), 0)
        assert (caught.value.reason, caught.value.field) == ("UnknownParameter", f"spec.estimator.params.{name}")
