"""`make bench-evidence`: simulates, prints the tables, and writes them and the plot into docs/evidence.md. A few minutes."""

from __future__ import annotations

import argparse
import timeit
from collections.abc import Iterable, Sequence
from pathlib import Path

import matplotlib
import numpy as np

from modelward_api.resources.modelversion import Analysis
from modelward_api.wire.exchange import PairedCounts
from modelward_operator.domain.evidence.signals import assess
from tests.bench.evidence import drifts, measures
from tests.bench.evidence.measures import Outcome, outcome, so_far
from tests.bench.evidence.rules import OTHERS, OURS, RULES, naive_promotion
from tests.bench.evidence.worlds import EVERY, World, watch
from tests.support.pages import written_into

matplotlib.use("svg")
from matplotlib import pyplot

DOCS = Path(__file__).resolve().parents[3] / "docs"
LOOKS, LONG, LONGEST = 60, 200, 1000
"""Looks of a canary of 600 requests; of a false alarm's many chances; of a promotion that may take its time."""
MARGIN = 0.02
SHARED = (0.0, 0.5, 0.75)
COLOURS = {"Modelward, every request mirrored": "#0b6e4f", "the same, alpha shared by four signals": "#67b99a"}
GREYS = ("#31393c", "#5c677d", "#8d99ae", "#b08968", "#c9ada7")


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table; all but its first column to the right."""
    lines = ["| " + " | ".join(cells) + " |" for cells in (head, *rows)]
    return "\n".join([lines[0], "|---|" + "---:|" * (len(head) - 1), *lines[1:]])


def rollbacks(runs: int, rng: np.random.Generator) -> str:
    """How often, and after how many requests, each rule rolls back within a canary of 600 requests."""
    rates, found = (0.02, 0.04, 0.06, 0.1), {}
    for shared in SHARED:
        for rate in rates:
            seen = watch(World(0.02, rate, shared), runs, LOOKS, rng)
            found.update({(name, shared, rate): outcome(rule(seen)) for name, rule in RULES.items()})

    def row(name: str, shared: float, label: str) -> list[str]:
        return [label, *(_called(found[name, shared, rate]) for rate in rates)]

    together = {0.0: "failures independent", 0.5: "half of the failures shared", 0.75: "three quarters shared"}
    rows = [row(name, shared, f"{name}: {together[shared]}") for name in OURS for shared in SHARED]
    rows += [row(name, 0.75, name) for name in OTHERS]
    return markdown(("", "2% → 2% (false)", "2% → 4%", "2% → 6%", "2% → 10%"), rows)


def alarms(runs: int, rng: np.random.Generator) -> str:
    """P(any false alarm) of our tests."""
    rows = []
    for signal, truth, called in measures.false_alarms(runs, LONG, rng):
        found = outcome(called)
        rows.append([f"{signal}: {truth}", f"{found.rate:.4f}", f"{found.at_most:.4f}"])
    return markdown(("", f"P(false alarm in {LONG} looks)", "at most (95%)"), rows)


def others_alarms(runs: int, rng: np.random.Generator) -> str:
    """P(any false alarm) of all rules on errors."""
    nulls = (0.0, 0.02, 0.2)
    seen = [watch(World(rate, rate), runs, LONG, rng) for rate in nulls]
    rows = [[name, *(f"{outcome(rule(each)).rate:.3f}" for each in seen)] for name, rule in RULES.items()]
    return markdown(("", *(f"both fail at {rate:.0%}" for rate in nulls)), rows)


def promotions(runs: int, rng: np.random.Generator) -> str:
    """P(promotion at any look) of a challenger that is worse by exactly the margin."""
    rows = []
    for world in (World(0, 0.02), World(0.02, 0.04), World(0.02, 0.04, 0.75), World(0.2, 0.22), World(0.2, 0.22, 0.75)):
        seen = watch(world, runs, LONG, rng)
        ours, naive = outcome(measures.promoted(seen, MARGIN)), outcome(naive_promotion(seen, MARGIN))
        rows.append([_told(world), f"{ours.rate:.4f}", f"{ours.at_most:.4f}", f"{naive.rate:.3f}"])
    head = ("fails at", "P(promotion)", "at most (95%)", "a textbook's 95% bound, at each look")
    return markdown(head, rows)


def delays(runs: int, rng: np.random.Generator) -> str:
    """Requests until the promotion of a challenger that is as good as the champion."""
    rows = []
    for world in (World(0, 0), *(World(rate, rate, shared) for rate in (0.01, 0.02, 0.05) for shared in (0, 0.75))):
        found = outcome(measures.promoted(watch(world, runs // 10, LONGEST, rng), MARGIN))
        rows.append([_told(world), f"{found.median_requests:,.0f}", f"{found.rate:.3f}"])
    return markdown(("fails at", "median requests", f"promoted within {EVERY * LONGEST:,}"), rows)


def repeated(runs: int, rng: np.random.Generator) -> str:
    """False alarms where one request is counted several times."""
    rates = {n: outcome(measures.repeated_requests(n, runs, LONG, rng)).rate for n in (1, 2, 5)}
    return markdown(
        ("sent", "P(false alarm)"), [["once" if n == 1 else f"{n} times", f"{rate:.3f}"] for n, rate in rates.items()]
    )


def cost() -> str:
    """Milliseconds that the operator takes to judge a rollout, the best of fifty runs of ten."""
    strict, counts = Analysis(score_shift=0.2), PairedCounts(
        pairs=2000, compared=1950, flips=60, errors_challenger=30, errors_champion=20, late_challenger=9, late_champion=8,
        slower_challenger=(300, 90, 20), slower_champion=(250, 80, 25),
        higher_challenger=(9, 20, 40, 60, 80, 60, 40, 20, 9), higher_champion=(8, 25, 35, 70, 75, 50, 45, 25, 8),
    )  # fmt: skip
    best = min(timeit.repeat(lambda: assess(counts, None, strict), number=10, repeat=50)) / 10
    return f"Judging all six signals of a rollout takes {1000 * best:.1f} ms of one core."


def plot(runs: int, rng: np.random.Generator, to: Path) -> None:
    """Left: P(rollback within 600 requests) over the challenger's error rate. Right: false alarms over looks."""
    pyplot.rcParams.update({"font.size": 9, "svg.hashsalt": "modelward"})
    figure, (power, wrong) = pyplot.subplots(1, 2, figsize=(9.5, 4.2), layout="constrained")
    rules = {name: rule for name, rule in RULES.items() if "alone" not in name}
    colours = COLOURS | dict(zip(OTHERS, GREYS, strict=True))
    rates = np.arange(0.02, 0.1201, 0.01)
    watched = [watch(World(0.02, rate, 0.75), runs, LOOKS, rng) for rate in rates]
    equal = watch(World(0.02, 0.02), runs, LONG, rng)
    for name, rule in rules.items():
        style = {"color": colours[name], "lw": 2.2 if name in OURS else 1.2, "label": name}
        power.plot(100 * rates, [outcome(rule(seen)).rate for seen in watched], marker="o", ms=3, **style)
        wrong.plot(equal.requests, so_far(rule(equal)), **style)
    power.set(xlabel="challenger's error rate in %; the champion's is 2%", ylabel="P(rollback)", ylim=(0, 1.02))
    power.set_title("Called within 600 requests, 60 looks")
    wrong.axhline(0.05, color="#9b2226", lw=0.8, ls="--")
    wrong.text(equal.requests[-1], 0.055, "alpha", color="#9b2226", ha="right", va="bottom")
    wrong.set(xlabel="requests, a look after every 10", ylabel="P(false alarm so far)", ylim=(0, 1.02))
    wrong.set_title("No difference: both fail at 2%")
    for axis in (power, wrong):
        axis.spines[["top", "right"]].set_visible(False)
    figure.legend(*power.get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    figure.savefig(to, metadata={"Date": None})


def _called(found: Outcome) -> str:
    return f"{found.rate:.3f} ({found.mean_requests:.0f})"


def _told(world: World) -> str:
    shared = f", {world.shared:.0%} shared" if world.shared else ""
    return f"{world.champion:.0%} → {world.challenger:.0%}{shared}"


TABLES = {
    "Rolled back within 600 requests (and the mean number of requests until then, 600 where there was none)": rollbacks,
    "False alarms of each signal": alarms,
    "False alarms of every rule, on errors": others_alarms,
    f"Promoted, though worse by exactly the margin of {MARGIN:.0%}": promotions,
    f"Requests until harm is bounded below {MARGIN:.0%}, where there is none": delays,
    "False alarms where each failing request is sent again and again": repeated,
}


def quiet_streams(streams: int, rng: np.random.Generator) -> str:
    """Alarms where nothing drifts."""
    rows = []
    for reference in REFERENCES:
        found = [drifts.watch(streams, MONTH, rng, reference=reference, rows=window).alarms for window in WINDOWS]
        rows.append([f"{reference:,} rows", *(f"{alarms.mean():.2f} ({alarms.max()})" for alarms in found)])
    return markdown(("reference", *(f"{window:,} rows a window" for window in WINDOWS)), rows)


def episodes(streams: int, rng: np.random.Generator) -> str:
    """An episode of 24 windows at 1 SD, in the middle of quiet ones."""
    rows = []
    for window in WINDOWS:
        shift = lambda t: 1.0 if 100 <= t < 124 else 0.0  # noqa: E731
        found = drifts.watch(streams, MONTH // 2, rng, reference=1000, rows=window, shift=shift)
        first = [delay for delay in found.delays(100) if delay is not None]
        rows.append([f"{window:,}", _range(found.alarms), _range(first), _range(found.drifting_windows)])
    return markdown(("rows a window", "alarms", "called after so many windows", "windows drifting"), rows)


def lasting_shifts(streams: int, rng: np.random.Generator) -> str:
    """A shift that stays, of 100 rows a window."""
    rows = []
    for sd, reference, before in (
        (0.5, 1000, 10),
        (0.5, 1000, 700),
        (0.5, 300, 10),
        (0.3, 1000, 10),
        (0.3, 10_000, 10),
    ):
        shift = lambda t, sd=sd, before=before: sd if t >= before else 0.0  # noqa: E731
        found = drifts.watch(streams, before + 80, rng, reference=reference, rows=100, shift=shift).delays(before)
        seen = [delay + 1 for delay in found if delay is not None]
        median = f"{np.median(seen):g}" if 2 * len(seen) > streams else "not within 80"
        span = _range(seen) if seen else ""
        rows.append([f"{sd} SD after {before} windows", f"{reference:,}", median, span, f"{len(found) - len(seen)}"])
    return markdown(("shift", "reference", "found in window (median)", "from, to", "not within 80"), rows)


def _range(found: Iterable[int]) -> str:
    values = [int(value) for value in found]
    return f"{min(values)}" if min(values) == max(values) else f"{min(values)} to {max(values)}"


REFERENCES, WINDOWS, MONTH = (300, 1000, 10_000), (50, 200, 1000), 720
DRIFT_TABLES = {
    f"No drift, {MONTH} windows: alarms a stream (the most of a stream); {{allowed:.2f}} are allowed": quiet_streams,
    "An episode of 24 windows at 1 SD, a reference of 1,000 rows, 360 windows": episodes,
    "A lasting shift, 100 rows a window": lasting_shifts,
}


def drift(streams: int) -> None:
    """Write the tables of drift."""
    told = [
        f"{streams} seeded streams of each kind; 20 features and the score in ten bins each, alpha {drifts.ALPHA}, minimum "
        f"effect {drifts.EFFECT}."
    ]
    for number, (title, table) in enumerate(DRIFT_TABLES.items()):
        told += [
            f"**{title.format(allowed=drifts.ALPHA * MONTH)}**",
            table(streams, np.random.default_rng(100 + number)),
        ]
        print("\n".join(told[-2:]), flush=True)
    page = DOCS / "evidence.md"
    page.write_text(written_into(page.read_text(), "drift figures", "\n\n".join(told)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=20_000)
    parser.add_argument("--streams", type=int, default=10)
    parser.add_argument("--only-drift", action="store_true")
    options = parser.parse_args()
    drift(options.streams)
    if not options.only_drift:
        rollout(options)


def rollout(options: argparse.Namespace) -> None:
    """Write the tables of rollouts, and their plot."""
    told = [f"{options.runs:,} runs of each line (of the longest, a tenth), seeded; alpha = 0.05."]
    for number, (title, table) in enumerate(TABLES.items()):
        told += [f"**{title}**", table(options.runs, np.random.default_rng(number))]
        print("\n".join(told[-2:]), flush=True)
    told.append(cost())
    print(told[-1])
    page = DOCS / "evidence.md"
    page.write_text(written_into(page.read_text(), "figures", "\n\n".join(told)))
    plot(options.runs, np.random.default_rng(len(TABLES)), DOCS / "evidence.svg")


if __name__ == "__main__":
    main()
