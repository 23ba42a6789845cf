"""The field reference in docs/reference: ``python -m modelward_api.generate.reference DIRECTORY``."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

from modelward_api import GROUP, VERSION
from modelward_api.generate.schema import Schema, definition, structural
from modelward_api.resources.kinds import KINDS
from modelward_api.resources.pods import PodSettings

ELSEWHERE = {
    "TrainingJob.spec.pod": "See [pod settings](pod.md).",
    "ScoreBatch.spec.pod": "See [pod settings](pod.md).",
    "ModelVersion.spec.serving.pod": "See [pod settings](pod.md).",
    "TrainingJob.spec.promote.template": "The same fields as in the spec of a [ModelVersion](modelversion.md).",
    "pod.affinity": "Kubernetes' own fields: `kubectl explain pod.spec.affinity`.",
}
"""Fields whose parts are described on another page, so that no page repeats them."""

NOTE = "<!-- Generated from crds/src/modelward_api by `make generate`. Do not edit. -->"
LONGEST_PATTERN, LONGEST_ENUM = 60, 12


def page(crd: Schema) -> str:
    """The reference page of one CustomResourceDefinition."""
    kind, short = crd["spec"]["names"]["kind"], crd["spec"]["names"]["shortNames"][0]
    version = crd["spec"]["versions"][0]
    schema = version["schema"]["openAPIV3Schema"]
    columns = [f"{column['name']} (`{column['jsonPath']}`)" for column in version["additionalPrinterColumns"]]
    return "\n".join(
        [
            f"# {kind}",
            "",
            NOTE,
            "",
            _cell(schema["description"]),
            "",
            f"`apiVersion: {GROUP}/{VERSION}`, `kind: {kind}`. Short name: `{short}`. "
            f"`kubectl explain {short}` shows the same text.",
            "",
            f"Columns of `kubectl get {short}`: {', '.join(columns)}.",
            "",
            "## Spec",
            "",
            *_table(_fields(kind, schema["properties"]["spec"], "spec")),
            "",
            "## Rules",
            "",
            "The API server refuses an object that breaks one of these, with this message:",
            "",
            *(f"- {_cell(message)}" for message in dict.fromkeys(_messages(kind, schema, ""))),
            "",
            "## Status",
            "",
            *_table(_fields(kind, schema["properties"]["status"], "status")),
            "",
        ]
    )


def pod_page() -> str:
    """The reference page of the pod settings that three kinds share."""
    return "\n".join(
        [
            "# Pod settings",
            "",
            NOTE,
            "",
            "These fields stand in `spec.pod` of a [TrainingJob](trainingjob.md) and a [ScoreBatch](scorebatch.md), in "
            "`spec.serving.pod` of a [ModelVersion](modelversion.md), and in the chart's values "
            "([installation](../installation.md)). [Platform settings](../platform.md) says which of them wins.",
            "",
            *_table(_fields("pod", structural(PodSettings), "")),
            "",
        ]
    )


def _messages(root: str, schema: Schema, path: str) -> Iterator[str]:
    """The messages of all CEL rules, those of fields on other pages left out."""
    if f"{root}.{path}" in ELSEWHERE:
        return
    yield from (rule["message"] for rule in schema.get("x-kubernetes-validations", ()))
    for name, part in schema.get("properties", {}).items():
        yield from _messages(root, part, f"{path}.{name}" if path else name)
    if "items" in schema:
        yield from _messages(root, schema["items"], f"{path}[]")


def _table(rows: Iterator[tuple[str, str, str, str]]) -> list[str]:
    return ["| field | type | default | meaning |", "|---|---|---|---|", *(f"| {' | '.join(row)} |" for row in rows)]


def _fields(root: str, schema: Schema, path: str) -> Iterator[tuple[str, str, str, str]]:
    """Path, type, default and meaning of every field below, parents first."""
    for name, part in schema.get("properties", {}).items():
        at = f"{path}.{name}" if path else name
        elsewhere = ELSEWHERE.get(f"{root}.{at}")
        meaning = " ".join(filter(None, [_cell(part.get("description", "")), _limits(part), elsewhere]))
        yield f"`{at}`", _type(part), _default(name, part, schema), meaning
        if elsewhere is None:
            items = part["items"] if part.get("type") == "array" else part
            yield from _fields(root, items, f"{at}[]" if part.get("type") == "array" else at)


def _type(part: Schema) -> str:
    if part.get("x-kubernetes-int-or-string"):
        return "integer or string"
    if part.get("type") == "array":
        return f"list of {_type(part['items'])}"
    if isinstance(part.get("additionalProperties"), dict):
        return f"map of {_type(part['additionalProperties'])}"
    return str(part.get("type", "any"))


def _default(name: str, part: Schema, parent: Schema) -> str:
    if name in parent.get("required", ()):
        return "*required*"
    default = part.get("default")
    return "" if default in (None, {}) else f"`{_cell(json.dumps(default))}`"


def _limits(part: Schema) -> str:
    """What the schema allows, as far as a reader needs it."""
    limits = []
    if "enum" in part and len(part["enum"]) <= LONGEST_ENUM:
        limits.append("One of " + ", ".join(f"`{value}`" for value in part["enum"]))
    for limit, sign, strict, flag in (
        ("minimum", "≥", ">", "exclusiveMinimum"),
        ("maximum", "≤", "<", "exclusiveMaximum"),
    ):
        if limit in part:
            limits.append(f"{strict if part.get(flag) else sign} {part[limit]}")
    if part.get("type") == "array":
        limits.append(f"{part.get('minItems', 0)} to {part['maxItems']} items")
    if len(part.get("pattern", "")) in range(1, LONGEST_PATTERN):
        limits.append(f"pattern `{_cell(part['pattern'])}`")
    return f"({'; '.join(limits)})" if limits else ""


def _cell(text: str) -> str:
    """Text that may stand in a cell of a table."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")


def pages() -> dict[str, str]:
    """Every page of the reference, by its file's name."""
    crds = [definition(kind) for kind in KINDS]
    return {**{f"{crd['spec']['names']['singular']}.md": page(crd) for crd in crds}, "pod.md": pod_page()}


def main() -> None:
    """Write every page into the directory given."""
    parser = argparse.ArgumentParser(prog="modelward_api.generate.reference", description="Write the field reference.")
    parser.add_argument("directory", type=Path)
    directory: Path = parser.parse_args().directory
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in pages().items():
        (directory / name).write_text(text)


if __name__ == "__main__":
    main()
