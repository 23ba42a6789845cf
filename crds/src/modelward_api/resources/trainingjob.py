"""TrainingJob: from declared data to a verified bundle, as one Kubernetes Job."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from modelward_api.base import Digest, Document, Duration, Fraction, Name, SemVer, Timestamp, Uri
from modelward_api.bundle.documents import Metric
from modelward_api.resources.columns import Column
from modelward_api.resources.conditions import Condition
from modelward_api.resources.modelversion import VersionSettings
from modelward_api.resources.pods import PodSettings, Resources


class Source(Document):
    """One file of training data."""

    uri: Annotated[
        Uri,
        Field(
            description="Where the file is: store://PATH in the artifact store, or s3://, or file:// below the store."
        ),
    ]
    format: Annotated[Literal["csv", "parquet"], Field(description="The file's format.")] = "csv"
    site: Annotated[
        str | None,
        Field(
            description="Site of all rows of the file, as the value of the column with role: site, which the file then lacks.",
            max_length=63,
        ),
    ] = None


class Label(Document):
    """What is to be predicted."""

    column: Annotated[
        str, Field(description="The label's column; it must be declared with the role label.", max_length=63)
    ]
    positive: Annotated[
        str, Field(description="The value that counts as the event, as text.", min_length=1, max_length=128)
    ]


class Data(Document):
    """The data, and what it must look like."""

    sources: Annotated[
        tuple[Source, ...], Field(description="The files; their rows are taken together.", min_length=1, max_length=64)
    ]
    columns: Annotated[
        tuple[Column, ...],
        Field(
            description="The declared columns. Columns of the files that are not declared are not read.",
            min_length=2,
            max_length=512,
        ),
    ]
    label: Annotated[Label, Field(description="What is to be predicted.")]


class Split(Document):
    """Which rows the model is tested on."""

    method: Annotated[
        Literal["time", "random"],
        Field(description="time: test on the latest rows, by the column with the role time. random: stratified."),
    ] = "time"
    test_fraction: Annotated[
        float,
        Field(gt=0, lt=0.9, description="About how many of the rows to test on; rows of one time stay together."),
    ] = 0.25
    test_from: Annotated[
        str | None,
        Field(description="Test on rows of this time and later, instead of a fraction.", max_length=64),
    ] = None
    seed: Annotated[int, Field(ge=0, description="Seed of everything random in the job.")] = 0


class Estimator(Document):
    """The model."""

    algorithm: Annotated[
        Literal["logistic-regression", "gradient-boosting"],
        Field(description="The scikit-learn estimator."),
    ] = "logistic-regression"
    params: Annotated[
        dict[str, float | int | bool | str],
        Field(description="The estimator's parameters, by scikit-learn's names."),
    ] = {}
    class_weight: Annotated[
        Literal["none", "balanced"],
        Field(description="balanced: weigh the classes by their rarity (calibration undoes the shift)."),
    ] = "none"
    calibration: Annotated[
        Literal["none", "sigmoid", "isotonic"],
        Field(description="How the scores become probabilities, by cross-validation on the training rows."),
    ] = "sigmoid"


class DeclaredSubgroup(Document):
    """Groups of patients, by one feature, whom a version must not harm though the average looks fine."""

    column: Annotated[
        str,
        Field(
            description="A feature: categorical with allowedValues (a group each), boolean, or a number with cuts.",
            max_length=63,
        ),
    ]
    cuts: Annotated[
        tuple[float, ...],
        Field(
            description="Where a numeric or integer column is cut: 40 and 65 make three groups, of which the second holds 40 and "
            "not 65.",
            max_length=15,
        ),
    ] = ()


class EvaluationSpec(Document):
    """How the model is judged."""

    operating_threshold: Annotated[
        Fraction, Field(description="A row is called positive at this probability and above.")
    ] = 0.5
    bootstrap: Annotated[int, Field(ge=0, le=10_000, description="Bootstrap samples for the 95% intervals.")] = 500
    subgroups: Annotated[
        tuple[DeclaredSubgroup, ...],
        Field(
            description="Whose requests are counted and tested apart in rollouts, and whose scores are monitored apart. At most "
            "32 groups, all columns together.",
            max_length=8,
        ),
    ] = ()


class Output(Document):
    """Where the bundle goes."""

    uri: Annotated[
        Uri, Field(description="The folder for the bundle, such as store://models. The file's name holds its digest.")
    ]


class Promote(Document):
    """The ModelVersion to create once the bundle is there."""

    name: Annotated[Name | None, Field(description="Its name; by default MODEL-VERSION with dots as dashes.")] = None
    template: Annotated[VersionSettings, Field(description="Its serving, rollout and governance.")] = VersionSettings()


class TrainingJobSpec(Document):
    """One training of one version. Immutable but for suspend."""

    model: Annotated[Name, Field(description="The model to train a version of.")]
    version: Annotated[SemVer, Field(description="The version, as SemVer.")]
    data: Annotated[Data, Field(description="The data, and what it must look like.")]
    split: Annotated[Split, Field(description="Which rows the model is tested on.")] = Split()
    estimator: Annotated[Estimator, Field(description="The model.")] = Estimator()
    evaluation: Annotated[EvaluationSpec, Field(description="How the model is judged.")] = EvaluationSpec()
    output: Annotated[Output, Field(description="Where the bundle goes.")]
    promote: Annotated[Promote | None, Field(description="Create a ModelVersion from the bundle.")] = None
    resources: Annotated[Resources, Field(description="Resources of the training pod.")] = Resources()
    pod: Annotated[PodSettings, Field(description="How the pods run: placement, environment, authorities.")] = (
        PodSettings()
    )
    active_deadline: Annotated[Duration, Field(description="How long the job may take, retries included.")] = "1h"
    backoff_limit: Annotated[
        int, Field(ge=0, le=10, description="Retries after a crash. Bad input is never tried again.")
    ] = 2
    suspend: Annotated[bool, Field(description="Do not start, or stop, the job.")] = False


class TrainingJobStatus(Document):
    """How the training goes."""

    observed_generation: Annotated[
        int | None, Field(description="The metadata.generation that this status speaks of.")
    ] = None
    phase: Annotated[
        Literal["Pending", "Suspended", "Running", "Complete", "Failed"] | None,
        Field(description="Where the job is."),
    ] = None
    step: Annotated[str | None, Field(description="The step that is running or was the last.")] = None
    message: Annotated[str | None, Field(description="One line for people.")] = None
    started: Annotated[Timestamp | None, Field(description="When the job started.")] = None
    finished: Annotated[Timestamp | None, Field(description="When the job ended.")] = None
    metrics: Annotated[tuple[Metric, ...], Field(description="On the test rows, with 95% bootstrap intervals.")] = ()
    auroc: Annotated[str | None, Field(description="AUROC and its interval, for people.")] = None
    train_rows: Annotated[int | None, Field(description="Rows trained on.")] = None
    test_rows: Annotated[int | None, Field(description="Rows tested on.")] = None
    parity: Annotated[
        str | None, Field(description="Largest difference between ONNX and scikit-learn on the test rows.")
    ] = None
    warnings: Annotated[tuple[str, ...], Field(description="What a person should look at.")] = ()
    data_digest: Annotated[Digest | None, Field(description="SHA-256 over the source files.")] = None
    uri: Annotated[str | None, Field(description="Where the bundle is.")] = None
    digest: Annotated[Digest | None, Field(description="The bundle's digest.")] = None
    model_version: Annotated[str | None, Field(description="The ModelVersion that was created.")] = None
    conditions: Annotated[
        tuple[Condition, ...],
        Field(description="Suspended, Complete, Failed, and Ready, Reconciling, Stalled (kstatus)."),
    ] = ()
