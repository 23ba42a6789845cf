"""The runs, from within the node's network."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator

from examples.clinic import Clinic
from tests.bench.rollback import options, ours
from tests.bench.rollback.result import Result
from tests.cluster import Cluster
from tests.cluster.layout import Layout

NAMESPACE = "rollback"


def main() -> None:
    chosen, layout = options.parse(), Layout.from_environment()
    clinic = Clinic(Cluster("embedded", layout.conf / "admin.conf", layout), NAMESPACE)
    clinic.install()
    results = []
    for result in run(clinic, chosen):
        print(result, flush=True)
        results.append(result)
    if chosen.json is not None:
        chosen.json.parent.mkdir(parents=True, exist_ok=True)
        before = json.loads(chosen.json.read_text()) if chosen.json.exists() else []
        chosen.json.write_text(json.dumps([*before, *(result.to_json() for result in results)], indent=1))


def run(clinic: Clinic, chosen: argparse.Namespace) -> Iterator[Result]:
    """All that was asked for."""
    wanted = [(scenario, chosen.runs) for scenario in ours.HARD]
    wanted += [(ours.SOFT, chosen.soft_runs), (ours.UNCHANGED, chosen.lanes)]
    wanted += [(ours.WITHDRAWN, chosen.runs // 2), (ours.DELETED, chosen.runs // 2)]
    wanted = [(scenario, runs) for scenario, runs in wanted if chosen.only in scenario.name]
    yield from ours.run(clinic, wanted, chosen.lanes, chosen.rate)


if __name__ == "__main__":
    main()
