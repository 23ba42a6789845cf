"""spec.data of a TrainingJob: where rows come from, how each site records them, and what must hold of them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from modelward_api.base import DataUri, Document, Duration, Uri
from modelward_api.resources.columns import Column
from modelward_api.resources.reasons import FindingCode

Text = Annotated[str, Field(max_length=128)]
ColumnName = Annotated[str, Field(max_length=63)]
Predicate = Annotated[str, Field(min_length=1, max_length=1024)]
"""An SQL expression over declared columns that is true or false for a row, such as ``discharge >= admission``."""


_MARK = r"^[\t -~]$"
"""One character of ASCII that can be seen, or a tab."""


class Dialect(Document):
    """How a CSV file is written. What is absent is the default, or recognised from the file where that is safe."""

    separator: Annotated[
        str | None,
        Field(
            description="Character between fields. Default: recognised from the first lines among , ; tab and |.",
            pattern=_MARK,
        ),
    ] = None
    decimal: Annotated[Literal[".", ","], Field(description="Decimal mark of numbers.")] = "."
    thousands: Annotated[
        Literal[".", ",", " ", "'"] | None, Field(description="Mark between groups of three digits. Default: none.")
    ] = None
    quote: Annotated[str, Field(description="Character around fields.", pattern=_MARK)] = '"'
    encoding: Annotated[
        Literal["utf-8", "utf-16", "windows-1252", "iso-8859-1"] | None,
        Field(description="Character encoding. Default: by the byte-order mark, else utf-8."),
    ] = None
    header: Annotated[
        bool, Field(description="Whether the first line names the columns. false: columns are named 1, 2, 3 and so on.")
    ] = True
    comment: Annotated[
        str | None, Field(description="Lines that start with this text are skipped.", min_length=1, max_length=8)
    ] = None
    date_formats: Annotated[
        tuple[Annotated[str, Field(min_length=2, max_length=64)], ...],
        Field(
            description="Formats of timestamps in chrono's notation, such as %d.%m.%Y. They are tried in order. Default: ISO "
            "8601.",
            max_length=8,
        ),
    ] = ()


class SecretKey(Document):
    """One key of a Secret in the namespace of the TrainingJob."""

    name: Annotated[str, Field(description="Name of the Secret.", min_length=1, max_length=253)]
    key: Annotated[
        str, Field(description="Key in the Secret.", pattern=r"^[-._a-zA-Z0-9]+$", min_length=1, max_length=253)
    ]


class Sql(Document):
    """A query whose rows are the data."""

    uri_secret_ref: Annotated[
        SecretKey,
        Field(description="Secret with the address of the database, postgresql://USER:PASSWORD@HOST/DATABASE."),
    ]
    query: Annotated[
        str, Field(description="SELECT statement. It runs in a read-only transaction.", min_length=1, max_length=16_384)
    ]
    timeout: Annotated[Duration, Field(description="Maximum duration of the statement.")] = "10m"


class Source(Document):
    """Files, or a query, of one site or of several."""

    uri: Annotated[
        DataUri | None,
        Field(
            description="Address of a file, of a folder that ends in /, or of files by a pattern (store://visits/2024-*.csv): "
            "store://PATH in the artifact store, s3://BUCKET/KEY, gs://BUCKET/KEY, az://CONTAINER/KEY, https://HOST/PATH, or "
            "file:// below the store. * stands for any characters but /. gzip and zstd are recognised."
        ),
    ] = None
    sql: Annotated[Sql | None, Field(description="Query of a database. Needs format: sql.")] = None
    format: Annotated[Literal["csv", "parquet", "ndjson", "sql"], Field(description="Format of the data.")] = "csv"
    dialect: Annotated[
        Dialect,
        Field(
            description="How CSV files are written. decimal, thousands and dateFormats hold for text in other formats as well."
        ),
    ] = Dialect()
    time_zone: Annotated[
        str | None,
        Field(
            description="IANA time zone of timestamps that name no offset from UTC, such as Europe/Berlin. Default: they are "
            "compared as they are.",
            max_length=64,
        ),
    ] = None
    site: Annotated[
        str | None,
        Field(
            description="Site of all rows of the source: an entry of sites, if there are any, and the value of the column with "
            "role: site, which the data then lack.",
            max_length=63,
        ),
    ] = None


class Qualifier(Document):
    """A column that says how the value was measured, and what to add to it for each way."""

    column: Annotated[ColumnName, Field(description="Declared column that names the measuring method.")]
    offsets: Annotated[
        dict[Text, float],
        Field(
            description="Offset by value of that column, in the declared unit. A value that is not listed is an error.",
            max_length=64,
        ),
    ]


class ValuesFrom(Document):
    """A mapping in a file."""

    uri: Annotated[
        Uri,
        Field(
            description="Address of a CSV file with the header value,declared: a value in the data, and its declared value."
        ),
    ]


class Recording(Document):
    """How a column is recorded in the data, where that differs from its declaration."""

    source: Annotated[
        str | None,
        Field(description="Name of the column in the data. Default: its name.", min_length=1, max_length=256),
    ] = None
    values: Annotated[
        dict[Text, Text],
        Field(
            description="Declared value by value in the data, for local codes and spellings. Other values stay. At a site it "
            "replaces the column's mapping, and ignoreCase with it.",
            max_length=1024,
        ),
    ] = {}
    values_from: Annotated[ValuesFrom | None, Field(description="The same mapping as a file. Replaces values.")] = None
    ignore_case: Annotated[bool, Field(description="Whether the mapping ignores case.")] = False
    qualifier: Annotated[Qualifier | None, Field(description="Corrects a number by the way it was measured.")] = None
    censored: Annotated[
        Literal["limit", "half", "missing"] | None,
        Field(
            description="What <0.5 and >90 become. limit: the number. half: half of it for <, the number for >. missing: a "
            "missing value. Absent: an error."
        ),
    ] = None


class DataColumn(Column, Recording):
    """A declared column, and how it is recorded where a site declares nothing else."""

    unique: Annotated[bool, Field(description="Whether values must be unique.")] = False
    increasing: Annotated[
        bool,
        Field(description="Whether values must not decrease from row to row: of a group, or else of a source."),
    ] = False
    available_at: Annotated[
        str | None,
        Field(
            description="When the value is known: a timestamp column, or outcome for a value that is known only with the "
            "outcome. A feature that is known after the time of the row is a leak.",
            max_length=63,
        ),
    ] = None


class SiteColumn(Recording):
    """How one site records a column. What is absent is as declared in columns."""

    name: Annotated[ColumnName, Field(description="Declared column.")]
    unit: Annotated[
        str | None,
        Field(description="Unit in the data, in UCUM. Values are converted into the column's unit.", max_length=32),
    ] = None
    missing_values: Annotated[
        tuple[Text, ...] | None,
        Field(description="Texts that mean 'missing' at this site. Replaces the column's.", max_length=16),
    ] = None


class Site(Document):
    """A site, and how it records columns."""

    name: Annotated[str, Field(description="Name of the site, as in sources[].site.", min_length=1, max_length=63)]
    columns: Annotated[
        tuple[SiteColumn, ...], Field(description="Columns that the site records in another way.", max_length=512)
    ] = ()


class Rule(Document):
    """A rule over several columns of a row."""

    name: Annotated[
        str, Field(description="Name of the rule in reports.", pattern=r"^[A-Za-z][A-Za-z0-9_-]*$", max_length=63)
    ]
    check: Annotated[
        Predicate,
        Field(description="SQL expression that must hold, such as discharge >= admission. Unknown (missing) passes."),
    ]


class Cohort(Document):
    """A condition of belonging to the data."""

    name: Annotated[
        str,
        Field(description="Name in reports, such as consent.", pattern=r"^[A-Za-z][A-Za-z0-9_-]*$", max_length=63),
    ]
    where: Annotated[
        Predicate,
        Field(description="SQL expression of the rows to keep, such as consent = 'yes'. Unknown (missing) is dropped."),
    ]


class Quality(Document):
    """What the data must be to train on."""

    max_quarantined: Annotated[
        float,
        Field(
            ge=0,
            le=1,
            description="Largest fraction of the rows that may be set aside because they break a rule. Above it the job fails.",
        ),
    ] = 0.0
    key: Annotated[
        tuple[ColumnName, ...],
        Field(description="Columns whose combined values must be unique.", max_length=8),
    ] = ()
    rules: Annotated[tuple[Rule, ...], Field(description="Rules over several columns.", max_length=64)] = ()
    cohort: Annotated[
        tuple[Cohort, ...],
        Field(
            description="Conditions of belonging to the data. Rows outside are excluded and counted, before rules are checked.",
            max_length=16,
        ),
    ] = ()
    max_age: Annotated[
        Duration | None,
        Field(description="Largest age of the latest row, by the column with role: time, when the job runs."),
    ] = None
    min_rows: Annotated[int, Field(ge=50, description="Smallest number of rows to train and test on.")] = 50
    min_events: Annotated[int, Field(ge=10, description="Smallest number of events among them.")] = 10
    forbid: Annotated[
        tuple[FindingCode, ...],
        Field(
            description="Findings that fail the job. Others are warnings, or stand only in the report.", max_length=32
        ),
    ] = (FindingCode.TARGET_COPY, FindingCode.KNOWN_AFTER_OUTCOME, FindingCode.FUTURE_VALUE)


class Label(Document):
    """Label column and its positive value."""

    column: Annotated[
        str, Field(description="Column of the label. Declare it in columns with role: label.", max_length=63)
    ]
    positive: Annotated[
        str, Field(description="Value that counts as the event, as text.", min_length=1, max_length=128)
    ]
    horizon: Annotated[
        Duration | None,
        Field(
            description="Time from the row until the outcome is known, such as 30d. Rows younger than this at the time of "
            "extraction are excluded and counted."
        ),
    ] = None
    extracted: Annotated[
        str | None,
        Field(
            description="When the data were extracted, in ISO 8601. Default: the latest time in the data.",
            max_length=64,
        ),
    ] = None


class Data(Document):
    """Training data and its declared columns."""

    sources: Annotated[
        tuple[Source, ...],
        Field(description="Training data. The rows of all sources are read together.", min_length=1, max_length=64),
    ]
    columns: Annotated[
        tuple[DataColumn, ...],
        Field(
            description="Declared columns. Other columns of the data are not read.",
            min_length=2,
            max_length=512,
        ),
    ]
    label: Annotated[Label, Field(description="What the model predicts.")]
    sites: Annotated[
        tuple[Site, ...],
        Field(description="Sites, and how each records columns differently from their declaration.", max_length=64),
    ] = ()
    quality: Annotated[Quality, Field(description="What the data must be to train on.")] = Quality()
