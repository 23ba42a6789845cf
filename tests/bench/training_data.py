"""From files to a table one may train on: rows a second and memory of ours, beside plain polars on the same reads and casts.

Ours loads, harmonises, validates, splits and profiles. Plain polars reads the same columns with the same types, counts missing
values and values out of range, and takes the rows before and after a time. Each runs in a process of its own; rounds alternate.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl

NUMBERS, CATEGORIES = 25, 3
CHUNK = 500_000
CUT = 2020.0


def columns() -> list[dict[str, object]]:
    """Thirty columns: 25 numbers, 3 categories, the year and the label."""
    numbers: list[dict[str, object]] = [
        {"name": f"n{i}", "kind": "numeric", "nullable": True, "range": {"minimum": -1000, "maximum": 1000}}
        for i in range(NUMBERS)
    ]
    categories: list[dict[str, object]] = [
        {"name": f"c{i}", "kind": "categorical", "allowedValues": ["a", "b", "c", "d"]} for i in range(CATEGORIES)
    ]
    last: list[dict[str, object]] = [
        {"name": "year", "kind": "numeric", "role": "time"},
        {"name": "died", "kind": "integer", "role": "label"},
    ]
    return numbers + categories + last


def generate(folder: Path, rows: int) -> None:
    """Write the same rows as data.parquet and data.csv, in pieces."""
    rng = np.random.default_rng(11)
    pieces = []
    for start in range(0, rows, CHUNK):
        n = min(CHUNK, rows - start)
        table: dict[str, object] = {f"n{i}": np.round(rng.normal(50, 20, n), 2) for i in range(NUMBERS)}
        table |= {f"c{i}": rng.choice(["a", "b", "c", "d"], n) for i in range(CATEGORIES)}
        table |= {"year": np.round(rng.uniform(2010, 2022, n), 3), "died": (rng.random(n) < 0.1).astype(np.int64)}
        frame = pl.DataFrame(table).with_columns(
            pl.when(pl.Series(rng.random(n) < 0.05)).then(None).otherwise(pl.col("n0")).alias("n0")
        )
        piece = folder / f"piece-{start}.parquet"
        frame.write_parquet(piece)
        pieces.append(piece)
    whole = pl.scan_parquet(pieces)
    whole.sink_parquet(folder / "data.parquet")
    whole.sink_csv(folder / "data.csv")
    for piece in pieces:
        piece.unlink()


def ours(folder: Path, kind: str) -> int:
    """Load, harmonise, validate, split and profile; returns the number of rows."""
    from modelward_api.resources.trainingjob import TrainingJobSpec
    from modelward_training.pipeline import prepare
    from modelward_training.progress import Progress
    from modelward_training.reference.profile import reference_profile
    from modelward_training.report.summary import Facts

    spec = TrainingJobSpec.model_validate(
        {
            "model": "bench",
            "version": "1.0.0",
            "data": {
                "sources": [{"uri": f"store://data.{kind}", "format": kind}],
                "columns": columns(),
                "label": {"column": "died", "positive": "1"},
            },
            "split": {"method": "time", "testFrom": str(CUT)},
            "output": {"uri": "store://models"},
        }
    )
    parts = prepare(spec, f"file://{folder}", Progress(), Facts(), datetime.now(UTC))
    reference_profile(parts.training, np.full(len(parts.training), 0.1), {})
    return len(parts.training) + len(parts.test)


def plain(folder: Path, kind: str) -> int:
    """Do the same reads and casts, and count, in polars alone."""
    schema = {str(c["name"]): pl.String if c["kind"] == "categorical" else pl.Float64 for c in columns()}
    path = folder / f"data.{kind}"
    frame = pl.scan_csv(path, schema=schema) if kind == "csv" else pl.scan_parquet(path)
    numbers = [f"n{i}" for i in range(NUMBERS)]
    table = frame.with_columns(pl.col(numbers).cast(pl.Float32)).collect(engine="streaming")
    table.select(
        pl.all().null_count().name.suffix(" missing"),
        *[pl.col(n).is_between(-1000, 1000).not_().sum().alias(f"{n} outside") for n in numbers],
    )
    early, late = table.filter(pl.col("year") < CUT), table.filter(pl.col("year") >= CUT)
    return early.height + late.height


def measured(who: str, folder: Path, kind: str) -> dict[str, float]:
    """Run one of them in a process of its own."""
    argv = [sys.executable, "-m", "tests.bench.training_data", "--child", who, "--kind", kind, "--folder", str(folder)]
    done = subprocess.run(argv, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{who} failed on {kind}:\n{done.stderr[-3000:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def child(who: str, folder: Path, kind: str) -> None:
    """Measure in this process and print."""
    started, cpu = time.perf_counter(), time.process_time()
    rows = {"ours": ours, "polars": plain}[who](folder, kind)
    seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"rows": rows, "seconds": seconds, "cpu": cpu, "peak_mib": peak}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--child", choices=["ours", "polars"], help=argparse.SUPPRESS)
    parser.add_argument("--kind", choices=["csv", "parquet"], help="only this format")
    parser.add_argument("--folder", type=Path, help="keep the data there, and use them again")
    options = parser.parse_args()
    if options.child:
        child(options.child, options.folder, options.kind)
        return
    with tempfile.TemporaryDirectory() as name:
        folder = options.folder or Path(name)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / "data.csv").exists():
            generate(folder, options.rows)
        for kind in [options.kind] if options.kind else ["parquet", "csv"]:
            report(kind, options, folder)


def report(kind: str, options: argparse.Namespace, folder: Path) -> None:
    """Print a line for each, and the ratio."""
    lines: dict[str, list[dict[str, float]]] = {"ours": [], "polars": []}
    for _ in range(options.rounds):
        for who, found in lines.items():
            found.append(measured(who, folder, kind))
    print(f"{kind}: {int(lines['ours'][0]['rows']):,} rows of 30 columns, {os.cpu_count()} cores")
    print(f"{'':10}{'seconds':>10}{'CPU s':>10}{'rows/s/core':>14}{'peak MiB':>10}")
    for who, found in lines.items():
        middle = {what: statistics.median(line[what] for line in found) for what in ("seconds", "cpu", "peak_mib")}
        rate = found[0]["rows"] / middle["cpu"]
        print(f"{who:10}{middle['seconds']:10.2f}{middle['cpu']:10.2f}{rate:14,.0f}{middle['peak_mib']:10,.0f}")
    pairs = zip(lines["ours"], lines["polars"], strict=True)
    ratios = [(a["seconds"] / b["seconds"], a["cpu"] / b["cpu"]) for a, b in pairs]
    print(
        f"ours/polars: {statistics.median(r for r, _ in ratios):.2f} of its time, "
        f"{statistics.median(r for _, r in ratios):.2f} of its CPU"
    )


if __name__ == "__main__":
    main()
