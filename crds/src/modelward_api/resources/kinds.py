"""The kinds of Modelward's API, each once: CRDs, watches, work queues and permissions are derived from this list."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from modelward_api.base import Document
from modelward_api.resources.driftmonitor import DriftMonitorSpec, DriftMonitorStatus
from modelward_api.resources.modelversion import ModelVersionSpec, ModelVersionStatus
from modelward_api.resources.scorebatch import ScoreBatchSpec, ScoreBatchStatus
from modelward_api.resources.trainingjob import TrainingJobSpec, TrainingJobStatus


@dataclass(frozen=True, slots=True)
class PrintColumn:
    """One column of ``kubectl get``."""

    name: str
    type: str
    path: str
    """JSONPath of the value."""
    priority: int = 0
    """1: shown only with ``--output=wide``."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One custom resource: its names, its models, and what a schema needs beside them."""

    name: str
    plural: str
    short_name: str
    description: str
    spec: type[Document]
    status: type[Document]
    columns: tuple[PrintColumn, ...]
    list_keys: Mapping[str, str] = field(default_factory=dict)
    """Lists that are maps, by path: the field that is the key."""
    sets: tuple[str, ...] = ()
    """Lists without duplicates, by path."""
    namespaced: bool = True


_AGE = PrintColumn("Age", "date", ".metadata.creationTimestamp")
_MESSAGE = PrintColumn("Message", "string", ".status.message", priority=1)
_MODEL = PrintColumn("Model", "string", ".spec.model")

MODEL_VERSION = Kind(
    "ModelVersion",
    "modelversions",
    "mv",
    "ModelVersion is one immutable version of a model, and how it is to be rolled out and served.",
    ModelVersionSpec,
    ModelVersionStatus,
    (
        _MODEL,
        PrintColumn("Version", "string", ".spec.version"),
        PrintColumn("Phase", "string", ".status.phase"),
        PrintColumn("Weight", "number", ".status.weight.requested"),
        PrintColumn("Verdict", "string", ".status.verdict"),
        PrintColumn("Ready", "string", '.status.conditions[?(@.type=="Ready")].status'),
        PrintColumn("Warning", "string", '.status.conditions[?(@.type=="ChampionPresent")].reason'),
        _AGE,
        _MESSAGE,
    ),
    {
        "status.conditions": "type",
        "status.evidence": "name",
        "status.subgroups": "stratum",
        "spec.serving.pod.env": "name",
    },
)
TRAINING_JOB = Kind(
    "TrainingJob",
    "trainingjobs",
    "tj",
    "TrainingJob trains one version of a model: from declared data to a verified bundle.",
    TrainingJobSpec,
    TrainingJobStatus,
    (
        _MODEL,
        PrintColumn("Version", "string", ".spec.version"),
        PrintColumn("Phase", "string", ".status.phase"),
        PrintColumn("Step", "string", ".status.step"),
        PrintColumn("AUROC", "string", ".status.auroc"),
        _AGE,
        _MESSAGE,
    ),
    {
        "status.conditions": "type",
        "spec.data.columns": "name",
        "spec.features.preparation": "column",
        "spec.features.derived": "name",
        "spec.evaluation.subgroups": "column",
        "spec.pod.env": "name",
        "spec.promote.template.serving.pod.env": "name",
    },
    ("spec.features.preparation[].order", "spec.features.omit"),
)
DRIFT_MONITOR = Kind(
    "DriftMonitor",
    "driftmonitors",
    "dm",
    "DriftMonitor watches what a model is asked, by counts against what it was trained on.",
    DriftMonitorSpec,
    DriftMonitorStatus,
    (
        _MODEL,
        PrintColumn("State", "string", ".status.state"),
        PrintColumn("Worst feature", "string", ".status.worstFeature"),
        PrintColumn("Evidence", "string", ".status.evidence"),
        _AGE,
        _MESSAGE,
    ),
    {"status.conditions": "type"},
    ("spec.features", "spec.subgroups"),
)
SCORE_BATCH = Kind(
    "ScoreBatch",
    "scorebatches",
    "sb",
    "ScoreBatch scores files of rows with one version of a model.",
    ScoreBatchSpec,
    ScoreBatchStatus,
    (
        _MODEL,
        PrintColumn("Version", "string", ".status.version"),
        PrintColumn("Phase", "string", ".status.phase"),
        PrintColumn("Rows", "integer", ".status.rows"),
        _AGE,
        _MESSAGE,
    ),
    {"status.conditions": "type", "spec.pod.env": "name"},
    ("spec.keepColumns",),
)

KINDS = (MODEL_VERSION, TRAINING_JOB, DRIFT_MONITOR, SCORE_BATCH)
"""All of them, in the order in which people meet them."""


def kind(name: str) -> Kind:
    """Return the kind with that name, such as ``ModelVersion``.

    Raises:
        KeyError: there is none.
    """
    return _BY_NAME[name]


_BY_NAME = {known.name: known for known in KINDS}
