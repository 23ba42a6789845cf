"""Step 3: who belongs to which stratum of the declared subgroups."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from modelward_api.bundle.documents import MAX_STRATA, Subgroup
from modelward_api.resources.columns import Column
from modelward_api.resources.reasons import Reason
from modelward_api.resources.trainingjob import DeclaredSubgroup, TrainingJobSpec
from modelward_training.data.validate import Dataset
from modelward_training.errors import InvalidInputError

FIELD = "spec.evaluation.subgroups"


def declared(spec: TrainingJobSpec) -> tuple[Subgroup, ...]:
    """The subgroups with the names of their strata, which come from the declaration alone.

    Raises:
        InvalidInputError: InvalidSubgroup, TooManyStrata.
    """
    features = {column.name: column for column in spec.data.columns if column.role == "feature"}
    found = tuple(
        _subgroup(features.get(wanted.column), wanted, f"{FIELD}[{i}]")
        for i, wanted in enumerate(spec.evaluation.subgroups)
    )
    if (strata := sum(len(subgroup.strata) for subgroup in found)) > MAX_STRATA:
        message = f"{strata} groups, all columns together: at most {MAX_STRATA}, as each is counted apart in every pod"
        raise InvalidInputError(Reason.TOO_MANY_STRATA, message, FIELD)
    return found


def members(subgroups: tuple[Subgroup, ...], data: Dataset) -> dict[str, np.ndarray]:
    """By stratum: which of the rows are in it, [n] of bool. What is missing or implausible is in none."""
    columns = {column.name: column for column in data.features}
    return {
        stratum: member
        for subgroup in subgroups
        for stratum, member in _members(subgroup, columns[subgroup.column], data.columns[subgroup.column]).items()
    }


def _subgroup(column: Column | None, wanted: DeclaredSubgroup, field: str) -> Subgroup:
    if column is None:
        message = f"column {wanted.column!r} is no declared feature: pods know nothing else of a request"
        raise InvalidInputError(Reason.INVALID_SUBGROUP, message, f"{field}.column")
    if bool(wanted.cuts) != (column.kind in ("numeric", "integer")) or list(wanted.cuts) != sorted(set(wanted.cuts)):
        message = "cuts that grow are for numeric and integer columns, which need them"
        raise InvalidInputError(Reason.INVALID_SUBGROUP, message, f"{field}.cuts")
    if column.kind == "categorical":
        if not column.allowed_values:
            message = f"column {column.name} needs allowedValues, which name the groups"
            raise InvalidInputError(Reason.INVALID_SUBGROUP, message, f"{field}.column")
        strata = tuple(f"{column.name}={category}" for category in column.allowed_values)
        return Subgroup(column=column.name, strata=strata, categories=column.allowed_values)
    if column.kind == "boolean":
        return Subgroup(column=column.name, strata=(f"{column.name}=false", f"{column.name}=true"), cuts=(0.5,))
    return Subgroup(column=column.name, strata=_pieces(column.name, wanted.cuts), cuts=wanted.cuts)


def _pieces(name: str, cuts: tuple[float, ...]) -> tuple[str, ...]:
    limits = [f"{cut:.10g}" for cut in cuts]
    between = [f"{low}<={name}<{high}" for low, high in pairwise(limits)]
    return (f"{name}<{limits[0]}", *between, f"{name}>={limits[-1]}")


def _members(subgroup: Subgroup, column: Column, values: np.ndarray) -> dict[str, np.ndarray]:
    if subgroup.categories:
        return {s: values == c for s, c in zip(subgroup.strata, subgroup.categories, strict=True)}
    numbers = values.astype(np.float32)  # as they are served
    low, high = (column.range.minimum, column.range.maximum) if column.range else (None, None)
    plausible = (numbers >= np.float32(-np.inf if low is None else low)) & (
        numbers <= np.float32(np.inf if high is None else high)
    )
    pieces = np.searchsorted(np.array(subgroup.cuts, dtype=np.float32), numbers, side="right")
    return {stratum: plausible & (pieces == piece) for piece, stratum in enumerate(subgroup.strata)}
