"""What a canary costs the champion: its requests a second, and its core's time a request, with leases in relation to none.

The champion has one core. The challenger, in production a pod on another node, shares the other core with the load here: when
they want more of it than there is, callers ask less, and the champion waits. So two costs are told. That of throughput is what
callers saw, whatever it was that they waited for. That of the core is what the champion's own time a request, from the
scheduler's count, leaves of what its core could answer: it is the champion's alone, and the same as the other where
the champion is always busy.

`10 %, evidence from these alone` asks the challenger for every tenth request and waits for it; `10 %, evidence from others, too`
is what a rollout does: it scores as many of the others as the champion's allowance for that lets through.

A round during which anything else took more than a tenth of the machine says nothing, and is done again.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx

from modelward_api.wire.exchange import Challenger, ExchangeRequest, TrafficLease
from tests.bench.batch import train
from tests.bench.serving import FEATURES, GRPC, JSON, Subject, Way, ask, ours, write_bodies

LEASES = {
    "no lease": None,
    "a lease at 0 %, no evidence": (0.0, 0.0),
    "10 %, evidence from these alone": (10.0, 0.0),
    "10 %, evidence from others, too": (10.0, 1.0),
}
ELSEWHERE = 0.1
Key = tuple[str, int, str]
"""Protocol, connections, lease."""


@dataclass(frozen=True)
class Round:
    """Figures of the champion in one round."""

    rate: float
    """Requests a second."""
    core_us: float
    """Its core's time a request."""
    busy: float
    """The part of the time that its core was busy."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--protocols", nargs="+", choices=(JSON, GRPC), default=[JSON, GRPC])
    parser.add_argument("--connections", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--seconds", type=float, default=1.5, help="of each round")
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        settings = argparse.Namespace(numeric=FEATURES, categorical=0, algorithm="logistic-regression")
        bundle = train(folder, settings)
        bodies = write_bodies(folder, [1])
        champion = stack.enter_context(ours(folder, bundle, bodies))
        other = stack.enter_context(ours(folder, bundle, bodies))
        subprocess.run(["taskset", "--all-tasks", "-cp", "1", str(other.pid)], capture_output=True)
        found: dict[Key, list[Round]] = {}
        for sequence in range(options.rounds + 1):
            for protocol in options.protocols:
                for connections in options.connections:
                    for what in turned(list(LEASES), sequence):
                        give(champion.control, bundle.digest, other.ways[0], LEASES[what], sequence)
                        line = measure(champion, other, protocol, connections, options.seconds)
                        if sequence:  # the first round is to warm up
                            found.setdefault((protocol, connections, what), []).append(line)
    report(found)


def turned(items: list[str], by: int) -> list[str]:
    """Each is first in its turn: whatever comes after something else is not always the same."""
    by %= len(items)
    return items[by:] + items[:by]


def measure(champion: Subject, other: Subject, protocol: str, connections: int, seconds: float) -> Round:
    """One round that was left in peace."""
    [way] = [way for way in champion.ways if way.protocol == protocol]
    while True:
        core, ours, (busy, whole) = core_seconds(champion.pid), of_ours(champion, other), of_machine()
        line = ask(way, 1, connections, seconds)
        core, ours = core_seconds(champion.pid) - core, of_ours(champion, other) - ours
        busy, whole = (now - before for now, before in zip(of_machine(), (busy, whole), strict=True))
        if busy - ours < ELSEWHERE * whole:
            return Round(line["rate"], 1e6 * core / line["answers"], core * line["rate"] / line["answers"])


def core_seconds(pid: int) -> float:
    """Return the processor time of all threads of a process."""
    return sum(int(task.read_text().split()[0]) for task in Path(f"/proc/{pid}/task").glob("*/schedstat")) / 1e9


def of_ours(*subjects: Subject) -> float:
    """Return the processor time of the servers and of the load generators that have ended."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return sum(core_seconds(subject.pid) for subject in subjects) + ended.ru_utime + ended.ru_stime


def of_machine() -> tuple[float, float]:
    """Seconds that its cores were busy, or wanted by other machines, and all there were: see proc_stat(5)."""
    fields = [int(field) for field in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    ticks = os.sysconf("SC_CLK_TCK")
    return (sum(fields) - fields[3] - fields[4]) / ticks, sum(fields) / ticks


def give(control: str, digest: str, other: Way, lease: tuple[float, float] | None, sequence: int) -> None:
    """Let the champion hold a lease, or none."""
    asked = None
    if lease is not None:
        endpoint = other.target.split("/")[2]
        asked = TrafficLease(
            epoch=1,
            sequence=sequence,
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


def report(found: dict[Key, list[Round]]) -> None:
    """A line a lease; what it costs in relation to none, in the same round."""
    for protocol, connections in dict.fromkeys(key[:2] for key in found):
        print(
            f"\n{f'{protocol}, {connections} connections':33}{'req/s':>10}{'cost':>8}{'core us':>10}{'cost':>8}{'busy':>8}"
        )
        alone = found[protocol, connections, "no lease"]
        for what in LEASES:
            rounds = found[protocol, connections, what]
            pairs = list(zip(rounds, alone, strict=True))
            slower = statistics.median(1 - one.rate / base.rate for one, base in pairs)
            dearer = statistics.median(1 - base.core_us / one.core_us for one, base in pairs)
            rate, core, busy = (
                statistics.median(getattr(one, of) for one in rounds) for of in ("rate", "core_us", "busy")
            )
            print(f"{what:33}{rate:10.0f}{100 * slower:7.1f}%{core:10.1f}{100 * dearer:7.1f}%{100 * busy:7.0f}%")


if __name__ == "__main__":
    main()
