"""spec.features of a TrainingJob: what is computed from the declared columns, inside the model's graph."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from modelward_api.base import Document

ColumnName = Annotated[str, Field(max_length=63)]
DerivedType = Literal["ratio", "difference", "product", "interaction", "log", "power", "clip", "bins", "spline"]


class Preparation(Document):
    """How one feature column is completed and encoded."""

    column: Annotated[ColumnName, Field(description="Column with role: feature.")]
    impute: Annotated[
        Literal["median", "mean", "most-frequent", "constant"] | None,
        Field(
            description="What replaces a missing value, learned from the training rows. Default: the median for numbers and "
            "for encoding: ordinal; for other categories, missing is a category of its own. median and mean need a number."
        ),
    ] = None
    fill: Annotated[
        str | None,
        Field(description="Value that replaces a missing one. Needs impute: constant.", max_length=128),
    ] = None
    indicator: Annotated[bool, Field(description="Whether the estimator gets an additional input 'is missing'.")] = (
        False
    )
    encoding: Annotated[
        Literal["one-hot", "ordinal", "target"],
        Field(
            description="How the categories of a categorical column become numbers. one-hot: an indicator each. ordinal: their "
            "place in order. target: their event rate in the training rows, shrunken towards the overall rate; the estimator "
            "is fitted on rates from other rows."
        ),
    ] = "one-hot"
    order: Annotated[
        tuple[Annotated[str, Field(max_length=128)], ...],
        Field(description="All categories from lowest to highest. Needs encoding: ordinal.", max_length=256),
    ] = ()
    min_rows: Annotated[
        int,
        Field(
            ge=0,
            description="Categories with fewer training rows, and unknown ones, are one category together. 0: each stands "
            "alone. Needs encoding: one-hot.",
        ),
    ] = 0


class Derived(Document):
    """What is computed from one or two feature columns, as one or more inputs of the estimator."""

    name: Annotated[
        str,
        Field(
            description="Name of the result. Requests do not hold it.",
            pattern=r"^[A-Za-z_][A-Za-z0-9_.-]*$",
            max_length=63,
        ),
    ]
    type: Annotated[
        DerivedType,
        Field(
            description="ratio, difference, product: of the first and second column. interaction: indicators of the categories "
            "of one column, times a number or the indicators of another. log: natural logarithm of 1 + x. power: x to the "
            "exponent. clip: x between minimum and maximum. bins: indicators of the pieces between edges. spline: natural "
            "cubic spline with knots at edges."
        ),
    ]
    columns: Annotated[
        tuple[ColumnName, ...],
        Field(description="The one or two columns that it is computed from.", min_length=1, max_length=2),
    ]
    exponent: Annotated[float | None, Field(description="Exponent. Needs type: power.")] = None
    minimum: Annotated[float | None, Field(description="Lower limit. Needs type: clip.")] = None
    maximum: Annotated[float | None, Field(description="Upper limit. Needs type: clip.")] = None
    edges: Annotated[
        tuple[float, ...],
        Field(
            description="Increasing edges of bins (each piece includes its lower edge), or at least 3 increasing knots of a "
            "spline.",
            max_length=16,
        ),
    ] = ()


class Features(Document):
    """How columns become the estimator's inputs."""

    preparation: Annotated[
        tuple[Preparation, ...], Field(description="Imputation and encoding by column.", max_length=128)
    ] = ()
    derived: Annotated[
        tuple[Derived, ...],
        Field(description="What is computed from columns and used beside them.", max_length=64),
    ] = ()
    omit: Annotated[
        tuple[ColumnName, ...],
        Field(
            description="Feature columns that only derived features use: callers send them, the estimator does not see them.",
            max_length=128,
        ),
    ] = ()
