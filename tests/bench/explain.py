"""`python -m tests.bench.explain`: microseconds that an explanation takes a row, on one core, the graph and HTTP not counted.

Twenty columns, a quarter of them categorical; trees of gradient boosting trained on 4,000 rows. The best of some repetitions,
since whatever else the machine does only adds to them.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import numpy as np

from modelward_api.bundle.attribution import attributor
from modelward_api.bundle.documents import Explainer, ScoreLink
from modelward_api.resources.columns import Column
from modelward_api.resources.trainingjob import Estimator
from modelward_training.data.dataset import Dataset
from modelward_training.estimators import FAMILIES, fitting

COLUMNS = (
    *(Column(name=f"number{i}", kind="numeric", nullable=True) for i in range(15)),
    *(Column(name=f"category{i}", kind="categorical", allowed_values=("a", "b", "c")) for i in range(5)),
)
REPETITIONS = 20


def patients(rows: int) -> Dataset:
    """Synthetic rows whose outcome depends on many columns."""
    draw = np.random.default_rng(0)
    columns = {}
    for column in COLUMNS:
        if column.kind == "categorical":
            columns[column.name] = draw.choice(np.array(column.allowed_values, dtype=object), rows)
        else:
            columns[column.name] = draw.normal(size=rows)
            columns[column.name][draw.random(rows) < 0.1] = np.nan
    numbers = np.nan_to_num(np.column_stack([columns[f"number{i}"] for i in range(15)]))
    risk = numbers @ draw.normal(size=15) * 0.5 + np.sin(numbers[:, :5] * 3).sum(axis=1)
    label = (draw.random(rows) < 1 / (1 + np.exp(-risk))).astype(np.int8)
    return Dataset(COLUMNS, columns, label, None, None)


def best(work: Callable[[], object]) -> float:
    """Seconds of the fastest repetition."""
    taken = []
    for _ in range(REPETITIONS):
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return min(taken)


def main() -> None:
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    data = patients(4000)
    names = tuple(column.name for column in COLUMNS)
    print(f"{'':34}{'paths':>7}{'KB':>7}{'ready ms':>10}{'1 row us':>10}{'256 rows, us/row':>18}")
    for algorithm, depth in (
        ("logistic-regression", 0), ("gradient-boosting", 3), ("gradient-boosting", 4), ("gradient-boosting", 6),
    ):  # fmt: skip
        params = {"max_depth": depth, "n_estimators": 100} if depth else {}
        estimator = Estimator(algorithm=algorithm, params=params)
        fitted = fitting.fit(fitting.build(estimator, data, 0), estimator, data)
        made = FAMILIES[algorithm].explainer(fitted, data)
        document = Explainer(features=names, link=ScoreLink(), model=made)
        text = document.model_dump_json(by_alias=True)
        ready = best(lambda document=document: attributor(document, lambda _: np.empty(0)))
        ours = attributor(document, lambda _: np.empty(0))
        taken = []
        for rows in (1, 256):
            columns = data.take(np.arange(rows)).columns
            taken.append(best(lambda ours=ours, columns=columns: ours.explain(columns)) / rows * 1e6)
        paths = sum(left < 0 for left in made.left) if depth else 0
        name = f"{algorithm}, 100 trees, depth {depth}" if depth else algorithm
        figures = f"{ready * 1e3:10.1f}{taken[0]:10.0f}{taken[1]:18.1f}"
        print(f"{name:34}".replace("gradient-boosting, ", "") + f"{paths:7}{len(text) // 1024:7}{figures}")


if __name__ == "__main__":
    main()
