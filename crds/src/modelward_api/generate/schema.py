"""CustomResourceDefinitions, generated from the models: ``python -m modelward_api.generate.schema DIRECTORY...``.

The output is deterministic: a second run changes nothing. Rules that a schema cannot say are CEL, with a sentence for people.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel

from modelward_api import GROUP, VERSION
from modelward_api.base import DURATION_MARK, MAX_DURATION, TOO_LONG
from modelward_api.generate.rules import RULES
from modelward_api.resources.kinds import KINDS, Kind, PrintColumn

Schema = dict[str, Any]
KEPT = (
    "type", "format", "description", "default", "enum", "pattern", "minimum", "maximum", "exclusiveMinimum",
    "exclusiveMaximum", "minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties",
    "x-kubernetes-int-or-string",
)  # fmt: skip
MAX_TEXT, MAX_ITEMS, MAX_ENTRIES = 4096, 1024, 64
"""Bounds where the models have none: the API server estimates the cost of CEL rules by them."""


def definition(kind: Kind) -> Schema:
    """Return the CustomResourceDefinition of a kind."""
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
    for path, key in kind.list_keys.items():
        at(schema, path).update({"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]})
    for path in kind.sets:
        at(schema, path)["x-kubernetes-list-type"] = "set"
    for rule in RULES[kind.name]:
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
            "scope": "Namespaced" if kind.namespaced else "Cluster",
            "names": {
                "kind": kind.name,
                "listKind": f"{kind.name}List",
                "plural": kind.plural,
                "singular": kind.name.lower(),
                "shortNames": [kind.short_name],
                "categories": ["modelward"],
            },
            "versions": [
                {
                    "name": VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": [_column(column) for column in kind.columns],
                    "selectableFields": [{"jsonPath": ".spec.model"}],
                    "schema": {"openAPIV3Schema": schema},
                }
            ],
        },
    }


def _column(column: PrintColumn) -> Schema:
    shown = {"name": column.name, "type": column.type, "jsonPath": column.path}
    return {**shown, "priority": column.priority} if column.priority else shown


def structural(model: type[BaseModel], *, defaults: bool = True) -> Schema:
    """Return the model's JSON schema as the API server takes it: without references and unions, and bounded."""
    raw = model.model_json_schema(by_alias=True, mode="validation")
    return _structural(raw, raw.get("$defs", {}), defaults)


def at(schema: Schema, path: str) -> Schema:
    """Return the part of a schema at a path such as ``spec.data.columns[]``."""
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
        found.setdefault("maxItems", MAX_ITEMS)
    if raw.get("type") == "string" and "enum" not in found:
        found.setdefault("maxLength", MAX_TEXT)
    if raw.get(DURATION_MARK):
        found["x-kubernetes-validations"] = [{"rule": f"self.matches('{MAX_DURATION}')", "message": TOO_LONG}]
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
    found.setdefault("maxProperties", MAX_ENTRIES)


def _resolved(raw: Schema, known: Schema) -> Schema:
    """Resolve references, and replace an optional value by the value itself: absence stands for null."""
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
    """Return the CRD as YAML."""
    note = "# Generated from crds/src/modelward_api by `make generate`. Do not edit.\n"
    return note + yaml.safe_dump(definition(kind), sort_keys=False, width=120, allow_unicode=True)


def main() -> None:
    """Write every CRD into every given directory."""
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
