"""The results as a table and a plot: on the terminal, and in docs/benchmarks-rollback.md."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from statistics import median

import matplotlib
import numpy as np

matplotlib.use("svg")
from matplotlib import pyplot

from tests.bench.publish import COLOUR, DOCS, OTHERS
from tests.bench.rollback.ours import SYSTEM
from tests.bench.rollback.result import Result
from tests.support.pages import written_into

PAGE, PLOT = DOCS / "benchmarks-rollback.md", DOCS / "benchmarks-rollback.svg"
HEADER = (
    "| | settings | rolled back | seconds until it gets no request, p50 / p95 "
    "| until reported, p50 / p95 | requests | failed for clients |",
    "|---|---|---|---|---|---|---|",
)
Group = tuple[str, str]


def table(results: Sequence[Result]) -> str:
    """A section for each scenario; theirs as a multiple of ours."""
    lines = []
    for scenario in dict.fromkeys(result.scenario for result in results):
        found = _groups([result for result in results if result.scenario == scenario])
        lines += [f"**{scenario}**", "", *HEADER]
        lines += [_row(group, mine, _ours(found)) for group, mine in found.items()]
        lines.append("")
    return "\n".join(lines)


def _groups(results: Sequence[Result]) -> dict[Group, list[Result]]:
    found: dict[Group, list[Result]] = {}
    for result in results:
        found.setdefault((result.system, result.settings), []).append(result)
    return found


def _ours(found: dict[Group, list[Result]]) -> list[Result]:
    return next((results for (system, _), results in found.items() if system == SYSTEM), [])


def _row(group: Group, results: list[Result], ours: list[Result]) -> str:
    back = [result for result in results if result.until_told is not None]
    share = f"{len(back)} of {len(results)}"
    if len(back) < len(results):
        share += f"; {max(r.waited for r in results if r.until_told is None) / 60:.1f} min watched"
    cells = [*group, share]
    for what in ("until_unused", "until_told"):
        times = [getattr(result, what) for result in back]
        cells.append(_times(times) + _ratio(times, [getattr(r, what) for r in ours], group) if times else "-")
    cells.append(f"{median(result.requests for result in results):.0f}")
    cells.append(f"{median(result.failed for result in results):.0f}")
    return "| " + " | ".join(cells) + " |"


def _times(seconds: Sequence[float]) -> str:
    return f"{median(seconds):.2f} / {np.percentile(seconds, 95):.2f}"


def _ratio(theirs: Sequence[float], ours: Sequence[float | None], group: Group) -> str:
    known = [seconds for seconds in ours if seconds is not None]
    if group[0] == SYSTEM or not known or median(known) <= 0:
        return ""
    ratio = median(theirs) / median(known)
    return f", **{ratio:.1f}x**" if ratio < 10 else f", **{ratio:.0f}x**"


def plot(results: Sequence[Result], to: Path) -> None:
    """Each rollback of a hard failure as a point: seconds until it is told, on a logarithmic axis."""
    shown = [r for r in results if r.scenario.startswith("hard") and r.until_told is not None]
    groups = _groups(shown)
    pyplot.rcParams.update({"font.size": 9, "svg.hashsalt": "modelward"})
    figure, axis = pyplot.subplots(figsize=(9, 0.6 * len(groups) + 1.2), layout="constrained")
    for harness, ((system, _), found) in enumerate(groups.items()):
        times = [result.until_told for result in found]
        axis.scatter(times, [harness] * len(times), s=18, alpha=0.6, color=COLOUR if system == SYSTEM else OTHERS)
        axis.scatter([median(times)], [harness], s=160, marker="|", color="black")
    labels = [f"{system}\n{settings.partition(':')[0]}" for system, settings in groups]
    axis.set_yticks(range(len(groups)), labels)
    axis.set_xscale("log")
    axis.invert_yaxis()
    axis.axvline(5, color="#c0392b", linewidth=0.8)
    axis.spines[["top", "right"]].set_visible(False)
    axis.set_xlabel("seconds from the first failure until the new version has no weight (goal: 5, red)")
    figure.savefig(to, metadata={"Date": None})


def publish(results: Sequence[Result], day: date) -> None:
    """Into the page, between its marks; and the plot beside it."""
    figures = f"Measured on {day.isoformat()}.\n\n{table(results)}"
    PAGE.write_text(written_into(PAGE.read_text(), "figures", figures))
    plot(results, PLOT)
