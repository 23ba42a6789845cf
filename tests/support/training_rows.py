"""Eighty rows for training, and the spec that declares them."""

from __future__ import annotations

from modelward_api.resources.trainingjob import TrainingJobSpec

ROWS = 80

HEAD = ["age", "sex", "when", "outcome"]


def rows(**changes):
    """Text by column; a function of the row's number changes one."""
    made = {
        "age": lambda i: str(40 + i % 30),
        "sex": lambda i: "mf"[i % 2],
        "when": lambda i: str(2000 + i // 4),
        "outcome": lambda i: "dead" if i % 4 == 0 else "live",
    } | changes
    return [[made[name](i) for name in HEAD] for i in range(ROWS)]


def text(body, head=HEAD, separator=","):
    return "\n".join(separator.join(row) for row in [head, *body]) + "\n"


def spec(form="csv", **columns):
    declared = {
        "age": {"kind": "numeric"},
        "sex": {"kind": "categorical", "allowedValues": ["m", "f"]},
        "when": {"kind": "integer", "role": "time"},
        "outcome": {"kind": "categorical", "role": "label", "allowedValues": ["live", "dead"]},
    }
    split = columns.pop("split", {"method": "time"})
    positive = columns.pop("positive", "dead")
    listed = [{"name": name, **how, **columns.pop(name, {})} for name, how in declared.items()]
    return TrainingJobSpec.model_validate(
        {
            "model": "m",
            "version": "1.0.0",
            "data": {
                "sources": [{"uri": "store://data.csv", "format": form}],
                "columns": [*listed, *({"name": name, **how} for name, how in columns.items())],
                "label": {"column": "outcome", "positive": positive},
            },
            "split": split,
            "output": {"uri": "store://models"},
        }
    )
