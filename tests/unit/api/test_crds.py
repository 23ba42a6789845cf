"""The generated CRDs: up to date, structural, bounded, and explained."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from modelward_api.generate.rules import RULES
from modelward_api.generate.schema import at, definition, render
from modelward_api.resources.kinds import KINDS

REPOSITORY = Path(__file__).resolve().parents[3]

each_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.plural)


@cache
def schemas() -> dict[str, dict[str, Any]]:
    return {kind.name: definition(kind)["spec"]["versions"][0]["schema"]["openAPIV3Schema"] for kind in KINDS}


def schema_of(kind) -> dict[str, Any]:
    return schemas()[kind.name]


def parts(schema: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Every schema in a schema, with its path."""
    yield path, schema
    for name, part in schema.get("properties", {}).items():
        yield from parts(part, f"{path}.{name}")
    if "items" in schema:
        yield from parts(schema["items"], path + "[]")
    if isinstance(schema.get("additionalProperties"), dict):
        yield from parts(schema["additionalProperties"], path + "{}")


def committed(kind, directory="crds") -> str:
    return (REPOSITORY / directory / f"{kind.plural}.yaml").read_text()


@each_kind
def test_the_committed_files_are_what_the_models_say(kind):
    said = render(kind)
    for directory in ("crds", "charts/modelward/files"):
        assert committed(kind, directory) == said, "run `make generate`"


def test_every_run_in_whatever_process_writes_the_same(tmp_path):
    """The committed files are of another process, with other hashes of texts."""
    subprocess.run(
        [sys.executable, "-m", "modelward_api.generate.schema", str(tmp_path / "a"), str(tmp_path / "b")], check=True
    )
    written = {str(p.relative_to(tmp_path)): p.read_text() for p in tmp_path.rglob("*.yaml")}
    assert written == {f"{where}/{kind.plural}.yaml": committed(kind) for where in "ab" for kind in KINDS}


@each_kind
def test_a_schema_is_structural(kind):
    for path, part in parts(schema_of(kind)):
        assert not {"$ref", "$defs", "const", "anyOf", "allOf", "title"} & part.keys(), path
        assert not {"properties", "additionalProperties"} <= part.keys(), path
        typed = "type" in part or "x-kubernetes-int-or-string" in part or "x-kubernetes-preserve-unknown-fields" in part
        assert typed, path


@each_kind
def test_everything_is_bounded_so_that_the_cost_of_a_rule_is(kind):
    for path, part in parts(schema_of(kind)["properties"]["spec"]):
        if part.get("type") == "string" and "enum" not in part:
            bounded = "maxLength" in part or part.get("pattern", "").endswith("{64}$")
            assert bounded, path
        if part.get("type") == "array":
            assert "maxItems" in part, path
        if "additionalProperties" in part:
            assert "maxProperties" in part, path


@each_kind
def test_every_field_says_what_it_is(kind):
    for path, part in parts(schema_of(kind)):
        is_field = path.startswith((".spec", ".status")) and not path.endswith(("[]", "{}"))
        assert not is_field or part.get("description", "").rstrip(")").endswith("."), path


@each_kind
def test_a_status_has_no_default_but_that_nobody_has_looked_yet(kind):
    (_, whole), *rest = parts(schema_of(kind)["properties"]["status"])
    assert whole["default"] == {"observedGeneration": -1}
    assert kind.status.model_validate(whole["default"]).observed_generation == -1
    assert [path for path, part in rest if "default" in part] == []


@each_kind
def test_a_rule_shows_its_error_at_a_field_that_there_is(kind):
    schema = schema_of(kind)
    for rule in RULES[kind.name]:
        at(schema, f"{rule.path}{rule.field}".removeprefix("."))
        assert rule.message[0].islower()
        assert not rule.message.endswith(".")


@each_kind
def test_the_names_of_a_kind(kind):
    document = definition(kind)
    names = document["spec"]["names"]
    assert names["shortNames"] == [
        {"ModelVersion": "mv", "TrainingJob": "tj", "DriftMonitor": "dm", "ScoreBatch": "sb"}[kind.name]
    ]
    assert names["categories"] == ["modelward"]
    assert document["metadata"]["name"] == f"{names['plural']}.modelward.io"


def test_every_kind_has_its_rules_and_no_rules_are_without_a_kind():
    assert set(RULES) == {kind.name for kind in KINDS}
