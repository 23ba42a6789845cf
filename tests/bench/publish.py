"""Writes docs/benchmarks.md and its plot from the figures of `python -m tests.bench.serving --json`."""

from __future__ import annotations

import argparse
import json
import statistics
from datetime import date
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("svg")
from matplotlib import pyplot

from tests.support.pages import written_into

DOCS = Path(__file__).resolve().parents[2] / "docs"
OURS, COLOUR, OTHERS = "Modelward", "#0b6e4f", "#9aa5b1"
Cell = tuple[str, int, int]


def cells(told: dict[str, Any]) -> dict[Cell, dict[str, float]]:
    """By protocol, rows and connections: the median over the rounds."""
    return {
        (cell["protocol"], cell["rows"], cell["connections"]): {
            what: statistics.median(line[what] for line in cell["rounds"]) for what in ("rate", "p50_ms", "p99_ms")
        }
        for cell in told["cells"]
    }


def together(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """Memory and start from the last run, the cells of all."""
    return {
        name: {**told, "cells": [cell for run in runs for cell in run[name]["cells"]]}
        for name, told in runs[-1].items()
    }


def table(figures: dict[str, Any], day: date) -> str:
    """All figures as Markdown."""
    found = {name: cells(told) for name, told in figures.items()}
    every = list(found[OURS])
    lines = [
        f"Measured on {day.isoformat()}; requests a second (p50 / p99 in ms), and ours as a multiple of theirs.",
        "",
    ]
    for protocol, rows in dict.fromkeys((p, r) for p, r, _ in every):
        connections = [c for p, r, c in every if (p, r) == (protocol, rows)]
        lines += [f"**{protocol}, {rows} row{'s' if rows > 1 else ''} a request**", ""]
        lines += ["| | " + " | ".join(f"{c} connection{'s' if c > 1 else ''}" for c in connections) + " |"]
        lines += ["|---|" + "---|" * len(connections)]
        for name, by_cell in found.items():
            if (protocol, rows, connections[0]) in by_cell:
                told = [_told(by_cell, found[OURS], (protocol, rows, c), name) for c in connections]
                lines.append(f"| {name} | " + " | ".join(told) + " |")
        lines.append("")
    lines += ["| | resident memory | start to first answer |", "|---|---|---|"]
    lines += [f"| {name} | {told['rss_mb']:.0f} MB | {told['start_s']:.1f} s |" for name, told in figures.items()]
    return "\n".join(lines)


def _told(by_cell: dict[Cell, Any], ours: dict[Cell, Any], cell: Cell, name: str) -> str:
    figures = by_cell[cell]
    times = "" if name == OURS else f", **{ours[cell]['rate'] / figures['rate']:.1f}x**"
    return f"{figures['rate']:,.0f} ({figures['p50_ms']:.1f} / {figures['p99_ms']:.1f}){times}"


def plot(figures: dict[str, Any], to: Path) -> None:
    """Requests a second with 16 connections and one row, a panel for each protocol."""
    panels = [(protocol, 1, 16) for protocol in ("REST JSON", "REST binary", "gRPC")]
    pyplot.rcParams.update({"font.size": 9, "svg.hashsalt": "modelward"})
    figure, axes = pyplot.subplots(1, len(panels), figsize=(9, 2.6), sharex=True, layout="constrained")
    for axis, cell in zip(axes, panels, strict=True):
        rates = {name: cells(told)[cell]["rate"] for name, told in figures.items() if cell in cells(told)}
        ordered = sorted(rates.items(), key=lambda item: item[1])
        colours = [COLOUR if name == OURS else OTHERS for name, _ in ordered]
        bars = axis.barh([name for name, _ in ordered], [rate for _, rate in ordered], color=colours)
        axis.bar_label(bars, fmt="{:,.0f}", padding=3)
        axis.set_title(cell[0])
        axis.spines[["top", "right"]].set_visible(False)
        axis.margins(x=0.2)
    figure.supxlabel("requests a second, one row each, 16 connections, one core", fontsize=9)
    figure.savefig(to, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "figures", type=Path, nargs="+", help="of runs with other numbers of rows, if there are several"
    )
    options = parser.parse_args()
    figures = together([json.loads(path.read_text()) for path in options.figures])
    page = DOCS / "benchmarks.md"
    day = date.fromtimestamp(options.figures[0].stat().st_mtime)
    page.write_text(written_into(page.read_text(), "figures", table(figures, day)))
    plot(figures, DOCS / "benchmarks.svg")


if __name__ == "__main__":
    main()
