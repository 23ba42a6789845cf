"""Predicates of quality.rules and quality.cohort: SQL that polars parses, held to a list of what it may use."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import polars as pl

from modelward_api.resources.reasons import Reason
from modelward_training.errors import InvalidInputError

_COMPARISONS = frozenset({"Eq", "NotEq", "Lt", "LtEq", "Gt", "GtEq"})
COMPARISONS = _COMPARISONS | {f"Sql.Binary.{name}" for name in _COMPARISONS} | {"EqValidity", "NotEqValidity"}
"""Polars writes an operator as Sql.Binary if a side is a decimal number, and always for * / %."""
OPERATORS = COMPARISONS | {"Plus", "Minus", "Multiply", "And", "Or", "Xor"}
CHOICES = frozenset({"Ternary", "Coalesce", "MaxHorizontal", "MinHorizontal"})
"""What returns one of several values."""
FUNCTIONS = frozenset(
    {
        "Abs", "Coalesce", "Floor", "Ceil", "MaxHorizontal", "MinHorizontal", "Boolean.IsNull", "Boolean.IsNotNull",
        "Boolean.Not", "Sql.IsIn", "Sql.Binary.Plus", "Sql.Binary.Minus", "Sql.Binary.Mul", "Sql.Binary.Div",
        "Sql.Binary.Rem", "Sql.Round", "StringExpr.Lowercase", "StringExpr.Uppercase", "TemporalExpr.OffsetBy",
    }
)  # fmt: skip
"""By polars' names: the functions and operators that a predicate may use."""
MAX_NODES = 200
"""Columns, literals, operators and functions of one expression: polars and json work on them recursively."""
ALLOWED = (
    "declared columns, numbers, texts in single quotes, DATE, TIMESTAMP and INTERVAL literals, comparisons, + - * / %, AND, OR, "
    "NOT, IN, BETWEEN, IS NULL, CASE, COALESCE, NULLIF, ABS, ROUND, FLOOR, CEIL, GREATEST, LEAST, LOWER and UPPER"
)


@dataclass(frozen=True)
class Predicate:
    """A checked predicate."""

    expression: pl.Expr
    """True, false or null (unknown) for each row."""
    columns: tuple[str, ...]
    """The declared columns that it reads."""


def predicate(text: str, schema: pl.Schema, field: str) -> Predicate:
    """Parse and check a predicate.

    Args:
        text: the SQL expression.
        schema: the declared columns and their types.
        field: path of the text in the TrainingJob.

    Raises:
        InvalidInputError: InvalidRule.
    """
    if _OFFSET.search(text):
        raise _invalid("has a time with an offset from UTC, which SQL would ignore: write the time in UTC", field)
    try:
        expression = pl.sql_expr(text)
        tree = json.loads(expression.meta.serialize(format="json"))
    except RecursionError:
        raise _too_long(field) from None
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, ValueError, TypeError):
        message = (
            "is not a valid SQL expression: write for example discharge >= admission, and put names that are SQL words, or have "
            "dots, in double quotes"
        )
        raise _invalid(message, field) from None
    if sum(1 for _ in _walk(tree)) > MAX_NODES:
        raise _too_long(field)
    if any(node not in _NODES for node, _ in _walk(tree)):
        raise _invalid(f"uses what is not allowed: use only {ALLOWED}", field)
    columns = tuple(dict.fromkeys(value for node, value in _walk(tree) if node == "Column"))
    for column in columns:
        if column not in schema:
            message = (
                f"names column {column!r}, which is not declared in spec.data.columns, or has role: ignore: declare it, for "
                "example with role: context"
            )
            raise _invalid(message, field)
    if not columns:
        raise _invalid("names no declared column, so it says the same of every row: compare a column", field)
    empty = pl.DataFrame(schema=schema)
    _rebuilt(tree, field)
    _check_types(tree, empty, field)
    expression = _rebuilt(_null_for_zero_divisors(tree), field)
    if _type(expression, empty) != pl.Boolean:
        raise _invalid("is not true or false for a row: compare values of the same kind", field)
    return Predicate(expression, columns)


_OFFSET = re.compile(r"'\s*\d+-\d+-\d+[Tt\s]\s*\d[\d:.]*\s*[+-]\d")
_NODES = frozenset({"Column", "Literal", "Ternary", "Cast", *OPERATORS, *FUNCTIONS})


def _walk(tree: Any) -> Iterator[tuple[str, Any]]:
    """Yield every node of an expression as its name and content, without recursion: what is typed may be deep."""
    waiting = [tree]
    while waiting:
        node = waiting.pop()
        if not (isinstance(node, dict) and len(node) == 1):
            yield "?", node
            continue
        ((kind, content),) = node.items()
        match kind:
            case "BinaryExpr":
                yield content["op"], content
                waiting += [content["left"], content["right"]]
            case "Function":
                yield _name(content["function"]), content
                waiting += content["input"]
            case "Ternary":
                yield kind, content
                waiting += [content["predicate"], content["truthy"], content["falsy"]]
            case "Cast":
                yield kind, content
                waiting.append(content["expr"])
            case _:
                yield kind, content


def _name(function: Any) -> str:
    """Return a function's name with its family, such as Boolean.IsNull."""
    parts = []
    while isinstance(function, dict) and len(function) == 1:
        ((part, function),) = function.items()
        parts.append(part)
        if part in ("IsIn", "Round"):
            return ".".join(parts)
    return ".".join([*parts, function] if isinstance(function, str) else [*parts, "?"])


def _check_types(tree: Any, empty: pl.DataFrame, field: str) -> None:
    """Refuse what polars would compute without a word: a duration beside a number, mixed kinds, or a comparison with NULL."""
    for node, content in _walk(tree):
        if node == "Cast" and (
            content["dtype"] != {"Literal": "Boolean"} or _kind(content["expr"], empty) != "boolean"
        ):
            raise _invalid("has NOT in front of a value that is not boolean, or CAST: compare the value instead", field)
        if node in CHOICES:
            _check_choice(content, empty, field)
        if node not in COMPARISONS:
            continue
        kinds = {_kind(side, empty) for side in _sides(content)}
        if "null" in kinds:
            raise _invalid("compares with NULL, which is never true: use IS NULL or IS NOT NULL", field)
        if len(kinds) > 1 and kinds != {"number", "boolean"}:
            message = (
                f"compares values of different kinds ({' and '.join(sorted(kinds))}): compare numbers with numbers, texts with "
                "'text', timestamps with TIMESTAMP '2024-01-31 00:00:00' and durations with INTERVAL '30 days'"
            )
            raise _invalid(message, field)


def _check_choice(content: Any, empty: pl.DataFrame, field: str) -> None:
    """Refuse a choice among values of different kinds: polars would turn numbers into texts, or TRUE into 1."""
    values = [content["truthy"], content["falsy"]] if "truthy" in content else content["input"]
    kinds = {_kind(value, empty) for value in values} - {"null"}
    if len(kinds) > 1:
        message = (
            f"chooses between values of different kinds ({' and '.join(sorted(kinds))}): give CASE, COALESCE, GREATEST and "
            "LEAST values of one kind"
        )
        raise _invalid(message, field)


def _null_for_zero_divisors(tree: Any) -> Any:
    """Make a division by zero unknown: polars gives NaN or infinity, which rank above every number, or fails."""
    for node, content in list(_walk(tree)):
        if node in ("Sql.Binary.Div", "Sql.Binary.Rem"):
            values = [content["input"][1], {"Literal": {"Dyn": {"Int": 0}}}, {"Literal": {"Scalar": {"Null": "Null"}}}]
            content["input"][1] = {"Function": {"input": values, "function": "Replace"}}
    return tree


def _rebuilt(tree: Any, field: str) -> pl.Expr:
    try:
        return _expression(tree)
    except (pl.exceptions.PolarsError, RecursionError):
        message = "is nested too deeply, or a number is too large: write several rules, or a number below 1e308"
        raise _invalid(message, field) from None


def _expression(tree: Any) -> pl.Expr:
    return pl.Expr.deserialize(io.BytesIO(json.dumps(tree).encode()), format="json")


def _sides(content: Any) -> list[Any]:
    """Return the operands of an operator, however polars writes it."""
    return list(content["input"]) if "input" in content else [content["left"], content["right"]]


def _kind(tree: Any, empty: pl.DataFrame) -> str:
    kind = _type(_expression(tree), empty)
    if kind is None:
        return "unknown"
    if kind.is_numeric():
        return "number"
    for name, types in _KINDS.items():
        if isinstance(kind, types):
            return name
    return "unknown"


_KINDS: dict[str, tuple[type[pl.DataType], ...]] = {
    "boolean": (pl.Boolean,),
    "text": (pl.String, pl.Categorical, pl.Enum),
    "timestamp": (pl.Datetime, pl.Date),
    "duration": (pl.Duration,),
    "null": (pl.Null,),
}


def _type(expression: pl.Expr, empty: pl.DataFrame) -> pl.DataType | None:
    """Return the type of an expression, or None if it has none over these columns."""
    try:
        return empty.select(expression.alias("it")).schema["it"]
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
        return None


def _too_long(field: str) -> InvalidInputError:
    message = f"is too long: use at most {MAX_NODES} columns, values and operators, or write several rules"
    return _invalid(message, field)


def _invalid(message: str, field: str) -> InvalidInputError:
    return InvalidInputError(Reason.INVALID_RULE, f"the expression {message}", field)
