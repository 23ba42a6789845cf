"""ScoreBatch: files of rows scored by one version of a model, as one indexed Kubernetes Job."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from modelward_api.base import URI, Digest, Document, Duration, Name, SemVer, Timestamp
from modelward_api.resources.conditions import Condition
from modelward_api.resources.pods import PodSettings, Resources

OnInvalidRow = Literal["fail", "skip", "null"]
MAX_SHARDS = 1000


class BatchInput(Document):
    """Files of rows to score."""

    uri: Annotated[
        str,
        Field(
            description="Address of the rows: a file, a folder whose files are read together, or file names with an asterisk. "
            "store://PATH in the artifact store, s3://BUCKET/KEY, or file:// below the store.",
            pattern=URI,
            max_length=2048,
        ),
    ]
    format: Annotated[Literal["csv", "parquet"], Field(description="Format of the files.")] = "parquet"


class BatchOutput(Document):
    """Destination of the scores."""

    uri: Annotated[
        str,
        Field(
            description="Address of the folder for shard-NNNNN.parquet and shard-NNNNN.json: store://, s3://, or file:// "
            "below the store.",
            pattern=URI,
            max_length=2048,
        ),
    ]


class ScoreBatchSpec(Document):
    """One scoring of one set of files. Immutable except for suspend and parallelism."""

    model: Annotated[Name, Field(description="Name of the model to score with.")]
    version: Annotated[
        SemVer | None,
        Field(description="Version to score with. Default: the champion at the time that the Job is created."),
    ] = None
    input: Annotated[BatchInput, Field(description="Rows to score.")]
    output: Annotated[BatchOutput, Field(description="Where the scores are written.")]
    keep_columns: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=128)], ...],
        Field(description="Input columns that are copied to the output, such as an identifier.", max_length=64),
    ] = ()
    shards: Annotated[
        int,
        Field(
            ge=1,
            le=MAX_SHARDS,
            description="Number of parts that the work is split into. Each row is in exactly one of them.",
        ),
    ] = 1
    parallelism: Annotated[
        int, Field(ge=1, le=MAX_SHARDS, description="Number of pods that work at the same time.")
    ] = 1
    on_invalid_row: Annotated[
        OnInvalidRow,
        Field(
            description="What happens to a row that an inference request would be refused for. null: written without a score. "
            "skip: left out. fail: the ScoreBatch fails. The row is counted in any case.",
        ),
    ] = "null"
    resources: Annotated[Resources, Field(description="CPU and memory of each pod.")] = Resources()
    pod: Annotated[PodSettings, Field(description="Pod settings: placement, environment, certificate authorities.")] = (
        PodSettings()
    )
    active_deadline: Annotated[Duration, Field(description="Maximum duration of the job, including retries.")] = "6h"
    backoff_limit: Annotated[
        int,
        Field(
            ge=0,
            le=10,
            description="Number of retries after crashes, for each of the pods that work at the same time. Invalid input is "
            "not retried.",
        ),
    ] = 2
    suspend: Annotated[bool, Field(description="Keep the job from starting, or stop it. Finished shards are kept.")] = (
        False
    )


class ScoreBatchStatus(Document):
    """Observed state of a ScoreBatch."""

    observed_generation: Annotated[
        int | None, Field(description="The metadata.generation that this status was computed from.")
    ] = None
    phase: Annotated[
        Literal["Pending", "Running", "Complete", "Failed"] | None, Field(description="Phase of the scoring.")
    ] = None
    message: Annotated[str | None, Field(description="Human-readable summary in one line.")] = None
    model_version: Annotated[
        str | None,
        Field(
            description="Name of the ModelVersion that scores. Chosen once, together with version, digest and bundleUri."
        ),
    ] = None
    version: Annotated[str | None, Field(description="Version of the ModelVersion.")] = None
    digest: Annotated[Digest | None, Field(description="Digest of the bundle.")] = None
    bundle_uri: Annotated[str | None, Field(description="Address of the bundle.")] = None
    shards_done: Annotated[int | None, Field(description="Number of finished shards.")] = None
    rows: Annotated[int | None, Field(description="Number of rows in the finished shards, scored and invalid.")] = None
    scored: Annotated[
        int | None,
        Field(description="Number of rows with a score. The least possible, if invalid is absent."),
    ] = None
    invalid: Annotated[
        int | None,
        Field(
            description="Number of rows without a score; absent if it would tell of 1 to 10 rows in a shard. The shards' results "
            "say which column breaks which rule."
        ),
    ] = None
    rows_per_second: Annotated[int | None, Field(description="Rows that one pod scores per second.")] = None
    input_digest: Annotated[
        Digest | None, Field(description="SHA-256 over the input files' names, sizes and entity tags.")
    ] = None
    output: Annotated[str | None, Field(description="Address of the scores.")] = None
    started: Annotated[Timestamp | None, Field(description="Time at which the job started.")] = None
    finished: Annotated[Timestamp | None, Field(description="Time at which the job ended.")] = None
    conditions: Annotated[
        tuple[Condition, ...],
        Field(description="Complete, Failed, Ready, Reconciling and Stalled (kstatus)."),
    ] = ()
