"""The declared rules as polars expressions, and what is said of the rows that break one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from modelward_api import small_counts
from modelward_api.resources.columns import Column
from modelward_api.resources.data import Data, DataColumn
from modelward_api.resources.reasons import Reason
from modelward_training.data.frame import Flag
from modelward_training.data.predicates import Predicate, predicate

MEASURED = frozenset({"numeric", "integer"})
NUMERIC_KINDS = MEASURED | {"boolean"}
MAX_NUMBER = float(np.finfo(np.float32).max)
"""Models compute in float32, in which larger numbers are infinite."""
NAMED = ("site", "subgroup")
"""Roles whose values are published."""


@dataclass(frozen=True)
class Rule:
    """A flag and the expression that says which rows have it: true, false, or null for false."""

    flag: Flag
    expression: pl.Expr


def in_use(data: Data) -> tuple[tuple[str, DataColumn], ...]:
    """Return every column that has an effect, with its path in the TrainingJob."""
    return tuple((f"spec.data.columns[{i}]", c) for i, c in enumerate(data.columns) if c.role != "ignore")


def paths(data: Data) -> dict[str, str]:
    """Return by column its path in the TrainingJob."""
    return {column.name: field for field, column in in_use(data)}


def plain(data: Data, schema: pl.Schema) -> list[pl.Expr]:
    """Return the columns as rules and predicates take them: booleans as booleans, times in UTC without their zone."""
    expressions = []
    for _, column in in_use(data):
        kind = schema[column.name]
        if column.kind == "boolean" and kind != pl.Boolean:
            expressions.append(pl.col(column.name).cast(pl.Boolean))
        elif isinstance(kind, pl.Datetime):
            expressions.append(pl.col(column.name).dt.replace_time_zone(None).cast(pl.Datetime("us")))
    return expressions


def row_rules(data: Data, flags: Sequence[Flag], schema: pl.Schema) -> tuple[Rule, ...]:
    """Return the rules that look at one row at a time, in the order of the declaration.

    Args:
        data: spec.data.
        flags: what harmonising has found: a value that it could not read is null, and not also missing.
        schema: of the plain columns.

    Raises:
        InvalidInputError: InvalidRule.
    """
    unread: dict[str, list[str]] = {}
    for flag in flags:
        if flag.effect == "breaks":
            unread.setdefault(flag.column, []).append(flag.name)
    rules = [rule for field, column in in_use(data) for rule in _of_column(data, column, field, unread)]
    declared = declared_schema(data, schema)
    for i, declared_rule in enumerate(data.quality.rules):
        field = f"spec.data.quality.rules[{i}].check"
        check = predicate(declared_rule.check, declared, field)
        remedy = "correct the rows or the rule"
        flag = Flag(declared_rule.name, "rule", "breaks", field, Reason.RULE_BROKEN, remedy)
        rules.append(Rule(flag, ~check.expression))
    return tuple(rules)


def cohort(data: Data, schema: pl.Schema) -> tuple[Predicate, ...]:
    """Return the conditions of belonging to the data.

    Raises:
        InvalidInputError: InvalidRule.
    """
    declared = declared_schema(data, schema)
    return tuple(
        predicate(condition.where, declared, f"spec.data.quality.cohort[{i}].where")
        for i, condition in enumerate(data.quality.cohort)
    )


def declared_schema(data: Data, schema: pl.Schema) -> pl.Schema:
    """Return the columns that a predicate may name."""
    return pl.Schema({column.name: schema[column.name] for _, column in in_use(data)})


def _of_column(data: Data, column: DataColumn, field: str, unread: dict[str, list[str]]) -> Iterator[Rule]:
    value, name = pl.col(column.name), column.name
    if column.kind in MEASURED:
        correct = "correct kind or missingValues"
        not_finite = value.is_nan() | value.is_infinite()
        yield Rule(Flag(name, "finite", "breaks", f"{field}.kind", Reason.WRONG_KIND, correct), not_finite)
        if column.kind == "integer":
            whole = Flag(name, "whole", "breaks", f"{field}.kind", Reason.WRONG_KIND, correct)
            yield Rule(whole, ~not_finite & (value != value.round()))
        remedy = "correct them, list them in missingValues, or convert the unit"
        large = Flag(name, "float32", "breaks", field, Reason.TOO_LARGE, remedy)
        yield Rule(large, ~not_finite & (value.abs() > MAX_NUMBER))
        if column.range is not None:
            yield Rule(Flag(name, "range", "told", f"{field}.range"), _outside(column))
    if column.kind == "categorical" and column.allowed_values:
        is_label = name == data.label.column
        reason = Reason.UNKNOWN_LABEL if is_label else Reason.UNKNOWN_CATEGORY
        remedy = (
            "correct them, declare them (all but the positive are negatives), or exclude the rows by quality.cohort"
            if is_label
            else "declare them, or list them in missingValues"
        )
        flag = Flag(name, "allowed", "breaks", f"{field}.allowedValues", reason, remedy)
        yield Rule(flag, value.is_not_null() & ~value.is_in(list(column.allowed_values)))
    is_missing = value.is_null()
    if others := unread.get(name):
        is_missing &= ~pl.any_horizontal(others)
    if column.role == "label":
        remedy = "complete those rows, or exclude them by quality.cohort"
        yield Rule(Flag(name, "label", "breaks", field, Reason.MISSING_LABEL, remedy), is_missing)
    elif column.role == "time":
        flag = Flag(name, "missing", "breaks", field, Reason.MISSING_VALUES, "complete those rows")
        yield Rule(flag, is_missing)
    elif not column.nullable:
        remedy = "set nullable: true, or complete them"
        yield Rule(Flag(name, "missing", "breaks", f"{field}.nullable", Reason.MISSING_VALUES, remedy), is_missing)


def _outside(column: Column) -> pl.Expr:
    value, outside = pl.col(column.name), pl.lit(False)
    if column.range is not None and column.range.minimum is not None:
        outside |= value < column.range.minimum
    if column.range is not None and column.range.maximum is not None:
        outside |= value > column.range.maximum
    return outside & ~value.is_nan()


KEY, UNIQUE, INCREASING = "\x00\x00key", "\x00\x00unique\x00", "\x00\x00increasing\x00"
WHOLE_ROW, WITHOUT_GROUP = "\x00\x00row", "\x00\x00person"
"""Columns for the rules that compare rows with each other."""


def compared(data: Data) -> list[pl.Expr]:
    """Return what the rules that compare rows need of each row. Equal rows have equal 64-bit hashes."""
    used = [column for _, column in in_use(data)]
    expressions = [_hash([column.name for column in used]).alias(WHOLE_ROW)]
    if any(column.role == "group" for column in used):
        expressions.append(_hash([column.name for column in used if column.role != "group"]).alias(WITHOUT_GROUP))
    if data.quality.key:
        named = pl.any_horizontal(pl.col(name).is_not_null() for name in data.quality.key)
        expressions.append(pl.when(named).then(_hash(data.quality.key)).alias(KEY))
    for column in used:
        value = pl.col(column.name)
        if column.unique:
            expressions.append(pl.when(value.is_not_null()).then(value.hash()).alias(UNIQUE + column.name))
        if column.increasing:
            expressions.append(value.alias(INCREASING + column.name))
    return expressions


def between_rows(data: Data, within: str) -> tuple[Rule, ...]:
    """Return the rules that compare rows with each other, over what ``compared`` has collected.

    Args:
        data: spec.data.
        within: name of the column of groups, or of sources, within which columns increase.
    """
    rules = []
    if data.quality.key:
        remedy = "remove the repeated rows, or declare another key"
        flag = Flag("key", "key", "breaks", "spec.data.quality.key", Reason.DUPLICATE_KEY, remedy)
        rules.append(Rule(flag, _repeated(KEY)))
    for field, column in in_use(data):
        if column.unique:
            remedy = "remove the repeated rows, or set unique: false"
            flag = Flag(column.name, "unique", "breaks", f"{field}.unique", Reason.DUPLICATE_KEY, remedy)
            rules.append(Rule(flag, _repeated(UNIQUE + column.name)))
        if column.increasing:
            remedy = "sort the rows, correct them, or set increasing: false"
            flag = Flag(column.name, "increasing", "breaks", f"{field}.increasing", Reason.NOT_INCREASING, remedy)
            value = pl.col(INCREASING + column.name)
            rules.append(Rule(flag, (value < value.forward_fill().shift(1)).over(within)))
    return tuple(rules)


def _repeated(name: str) -> pl.Expr:
    return pl.col(name).is_not_null() & pl.col(name).is_duplicated()


def _hash(names: Sequence[str]) -> pl.Expr:
    return pl.sum_horizontal(pl.col(name).hash(seed=place) for place, name in enumerate(names))


def broken(flag: Flag, column: DataColumn | None, rows: int, whole: int) -> str:
    """Return the sentence on rows that break a rule, without the remedy."""
    count = small_counts.of_rows(rows, whole)
    if flag.rule == "rule":
        return f"rule {flag.column} does not hold in {count}"
    if flag.rule == "key":
        return f"spec.data.quality.key is not unique: it repeats in {count}"
    if flag.rule == "label":
        return f"the label is missing in {count}"
    if flag.rule == "missing" and column is not None and column.role == "time":
        return f"column {flag.column} with the role time is missing in {count}"
    kind = "text" if column is None else column.kind
    said = {
        "missing": "is missing",
        "kind": f"is not {a_kind(kind)}",
        "finite": f"is not {a_kind(kind)}",
        "whole": f"is not {a_kind(kind)}",
        "float32": f"has values beyond ±{MAX_NUMBER:.1e}, the limit of float32,",
        "allowed": "has values that are not in allowedValues",
        "unique": "has values that other rows have as well",
        "increasing": "decreases",
        "range": "is outside the declared range",
        "offset": "has an offset from UTC in only some values",
        "daylight": "has local times that a change of the clocks makes ambiguous",
        "column": "is not in the data",
        "qualifier-unknown": "was measured in a way that its qualifier does not list",
        "site": "names a site that is not declared",
    }.get(flag.rule, f"breaks the rule {flag.rule}")
    return f"column {flag.column} {said} in {count}"


def a_kind(kind: str) -> str:
    """Return a kind with its article."""
    return {
        "integer": "an integer",
        "boolean": "a boolean",
        "numeric": "a number",
        "timestamp": "a timestamp in a declared format or ISO 8601",
        "categorical": "text",
    }.get(kind, kind)
