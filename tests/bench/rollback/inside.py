"""The runs, from within the node's network."""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from examples.clinic import Clinic
from tests.bench.rollback import options, ours, peers, report
from tests.bench.rollback.result import Result
from tests.support.cluster import Cluster
from tests.support.cluster.layout import Layout

NAMESPACE = "rollback"


def main() -> None:
    chosen, layout = options.parse(), Layout.from_environment()
    clinic = Clinic(Cluster("embedded", layout.conf / "admin.conf", layout), NAMESPACE)
    clinic.install()
    clinic.kubectl("delete", "modelversions", "--all", "--timeout=120s")  # of a run that did not come to its end
    results = _known(chosen.json)
    for result in run(clinic, chosen):
        print(f"{result.system}, {result.scenario}: {result.until_told}, {result.said}", flush=True)
        results.append(result)
        if chosen.json is not None:
            chosen.json.parent.mkdir(parents=True, exist_ok=True)
            chosen.json.write_text(json.dumps([asdict(result) for result in results], indent=1))
    print(report.table(results))
    if chosen.publish:
        report.publish(results, datetime.now(UTC).date())


def _known(file: Path | None) -> list[Result]:
    if file is None or not file.exists():
        return []
    return [Result(**told) for told in json.loads(file.read_text())]


def run(clinic: Clinic, chosen: argparse.Namespace) -> Iterator[Result]:
    """All that was asked for."""
    if not chosen.peers:
        yield from _ours(clinic, chosen)
    if not chosen.ours:
        yield from _peers(clinic, chosen)


def _ours(clinic: Clinic, chosen: argparse.Namespace) -> Iterator[Result]:
    wanted = [(scenario, chosen.runs) for scenario in ours.HARD]
    wanted += [(ours.SOFT, chosen.soft_runs), (ours.UNCHANGED, chosen.lanes)]
    wanted += [(ours.WITHDRAWN, chosen.runs // 2), (ours.DELETED, chosen.runs // 2)]
    wanted = [(scenario, runs) for scenario, runs in wanted if chosen.only in scenario.name and runs]
    yield from ours.run(clinic, wanted, chosen.lanes, chosen.rate)


def _peers(clinic: Clinic, chosen: argparse.Namespace) -> Iterator[Result]:
    with tempfile.TemporaryDirectory() as folder:
        settings = peers.Options(chosen.peer_seconds, chosen.peer_runs, chosen.rate)
        yield from peers.run(clinic, Path(folder), settings)


if __name__ == "__main__":
    main()
