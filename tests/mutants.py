"""Mutation tests of the code that decides: small errors are put into it one by one, and a test must notice each.

    python -m tests.mutants [PATTERN ...]

mutmut wants the code in ./src, so the operator and its tests are copied to build/mutants. What to mutate and which tests to
run is in pyproject.toml. With patterns, such as ``*.failback.*``, only those mutants are tried, and no page is written.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

from tests.support.pages import written_into

REPOSITORY = Path(__file__).resolve().parents[1]
STAGE = REPOSITORY / "build" / "mutants"
PAGE = REPOSITORY / "docs" / "testing.md"
NOTICED = ("killed", "timeout", "segfault")


FORGETTING = """

def pytest_runtest_setup():
    from modelward_operator.domain.evidence import statistics

    for formula in vars(statistics).values():
        getattr(formula, "cache_clear", lambda: None)()
"""
"""For the end of conftest.py: what an earlier test asked for, or the unchanged formula returned, is calculated again."""


def remembered_from_outside(formulas: str) -> str:
    """The same module, with the caches put on at its end: mutmut leaves decorated functions alone."""
    cached = re.compile(r"@lru_cache\((\w+)\)\n(?=def (\w+))")
    names = {name: size for size, name in cached.findall(formulas)}
    return cached.sub("", formulas) + "".join(f"{name} = lru_cache({size})({name})\n" for name, size in names.items())


def stage() -> None:
    """Copy what changed, so that what was tried before is not tried again."""
    shutil.rmtree(STAGE / "tests", ignore_errors=True)
    for source, target in {"operator/src": "src", "tests": "tests"}.items():
        ignored = shutil.ignore_patterns("__pycache__", "node_modules")
        shutil.copytree(REPOSITORY / source, STAGE / target, dirs_exist_ok=True, ignore=ignored)
    formulas = STAGE / "src" / "modelward_operator" / "domain" / "evidence" / "statistics.py"
    formulas.write_text(remembered_from_outside(formulas.read_text()))
    with (STAGE / "tests" / "conftest.py").open("a") as configuration:
        configuration.write(FORGETTING)
    shutil.copy2(REPOSITORY / "pyproject.toml", STAGE)


MUTMUT = """
import mutmut.workers.isolation
from mutmut.__main__ import cli

mutmut.workers.isolation.register_timeout = lambda pid, timeout_s: None
cli()
"""
"""Only the processor's time ends a mutant: on a busy machine the clock would, and count it as noticed."""


def mutmut(*words: str, says: bool = False) -> str:
    """Run it; returns what it says, or shows it."""
    output = subprocess.PIPE if says else None
    return subprocess.run(
        [sys.executable, "-c", MUTMUT, *words], cwd=STAGE, text=True, stdout=output, check=True
    ).stdout


def results() -> dict[str, Counter[str]]:
    """By module, how many mutants ended how."""
    found: dict[str, Counter[str]] = {}
    for line in mutmut("results", "--all", "true", says=True).splitlines():
        name, _, ending = line.strip().rpartition(": ")
        found.setdefault(name.partition(".x")[0], Counter())[ending] += 1
    return found


def table(found: dict[str, Counter[str]]) -> str:
    """For the page."""
    rows = ["| module | mutants | tried | noticed | share of the tried |", "|---|---|---|---|---|"]
    for module, endings in [*sorted(found.items()), ("**together**", sum(found.values(), Counter()))]:
        noticed, tried = sum(endings[ending] for ending in NOTICED), endings.total() - endings["not checked"]
        name = module.removeprefix("modelward_operator.")
        rows.append(f"| {name} | {endings.total()} | {tried} | {noticed} | {noticed / tried if tried else 0:.1%} |")
    if sum(found.values(), Counter())["not checked"]:
        rows += ["", "The run was interrupted: the mutants that are not in the column *tried* were not tried yet."]
    return "\n".join(rows)


def main() -> None:
    stage()
    patterns = sys.argv[1:]
    mutmut("run", *patterns)
    mutmut("results")
    written = table(results())
    sys.stdout.write(written + "\n")
    if not patterns:
        PAGE.write_text(written_into(PAGE.read_text(), "mutants", written))


if __name__ == "__main__":
    main()
