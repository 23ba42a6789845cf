"""Declared columns: training checks them, the bundle's signature lists them, serving validates against them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from modelward_api.base import Document

Kind = Literal["numeric", "integer", "categorical", "boolean", "timestamp"]
BOOLEANS = {"true": 1.0, "1": 1.0, "yes": 1.0, "y": 1.0, "false": 0.0, "0": 0.0, "no": 0.0, "n": 0.0}
"""Texts in files that mean true or false, in lower case."""
Role = Literal["feature", "label", "group", "time", "site", "subgroup", "context", "ignore"]

OutOfRange = Literal["flag", "clip", "reject", "abstain"]


class Range(Document):
    """Inclusive plausible limits of a numeric column."""

    minimum: Annotated[float | None, Field(description="Smallest plausible value.")] = None
    maximum: Annotated[float | None, Field(description="Largest plausible value.")] = None


class UnitConversion(Document):
    """Another unit of a column: value in the column's unit = value * factor + offset."""

    unit: str
    factor: float
    offset: float = 0.0


class Column(Document):
    """One declared column."""

    name: Annotated[
        str,
        Field(
            description="Name of the column in inference requests and reports. It is also the name in the data, unless "
            "source says otherwise.",
            pattern=r"^[A-Za-z_][A-Za-z0-9_.-]*$",
            max_length=63,
        ),
    ]
    kind: Annotated[Kind, Field(description="Kind of the values: numeric, integer, categorical, boolean or timestamp.")]
    role: Annotated[
        Role,
        Field(
            description="What the column is for. Only features enter the model; time orders the split; group keeps a "
            "patient's rows on one side of it. By site and subgroup, which need allowedValues, the evaluation counts rows and "
            "events; counts from 1 to 10 are withheld. context: read for rules, cohorts and corrections only. ignore: the column "
            "has no effect.",
        ),
    ] = "feature"
    unit: Annotated[
        str | None,
        Field(
            description="Unit in UCUM, such as mm[Hg], mmol/L, Cel or a. Its syntax is checked, and it is part of the model's "
            "signature.",
            max_length=32,
        ),
    ] = None
    molar_mass: Annotated[
        float | None,
        Field(
            gt=0,
            description="Grams a mole of the analyte, to convert between amounts and masses, such as 180.156 for glucose.",
        ),
    ] = None
    range: Annotated[Range | None, Field(description="Plausible limits. Values outside count as out of range.")] = None
    allowed_values: Annotated[
        tuple[Annotated[str, Field(max_length=128)], ...],
        Field(
            description="Categories of a categorical column. In training, a row with any other value breaks a rule.",
            max_length=256,
        ),
    ] = ()
    out_of_range: Annotated[
        OutOfRange,
        Field(
            description="What serving does with a value outside the range, or a category that is not allowed. flag: score it "
            "and mark it in the response. clip: score the nearest plausible number. reject: refuse the request. "
            "abstain: respond without a score and with the reason. All are counted.",
        ),
    ] = "flag"
    nullable: Annotated[
        bool,
        Field(description="Whether values may be missing. The model imputes missing features itself."),
    ] = False
    missing_values: Annotated[
        tuple[Annotated[str, Field(max_length=128)], ...],
        Field(description="Texts that mean 'missing' in the data, such as nk or 9999.", max_length=16),
    ] = ()
    sensitive: Annotated[
        bool,
        Field(
            description="Marks a protected attribute, such as ethnicity. As a feature it must be a column of "
            "evaluation.subgroups, so that rollouts test whether a version harms one of its groups.",
        ),
    ] = False
