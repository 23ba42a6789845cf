"""Real servers on loopback, for contract tests."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from modelward_api.wire.exchange import Challenger, ExchangeRequest, ExchangeResponse, TrafficLease
from tests.support import bundles
from tests.support.ports import free_port
from tests.support.preloaded import Forked, loader

Process = subprocess.Popen | Forked
SERVING = """
import sys
from modelward_serving.__main__ import main
sys.exit(main())
"""
MARK, AGE = "MARK7F3A", 41.837465


@dataclass
class Server:
    process: Process
    port: int
    control: int
    grpc: int
    digest: str
    version: str
    log: Path

    def ask(self, age=55.0, sex="f", patience=10.0, **headers):
        inputs = [
            {"name": "age", "shape": [1, 1], "datatype": "FP32", "data": [age]},
            {"name": "sex", "shape": [1, 1], "datatype": "BYTES", "data": [sex]},
        ]
        url = f"http://127.0.0.1:{self.port}/v2/models/mortality/infer"
        return httpx.post(url, json={"inputs": inputs}, headers=headers, timeout=patience)

    def explain(self, ages, sex="f", path="models/mortality", **more):
        inputs = [
            {"name": "age", "shape": [len(ages), 1], "datatype": "FP32", "data": ages},
            {"name": "sex", "shape": [len(ages), 1], "datatype": "BYTES", "data": [sex] * len(ages)},
        ]
        return httpx.post(
            f"http://127.0.0.1:{self.port}/v2/{path}/explain", json={"inputs": inputs, **more}, timeout=10
        )

    def exchange(self, lease=None, epoch=1, **more) -> ExchangeResponse:
        request = ExchangeRequest(epoch=epoch, lease=lease, **more)
        answer = httpx.post(f"http://127.0.0.1:{self.control}/v1/exchange", json=request.to_json())
        return ExchangeResponse.model_validate_json(answer.content)

    def lease_to(
        self, other: Server, weight, sequence=1, mirror=0.0, ttl=60.0, deadline=2000.0, sticky=None, tls=False
    ):
        challenger = Challenger(
            version=other.version, digest=other.digest, endpoints=(f"127.0.0.1:{other.port}",), tls=tls
        )
        return TrafficLease(
            epoch=1,
            sequence=sequence,
            model="mortality",
            champion=self.digest,
            challenger=challenger,
            weight=weight,
            mirror=mirror,
            deadline_ms=deadline,
            ttl_seconds=ttl,
            sticky_header=sticky,
        )

    def evidence(self):
        return self.exchange(keep=True).evidence[0]


@contextmanager
def launching(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """A function that starts servers, which end with the block."""
    servers = []

    def start(version="1.0.0", flags=(), as_users_do=False, files=None, **how):
        directory = tmp_path / f"bundle-{len(servers)}"
        digest = bundles.write(directory, version, **how)
        port, control, grpc, log = free_port(), free_port(), free_port(), tmp_path / f"{len(servers)}.log"
        words = [
            "--bundle",
            directory,
            "--digest",
            digest,
            "--port",
            port,
            "--control-port",
            control,
            "--grpc-port",
            grpc,
        ]
        words += [
            "--host",
            "127.0.0.1",
            "--drain-seconds",
            "1",
            "--termination-log",
            tmp_path / "end",
            "--pod",
            "p",
            *flags,
        ]
        arguments = ["serve", *map(str, words)]
        env = {**os.environ, "BENTOML_HOME": str(tmp_path / "bentoml"), "BENTOML_DO_NOT_TRACK": "True"}
        if as_users_do:
            with log.open("wb") as output:
                argv = [sys.executable, "-m", "modelward_serving", *arguments]
                argv = argv if files is None else ["prlimit", f"--nofile={files}:{files}", *argv]
                process: Process = subprocess.Popen(argv, stdout=output, stderr=output, env=env)
        else:
            loaded = loader("modelward_serving.__main__", "modelward_serving.server")
            process = Forked(loaded, SERVING, arguments, log, env)
        server = Server(process, port, control, grpc, digest, version, log)
        servers.append(server)
        wait_for(lambda: _ready(server), log)
        return server

    yield start
    for server in servers:
        server.process.kill()
        server.process.wait()


def _ready(server):
    try:
        return httpx.get(f"http://127.0.0.1:{server.control}/readyz").status_code == 200
    except httpx.TransportError:
        return False


def wait_for(condition, log=None, seconds=30):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, log.read_text() if log else "not in time"
        time.sleep(0.02)
