"""What a canary costs the champion: its requests a second without a lease, and with leases, as ratios.

The champion on one core, the challenger and the load on another. `10 %, evidence from these alone` asks the challenger for every
tenth request and waits for it; `10 %, evidence from others, too` is what a rollout does: it scores as many of the others as the
champion's allowance for that lets through.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import httpx

from modelward_api.wire import Challenger, ExchangeRequest, TrafficLease
from tests.bench.batch import train
from tests.bench.serving import FEATURES, JSON, Way, ask, ours, write_bodies

LEASES = {
    "no lease": None,
    "a lease at 0 %, no evidence": (0.0, 0.0),
    "10 %, evidence from these alone": (10.0, 0.0),
    "10 %, evidence from others, too": (10.0, 1.0),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each round")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        settings = argparse.Namespace(numeric=FEATURES, categorical=0, algorithm="logistic-regression")
        bundle = train(folder, settings)
        bodies = write_bodies(folder, [1])
        champion = stack.enter_context(ours(folder, bundle, bodies))
        other = stack.enter_context(ours(folder, bundle, bodies))
        subprocess.run(["taskset", "--all-tasks", "-cp", "1", str(other.pid)], capture_output=True)
        found: dict[str, list[float]] = {what: [] for what in LEASES}
        for sequence in range(options.rounds + 1):
            for what, lease in LEASES.items():
                give(champion.control, bundle.digest, other.ways[0], lease, sequence)
                line = ask(champion.ways[0], 1, options.connections, options.seconds)
                if sequence:  # the first round is to warm up
                    found[what].append(line["rate"])
    report(found)


def give(control: str, digest: str, other: Way, lease: tuple[float, float] | None, sequence: int) -> None:
    """Let the champion hold a lease, or none."""
    asked = None
    if lease is not None:
        endpoint = other.target.split("/")[2]
        asked = TrafficLease(
            epoch=1,
            sequence=10 * sequence + list(LEASES).index("no lease"),
            model="bench",
            champion=digest,
            challenger=Challenger(version="2.0.0", digest=digest, endpoints=(endpoint,)),
            weight=lease[0],
            mirror=lease[1],
            deadline_ms=500.0,
            ttl_seconds=60.0,
        )
    answer = httpx.post(f"{control}/v1/exchange", json=ExchangeRequest(epoch=1, lease=asked).to_json())
    if answer.status_code != 200 or answer.json().get("refused"):
        sys.exit(f"the lease was refused: {answer.text}")


def report(found: dict[str, list[float]]) -> None:
    """A line a lease; what it costs in relation to none, in the same round."""
    alone = found["no lease"]
    print(f"{JSON}: {'':22}{'req/s':>10}{'cost':>8}")
    for what, rates in found.items():
        cost = statistics.median(1 - rate / base for rate, base in zip(rates, alone, strict=True))
        print(f"{what:33}{statistics.median(rates):10.0f}{100 * cost:7.1f}%")


if __name__ == "__main__":
    main()
