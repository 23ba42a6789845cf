"""Synthetic patients: numbers and categories, some of them missing, and an outcome that depends on them."""

from __future__ import annotations

import numpy as np

from modelward_api.resources.columns import Column
from modelward_training.data.dataset import Dataset

NUMBERS = ("age", "pressure", "glucose", "lactate")
COLUMNS = (
    *(Column(name=name, kind="numeric", nullable=name != "age") for name in NUMBERS),
    Column(name="sex", kind="categorical", allowed_values=("f", "m")),
    Column(name="smoking", kind="categorical", nullable=True),
)


def patients(rows=800, columns=COLUMNS, seed=0) -> Dataset:
    draw = np.random.default_rng(seed)
    given = {name: draw.normal(60, 15, rows) for name in NUMBERS}
    given["sex"] = draw.choice(np.array(["f", "m"], dtype=object), rows)
    given["smoking"] = draw.choice(np.array(["", "c", "n", "x"], dtype=object), rows)
    risk = (given["age"] - 60) / 10 + (given["sex"] == "m") * (given["smoking"] == "c") * 2
    risk += np.abs(given["glucose"] - 60) / 15 - 1.5
    label = (draw.random(rows) < 1 / (1 + np.exp(-risk))).astype(np.int8)
    for name in ("pressure", "glucose", "lactate"):
        given[name][draw.random(rows) < 0.2] = np.nan
    given |= {name: given[name].astype(np.float32) for name in NUMBERS}  # as they are served
    return Dataset(columns, {c.name: given[c.name] for c in columns}, label, None, None)
