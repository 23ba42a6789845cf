"""docs/reference/reasons.md, generated from the list of reasons: ``python -m modelward_api.generate.reasons FILE``."""

from __future__ import annotations

import argparse
from pathlib import Path

from modelward_api.resources.reasons import ConditionType, FindingCode, Reason

HEADER = """# Condition types and reasons

<!-- Generated from crds/src/modelward_api/resources/reasons.py by `make generate`. Do not edit. -->

Conditions, Events, termination messages of pods and error responses use these words. They are stable: compare the reason, not
the message. The message says what happened and what to do. Words marked (Kubernetes) are passed on from the cluster.
"""


def render() -> str:
    """Return the page."""
    types = [f"| `{known}` | {known.meaning} |" for known in ConditionType]
    parts = [HEADER, _table("Condition types", "type", types)]
    for topic in dict.fromkeys(reason.topic for reason in Reason):
        rows = [f"| `{reason}` | {reason.meaning} |" for reason in Reason if reason.topic == topic]
        parts.append(_table(topic, "reason", rows))
    findings = [f"| `{known}` | {known.meaning} |" for known in FindingCode]
    parts.append(_table("Findings in training data", "finding", findings))
    return "\n".join(parts)


def _table(title: str, what: str, rows: list[str]) -> str:
    return "\n".join((f"## {title}", "", f"| {what} | meaning |", "|---|---|", *rows, ""))


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(prog="modelward_api.generate.reasons", description="Write the page of reasons.")
    parser.add_argument("file", type=Path, metavar="FILE")
    file = parser.parse_args().file
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(render())


if __name__ == "__main__":
    main()
