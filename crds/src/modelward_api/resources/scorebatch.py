"""ScoreBatch: files of rows scored by one version of a model, as one indexed Kubernetes Job."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from modelward_api.base import URI, Digest, Document, Duration, Name, SemVer, Timestamp
from modelward_api.resources.conditions import Condition
from modelward_api.resources.pods import PodSettings, Resources

OnInvalidRow = Literal["fail", "skip", "null"]
MOST_SHARDS = 1000


class BatchInput(Document):
    """The rows."""

    uri: Annotated[
        str,
        Field(
            description="Where the rows are: a file, a folder whose files of the format are taken together, or file names with "
            "an asterisk. store://PATH in the artifact store, or s3://, or file:// below the store.",
            pattern=URI,
            max_length=2048,
        ),
    ]
    format: Annotated[Literal["csv", "parquet"], Field(description="The files' format.")] = "parquet"


class BatchOutput(Document):
    """Where the scores go."""

    uri: Annotated[
        str,
        Field(
            description="The folder for shard-NNNNN.parquet and shard-NNNNN.json: store://, s3://, or file:// below the store.",
            pattern=URI,
            max_length=2048,
        ),
    ]


class ScoreBatchSpec(Document):
    """One scoring of one set of files. Immutable but for suspend and parallelism."""

    model: Annotated[Name, Field(description="The model to score with.")]
    version: Annotated[
        SemVer | None,
        Field(description="The version. Without it: the champion at the time that the Job is made."),
    ] = None
    input: Annotated[BatchInput, Field(description="The rows.")]
    output: Annotated[BatchOutput, Field(description="Where the scores go.")]
    keep_columns: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=128)], ...],
        Field(
            description="Columns of the input that are copied beside the scores, such as an identifier.", max_length=64
        ),
    ] = ()
    shards: Annotated[
        int, Field(ge=1, le=MOST_SHARDS, description="Parts of the work. Each row is in exactly one of them.")
    ] = 1
    parallelism: Annotated[int, Field(ge=1, le=MOST_SHARDS, description="Pods that work at the same time.")] = 1
    on_invalid_row: Annotated[
        OnInvalidRow,
        Field(
            description="What becomes of a row that an inference request would be refused for. null: it is written without a "
            "score. skip: it is left out. fail: the ScoreBatch fails. It is counted in any case.",
        ),
    ] = "null"
    resources: Annotated[Resources, Field(description="Resources of each pod.")] = Resources()
    pod: Annotated[PodSettings, Field(description="How the pods run: placement, environment, authorities.")] = (
        PodSettings()
    )
    active_deadline: Annotated[Duration, Field(description="How long the job may take, retries included.")] = "6h"
    backoff_limit: Annotated[
        int, Field(ge=0, le=10, description="Retries of each shard after a crash. Bad input is never tried again.")
    ] = 2
    suspend: Annotated[bool, Field(description="Do not start, or stop, the job. Finished shards are kept.")] = False


class ScoreBatchStatus(Document):
    """How the scoring goes."""

    observed_generation: Annotated[
        int | None, Field(description="The metadata.generation that this status speaks of.")
    ] = None
    phase: Annotated[
        Literal["Pending", "Running", "Complete", "Failed"] | None, Field(description="Where the scoring is.")
    ] = None
    message: Annotated[str | None, Field(description="One line for people.")] = None
    model_version: Annotated[
        str | None, Field(description="The ModelVersion that scores. Chosen once, with what follows.")
    ] = None
    version: Annotated[str | None, Field(description="Its version.")] = None
    digest: Annotated[Digest | None, Field(description="The digest of its bundle.")] = None
    bundle_uri: Annotated[str | None, Field(description="Where its bundle is.")] = None
    shards_done: Annotated[int | None, Field(description="Shards that are written.")] = None
    rows: Annotated[int | None, Field(description="Rows of the finished shards: scored and invalid.")] = None
    scored: Annotated[int | None, Field(description="Rows with a score.")] = None
    invalid: Annotated[
        int | None, Field(description="Rows without one; the shards' results say which column breaks which rule.")
    ] = None
    rows_per_second: Annotated[int | None, Field(description="Rows that one pod scores in a second.")] = None
    input_digest: Annotated[
        Digest | None, Field(description="SHA-256 over the input files' names, sizes and entity tags.")
    ] = None
    output: Annotated[str | None, Field(description="Where the scores are.")] = None
    started: Annotated[Timestamp | None, Field(description="When the job started.")] = None
    finished: Annotated[Timestamp | None, Field(description="When the job ended.")] = None
    conditions: Annotated[
        tuple[Condition, ...],
        Field(description="Complete, Failed, and Ready, Reconciling, Stalled (kstatus)."),
    ] = ()
