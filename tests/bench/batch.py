"""Rows a second of the batch command on one core, and where the time goes. The model is one of our own training.

`python -m tests.bench.batch` scores Parquet with numeric columns; --categorical adds columns of text, --format csv reads CSV.
The process is pinned to one core; what is timed is the whole command less its start, as its result says.
"""

from __future__ import annotations

import argparse
import cProfile
import os
import pstats
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

from modelward_api.resources.trainingjob import TrainingJobSpec
from modelward_serving.batch import chunk, score
from modelward_serving.model import bundle as served
from modelward_serving.model.predictor import Predictor
from modelward_training import pipeline
from modelward_training.progress import Progress
from modelward_training.report.summary import Facts

CATEGORIES = np.array(["a", "b", "c", "d", "e"])
GOAL = 10_000_000
PART = 1_000_000
"""Rows that are made at a time."""


def frame(rows: int, options: argparse.Namespace, seed: int) -> pl.DataFrame:
    """Measurements as a ward has them: three decimals, one in fifty missing."""
    random = np.random.default_rng(seed)
    columns: dict[str, object] = {"id": np.arange(rows) + seed * PART}
    for i in range(options.numeric):
        values = np.round(random.normal(100, 20, rows), 3)
        values[random.random(rows) < 0.02] = np.nan
        columns[f"n{i}"] = pl.Series(values).fill_nan(None)
    for i in range(options.categorical):
        columns[f"c{i}"] = CATEGORIES[random.integers(0, len(CATEGORIES), rows)]
    return pl.DataFrame(columns)


def train(folder: Path, options: argparse.Namespace, subgroups: int = 0) -> served.Bundle:
    """A model of those columns, of which so many are subgroups of two strata each."""
    data = frame(5000, options, 0)
    weights = np.random.default_rng(1).normal(0, 0.02, options.numeric)
    logit = sum(data[f"n{i}"].fill_null(100).to_numpy() * w for i, w in enumerate(weights))
    chance = 1 / (1 + np.exp(-(logit - np.mean(logit))))
    data = data.with_columns(died=pl.Series(np.random.default_rng(2).random(len(data)) < chance).cast(pl.Int8))
    data.write_csv(folder / "train.csv")
    features = [{"name": f"n{i}", "kind": "numeric", "nullable": True} for i in range(options.numeric)]
    features += [{"name": f"c{i}", "kind": "categorical"} for i in range(options.categorical)]
    spec = {
        "model": "bench",
        "version": "1.0.0",
        "data": {
            "sources": [{"uri": f"file://{folder}/train.csv"}],
            "columns": [*features, {"name": "died", "kind": "boolean", "role": "label"}],
            "label": {"column": "died", "positive": "1"},
        },
        "split": {"method": "random"},
        "estimator": {"algorithm": options.algorithm},
        "evaluation": {
            "bootstrap": 0,
            "subgroups": [{"column": f"n{i}", "cuts": [100]} for i in range(subgroups)],
        },
        "output": {"uri": "store://models"},
    }
    outcome = pipeline.run("bench", TrainingJobSpec.model_validate(spec), f"file://{folder}", Progress(), Facts())
    archive = (folder / outcome.uri.removeprefix("store://")).read_bytes()
    unpacked = folder / "bundle"
    for name, content in served.unpack(archive, outcome.digest).items():
        (unpacked / name).parent.mkdir(parents=True, exist_ok=True)
        (unpacked / name).write_bytes(content)
    return served.load(unpacked, outcome.digest)


def write(folder: Path, options: argparse.Namespace) -> int:
    """The rows, as files of at most a million; returns their bytes."""
    folder.mkdir()
    for part in range(-(-options.rows // PART)):
        rows = frame(min(PART, options.rows - part * PART), options, part)
        file = folder / f"{part:03d}.{options.format}"
        rows.write_csv(file) if options.format == "csv" else rows.write_parquet(file, row_group_size=250_000)
    return sum(file.stat().st_size for file in folder.iterdir())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--numeric", type=int, default=30)
    parser.add_argument("--categorical", type=int, default=0)
    parser.add_argument("--format", choices=["parquet", "csv"], default="parquet")
    parser.add_argument("--algorithm", default="logistic-regression")
    parser.add_argument("--chunks", type=int, nargs="+", default=[chunk.ROWS], help="rows a call of the model")
    parser.add_argument("--profile", action="store_true", help="where the time goes")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        bundle = train(folder, options)
        size = write(folder / "input", options)
        print(
            f"{options.rows:,} rows, {options.numeric} numeric and {options.categorical} categorical columns, "
            f"{options.format} of {size / 1e6:,.0f} MB, {options.algorithm}, one core"
        )
        if (os.cpu_count() or 1) > 1:
            os.sched_setaffinity(0, {1})
        for number, rows in enumerate(options.chunks):
            measure(folder, bundle, options, f"out-{number}", rows)


def measure(folder: Path, bundle: served.Bundle, options: argparse.Namespace, output: str, rows: int) -> None:
    """Run once; return a line of figures."""
    task = score.Task(
        f"file://{folder}/input",
        options.format,
        f"file://{folder}/{output}",
        keep=("id",),
        rows=rows,
        store=f"file://{folder}",
    )
    predictor, profile = Predictor(bundle), cProfile.Profile()
    before = time.process_time()
    if options.profile:
        profile.enable()
    outcome = score.run(task, predictor)
    profile.disable()
    rate = outcome.rows / outcome.seconds
    print(
        f"{rows:>8} rows a chunk: {rate:12,.0f} rows/s, {outcome.seconds:6.1f} s "
        f"(CPU {time.process_time() - before:.1f} s); {GOAL:,} rows in {GOAL / rate:.0f} s"
    )
    if options.profile:
        pstats.Stats(profile).sort_stats("tottime").print_stats(14)


if __name__ == "__main__":
    main()
