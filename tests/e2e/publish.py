"""Writes the table of docs/operations.md from the figures that tests/e2e/test_faults.py leaves in build/faults.json."""

from __future__ import annotations

import json
from datetime import date
from typing import Any

from tests.support.cluster.layout import REPOSITORY
from tests.support.pages import written_into

FIGURES, PAGE = REPOSITORY / "build" / "faults.json", REPOSITORY / "docs" / "operations.md"
TOLD = ("fault", "operator", "sent", "failed", "retried", "slowest")
"""Keys of every row; others are shown by their names."""
SLOW = 1.0
"""Seconds that a person would notice."""


def table(rows: list[dict[str, Any]], day: date) -> str:
    """Return one line for each fault."""
    lines = [
        f"Measured on {day.isoformat()} on two nodes, 30 requests a second over REST and 30 over gRPC:"
        f" {sum(row['sent'] for row in rows):,} requests, {sum(row['failed'] for row in rows)} failed.",
        "",
        "| fault | effect on clients | the operator's response | measured |",
        "|---|---|---|---|",
        *(f"| {row['fault']} | {_seen(row)} | {row['operator']} | {_measured(row)} |" for row in rows),
    ]
    return "\n".join(lines)


def _seen(row: dict[str, Any]) -> str:
    seen = [f"{row[kind]} {words}" for kind, words in (("failed", "failed"), ("retried", "retried")) if row[kind]]
    if row["slowest"] >= SLOW:
        seen.append(f"answers after up to {row['slowest']:.1f} s")
    return ", ".join(seen) or "nothing"


def _measured(row: dict[str, Any]) -> str:
    also = [f"{key} {_said(value)}" for key, value in row.items() if key not in TOLD]
    return "; ".join([f"{row['sent']:,} requests", f"slowest answer {row['slowest']:.2f} s", *also])


def _said(value: Any) -> str:
    return f"{value:g} s" if isinstance(value, float | int) else str(value)


def main() -> None:
    """Put the table between its marks."""
    figures = table(json.loads(FIGURES.read_text()), date.today())
    PAGE.write_text(written_into(PAGE.read_text(), "figures", figures))


if __name__ == "__main__":
    main()
