"""`make bench`: requests a second, latency, memory and start of our server against plain BentoML on the same ONNX model.

One row a request over REST, the server on one core and the client on another where there are two. Rounds alternate, so that
whatever else the machine does meets both; only the ratios matter.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from tests.contract.conftest import free_port
from tests.unit.serving import bundles

PEER = """
import os
import bentoml, numpy, onnxruntime

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1

@bentoml.service(workers=1)
class Peer:
    def __init__(self):
        self.session = onnxruntime.InferenceSession(os.environ["MODEL"], options)

    @bentoml.api
    def infer(self, age: list[float], sex: list[str]) -> list[float]:
        feed = {
            "age": numpy.array(age, dtype=numpy.float32).reshape(-1, 1),
            "sex": numpy.array(sex, dtype=object).reshape(-1, 1),
        }
        return self.session.run(["score"], feed)[0].reshape(-1).tolist()
"""
OURS_BODY = {
    "inputs": [
        {"name": "age", "shape": [1, 1], "datatype": "FP32", "data": [61.0]},
        {"name": "sex", "shape": [1, 1], "datatype": "BYTES", "data": ["f"]},
    ]
}


@dataclass
class Subject:
    """One server under measurement."""

    name: str
    url: str
    body: bytes
    pid: int
    start_seconds: float
    rates: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)

    def memory_mb(self) -> float:
        """Resident memory of the process and its children."""
        children = subprocess.run(["pgrep", "-P", str(self.pid)], capture_output=True, text=True).stdout.split()
        return sum(_resident(int(pid)) for pid in (self.pid, *children))


def _resident(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


async def load(subject: Subject, connections: int, seconds: float) -> None:
    """Ask over that many connections for that long; every answer must be 200."""
    end, done = time.perf_counter() + seconds, 0
    connector = aiohttp.TCPConnector(limit=connections)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def caller() -> None:
            nonlocal done
            while (started := time.perf_counter()) < end:
                headers = {"content-type": "application/json"}
                async with session.post(subject.url, data=subject.body, headers=headers) as answer:
                    content = await answer.read()
                    assert answer.status == 200, content
                subject.latencies.append(time.perf_counter() - started)
                done += 1

        begun = time.perf_counter()
        await asyncio.gather(*(caller() for _ in range(connections)))
        subject.rates.append(done / (time.perf_counter() - begun))


@contextmanager
def launched(argv: list[str], directory: Path, ready: str, env: dict[str, str]):
    """A server on core 0, until the block ends."""
    pin = ["taskset", "-c", "0"] if (os.cpu_count() or 1) > 1 else []
    started = time.perf_counter()
    with (directory / "log").open("ab") as log:
        process = subprocess.Popen([*pin, *argv], stdout=log, stderr=log, env={**os.environ, **env}, cwd=directory)
    try:
        _await(lambda: asyncio.run(_answers(ready)), directory / "log")
        yield process.pid, time.perf_counter() - started
    finally:
        process.terminate()
        process.wait()


async def _answers(url: str) -> bool:
    try:
        async with aiohttp.ClientSession() as session, session.get(url) as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False


def _await(condition: Callable[[], bool], log: Path) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        if time.monotonic() > deadline:
            sys.exit(f"a server did not start:\n{log.read_text()[-2000:]}")
        time.sleep(0.05)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=4.0, help="of each round")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    if (os.cpu_count() or 1) > 1:
        os.sched_setaffinity(0, {1})
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        digest = bundles.write(directory / "bundle")
        (directory / "peer.py").write_text(PEER)
        measure(options, directory, digest)


def measure(options: argparse.Namespace, directory: Path, digest: str) -> None:
    """Both servers up, rounds in turn, one table."""
    port, control, other = free_port(), free_port(), free_port()
    env = {"BENTOML_HOME": str(directory / "bentoml"), "BENTOML_DO_NOT_TRACK": "True"}
    ours = ["-m", "modelward_serving", "serve", "--bundle", str(directory / "bundle"), "--digest", digest]
    ours += ["--host", "127.0.0.1", "--port", str(port), "--control-port", str(control), "--drain-seconds", "0"]
    ours += ["--grpc-port", str(free_port())]
    peer = ["-m", "bentoml", "serve", "peer:Peer", "--host", "127.0.0.1", "--port", str(other)]
    model = {**env, "MODEL": str(directory / "bundle" / "model.onnx")}
    with (
        launched([sys.executable, *ours], directory, f"http://127.0.0.1:{port}/readyz", env) as (pid, start),
        launched([sys.executable, *peer], directory, f"http://127.0.0.1:{other}/readyz", model) as (
            peer_pid,
            peer_start,
        ),
    ):
        url = f"http://127.0.0.1:{port}/v2/models/mortality/infer"
        subjects = [
            Subject("Modelward", url, json.dumps(OURS_BODY).encode(), pid, start),
            Subject(
                "plain BentoML", f"http://127.0.0.1:{other}/infer", b'{"age":[61.0],"sex":["f"]}', peer_pid, peer_start
            ),
        ]
        for subject in subjects:
            asyncio.run(load(subject, options.connections, 1.0))
            subject.rates.clear(), subject.latencies.clear()
        for _ in range(options.rounds):
            for subject in subjects:
                asyncio.run(load(subject, options.connections, options.seconds))
        report(subjects, options.connections)


def report(subjects: list[Subject], connections: int) -> None:
    """The table, and ours in relation to the peer."""
    print(f"one row, JSON over REST, {connections} connections; validation, counters and metrics on")
    print(f"{'':16}{'requests/s':>12}{'p50 ms':>9}{'p99 ms':>9}{'RSS MB':>9}{'start s':>9}")
    rows = []
    for s in subjects:
        ordered = sorted(s.latencies)
        p50, p99 = ordered[len(ordered) // 2] * 1000, ordered[int(len(ordered) * 0.99)] * 1000
        rows.append((statistics.median(s.rates), p50, p99, s.memory_mb(), s.start_seconds))
        print(f"{s.name:16}{rows[-1][0]:12.0f}{p50:9.2f}{p99:9.2f}{rows[-1][3]:9.0f}{rows[-1][4]:9.2f}")
    ratios = [ours / peer for ours, peer in zip(*rows, strict=True)]
    print(f"{'ours / peer':16}" + "".join(f"{ratio:>{12 if i == 0 else 9}.2f}" for i, ratio in enumerate(ratios)))


if __name__ == "__main__":
    main()
