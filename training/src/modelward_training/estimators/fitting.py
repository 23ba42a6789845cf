"""Fitting: an encoder and an estimator on the training rows, and a calibrator on cross-fitted margins.

Both are simple enough to be written as ONNX exactly, which the parity check proves for every model.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from modelward_api.resources.features import Features
from modelward_api.resources.reasons import Reason
from modelward_api.resources.trainingjob import Estimator
from modelward_training.data.dataset import Dataset
from modelward_training.errors import InvalidInputError
from modelward_training.estimators import FAMILIES
from modelward_training.estimators.base import FittedModel
from modelward_training.estimators.calibration import CALIBRATIONS
from modelward_training.estimators.encoding import encoder
from modelward_training.estimators.folds import folds

ENCODER = "features"


def build(spec: Estimator, data: Dataset, seed: int, features: Features | None = None) -> Pipeline:
    """Return an unfitted pipeline of encoder and estimator.

    Raises:
        InvalidInputError: UnknownParameter.
    """
    family = FAMILIES[spec.algorithm]
    for name in spec.params:
        if name not in family.parameters:
            message = f"{spec.algorithm} has no parameter {name!r}; it has {', '.join(sorted(family.parameters))}"
            raise InvalidInputError(Reason.UNKNOWN_PARAMETER, message, f"spec.estimator.params.{name}")
    estimator = family.build(spec.params, spec.class_weight, seed)
    prepared = encoder(data, scale=family.needs_scaling, features=features, seed=seed)
    return Pipeline([(ENCODER, prepared), ("estimator", estimator)])


def fit(pipeline: Pipeline, spec: Estimator, data: Dataset) -> Pipeline:
    """Fit the pipeline on the rows, in place.

    Raises:
        InvalidInputError: InvalidParameter.
    """
    weights = FAMILIES[spec.algorithm].fit_parameters(spec.class_weight, data.label)
    try:
        return pipeline.fit(data.rows(), data.label, **_parameters(weights, data.group))
    except (ValueError, TypeError) as error:
        if "parameter" not in str(error):
            raise
        # scikit-learn's sentence repeats the value; the name of the parameter is one of those that build() has checked.
        wrong = [name for name in spec.params if f"'{name}'" in str(error)]
        subject = f"{wrong[0]} has" if wrong else "a parameter has"
        message = f"{subject} a value that {spec.algorithm} does not accept: see its documentation in scikit-learn"
        raise InvalidInputError(Reason.INVALID_PARAMETER, message, "spec.estimator.params") from None


def cross_fit(pipeline: Pipeline, spec: Estimator, data: Dataset, seed: int) -> np.ndarray:
    """Return the margins of the training rows, [n], each by a pipeline fitted without the row's fold.

    All rows of a group are in one fold. These margins are like those of unseen rows; a model is too sure of the rows that it was
    fitted on.
    """
    family, rows = FAMILIES[spec.algorithm], data.rows()
    weights = family.fit_parameters(spec.class_weight, data.label)
    margins = np.empty(len(data))
    for train, held_out in folds(data.label, data.group, seed):
        group = None if data.group is None else data.group[train]
        parameters = _parameters({name: values[train] for name, values in weights.items()}, group)
        fitted = clone(pipeline).fit(rows[train], data.label[train], **parameters)
        margins[held_out] = family.margin(fitted, rows[held_out])
    return margins


def calibrate(
    pipeline: Pipeline, margins: np.ndarray, spec: Estimator, data: Dataset, held_out: Dataset | None = None
) -> FittedModel:
    """Return the fitted pipeline with a calibrator.

    Args:
        pipeline: fitted on the training rows.
        margins: [n], cross-fitted, of the training rows.
        spec: says which calibrator.
        data: the training rows.
        held_out: rows that only calibration uses, instead of the training rows and their cross-fitted margins.
    """
    family, label = FAMILIES[spec.algorithm], data.label
    if held_out is not None:
        margins, label = family.margin(pipeline, held_out.rows()), held_out.label
    return FittedModel(family, pipeline, CALIBRATIONS[spec.calibration](margins, label))


def _parameters(weights: Mapping[str, np.ndarray], group: np.ndarray | None) -> dict[str, np.ndarray | None]:
    """What the pipeline's fit() takes beside rows and labels."""
    return {f"{ENCODER}__group": group, **{f"estimator__{name}": values for name, values in weights.items()}}
