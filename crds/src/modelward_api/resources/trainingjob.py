"""TrainingJob: trains one version from declared data to a verified bundle, in one Kubernetes Job."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from modelward_api.base import Digest, Document, Duration, Fraction, Name, SemVer, Timestamp, Uri
from modelward_api.bundle.documents import Metric
from modelward_api.resources.conditions import Condition
from modelward_api.resources.data import Data
from modelward_api.resources.features import Features
from modelward_api.resources.modelversion import VersionSettings
from modelward_api.resources.pods import PodSettings, Resources
from modelward_api.resources.reasons import FindingCode


class Split(Document):
    """Split into training and test rows."""

    method: Annotated[
        Literal["time", "random", "site", "group"],
        Field(
            description="time: test on the latest rows, by the column with role: time; a group may then have rows on both sides. "
            "random: a random, stratified split, which keeps groups together. site: test on the sites in testSites. group: like "
            "random, and a column with role: group is required."
        ),
    ] = "time"
    test_fraction: Annotated[
        float,
        Field(
            gt=0,
            lt=0.9,
            description="Approximate fraction of the rows to test on. Rows of the same time stay together.",
        ),
    ] = 0.25
    test_from: Annotated[
        str | None,
        Field(description="Test on rows from this time on. Replaces testFraction.", max_length=64),
    ] = None
    test_sites: Annotated[
        tuple[Annotated[str, Field(max_length=128)], ...],
        Field(
            description="Sites to test on, as values of the column with role: site. Needs method: site.", max_length=32
        ),
    ] = ()
    calibration_fraction: Annotated[
        float,
        Field(
            ge=0,
            le=0.8,
            description="Approximate fraction of the rows that only calibration uses, from those that are not tested on: the "
            "latest with method: time, otherwise at random, a group's rows together. 0: calibration cross-fits on the training "
            "rows.",
        ),
    ] = 0.0
    seed: Annotated[int, Field(ge=0, description="Seed of everything random in the job.")] = 0


class Estimator(Document):
    """Estimator, its parameters and its calibration."""

    algorithm: Annotated[
        Literal["logistic-regression", "gradient-boosting"],
        Field(description="Algorithm of the scikit-learn estimator."),
    ] = "logistic-regression"
    params: Annotated[
        dict[str, float | int | bool | str],
        Field(description="Parameters of the estimator, by scikit-learn's names."),
    ] = {}
    class_weight: Annotated[
        Literal["none", "balanced"],
        Field(
            description="none: all rows weigh the same. balanced: weigh the classes inversely to their frequency; calibration "
            "corrects the resulting shift."
        ),
    ] = "none"
    calibration: Annotated[
        Literal["none", "sigmoid", "isotonic"],
        Field(
            description="How scores become probabilities: fitted on cross-fitted scores of the training rows, or on the "
            "rows of split.calibrationFraction."
        ),
    ] = "sigmoid"


class DeclaredSubgroup(Document):
    """Groups of patients, by one feature, that a version must not harm even if the average looks fine."""

    column: Annotated[
        str,
        Field(
            description="Feature that defines the groups: categorical with allowedValues (one group each), boolean, or a "
            "number with cuts.",
            max_length=63,
        ),
    ]
    cuts: Annotated[
        tuple[float, ...],
        Field(
            description="Where a numeric or integer column is cut: 40 and 65 make three groups; the second includes 40 and "
            "excludes 65.",
            max_length=15,
        ),
    ] = ()


class EvaluationSpec(Document):
    """Evaluation settings."""

    operating_threshold: Annotated[Fraction, Field(description="Probability from which a row is called positive.")] = (
        0.5
    )
    bootstrap: Annotated[
        int, Field(ge=0, le=10_000, description="Number of bootstrap samples for the 95% intervals.")
    ] = 500
    subgroups: Annotated[
        tuple[DeclaredSubgroup, ...],
        Field(
            description="Subgroups that rollouts count and test separately, and whose scores are monitored separately. At "
            "most 32 groups over all columns.",
            max_length=8,
        ),
    ] = ()


class Output(Document):
    """Destination of the bundle."""

    uri: Annotated[
        Uri,
        Field(
            description="Address of the folder for the bundle, such as store://models. The file's name contains its digest."
        ),
    ]


class Promote(Document):
    """ModelVersion to create from the bundle."""

    name: Annotated[
        Name | None, Field(description="Name of the ModelVersion. Default: MODEL-VERSION, with dashes for dots.")
    ] = None
    template: Annotated[VersionSettings, Field(description="Serving, rollout and governance of the ModelVersion.")] = (
        VersionSettings()
    )


class TrainingJobSpec(Document):
    """One training of one version. Immutable except for suspend."""

    model: Annotated[Name, Field(description="Name of the model to train a version of.")]
    version: Annotated[SemVer, Field(description="Version of the model, in SemVer.")]
    data: Annotated[Data, Field(description="Training data and its declared columns.")]
    features: Annotated[
        Features, Field(description="How columns become the model's inputs. Everything here is part of the ONNX graph.")
    ] = Features()
    split: Annotated[Split, Field(description="How rows are split into training and test rows.")] = Split()
    estimator: Annotated[Estimator, Field(description="Estimator to train.")] = Estimator()
    evaluation: Annotated[EvaluationSpec, Field(description="How the model is evaluated.")] = EvaluationSpec()
    output: Annotated[Output, Field(description="Where the bundle is written.")]
    promote: Annotated[
        Promote | None, Field(description="Create a ModelVersion from the bundle. Absent: none is created.")
    ] = None
    resources: Annotated[Resources, Field(description="CPU and memory of the training pod.")] = Resources()
    pod: Annotated[PodSettings, Field(description="Pod settings: placement, environment, certificate authorities.")] = (
        PodSettings()
    )
    active_deadline: Annotated[Duration, Field(description="Maximum duration of the job, including retries.")] = "1h"
    backoff_limit: Annotated[
        int, Field(ge=0, le=10, description="Number of retries after a crash. Invalid input is not retried.")
    ] = 2
    suspend: Annotated[bool, Field(description="Keep the job from starting, or stop it.")] = False


class DataFinding(Document):
    """A finding about the training data."""

    code: Annotated[FindingCode, Field(description="What was found.")]
    severity: Annotated[Literal["error", "warning", "info"], Field(description="Severity of the finding.")]
    message: Annotated[str, Field(description="What is wrong and what to do.", max_length=256)]
    field: Annotated[
        str, Field(description="Path in the TrainingJob, such as spec.data.columns[3].unit.", max_length=256)
    ]
    site: Annotated[str | None, Field(description="Site that it is about.", max_length=128)] = None


class TrainingJobStatus(Document):
    """Observed state of a TrainingJob."""

    observed_generation: Annotated[
        int | None, Field(description="The metadata.generation that this status was computed from.")
    ] = None
    phase: Annotated[
        Literal["Pending", "Suspended", "Running", "Complete", "Failed"] | None,
        Field(description="Phase of the job."),
    ] = None
    step: Annotated[str | None, Field(description="Current or last step of the job.")] = None
    message: Annotated[str | None, Field(description="Human-readable summary in one line.")] = None
    started: Annotated[Timestamp | None, Field(description="Time at which the job started.")] = None
    finished: Annotated[Timestamp | None, Field(description="Time at which the job ended.")] = None
    metrics: Annotated[
        tuple[Metric, ...], Field(description="Metrics on the test rows, with 95% bootstrap intervals.")
    ] = ()
    auroc: Annotated[str | None, Field(description="AUROC and its interval, for display.")] = None
    train_rows: Annotated[int | None, Field(description="Number of training rows.")] = None
    test_rows: Annotated[int | None, Field(description="Number of test rows.")] = None
    parity: Annotated[
        str | None,
        Field(
            description="Largest difference between the ONNX and the scikit-learn scores, on the test rows and on rows with "
            "extreme values."
        ),
    ] = None
    warnings: Annotated[tuple[str, ...], Field(description="Findings that a person should review.")] = ()
    findings: Annotated[
        tuple[DataFinding, ...], Field(description="The five worst findings about the data.", max_length=5)
    ] = ()
    report: Annotated[
        str | None, Field(description="Address of the report on the data: validation.html, beside validation.json.")
    ] = None
    data_digest: Annotated[
        Digest | None, Field(description="SHA-256 over the source files and the rows of queries.")
    ] = None
    uri: Annotated[str | None, Field(description="Address of the bundle.")] = None
    digest: Annotated[Digest | None, Field(description="Digest of the bundle.")] = None
    model_version: Annotated[str | None, Field(description="Name of the ModelVersion that was created.")] = None
    conditions: Annotated[
        tuple[Condition, ...],
        Field(description="Suspended, Complete, Failed, Ready, Reconciling and Stalled (kstatus)."),
    ] = ()
