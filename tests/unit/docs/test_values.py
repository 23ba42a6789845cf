"""docs/installation.md lists every value of the chart with its default."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import yaml

from tests.unit.docs.pages import DOCS, REPOSITORY

WHOLE = re.compile(r"images\.(operator|serving|training)|.*\.resources")
"""Values that are one setting, though they have parts."""


def settings(values: dict[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        at = f"{path}{name}"
        if isinstance(value, dict) and value and not WHOLE.fullmatch(at):
            yield from settings(value, f"{at}.")
        else:
            yield at, value


def test_the_page_has_each_value_of_the_chart_with_its_default():
    values = yaml.safe_load((REPOSITORY / "charts/modelward/values.yaml").read_text())
    rows = re.findall(r"^\| `([\w.]+)` \| `(.+?)` \| .+ \|$", (DOCS / "installation.md").read_text(), re.MULTILINE)
    told = [(path, json.loads(default)) for path, default in rows]
    assert sorted(told, key=lambda row: row[0]) == sorted(settings(values), key=lambda row: row[0])
