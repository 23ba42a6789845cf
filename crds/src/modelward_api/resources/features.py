"""spec.features of a TrainingJob: what is computed from the declared columns, inside the model's graph."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from modelward_api.base import Document

ColumnName = Annotated[str, Field(max_length=63)]


class Preparation(Document):
    """How one feature column is completed and encoded."""

    column: Annotated[ColumnName, Field(description="Column with role: feature.")]
    impute: Annotated[
        Literal["median", "mean", "most-frequent", "constant"] | None,
        Field(
            description="What replaces a missing value, learned from the training rows. Default: median for numbers, a category "
            "of its own for categories."
        ),
    ] = None
    fill: Annotated[str | None, Field(description="The value for impute: constant.", max_length=128)] = None
    indicator: Annotated[bool, Field(description="Whether 'is missing' is an input of its own.")] = False
    encoding: Annotated[
        Literal["one-hot", "ordinal", "target"],
        Field(
            description="How categories become numbers. ordinal: their place in order. target: the shrunken event rate, learned "
            "out of fold."
        ),
    ] = "one-hot"
    order: Annotated[
        tuple[Annotated[str, Field(max_length=128)], ...],
        Field(description="Categories from lowest to highest. Needs encoding: ordinal.", max_length=256),
    ] = ()
    min_rows: Annotated[
        int,
        Field(ge=0, description="Categories with fewer training rows are one category together. 0: none are."),
    ] = 0


class Derived(Document):
    """A number computed from one or two feature columns."""

    name: Annotated[
        str,
        Field(
            description="Name of the result in the model card. Requests do not hold it.",
            pattern=r"^[A-Za-z_][A-Za-z0-9_.-]*$",
            max_length=63,
        ),
    ]
    type: Annotated[
        Literal[
            "ratio",
            "difference",
            "product",
            "log",
            "power",
            "clip",
            "bins",
            "spline",
            "datePart",
            "elapsed",
        ],
        Field(
            description="ratio, difference, product: of the first and second column. log: natural logarithm of 1 + x. power: to "
            "the exponent. clip: between minimum and maximum. bins: indicators of the pieces between edges. spline: natural "
            "cubic spline with knots at edges. datePart: part of a timestamp, in UTC. elapsed: time from the first column to the "
            "second, in hours."
        ),
    ]
    columns: Annotated[
        tuple[ColumnName, ...],
        Field(description="The one or two columns that it is computed from.", min_length=1, max_length=2),
    ]
    exponent: Annotated[float | None, Field(description="For type: power.")] = None
    minimum: Annotated[float | None, Field(description="For type: clip.")] = None
    maximum: Annotated[float | None, Field(description="For type: clip.")] = None
    edges: Annotated[
        tuple[float, ...], Field(description="Increasing edges of bins, or knots of a spline.", max_length=16)
    ] = ()
    part: Annotated[Literal["hour", "weekday", "month", "year"] | None, Field(description="For type: datePart.")] = None


class Features(Document):
    """How columns become the model's inputs."""

    preparation: Annotated[
        tuple[Preparation, ...], Field(description="Imputation and encoding by column.", max_length=512)
    ] = ()
    derived: Annotated[
        tuple[Derived, ...],
        Field(description="Numbers that are computed from columns and used beside them.", max_length=64),
    ] = ()
    omit: Annotated[
        tuple[ColumnName, ...],
        Field(
            description="Feature columns that only derived features use: callers send them, the estimator does not see them.",
            max_length=512,
        ),
    ] = ()
