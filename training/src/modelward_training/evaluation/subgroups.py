"""The declared subgroups of patients, and which rows are in which stratum."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from modelward_api.bundle.documents import MAX_STRATA, Subgroup
from modelward_api.resources.columns import Column
from modelward_api.resources.reasons import Reason
from modelward_api.resources.trainingjob import DeclaredSubgroup, TrainingJobSpec
from modelward_training.data.dataset import Dataset
from modelward_training.errors import InvalidInputError

FIELD = "spec.evaluation.subgroups"


def declared_subgroups(spec: TrainingJobSpec) -> tuple[Subgroup, ...]:
    """Return the subgroups with the names of their strata, which are made from the declaration alone.

    Raises:
        InvalidInputError: InvalidSubgroup, TooManyStrata.
    """
    features = {column.name: column for column in spec.data.columns if column.role == "feature"}
    subgroups = tuple(
        _subgroup(features.get(declared.column), declared, f"{FIELD}[{i}]")
        for i, declared in enumerate(spec.evaluation.subgroups)
    )
    columns = {subgroup.column for subgroup in subgroups}
    for i, column in enumerate(spec.data.columns):
        if column.sensitive and column.role == "feature" and column.name not in columns:
            message = (
                f"column {column.name} is sensitive and a feature: add it to spec.evaluation.subgroups, so that rollouts test "
                "for harm to its groups, or set role: ignore"
            )
            raise InvalidInputError(Reason.INVALID_SUBGROUP, message, f"spec.data.columns[{i}].sensitive")
    if (strata := sum(len(subgroup.strata) for subgroup in subgroups)) > MAX_STRATA:
        message = f"the subgroups have {strata} groups in total, more than {MAX_STRATA}: every pod counts each of them"
        raise InvalidInputError(Reason.TOO_MANY_STRATA, message, FIELD)
    return subgroups


def members(subgroups: tuple[Subgroup, ...], data: Dataset) -> dict[str, np.ndarray]:
    """Return by stratum which rows are in it, [n] of bool. Rows with a missing or implausible value are in none."""
    columns = {column.name: column for column in data.features}
    return {
        stratum: member
        for subgroup in subgroups
        for stratum, member in _members(subgroup, columns[subgroup.column], data.columns[subgroup.column]).items()
    }


def _subgroup(column: Column | None, declared: DeclaredSubgroup, field: str) -> Subgroup:
    if column is None:
        message = f"column {declared.column!r} is not a declared feature: pods receive only features"
        raise InvalidInputError(Reason.INVALID_SUBGROUP, message, f"{field}.column")
    if bool(declared.cuts) != (column.kind in ("numeric", "integer")) or list(declared.cuts) != sorted(
        set(declared.cuts)
    ):
        message = "a numeric or integer column needs cuts in increasing order; other columns must have none"
        raise InvalidInputError(Reason.INVALID_SUBGROUP, message, f"{field}.cuts")
    if column.kind == "categorical":
        if not column.allowed_values:
            message = f"column {column.name} needs allowedValues, which name its groups"
            raise InvalidInputError(Reason.INVALID_SUBGROUP, message, f"{field}.column")
        strata = tuple(f"{column.name}={category}" for category in column.allowed_values)
        return Subgroup(column=column.name, strata=strata, categories=column.allowed_values)
    if column.kind == "boolean":
        return Subgroup(column=column.name, strata=(f"{column.name}=false", f"{column.name}=true"), cuts=(0.5,))
    return Subgroup(column=column.name, strata=_pieces(column.name, declared.cuts), cuts=declared.cuts)


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
