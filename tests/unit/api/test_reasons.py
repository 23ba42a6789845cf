"""One list of condition types and reasons: no source file has a word of its own, and no word is without a use."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from modelward_api.generate.reasons import render
from modelward_api.resources import reasons
from modelward_api.resources.kinds import KINDS
from modelward_api.resources.reasons import ConditionType, FindingCode, Reason

REPOSITORY = Path(__file__).resolve().parents[3]
SOURCES = sorted(
    path
    for package in ("crds", "operator", "serving", "training")
    for path in (REPOSITORY / package / "src").rglob("*.py")
    if "_generated" not in path.parts and path.name != "reasons.py"
)
CAMEL_CASE = re.compile(r"([A-Z][A-Za-z0-9]*[a-z][A-Za-z0-9]*)(: .+)?", re.DOTALL)
KUBERNETES = {
    "Always", "Apply", "AverageValue", "Background", "BearerToken", "Cluster", "ConfigMap", "ControllerRevision",
    "CustomResourceDefinition", "Deployment", "DisruptionTarget", "Event", "FailJob", "FailureTarget",
    "HorizontalPodAutoscaler", "IfNotPresent", "Ignore", "Image", "In", "Indexed", "Job", "Lease", "List",
    "NamespaceTerminating", "Namespaced", "Never", "Normal", "Opaque", "Percent", "Pod", "PodDisruptionBudget", "PodScheduled",
    "Pods", "ReplicaFailure", "Resource", "RollingUpdate", "RuntimeDefault", "ScheduleAnyway", "Secret", "Service", "Succeeded",
    "True", "Utilization", "Warning",
}  # fmt: skip
LIBRARIES = {
    "Abs", "Add", "And", "CPUExecutionProvider", "Cast", "Clip", "Concat", "Div", "Flatten", "Gather", "Gemm", "Greater",
    "GreaterOrEqual", "Identity", "Imputer", "IsNaN", "LabelEncoder", "Less", "LessOrEqual", "Log", "MatMul", "Max", "Min", "Mul",
    "Pow", "Sigmoid", "Squeeze", "Sub", "TreeEnsemble", "Unsqueeze", "Where",
    "CredentialsProvider", "InvalidCertificate", "MissingCredentials", "MissingToken", "PermissionDeniedError",
    "UnauthenticatedError", "EdDSA", "Accept", "Authorization", "Expect", "Error", "Request", "Response",
    "BinaryExpr", "Boolean", "Ceil", "Coalesce", "Column", "Eq", "EqValidity", "Floor", "Function", "GtEq",
    "IsIn", "Literal", "LtEq", "MaxHorizontal", "MinHorizontal", "Minus", "Multiply", "NotEq", "NotEqValidity", "Or", "Plus",
    "Round", "Ternary", "Xor", "Dyn", "Int", "NaN", "Null", "Replace", "Scalar",
}  # fmt: skip
"""Of ONNX, obstore, PyJWT, HTTP, OpenAPI and polars' expressions."""
UNITS = {"Cel"}
"""UCUM codes."""
TYPES = {"Crossings", "OfVersion", "Protocol", "Said"}
"""Names of types, in annotations and by which a module is patched."""
COLUMNS = {column.name for kind in KINDS for column in kind.columns}
"""Headings of ``kubectl get``."""
OWN = {kind.name for kind in KINDS} | {"Model"}
OTHERS_READY = {"kinds.py", "observe.py", "pod_status.py"}
"""Files with a heading Ready, and with a pod's own condition Ready."""


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def typed(path: Path) -> Iterator[ast.Constant]:
    """Words of a Literal, which the type checker knows, and names of types."""
    for node in ast.walk(tree(path)):
        is_literal = isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id == "Literal"
        is_type = (
            isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("TypeVar", "NewType")
        )
        if is_literal or is_type:
            yield from (
                part for part in ast.walk(node) if isinstance(part, ast.Constant) and isinstance(part.value, str)
            )


STATES = {word.value for path in SOURCES for word in typed(path)}
"""Phases, verdicts and states: Literals, so a wrong one is an error of types."""


def words(path: Path) -> Iterator[tuple[int, str]]:
    """Each CamelCase literal of a file, and each that a message begins with."""
    apart = {id(word) for word in typed(path)}
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            apart.add(id(node.value))  # a docstring
        if isinstance(node, ast.Assign) and any(getattr(target, "id", "") == "__all__" for target in node.targets):
            apart.update(id(part) for part in ast.walk(node.value))  # names that others import
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in apart:
            found = CAMEL_CASE.fullmatch(node.value)
            if found and (found[2] is None or len(re.findall("[A-Z]", found[1])) > 1):
                yield node.lineno, found[1]


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_reasons_and_condition_types_come_from_the_list(path):
    listed = {*ConditionType, *Reason, *FindingCode} - STATES
    known = (STATES | KUBERNETES | LIBRARIES | TYPES | COLUMNS | OWN | UNITS) - listed
    known |= {"Ready"} if path.name in OTHERS_READY else set()
    strangers = [f"line {line}: {word}" for line, word in words(path) if word not in known]
    assert not strangers, "use modelward_api.resources.reasons; a word of a library belongs into this test's lists"


POSITIONS = {"reason", "type_"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_no_literal_is_passed_as_a_reason(path):
    passed = [
        f"line {node.value.lineno}: {node.value.value}"
        for node in ast.walk(tree(path))
        if isinstance(node, ast.keyword) and node.arg in POSITIONS
        if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
    ]
    assert not passed, "use modelward_api.resources.reasons"


def test_every_word_is_produced_somewhere():
    used = {
        (node.value.id, node.attr)
        for path in SOURCES
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    }
    unused = [word for word in (*ConditionType, *Reason, *FindingCode) if (type(word).__name__, word.name) not in used]
    assert [word for word in unused if word not in STATES] == []


def test_every_word_has_its_name_and_a_sentence():
    for word in (*ConditionType, *Reason):
        assert word.name == re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", word.value).upper()
        assert word.meaning[0].isupper() or word.meaning.startswith(("spec.", "strategy:")), word
        assert word.meaning.endswith((".", ").")), word


def test_what_cannot_be_fetched_cannot_be_served_and_is_not_tried_again():
    assert reasons.UNFETCHABLE < reasons.UNSERVABLE
    assert not reasons.UNSERVABLE & reasons.RETRIED


def test_the_page_is_what_the_list_says():
    page = REPOSITORY / "docs/reference/reasons.md"
    assert page.read_text() == render(), "run `make generate`"
