"""A trained model, and the documents of its bundle."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from importlib.metadata import version

from modelward_api import names
from modelward_api.base import Document
from modelward_api.bundle.documents import (
    Evaluation,
    Explainer,
    Golden,
    GroupCount,
    Lineage,
    Metric,
    ParityReport,
    ReferenceProfile,
    Signature,
    Subgroup,
)
from modelward_api.resources.columns import UnitConversion
from modelward_api.resources.trainingjob import TrainingJobSpec
from modelward_api.store import shown
from modelward_training.data.dataset import Dataset
from modelward_training.data.units import alternatives
from modelward_training.estimators.base import FittedModel

PACKAGES = (
    "scikit-learn",
    "skl2onnx",
    "onnx",
    "onnxruntime",
    "polars",
    "numpy",
    "pint",
    "ucumvert",
    "modelward-training",
)
"""Packages whose versions the lineage records."""


@dataclass(frozen=True)
class TrainedModel:
    """A trained version and all data about it."""

    job: str
    """Name of the TrainingJob."""
    spec: TrainingJobSpec
    data_digest: str
    train: Dataset
    test: Dataset
    model: FittedModel
    graph: bytes
    metrics: tuple[Metric, ...]
    breakdown: tuple[GroupCount, ...]
    parity: ParityReport
    subgroups: tuple[Subgroup, ...]
    profile: ReferenceProfile
    golden: Golden
    explainer: Explainer | None
    warnings: tuple[str, ...]


def documents(trained: TrainedModel) -> dict[str, Document]:
    """Return the bundle's documents by file name."""
    optional = {} if trained.explainer is None else {names.EXPLAINER_FILE: trained.explainer}
    return optional | {
        names.SIGNATURE_FILE: _signature(trained),
        names.REFERENCE_FILE: trained.profile,
        names.EVALUATION_FILE: _evaluation(trained),
        names.PARITY_FILE: trained.parity,
        names.GOLDEN_FILE: trained.golden,
        names.LINEAGE_FILE: _lineage(trained),
    }


def _signature(trained: TrainedModel) -> Signature:
    spec = trained.spec
    return Signature(
        model=spec.model,
        version=spec.version,
        inputs=trained.train.features,
        label=spec.data.label.column,
        positive=spec.data.label.positive,
        operating_threshold=spec.evaluation.operating_threshold,
        subgroups=trained.subgroups,
        units=_units(trained.train),
    )


def _units(data: Dataset) -> dict[str, tuple[UnitConversion, ...]]:
    """Return the other units in which callers may send each column."""
    others = {column.name: alternatives(column.unit, column.molar_mass) for column in data.features if column.unit}
    return {name: units for name, units in others.items() if units}


def _evaluation(trained: TrainedModel) -> Evaluation:
    return Evaluation(
        train_rows=len(trained.train),
        test_rows=len(trained.test),
        test_events=int(trained.test.label.sum()),
        metrics=trained.metrics,
        warnings=trained.warnings,
        breakdown=trained.breakdown or None,
    )


def _lineage(trained: TrainedModel) -> Lineage:
    return Lineage(
        training_job=trained.job,
        data_digest=trained.data_digest,
        sources=tuple(shown(source.uri) if source.uri else "sql" for source in trained.spec.data.sources),
        algorithm=trained.spec.estimator.algorithm,
        params={name: str(value) for name, value in sorted(trained.model.params.items())},
        seed=trained.spec.split.seed,
        packages={"python": platform.python_version(), **{package: version(package) for package in PACKAGES}},
    )
