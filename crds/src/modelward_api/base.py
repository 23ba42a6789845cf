"""Base class and scalar types of all documents of the API."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field
from pydantic.alias_generators import to_camel


class Document(BaseModel):
    """A frozen document with camelCase on the wire and snake_case in Python.

    Unknown fields are ignored: an older operator must be able to read what a newer one wrote.
    """

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore", allow_inf_nan=False
    )

    def to_json(self) -> dict[str, object]:
        """Return the document as JSON values, with camelCase names and without absent values."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


Name = Annotated[str, Field(pattern=r"^[a-z]([-a-z0-9]*[a-z0-9])?$", min_length=1, max_length=40)]
"""A DNS label short enough for the suffixes of derived names."""

SemVer = Annotated[
    str,
    Field(
        pattern=r"^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$",
        max_length=40,
    ),
]
Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
URI = r"^(store://[^?#]+|file:///[^?#]+|s3://[A-Za-z0-9][A-Za-z0-9._-]+(/[^?#]*)?)$"
Uri = Annotated[str, Field(pattern=URI, max_length=2048)]
"""Address of data or a bundle. User info and queries are not allowed, because they may hold secrets."""
DATA_URI = r"^((store|s3|gs|az)://[^?#]+|file:///[^?#]+|https://[A-Za-z0-9][A-Za-z0-9.-]*(:[0-9]{1,5})?/[^?#]+)$"
DataUri = Annotated[str, Field(pattern=DATA_URI, max_length=2048)]
"""Address of training data, which may also be in other clouds or at a web server."""
MAX_DURATION = (
    "^([0-9]{1,4}([.][0-9]*)?d)?([0-9]{1,5}([.][0-9]*)?h)?([0-9]{1,6}([.][0-9]*)?m)?([0-9]{1,8}([.][0-9]*)?s)?"
    "([0-9]{1,10}([.][0-9]*)?ms)?$"
)
"""Units in this order, each at most once, with few enough digits that the sum stays below 45 years."""
TOO_LONG = "must be at most 9999d, with units in the order d, h, m, s, ms, for example 90s, 1h30m or 7d"


def _bounded(duration: str) -> str:
    if not re.match(MAX_DURATION, duration):
        raise ValueError(TOO_LONG)
    return duration


DURATION_MARK = "x-modelward-duration"
Duration = Annotated[
    str,
    Field(
        pattern=r"^([0-9]+(\.[0-9]+)?(ms|s|m|h|d))+$",
        max_length=32,
        json_schema_extra={DURATION_MARK: True},
    ),
    AfterValidator(_bounded),
]
"""A length of time as Kubernetes writes it, with days: ``250ms``, ``90s``, ``1h30m``, ``7d``."""
Fraction = Annotated[float, Field(ge=0, le=1)]
Quantity = Annotated[
    str,
    Field(
        pattern=r"^[0-9]+(\.[0-9]+)?([numkMGTPE]|[KMGTPE]i)?$",
        max_length=32,
        json_schema_extra={"x-kubernetes-int-or-string": True},
    ),
    BeforeValidator(lambda given: str(given) if type(given) is int else given),
]
"""A quantity as Kubernetes writes it, such as ``250m`` or ``384Mi``, or a plain number."""
Timestamp = str
"""RFC 3339 in UTC, to the second, as Kubernetes writes it."""


def exactly_one(one: str, other: str) -> str:
    """Return the sentence for two fields of which exactly one must be set."""
    return f"set exactly one of {one} and {other}"


_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


def seconds(duration: str) -> float:
    """Return the length of a :data:`Duration` in seconds.

    Raises:
        ValueError: the text is not a duration.
    """
    parts = re.findall(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)", duration)
    if not parts or "".join(number + unit for number, unit in parts) != duration:
        raise ValueError(f"{duration!r} is not a duration such as 250ms, 90s or 1h30m")
    return sum(float(number) * _UNITS[unit] for number, unit in parts)
