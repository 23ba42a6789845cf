"""Every decision has a number, a status and a date, and the index lists it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.unit.docs.pages import DOCS

ADRS = tuple(sorted((DOCS / "adr").glob("[0-9]*.md")))
HEAD = re.compile(
    r"# (\d+)\. (.+)\n\nStatus: ((?:Proposed|Accepted|Superseded by \[).*)\. Date: (\d{4}-\d\d-\d\d)\.\n\n\*\*"
)


def head(page: Path) -> tuple[str, str, str, str]:
    found = HEAD.match(page.read_text())
    assert found, f"{page.name} does not begin as docs/adr/template.md does"
    number, title, status, date = found.groups()
    return number, title, status, date


@pytest.mark.parametrize("page", ADRS, ids=lambda page: page.stem)
def test_a_decision_begins_with_number_title_status_and_date(page):
    number, *_ = head(page)
    assert page.name.startswith(f"{int(number):04}-")


def test_the_index_lists_every_decision_in_order_with_its_status_and_date():
    rows = []
    for page in ADRS:
        number, title, status, date = head(page)
        rows.append(f"| {number} | [{title}]({page.name}) | {status} | {date} |")
    index = (DOCS / "adr" / "README.md").read_text().splitlines()
    assert [line for line in index if re.match(r"\| \d", line)] == rows


def test_no_two_decisions_have_one_number():
    numbers = [page.name[:4] for page in ADRS]
    assert len(numbers) == len(set(numbers))
