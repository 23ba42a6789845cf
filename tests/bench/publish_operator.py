"""Writes docs/benchmarks-operator.md and its plot from the figures of `tests.bench.operator` and `tests.bench.exchange`."""

from __future__ import annotations

import argparse
import json
from datetime import date
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot

from tests.bench.publish import COLOUR, DOCS
from tests.support.pages import written_into

Figures = list[dict[str, Any]]
PAGE, PLOT = DOCS / "benchmarks-operator.md", DOCS / "benchmarks-operator.svg"


def tables(sizes: Figures, exchange: Figures, day: date) -> str:
    """All figures as Markdown."""
    lines = [f"Measured on {day.isoformat()}.", "", *_header("ModelVersions", [f"{s['versions']:,}" for s in sizes])]
    rows = [
        ("full resync, from the start of the process", lambda s: f"{s['resync']['seconds']:.1f} s"),
        ("… its CPU", lambda s: f"{s['resync']['cpu_s']:.1f} s"),
        ("memory when idle (RSS)", lambda s: f"{s['rest']['rss_mib']:.0f} MiB"),
        ("… peak", lambda s: f"{s['peak_mib']:.0f} MiB"),
        ("writes when idle", lambda s: f"{s['rest']['writes']} in {s['rest']['seconds']:.0f} s"),
        ("CPU when idle", lambda s: f"{100 * s['rest']['cores']:.1f} % of a core"),
        ("reconciles when idle", lambda s: f"{s['rest']['reconciles'] / s['rest']['seconds']:.1f} a second"),
        ("a change, p50", lambda s: f"{s['change']['p50_s']:.3f} s"),
        ("a change, p99", lambda s: f"{s['change']['p99_s']:.3f} s"),
        ("API calls per reconcile, idle", lambda s: _calls(s["rest"])),
        ("API calls per reconcile, with changes", lambda s: _calls(s["change"])),
        ("API calls of the full resync", lambda s: _total(s["resync"]["calls"])),
    ]
    lines += [f"| {what} | " + " | ".join(tell(size) for size in sizes) + " |" for what, tell in rows]
    lines += ["", "**Exchange of leases and evidence, once a second with each pod**", ""]
    lines += ["| pods | CPU | longest round |", "|---|---|---|"]
    lines += [f"| {e['pods']} | {100 * e['cores']:.1f} % of a core | {e['longest_round_s']:.2f} s |" for e in exchange]
    return "\n".join(lines)


def _header(first: str, columns: list[str]) -> list[str]:
    return [f"| {first} | " + " | ".join(columns) + " |", "|---|" + "---|" * len(columns)]


def _calls(part: dict[str, Any]) -> str:
    looks = max(1, part["reconciles"])
    return ", ".join(f"{count / looks:.2g} {verb}" for verb, count in sorted(part["calls"].items()) if count) or "none"


def _total(calls: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {verb}" for verb, count in sorted(calls.items()) if count)


def plot(sizes: Figures, to: Path) -> None:
    """Growth of resync time, memory, latency and CPU, with their limits."""
    panels = [
        ("full resync, s", [s["resync"]["seconds"] for s in sizes], 30.0),
        ("memory, MiB", [s["peak_mib"] for s in sizes], 300.0),
        ("a change, p99, s", [s["change"]["p99_s"] for s in sizes], 1.0),
        ("CPU when idle, % of a core", [100 * s["rest"]["cores"] for s in sizes], None),
    ]
    versions = [s["versions"] for s in sizes]
    pyplot.rcParams.update({"font.size": 9, "svg.hashsalt": "modelward"})
    figure, axes = pyplot.subplots(1, len(panels), figsize=(10, 2.6), layout="constrained")
    for axis, (title, values, bound) in zip(axes, panels, strict=True):
        axis.plot(versions, values, marker="o", color=COLOUR)
        if bound is not None:
            axis.axhline(bound, color="#c1121f", linestyle="--", linewidth=1)
        axis.set_title(title)
        axis.set_ylim(bottom=0)
        axis.set_xlim(left=0)
        axis.spines[["top", "right"]].set_visible(False)
    figure.supxlabel("ModelVersions (dashed: limit)", fontsize=9)
    figure.savefig(to, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("operator", type=Path)
    parser.add_argument("exchange", type=Path)
    options = parser.parse_args()
    sizes, exchange = json.loads(options.operator.read_text()), json.loads(options.exchange.read_text())
    day = date.fromtimestamp(options.operator.stat().st_mtime)
    PAGE.write_text(written_into(PAGE.read_text(), "figures", tables(sizes, exchange, day)))
    plot(sizes, PLOT)


if __name__ == "__main__":
    main()
