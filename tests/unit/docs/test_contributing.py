"""Every file and symbol that CONTRIBUTING.md names exists, in its recipes and in its quiz."""

from __future__ import annotations

import ast
import re

import pytest

from tests.unit.docs.pages import REPOSITORY

PAGE = (REPOSITORY / "CONTRIBUTING.md").read_text()
NAMED = sorted(
    set(re.findall(r"`((?:crds|operator|serving|training|charts|tests|docs|examples)/[\w./-]*(?::\w+)?)`", PAGE))
)


def symbols(source: str) -> set[str]:
    """The names that a module defines at its top level."""
    found: set[str] = set()
    for node in ast.parse(source).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            found.add(node.name)
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        found |= {target.id for target in targets if isinstance(target, ast.Name)}
    return found


@pytest.mark.parametrize("named", NAMED)
def test_a_path_exists_and_defines_the_symbol_that_stands_behind_it(named):
    path, _, symbol = named.partition(":")
    assert (REPOSITORY / path).exists(), f"CONTRIBUTING.md names {path}, which does not exist"
    if symbol:
        assert symbol in symbols((REPOSITORY / path).read_text()), f"{path} does not define {symbol}"


def test_the_quiz_has_ten_questions_each_with_one_path_that_is_checked():
    quiz = PAGE.partition("## Quiz")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (?!change|--)(.+) \| `(.+)` \|$", quiz, re.MULTILINE)
    assert len(rows) == 10
    assert {path for _, path in rows} <= set(NAMED)


def test_every_make_target_that_the_page_names_exists():
    targets = set(re.findall(r"^([a-z0-9-]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z][a-z0-9-]+)", PAGE)) <= targets
