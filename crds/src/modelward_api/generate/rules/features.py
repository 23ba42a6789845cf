"""The rules of spec.features of a TrainingJob."""

from __future__ import annotations

from modelward_api.generate.rules.rule import Rule

_PREPARATION = "spec.features.preparation[]"
_DERIVED = "spec.features.derived[]"
_PAIRS = "['ratio', 'difference', 'product', 'interaction']"


def _preparation(of_column: str, message: str) -> Rule:
    """Return a rule on each preparation ``p`` and its column ``c``."""
    every = f"self.features.preparation.all(p, self.data.columns.all(c, c.name != p.column || ({of_column})))"
    return Rule("spec", every, f"{_PREPARATION}{message}", ".features.preparation")


_FEATURE = "self.data.columns.exists(c, c.name == {name} && c.role == 'feature')"

_OF_PREPARATION = (
    Rule(
        "spec",
        f"self.features.preparation.all(p, {_FEATURE.format(name='p.column')})",
        f"{_PREPARATION}.column: must be declared in spec.data.columns with role: feature",
        ".features.preparation",
    ),
    _preparation(
        "p.encoding == 'one-hot' || c.kind == 'categorical'",
        ".encoding: ordinal and target need a column with kind: categorical",
    ),
    _preparation("p.minRows == 0 || c.kind == 'categorical'", ".minRows: needs a column with kind: categorical"),
    _preparation(
        "c.kind != 'categorical' || p.encoding == 'ordinal' || !has(p.impute) || p.impute in ['most-frequent', 'constant']",
        ".impute: median and mean need numbers: use most-frequent or constant, or leave it out",
    ),
    _preparation(
        "c.kind != 'boolean' || !has(p.fill) || p.fill in ['true', 'false']",
        ".fill: must be true or false for a boolean column",
    ),
    Rule(
        _PREPARATION,
        "has(self.fill) == (has(self.impute) && self.impute == 'constant')",
        f"{_PREPARATION}.fill: must be set with impute: constant, and with nothing else",
        ".fill",
    ),
    Rule(
        _PREPARATION,
        "(size(self.order) > 0) == (self.encoding == 'ordinal')",
        f"{_PREPARATION}.order: must be set with encoding: ordinal, and with nothing else",
        ".order",
    ),
    Rule(
        _PREPARATION,
        "self.minRows == 0 || self.encoding == 'one-hot'",
        f"{_PREPARATION}.minRows: needs encoding: one-hot",
        ".minRows",
    ),
)

_OF_DERIVED = (
    Rule(
        "spec",
        f"self.features.derived.all(p, p.columns.all(n, {_FEATURE.format(name='n')}))",
        f"{_DERIVED}.columns: must be declared in spec.data.columns with role: feature",
        ".features.derived",
    ),
    Rule(
        "spec",
        "self.features.derived.all(p, p.type == 'interaction' || "
        "!self.data.columns.exists(c, c.name in p.columns && c.kind == 'categorical'))",
        f"{_DERIVED}.columns: must not be categorical, except for type: interaction",
        ".features.derived",
    ),
    Rule(
        "spec",
        "self.features.derived.all(p, p.type != 'interaction' || "
        "self.data.columns.exists(c, c.name in p.columns && c.kind == 'categorical'))",
        f"{_DERIVED}.type: interaction needs a categorical column: for two numbers use product",
        ".features.derived",
    ),
    Rule(
        "spec",
        "self.features.derived.all(p, !self.data.columns.exists(c, c.name == p.name))",
        f"{_DERIVED}.name: must not be the name of a column",
        ".features.derived",
    ),
    Rule(
        _DERIVED,
        f"size(self.columns) == (self.type in {_PAIRS} ? 2 : 1)",
        f"{_DERIVED}.columns: must be two for ratio, difference, product and interaction, and one for other types",
        ".columns",
    ),
    Rule(
        _DERIVED,
        "size(self.columns) < 2 || self.columns[0] != self.columns[1]",
        f"{_DERIVED}.columns: must be two different columns; for a square use type: power",
        ".columns",
    ),
    Rule(
        _DERIVED,
        "has(self.exponent) == (self.type == 'power')",
        f"{_DERIVED}.exponent: must be set for type: power, and for no other",
        ".exponent",
    ),
    Rule(
        _DERIVED,
        "(has(self.minimum) || has(self.maximum)) == (self.type == 'clip')",
        f"{_DERIVED}: minimum, maximum or both must be set for type: clip, and for no other",
    ),
    Rule(
        _DERIVED,
        "!has(self.minimum) || !has(self.maximum) || self.minimum < self.maximum",
        f"{_DERIVED}.minimum: must be less than maximum",
        ".minimum",
    ),
    Rule(
        _DERIVED,
        "self.type == 'bins' ? size(self.edges) > 0 : (self.type == 'spline' ? size(self.edges) > 2 : size(self.edges) == 0)",
        f"{_DERIVED}.edges: must be at least 1 for type: bins, at least 3 for type: spline, and none for other types",
        ".edges",
    ),
    Rule(
        _DERIVED,
        "self.edges.isSorted() && self.edges.all(a, self.edges.exists_one(b, a == b))",
        f"{_DERIVED}.edges: must increase",
        ".edges",
    ),
)

_OF_OMIT = (
    Rule(
        "spec",
        "self.features.omit.all(n, self.features.derived.exists(p, n in p.columns))",
        "spec.features.omit: must be columns that a derived feature uses; for a column without use set role: ignore",
        ".features.omit",
    ),
)

RULES = (*_OF_PREPARATION, *_OF_DERIVED, *_OF_OMIT)
