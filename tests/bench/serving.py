"""Our server against others on the same model in one run: requests a second, latency, memory and start, as ratios.

A logistic regression over 30 numbers, one process each, the server on one core and the load on another where there are two.
Every server is asked over every protocol that it speaks: JSON over REST, binary tensors over REST, gRPC. Rounds alternate, so
that whatever else the machine does meets all; only the ratios matter. Ours validates, counts and measures while it answers.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
from onnx import helper

from modelward_serving._generated import open_inference_pb2 as pb
from modelward_serving.model.bundle import Bundle
from tests.bench.batch import train
from tests.bench.peers import PEERS, Peer
from tests.support.cluster.layout import cache_directory
from tests.support.ports import free_port

FEATURES = 30
JSON, BINARY, GRPC = "REST JSON", "REST binary", "gRPC"
OURS = "Modelward"
OCTETS = {"content-type": "application/octet-stream"}


@dataclass(frozen=True)
class Way:
    """One way to ask a server."""

    protocol: str
    target: str
    bodies: dict[int, Path]
    """By rows."""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Subject:
    """One server that runs."""

    name: str
    pid: int
    start_seconds: float
    ways: list[Way]
    control: str = ""
    """Where its control port is, if it is ours."""
    found: dict[tuple[str, int, int], list[dict[str, float]]] = field(default_factory=dict)
    """By protocol, rows and connections: a line of the load generator for each round."""

    def memory_mb(self) -> float:
        """Resident memory of the process and all that it started."""
        table = subprocess.run(["ps", "-e", "-o", "pid=,ppid=,rss="], capture_output=True, text=True).stdout
        rows = [tuple(map(int, line.split())) for line in table.splitlines()]
        family = {self.pid}
        while more := {pid for pid, parent, _ in rows if parent in family} - family:
            family |= more
        return sum(resident for pid, _, resident in rows if pid in family) / 1024

    def median(self, cell: tuple[str, int, int], what: str) -> float | None:
        """The median over the rounds."""
        return statistics.median(line[what] for line in self.found[cell]) if cell in self.found else None


def rows_of(count: int, features: int) -> np.ndarray:
    """[count, features] of float32."""
    return np.random.default_rng(7).normal(100, 20, (count, features)).astype(np.float32)


def write_bodies(folder: Path, counts: list[int], features: int = FEATURES) -> dict[str, dict[int, Path]]:
    """The same rows as each protocol carries them."""
    bodies: dict[str, dict[int, Path]] = {"plain": {}, JSON: {}, BINARY: {}, GRPC: {}}

    def keep(what: str, count: int, content: bytes) -> None:
        bodies[what][count] = folder / f"{what.replace(' ', '-')}-{count}"
        bodies[what][count].write_bytes(content)

    for count in counts:
        rows = rows_of(count, features)
        tensor = {"name": "x", "shape": list(rows.shape), "datatype": "FP32"}
        keep("plain", count, json.dumps({"rows": rows.tolist()}).encode())
        keep(JSON, count, json.dumps({"inputs": [{**tensor, "data": rows.reshape(-1).tolist()}]}).encode())
        raw = rows.tobytes()
        keep(BINARY, count, json.dumps({"inputs": [{**tensor, "parameters": {"binary_data_size": len(raw)}}]}).encode())
        with bodies[BINARY][count].open("ab") as body:
            body.write(raw)
        message = pb.ModelInferRequest(model_name="bench", raw_input_contents=[raw])
        message.inputs.add(name="x", datatype="FP32", shape=rows.shape)
        keep(GRPC, count, message.SerializeToString())
    return bodies


def packed(graph: bytes) -> bytes:
    """The model's graph with one [n, 30] input: the others' clients send one tensor."""
    model = onnx.load_from_string(graph)
    names = [node.name for node in model.graph.input]
    opset = next(known.version for known in model.opset_import if known.domain in ("", "ai.onnx"))
    how = {"num_outputs": len(names)} if opset >= 18 else {}
    model.graph.node.insert(0, helper.make_node("Split", ["x"], names, axis=1, **how))
    del model.graph.input[:]
    model.graph.input.append(helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [None, len(names)]))
    onnx.checker.check_model(model)
    return model.SerializeToString()


@contextmanager
def launched(name: str, argv: list[str], directory: Path, ready: str, env: dict[str, str]) -> Iterator[Subject]:
    """A server on core 0, until the block ends."""
    pin = ["taskset", "-c", "0"] if (os.cpu_count() or 1) > 1 else []
    started = time.perf_counter()
    with (directory / "log").open("ab") as log:
        process = subprocess.Popen(
            [*pin, *argv], stdout=log, stderr=log, env={**os.environ, **env}, cwd=directory, start_new_session=True
        )
    try:
        while not _answers(ready):
            if process.poll() is not None or time.perf_counter() - started > 120:
                sys.exit(f"{name} did not start:\n{(directory / 'log').read_text()[-2000:]}")
            time.sleep(0.02)
        yield Subject(name, process.pid, time.perf_counter() - started, [])
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(timeout=40)
        with suppress(ProcessLookupError):  # LitServe's processes outlive the one that started them
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


@contextmanager
def ours(folder: Path, bundle: Bundle, bodies: dict[str, dict[int, Path]]) -> Iterator[Subject]:
    """Our server."""
    port, control, grpc = free_port(), free_port(), free_port()
    words = ["--bundle", str(folder / "bundle"), "--digest", bundle.digest, "--host", "127.0.0.1"]
    words += ["--port", str(port), "--control-port", str(control), "--grpc-port", str(grpc), "--drain-seconds", "0"]
    words += ["--grpc-connection-seconds", "600", "--termination-log", str(folder / "end")]
    argv = [sys.executable, "-m", "modelward_serving", "serve", *words]
    env = {"BENTOML_HOME": str(folder / "bentoml"), "BENTOML_DO_NOT_TRACK": "True"}
    with launched(OURS, argv, folder, f"http://127.0.0.1:{port}/readyz", env) as subject:
        url = f"http://127.0.0.1:{port}/v2/models/bench/infer"
        subject.control = f"http://127.0.0.1:{control}"
        subject.ways = [
            Way(JSON, url, bodies[JSON]),
            Way(BINARY, url, bodies[BINARY], _binary_headers(bodies[BINARY])),
            Way(GRPC, f"127.0.0.1:{grpc}", bodies[GRPC]),
        ]
        yield subject


def _binary_headers(bodies: dict[int, Path]) -> dict[str, str]:
    """By rows: how long the JSON is that a body begins with."""
    return {str(count): str(path.read_bytes().index(b"]}") + 2) for count, path in bodies.items()}


@contextmanager
def theirs(folder: Path, peer: Peer, bodies: dict[str, dict[int, Path]]) -> Iterator[Subject]:
    """Another server."""
    port, grpc = free_port(), free_port()
    directory = folder / peer.name
    words = peer.write(directory, port, grpc)
    argv = [str(peer.python(cache_directory(os.environ))), *words]
    env = {
        "MODEL": str(folder / "packed.onnx"),
        "BENTOML_HOME": str(folder / "bentoml"),
        "BENTOML_DO_NOT_TRACK": "True",
        "PYTHONPATH": str(directory),
    }
    with launched(peer.name, argv, directory, f"http://127.0.0.1:{port}{peer.ready}", env) as subject:
        url = f"http://127.0.0.1:{port}{peer.infer}"
        subject.ways = [Way(JSON, url, bodies[JSON if peer.oip else "plain"])]
        if "binary" in peer.protocols:
            subject.ways.append(Way(BINARY, url, bodies[BINARY], _binary_headers(bodies[BINARY])))
        if "grpc" in peer.protocols:
            subject.ways.append(Way(GRPC, f"127.0.0.1:{grpc}", bodies[GRPC]))
        yield subject


def ask(way: Way, rows: int, connections: int, seconds: float) -> dict[str, float]:
    """One round, by the load generator."""
    pin = ["taskset", "-c", "1"] if (os.cpu_count() or 1) > 1 else []
    argv = [*pin, sys.executable, "-m", "tests.bench.load", "grpc" if way.protocol == GRPC else "http", way.target]
    argv += ["--body", str(way.bodies[rows]), "--connections", str(connections), "--seconds", str(seconds)]
    if way.headers:
        argv += ["--headers", json.dumps({"inference-header-content-length": way.headers[str(rows)], **OCTETS})]
    done = subprocess.run(argv, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{way.protocol} at {way.target} failed:\n{done.stderr[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    names = [peer.name for peer in PEERS]
    parser.add_argument("--peers", nargs="*", choices=names, default=["BentoML"], help="(default: BentoML)")
    parser.add_argument("--all", action="store_true", help="all peers; their environments are made first")
    parser.add_argument("--rows", type=int, nargs="+", default=[1])
    parser.add_argument("--connections", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--seconds", type=float, default=2.0, help="of each round")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write all figures there, too")
    options = parser.parse_args()
    chosen = [peer for peer in PEERS if options.all or peer.name in options.peers]
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        settings = argparse.Namespace(numeric=FEATURES, categorical=0, algorithm="logistic-regression")
        bundle = train(folder, settings)
        (folder / "packed.onnx").write_bytes(packed(bundle.graph))
        bodies = write_bodies(folder, options.rows)
        subjects = [stack.enter_context(ours(folder, bundle, bodies))]
        subjects += [stack.enter_context(theirs(folder, peer, bodies)) for peer in chosen]
        measure(subjects, options)
        report(subjects, options)


def measure(subjects: list[Subject], options: argparse.Namespace) -> None:
    """Rounds in turn."""
    for subject in subjects:
        for way in subject.ways:
            ask(way, options.rows[0], options.connections[0], 1.0)  # warm
    for _ in range(options.rounds):
        for rows in options.rows:
            for connections in options.connections:
                for subject in subjects:
                    for way in subject.ways:
                        cell = (way.protocol, rows, connections)
                        line = ask(way, rows, connections, options.seconds)
                        subject.found.setdefault(cell, []).append(line)


def report(subjects: list[Subject], options: argparse.Namespace) -> None:
    """A table a protocol and a number of rows; ours in relation to each."""
    first = subjects[0]
    for protocol in (JSON, BINARY, GRPC):
        for rows in options.rows:
            print(f"\n{protocol}, {rows} row{'s' if rows > 1 else ''} a request")
            print(f"{'':12}" + "".join(f"{f'{c} connections':>34}" for c in options.connections))
            print(f"{'':12}" + f"{'req/s':>10}{'p50 ms':>8}{'p99 ms':>8}{'ours/':>8}" * len(options.connections))
            for subject in subjects:
                cells = [(protocol, rows, c) for c in options.connections]
                if all(cell in subject.found for cell in cells):
                    print(f"{subject.name:12}" + "".join(_cell(first, subject, cell) for cell in cells))
    print(f"\n{'':12}{'RSS MB':>10}{'start s':>10}")
    for subject in subjects:
        print(f"{subject.name:12}{subject.memory_mb():10.0f}{subject.start_seconds:10.2f}")
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        told = {
            s.name: {
                "rss_mb": s.memory_mb(),
                "start_s": s.start_seconds,
                "cells": [
                    {"protocol": p, "rows": r, "connections": c, "rounds": lines}
                    for (p, r, c), lines in s.found.items()
                ],
            }
            for s in subjects
        }
        options.json.write_text(json.dumps(told, indent=1))


def _cell(first: Subject, subject: Subject, cell: tuple[str, int, int]) -> str:
    rate, p50, p99 = (subject.median(cell, what) or 0.0 for what in ("rate", "p50_ms", "p99_ms"))
    ratio = (first.median(cell, "rate") or 0.0) / rate
    return f"{rate:10.0f}{p50:8.2f}{p99:8.2f}{ratio:8.2f}"


if __name__ == "__main__":
    main()
