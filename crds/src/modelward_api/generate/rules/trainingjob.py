"""The rules of a TrainingJob."""

from __future__ import annotations

from pydantic.alias_generators import to_camel

from modelward_api.base import exactly_one
from modelward_api.bundle.documents import MAX_STRATA
from modelward_api.generate.rules.features import RULES as FEATURES
from modelward_api.generate.rules.modelversion import settings
from modelward_api.generate.rules.pods import pod
from modelward_api.generate.rules.rule import NAME, Rule, at_least_a_second, immutable, requests_within_limits
from modelward_api.resources.trainingjob import TrainingJobSpec

_NEW_JOB = "apply a new TrainingJob instead (only suspend may change)"
_FIELDS = tuple(to_camel(name) for name in TrainingJobSpec.model_fields if name != "suspend")
_MEASURED = "['numeric', 'integer']"

_COLUMN = (
    Rule(
        "spec.data.columns[]",
        "self.kind != 'timestamp' || self.role != 'feature'",
        "a timestamp cannot be a feature: derive a numeric column from it, or give it another role",
        ".kind",
    ),
    Rule(
        "spec.data.columns[]",
        "self.role != 'time' || self.kind in ['timestamp', 'numeric', 'integer']",
        "a column with role: time must have kind: timestamp (ISO 8601), numeric or integer, because other kinds sort as text",
        ".kind",
    ),
    Rule(
        "spec.data.columns[]",
        "self.role != 'label' || self.kind != 'timestamp'",
        "a timestamp cannot be the label: derive a boolean or categorical column from it",
        ".kind",
    ),
    Rule(
        "spec.data.columns[]",
        "self.name != 'score' || self.role != 'feature'",
        "a feature must not be named score, the name of the model's output: rename the column or change its role",
        ".name",
    ),
    Rule(
        "spec.data.columns[]",
        f"!has(self.range) || self.kind in {_MEASURED}",
        "range needs kind: numeric or integer: change the kind or remove the range",
        ".range",
    ),
    Rule(
        "spec.data.columns[]",
        f"!has(self.unit) || self.kind in {_MEASURED}",
        "unit needs kind: numeric or integer: change the kind or remove the unit",
        ".unit",
    ),
    Rule(
        "spec.data.columns[]",
        "size(self.allowedValues) == 0 || self.kind == 'categorical'",
        "allowedValues needs kind: categorical: change the kind or use range",
        ".allowedValues",
    ),
    Rule(
        "spec.data.columns[]",
        "self.outOfRange == 'flag' || has(self.range) || size(self.allowedValues) > 0",
        "outOfRange needs range or allowedValues: declare one of them",
        ".outOfRange",
    ),
    Rule(
        "spec.data.columns[]",
        "self.outOfRange != 'clip' || self.kind != 'categorical'",
        "a categorical column cannot be clipped: use flag, reject or abstain",
        ".outOfRange",
    ),
    Rule(
        "spec.data.columns[].range",
        "!has(self.minimum) || !has(self.maximum) || self.minimum <= self.maximum",
        "minimum must not be greater than maximum",
        ".minimum",
    ),
)
_SOURCES = (
    Rule("spec.data.sources[]", "has(self.uri) != has(self.sql)", exactly_one("uri", "sql"), ".uri"),
    Rule(
        "spec.data.sources[]",
        "has(self.sql) == (self.format == 'sql')",
        "format: sql needs sql, and sql needs format: sql",
        ".format",
    ),
    Rule(
        "spec.data.sources[].dialect",
        "!has(self.thousands) || self.thousands != self.decimal",
        "thousands must not be the decimal mark: remove thousands, or correct one of them",
        ".thousands",
    ),
    Rule(
        "spec.data.sources[].dialect",
        "!has(self.separator) || self.separator != self.quote",
        "quote must not be the separator: correct one of them",
        ".quote",
    ),
    Rule(
        "spec.data.columns[]",
        f"!(has(self.censored) || has(self.qualifier)) || self.kind in {_MEASURED}",
        "censored and qualifier need kind: numeric or integer: change the kind or remove them",
        ".kind",
    ),
    Rule(
        "spec.data",
        "self.sources.all(s, !has(s.site)) || self.columns.exists(c, c.role == 'site')",
        "spec.data.sources[].site: needs a column with role: site in spec.data.columns",
        ".sources",
    ),
)
_COLUMNS = (
    Rule(
        "spec.data.columns",
        "self.exists(c, c.role == 'feature' && c.kind != 'timestamp')",
        "spec.data.columns: at least one column must have role: feature",
    ),
    *(
        Rule(
            "spec.data.columns",
            f"self.filter(c, c.role == '{role}').size() <= 1",
            f"spec.data.columns: only one column may have role: {role}; give the others role: ignore",
        )
        for role in ("label", "time", "group", "site")
    ),
    Rule(
        "spec.data",
        "self.columns.exists(c, c.name == self.label.column && c.role == 'label')",
        "spec.data.label.column: must be declared in spec.data.columns with role: label",
        ".label.column",
    ),
    Rule(
        "spec.data",
        "!self.columns.exists(c, c.role == 'label' && size(c.allowedValues) > 0 && !(self.label.positive in c.allowedValues))",
        "spec.data.label.positive: must be one of the label column's allowedValues",
        ".label.positive",
    ),
)
_SUBGROUP = "spec.evaluation.subgroups"


def _subgroups(of_column: str, message: str) -> Rule:
    """Return a rule on the column ``c`` of each subgroup ``s``."""
    every = f"self.evaluation.subgroups.all(s, self.data.columns.all(c, c.name != s.column || ({of_column})))"
    return Rule("spec", every, f"{_SUBGROUP}[].{message}", ".evaluation.subgroups")


_SUBGROUPS = (
    Rule(
        "spec",
        "self.evaluation.subgroups.all(s, self.data.columns.exists(c, c.name == s.column && c.role == 'feature'))",
        f"{_SUBGROUP}[].column: must be declared in spec.data.columns with role: feature, because pods receive only features",
        ".evaluation.subgroups",
    ),
    _subgroups(
        f"(size(s.cuts) > 0) == (c.kind in {_MEASURED})",
        "cuts: must be set for a numeric or integer column, for example [40, 65, 80], and for no other",
    ),
    _subgroups(
        "c.kind != 'categorical' || size(c.allowedValues) > 0",
        "column: a categorical column must have allowedValues, which name the groups",
    ),
    Rule(
        "spec",
        "self.evaluation.subgroups.map(s, size(s.cuts) > 0 ? size(s.cuts) + 1 : self.data.columns.filter(c, c.name == s.column)"
        f".map(c, c.kind == 'boolean' ? 2 : size(c.allowedValues)).sum()).sum() <= {MAX_STRATA}",
        f"{_SUBGROUP}: must not have more than {MAX_STRATA} groups over all columns",
        ".evaluation.subgroups",
    ),
    Rule(
        f"{_SUBGROUP}[]",
        "self.cuts.isSorted() && self.cuts.all(a, self.cuts.exists_one(b, a == b))",
        f"{_SUBGROUP}[].cuts: must increase",
        ".cuts",
    ),
)
_SPLIT = (
    Rule(
        "spec",
        "self.split.method != 'time' || self.data.columns.exists(c, c.role == 'time')",
        "spec.split.method: time needs a column with role: time in spec.data.columns",
        ".split.method",
    ),
    Rule(
        "spec.split",
        "!has(self.testFrom) || self.method == 'time'",
        "spec.split.testFrom: needs method: time; with other methods use testFraction or testSites",
        ".testFrom",
    ),
    Rule(
        "spec",
        "(self.split.method == 'site') == (size(self.split.testSites) > 0)",
        "spec.split.testSites: must list the sites to test on with method: site, and be absent with other methods",
        ".split.testSites",
    ),
    Rule(
        "spec",
        "self.split.method != 'site' || self.data.columns.exists(c, c.role == 'site' && "
        "self.split.testSites.all(s, s in c.allowedValues))",
        "spec.split.testSites: needs a column with role: site in spec.data.columns, with these sites in its allowedValues",
        ".split.testSites",
    ),
    Rule(
        "spec",
        "self.split.method != 'group' || self.data.columns.exists(c, c.role == 'group')",
        "spec.split.method: group needs a column with role: group in spec.data.columns",
        ".split.method",
    ),
    Rule(
        "spec",
        "self.split.method == 'site' || has(self.split.testFrom) || "
        "self.split.calibrationFraction + self.split.testFraction <= 0.9",
        "spec.split.calibrationFraction: testFraction and calibrationFraction together must not be above 0.9",
        ".split.calibrationFraction",
    ),
)
_TIMED = "c.role == 'time' && c.kind == 'timestamp'"
_QUALITY = (
    Rule(
        "spec.data",
        f"!has(self.label.horizon) || self.columns.exists(c, {_TIMED})",
        "spec.data.label.horizon: needs a column with role: time and kind: timestamp",
        ".label.horizon",
    ),
    Rule(
        "spec.data",
        f"!has(self.quality.maxAge) || self.columns.exists(c, {_TIMED})",
        "spec.data.quality.maxAge: needs a column with role: time and kind: timestamp",
        ".quality.maxAge",
    ),
    Rule(
        "spec.data",
        "self.quality.key.all(k, self.columns.exists(c, c.name == k && c.role != 'ignore'))",
        "spec.data.quality.key: must name columns of spec.data.columns that are not ignored, for example with role: context",
        ".quality.key",
    ),
    Rule(
        "spec.data.columns[]",
        "!self.increasing || self.kind in ['timestamp', 'numeric', 'integer']",
        "increasing needs kind: timestamp, numeric or integer",
        ".increasing",
    ),
    Rule(
        "spec.data",
        f"self.columns.all(t, !has(t.availableAt) || t.availableAt == 'outcome') || self.columns.exists(c, {_TIMED})",
        "spec.data.columns[].availableAt: a name of a column needs one with role: time and kind: timestamp",
        ".columns",
    ),
)

_PROMOTED_NAME = Rule(
    "spec",
    "!has(self.promote) || has(self.promote.name) || "
    "(size(self.model) + size(self.version) < 40 && self.version.matches('^[-0-9a-z.]*[0-9a-z]$'))",
    "spec.promote.name: must be set, because MODEL-VERSION is longer than 40 characters or is not a valid name",
    ".promote",
)

RULES = (
    NAME,
    *(immutable(name, _NEW_JOB) for name in _FIELDS),
    *_COLUMN,
    *_SOURCES,
    *_COLUMNS,
    *_SUBGROUPS,
    *_SPLIT,
    *_QUALITY,
    *FEATURES,
    _PROMOTED_NAME,
    requests_within_limits("spec.resources"),
    *pod("spec.pod"),
    at_least_a_second("spec.activeDeadline"),
    *settings("spec.promote.template"),
)
