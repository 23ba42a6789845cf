"""CustomResourceDefinitions, generated from the models: ``python -m modelward_api.generate.schema DIRECTORY...``.

The output is deterministic: a second run changes nothing. Rules that a schema cannot say are CEL, with a sentence for people.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel
from pydantic.alias_generators import to_camel

from modelward_api import GROUP, VERSION, given_environment
from modelward_api.base import DURATION_MARK, LONGEST_DURATION, TOO_LONG
from modelward_api.bundle.documents import MOST_STRATA
from modelward_api.resources.driftmonitor import DriftMonitorSpec, DriftMonitorStatus
from modelward_api.resources.modelversion import ModelVersionSpec, ModelVersionStatus
from modelward_api.resources.pods import (
    LABEL_KEY,
    RESERVED_ENV_SENTENCE,
    RESERVED_LABELS,
    RESERVED_PREFIX,
)
from modelward_api.resources.scorebatch import ScoreBatchSpec, ScoreBatchStatus
from modelward_api.resources.trainingjob import TrainingJobSpec, TrainingJobStatus

Schema = dict[str, Any]
KEPT = (
    "type", "format", "description", "default", "enum", "pattern", "minimum", "maximum", "exclusiveMinimum",
    "exclusiveMaximum", "minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties",
    "x-kubernetes-int-or-string",
)  # fmt: skip
LONGEST_TEXT, MOST_ITEMS, MOST_ENTRIES = 4096, 1024, 64
"""Bounds where the models have none: the API server estimates the cost of CEL rules by them."""


@dataclass(frozen=True)
class Rule:
    """One CEL rule at a path of the schema; `[]` steps into items."""

    path: str
    rule: str
    message: str
    field: str = ""
    """Where below the path the error is shown, such as ``.model``; by default at the path itself."""

    @property
    def schema(self) -> Schema:
        """The rule as the API server takes it."""
        shown = {"fieldPath": self.field} if self.field else {}
        return {"rule": self.rule, "message": self.message, **shown}


@dataclass(frozen=True)
class Kind:
    """What is to be said of a custom resource beside its models."""

    kind: str
    plural: str
    short: str
    description: str
    spec: type[BaseModel]
    status: type[BaseModel]
    columns: tuple[tuple[str, str, str, int], ...]
    """Name, type, JSONPath, priority."""
    rules: tuple[Rule, ...] = ()
    lists: dict[str, str] = field(default_factory=dict)
    """Lists that are maps, by path: their key."""
    sets: tuple[str, ...] = ()
    """Lists that hold nothing twice, by path."""


NAME = Rule(
    "",
    "size(self.metadata.name) <= 40 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
    "metadata.name: at most 40 lower-case letters, digits and dashes, a letter first, as other names are derived from it",
)


def _immutable(name: str, remedy: str) -> Rule:
    same = f"has(self.{name}) == has(oldSelf.{name}) && (!has(self.{name}) || self.{name} == oldSelf.{name})"
    return Rule("spec", same, f"spec.{name} is immutable: {remedy}", f".{name}")


_NEW_VERSION = "a version is what it is; apply a new ModelVersion"
_ONE_SOURCE = "has(self.artifact) != has(self.trainingJobRef)"
_NEW_JOB = "a training is what it is; apply a new TrainingJob (only suspend may change)"
_JOB_FIELDS = tuple(to_camel(name) for name in TrainingJobSpec.model_fields if name != "suspend")
_NEW_BATCH = "a scoring is what it is; apply a new ScoreBatch (only suspend and parallelism may change)"
_BATCH_FIELDS = tuple(to_camel(name) for name in ScoreBatchSpec.model_fields if name not in ("suspend", "parallelism"))
_MEASURED = "['numeric', 'integer']"


def _positive(path: str) -> Rule:
    return Rule(path, "self.matches('[1-9]')", f"{path}: longer than nothing, such as 500ms")


def _at_least_a_second(path: str) -> Rule:
    whole = "(^|[a-z])0*[1-9][0-9]*([.][0-9]+)?(s|m([^s]|$)|h|d)"
    return Rule(path, f"self.matches('{whole}')", f"{path}: at least 1s, such as 30s or 5m")


def _resources(path: str) -> Rule:
    return Rule(
        path,
        "!has(self.requests) || !has(self.limits) || !self.requests.exists(r, r in self.limits && "
        "quantity(string(self.requests[r])).isGreaterThan(quantity(string(self.limits[r]))))",
        f"{path}: a request must not be greater than its limit",
    )


def _either(path: str, one: str, other: str) -> Rule:
    return Rule(path, f"has(self.{one}) != has(self.{other})", f"{path}: give either {one} or {other}")


def _pod(path: str) -> tuple[Rule, ...]:
    """The rules of PodSettings."""
    labels = ", ".join(f"'{label}'" for label in RESERVED_LABELS)
    named = f"k.matches('{LABEL_KEY}') && !k.startsWith('{RESERVED_PREFIX}')"
    told = f"names are [prefix/]name, and {RESERVED_PREFIX}* is reserved"
    return (
        Rule(
            f"{path}.metadata",
            f"!has(self.labels) || self.labels.all(k, {named} && !(k in [{labels}]))",
            f"{path}.metadata.labels: {told}, as are {', '.join(RESERVED_LABELS)}",
            ".labels",
        ),
        Rule(
            f"{path}.metadata",
            f"!has(self.annotations) || self.annotations.all(k, {named})",
            f"{path}.metadata.annotations: {told}",
            ".annotations",
        ),
        Rule(
            f"{path}.nodeSelector",
            f"self.all(k, k.matches('{LABEL_KEY}'))",
            f"{path}.nodeSelector: names are [prefix/]name",
        ),
        Rule(
            f"{path}.env[]",
            f"!self.name.matches('{given_environment.RESERVED}')",
            f"{path}.env: {RESERVED_ENV_SENTENCE}",
            ".name",
        ),
        Rule(
            f"{path}.env[]",
            "!has(self.value) || !has(self.valueFrom)",
            f"{path}.env: give either value or valueFrom",
            ".value",
        ),
        _either(f"{path}.env[].valueFrom", "configMapKeyRef", "secretKeyRef"),
        _either(f"{path}.envFrom[]", "configMapRef", "secretRef"),
        _either(f"{path}.caBundle", "configMap", "secret"),
        _resources(f"{path}.fetchResources"),
    )


def _settings(at: str) -> tuple[Rule, ...]:
    """The rules of VersionSettings, which a ModelVersion has and a TrainingJob's template, too."""
    steps = f"{at}.rollout.steps"
    return (
        _resources(f"{at}.serving.resources"),
        *_pod(f"{at}.serving.pod"),
        Rule(
            f"{at}.serving",
            "!has(self.autoscaling) || self.replicas == 1",
            f"{at}.serving: give either replicas or autoscaling; pods start with autoscaling.minReplicas",
            ".replicas",
        ),
        Rule(
            f"{at}.serving",
            "!has(self.countBy) || self.countBy != 'encounter' || has(self.stickyHeader)",
            f"{at}.serving: countBy encounter needs stickyHeader, the header that tells encounters apart",
            ".countBy",
        ),
        Rule(
            f"{at}.serving.autoscaling",
            "self.minReplicas <= self.maxReplicas",
            f"{at}.serving.autoscaling: minReplicas must not be greater than maxReplicas",
            ".minReplicas",
        ),
        Rule(
            f"{at}.serving.authentication",
            "has(self.jwksUrl) != has(self.jwksConfigMap)",
            f"{at}.serving.authentication: give either jwksUrl or jwksConfigMap",
            ".issuer",
        ),
        _positive(f"{at}.serving.requestTimeout"),
        _positive(f"{at}.rollout.analysis.latencyObjective"),
        _at_least_a_second(f"{at}.rollout.deadline"),
        Rule(
            steps, "self.all(a, self.exists_one(b, a.weight == b.weight))", f"{steps}: no two steps may have one weight"
        ),
        Rule(steps, "self.map(s, s.weight).isSorted()", f"{steps}: weights must grow from step to step"),
    )


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
        "a time needs kind: timestamp (ISO 8601), numeric or integer: other kinds sort as text",
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
        "no feature may be called score, as the model's output is: rename the column, or give it another role",
        ".name",
    ),
    Rule(
        "spec.data.columns[]",
        f"!has(self.range) || self.kind in {_MEASURED}",
        "a range needs kind: numeric or integer: correct the kind, or remove the range",
        ".range",
    ),
    Rule(
        "spec.data.columns[]",
        f"!has(self.unit) || self.kind in {_MEASURED}",
        "a unit needs kind: numeric or integer: correct the kind, or remove the unit",
        ".unit",
    ),
    Rule(
        "spec.data.columns[]",
        "size(self.allowedValues) == 0 || self.kind == 'categorical'",
        "allowedValues need kind: categorical: correct the kind, or use range",
        ".allowedValues",
    ),
    Rule(
        "spec.data.columns[]",
        "self.outOfRange == 'flag' || has(self.range) || size(self.allowedValues) > 0",
        "outOfRange needs a range or allowedValues: say what is in range",
        ".outOfRange",
    ),
    Rule(
        "spec.data.columns[]",
        "self.outOfRange != 'clip' || self.kind != 'categorical'",
        "a category cannot be clipped: use flag, reject or abstain",
        ".outOfRange",
    ),
    Rule(
        "spec.data.columns[].range",
        "!has(self.minimum) || !has(self.maximum) || self.minimum <= self.maximum",
        "minimum must not be greater than maximum",
        ".minimum",
    ),
)
_COLUMNS = (
    Rule(
        "spec.data.columns",
        "self.exists(c, c.role == 'feature' && c.kind != 'timestamp')",
        "spec.data.columns: at least one column must be a feature",
    ),
    *(
        Rule(
            "spec.data.columns",
            f"self.filter(c, c.role == '{role}').size() <= 1",
            f"spec.data.columns: only one column may have role: {role}; give the others role: ignore",
        )
        for role in ("label", "time", "group")
    ),
    Rule(
        "spec.data",
        "self.columns.exists(c, c.name == self.label.column && c.role == 'label')",
        "spec.data.label.column: declare it in spec.data.columns with role: label",
        ".label.column",
    ),
    Rule(
        "spec.data",
        "!self.columns.exists(c, c.role == 'label' && size(c.allowedValues) > 0 && !(self.label.positive in c.allowedValues))",
        "spec.data.label.positive: it must be one of the label column's allowedValues",
        ".label.positive",
    ),
)
_SUBGROUP = "spec.evaluation.subgroups"


def _subgroups(of_column: str, message: str) -> Rule:
    """A rule on the column ``c`` of each subgroup ``s``."""
    every = f"self.evaluation.subgroups.all(s, self.data.columns.all(c, c.name != s.column || ({of_column})))"
    return Rule("spec", every, f"{_SUBGROUP}[].{message}", ".evaluation.subgroups")


_SUBGROUPS = (
    Rule(
        "spec",
        "self.evaluation.subgroups.all(s, self.data.columns.exists(c, c.name == s.column && c.role == 'feature'))",
        f"{_SUBGROUP}[].column: declare it in spec.data.columns as a feature: pods know nothing else of a request",
        ".evaluation.subgroups",
    ),
    _subgroups(
        f"(size(s.cuts) > 0) == (c.kind in {_MEASURED})",
        "cuts: give them to a numeric or integer column, such as [40, 65, 80], and to no other",
    ),
    _subgroups(
        "c.kind != 'categorical' || size(c.allowedValues) > 0",
        "column: a categorical column needs allowedValues, which name the groups",
    ),
    Rule(
        "spec",
        "self.evaluation.subgroups.map(s, size(s.cuts) > 0 ? size(s.cuts) + 1 : self.data.columns.filter(c, c.name == s.column)"
        f".map(c, c.kind == 'boolean' ? 2 : size(c.allowedValues)).sum()).sum() <= {MOST_STRATA}",
        f"{_SUBGROUP}: at most {MOST_STRATA} groups, all columns together",
        ".evaluation.subgroups",
    ),
    Rule(
        f"{_SUBGROUP}[]",
        "self.cuts.isSorted() && self.cuts.all(a, self.cuts.exists_one(b, a == b))",
        f"{_SUBGROUP}[].cuts: they must grow",
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
        "spec.split.testFrom: it needs method: time; with method: random use testFraction",
        ".testFrom",
    ),
)
_PROMOTED_NAME = Rule(
    "spec",
    "!has(self.promote) || has(self.promote.name) || "
    "(size(self.model) + size(self.version) < 40 && self.version.matches('^[-0-9a-z.]*[0-9a-z]$'))",
    "spec.promote.name: give one, as MODEL-VERSION is too long for a name or has characters that no name may have",
    ".promote",
)
_KEPT_NAMES = Rule(
    "spec.keepColumns",
    "!self.exists(c, c in ['score', 'decision', 'version'])",
    "spec.keepColumns: score, decision and version are columns of the output; rename the input's",
)

KINDS = (
    Kind(
        "ModelVersion",
        "modelversions",
        "mv",
        "ModelVersion is one immutable version of a model, and how it is to be rolled out and served.",
        ModelVersionSpec,
        ModelVersionStatus,
        (
            ("Model", "string", ".spec.model", 0),
            ("Version", "string", ".spec.version", 0),
            ("Phase", "string", ".status.phase", 0),
            ("Weight", "number", ".status.weight.requested", 0),
            ("Verdict", "string", ".status.verdict", 0),
            ("Ready", "string", '.status.conditions[?(@.type=="Ready")].status', 0),
            ("Age", "date", ".metadata.creationTimestamp", 0),
            ("Message", "string", ".status.message", 1),
        ),
        (
            NAME,
            *(_immutable(name, _NEW_VERSION) for name in ("model", "version", "artifact", "trainingJobRef")),
            Rule("spec", _ONE_SOURCE, "spec: give either artifact or trainingJobRef, and not both"),
            *_settings("spec"),
        ),
        {
            "status.conditions": "type",
            "status.evidence": "name",
            "status.subgroups": "stratum",
            "spec.serving.pod.env": "name",
        },
    ),
    Kind(
        "TrainingJob",
        "trainingjobs",
        "tj",
        "TrainingJob trains one version of a model: from declared data to a verified bundle.",
        TrainingJobSpec,
        TrainingJobStatus,
        (
            ("Model", "string", ".spec.model", 0),
            ("Version", "string", ".spec.version", 0),
            ("Phase", "string", ".status.phase", 0),
            ("Step", "string", ".status.step", 0),
            ("AUROC", "string", ".status.auroc", 0),
            ("Age", "date", ".metadata.creationTimestamp", 0),
            ("Message", "string", ".status.message", 1),
        ),
        (
            NAME,
            *(_immutable(name, _NEW_JOB) for name in _JOB_FIELDS),
            *_COLUMN,
            *_COLUMNS,
            *_SUBGROUPS,
            *_SPLIT,
            _PROMOTED_NAME,
            _resources("spec.resources"),
            *_pod("spec.pod"),
            _at_least_a_second("spec.activeDeadline"),
            *_settings("spec.promote.template"),
        ),
        {
            "status.conditions": "type",
            "spec.data.columns": "name",
            "spec.evaluation.subgroups": "column",
            "spec.pod.env": "name",
            "spec.promote.template.serving.pod.env": "name",
        },
    ),
    Kind(
        "DriftMonitor",
        "driftmonitors",
        "dm",
        "DriftMonitor watches what a model is asked, by counts against what it was trained on.",
        DriftMonitorSpec,
        DriftMonitorStatus,
        (
            ("Model", "string", ".spec.model", 0),
            ("State", "string", ".status.state", 0),
            ("Worst feature", "string", ".status.worstFeature", 0),
            ("Evidence", "string", ".status.evidence", 0),
            ("Age", "date", ".metadata.creationTimestamp", 0),
            ("Message", "string", ".status.message", 1),
        ),
        (NAME, _at_least_a_second("spec.interval")),
        {"status.conditions": "type"},
        ("spec.features", "spec.subgroups"),
    ),
    Kind(
        "ScoreBatch",
        "scorebatches",
        "sb",
        "ScoreBatch scores files of rows with one version of a model.",
        ScoreBatchSpec,
        ScoreBatchStatus,
        (
            ("Model", "string", ".spec.model", 0),
            ("Version", "string", ".status.version", 0),
            ("Phase", "string", ".status.phase", 0),
            ("Rows", "integer", ".status.rows", 0),
            ("Age", "date", ".metadata.creationTimestamp", 0),
            ("Message", "string", ".status.message", 1),
        ),
        (
            NAME,
            *(_immutable(name, _NEW_BATCH) for name in _BATCH_FIELDS),
            _KEPT_NAMES,
            _resources("spec.resources"),
            *_pod("spec.pod"),
            _at_least_a_second("spec.activeDeadline"),
        ),
        {"status.conditions": "type", "spec.pod.env": "name"},
        ("spec.keepColumns",),
    ),
)


def definition(kind: Kind) -> Schema:
    """The CustomResourceDefinition of a kind."""
    schema: Schema = {
        "type": "object",
        "description": kind.description,
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": structural(kind.spec),
            # Not yet seen by the operator: what waits for the object's generation (kstatus) must wait.
            "status": {**structural(kind.status, defaults=False), "default": {"observedGeneration": -1}},
        },
    }
    for path, key in kind.lists.items():
        at(schema, path).update({"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]})
    for path in kind.sets:
        at(schema, path)["x-kubernetes-list-type"] = "set"
    for rule in kind.rules:
        at(schema, rule.path).setdefault("x-kubernetes-validations", []).append(rule.schema)
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{kind.plural}.{GROUP}",
            "labels": {"app.kubernetes.io/part-of": "modelward"},
        },
        "spec": {
            "group": GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": kind.kind,
                "listKind": f"{kind.kind}List",
                "plural": kind.plural,
                "singular": kind.kind.lower(),
                "shortNames": [kind.short],
                "categories": ["modelward"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [
                        {"name": name, "type": type_, "jsonPath": path, **({"priority": priority} if priority else {})}
                        for name, type_, path, priority in kind.columns
                    ],
                    "selectableFields": [{"jsonPath": ".spec.model"}],
                    "schema": {"openAPIV3Schema": schema},
                }
            ],
        },
    }


def structural(model: type[BaseModel], *, defaults: bool = True) -> Schema:
    """The model's JSON schema as the API server takes it: no references, no unions, bounded."""
    raw = model.model_json_schema(by_alias=True, mode="validation")
    return _structural(raw, raw.get("$defs", {}), defaults)


def at(schema: Schema, path: str) -> Schema:
    """The part of a schema at a path such as ``spec.data.columns[]``."""
    for part in path.split(".") if path else ():
        name, items, _ = part.partition("[]")
        schema = schema["properties"][name]
        if items:
            schema = schema["items"]
    return schema


def _structural(raw: Schema, known: Schema, defaults: bool) -> Schema:
    raw = _resolved(raw, known)
    found: Schema = {key: raw[key] for key in KEPT if key in raw}
    if "const" in raw:
        found["enum"] = [raw["const"]]
        found.setdefault("type", "string")
    for bound, limit in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum")):
        if bound in found:  # OpenAPI 3.0 has them as flags
            found[limit], found[bound] = found[bound], True
    if not defaults or found.get("default", 0) is None:
        found.pop("default", None)
    if "properties" in raw and "default" in found:
        found["default"] = {}  # the parts have their own
    if raw.get("type") == "object":
        _object(raw, known, defaults, found)
    if raw.get("type") == "array":
        found["items"] = _structural(raw["items"], known, defaults)
        found.setdefault("maxItems", MOST_ITEMS)
    if raw.get("type") == "string" and "enum" not in found:
        found.setdefault("maxLength", LONGEST_TEXT)
    if raw.get(DURATION_MARK):
        found["x-kubernetes-validations"] = [{"rule": f"self.matches('{LONGEST_DURATION}')", "message": TOO_LONG}]
    if found.get("x-kubernetes-int-or-string"):
        del found["type"]  # it says the type
    if "anyOf" in raw:  # a union of scalars
        found["x-kubernetes-preserve-unknown-fields"] = True
    return found


def _object(raw: Schema, known: Schema, defaults: bool, found: Schema) -> None:
    if "properties" in raw:
        found["properties"] = {name: _structural(part, known, defaults) for name, part in raw["properties"].items()}
        if raw.get("required"):
            found["required"] = sorted(raw["required"])
        return
    values = raw.get("additionalProperties")
    found["additionalProperties"] = _structural(values, known, defaults) if isinstance(values, dict) else True
    found.setdefault("maxProperties", MOST_ENTRIES)


def _resolved(raw: Schema, known: Schema) -> Schema:
    """Without references, and an optional value as the value itself: absent is how nothing is said."""
    while "$ref" in raw or "allOf" in raw or "anyOf" in raw:
        if "$ref" in raw:
            target = known[raw["$ref"].removeprefix("#/$defs/")]
            raw = {**target, **{key: value for key, value in raw.items() if key != "$ref"}}
            continue
        options = [o for o in raw.get("anyOf") or raw.get("allOf") or [] if o.get("type") != "null"]
        if len(options) != 1:
            return raw
        raw = {**options[0], **{key: value for key, value in raw.items() if key not in ("anyOf", "allOf")}}
    return raw


def render(kind: Kind) -> str:
    """The CRD as YAML."""
    note = "# Generated from crds/src/modelward_api by `make generate`. Do not edit.\n"
    return note + yaml.safe_dump(definition(kind), sort_keys=False, width=120, allow_unicode=True)


def main() -> None:
    """Write every CRD into every directory given."""
    parser = argparse.ArgumentParser(
        prog="modelward_api.generate.schema", description="Write the CustomResourceDefinitions."
    )
    parser.add_argument("directories", nargs="+", type=Path, metavar="DIRECTORY")
    for directory in parser.parse_args().directories:
        directory.mkdir(parents=True, exist_ok=True)
        for kind in KINDS:
            (directory / f"{kind.plural}.yaml").write_text(render(kind))


if __name__ == "__main__":
    main()
