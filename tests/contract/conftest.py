"""A real API server on loopback, as plain processes, for as long as the tests run."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.cluster import binaries
from tests.support.cluster.layout import REPOSITORY, cache_directory

PLURALS = ("modelversions", "trainingjobs", "driftmonitors", "scorebatches")
CRDS = [REPOSITORY / "crds" / f"{plural}.yaml" for plural in PLURALS]


@dataclass(frozen=True)
class ControlPlane:
    """etcd and kube-apiserver, with the CRDs installed."""

    kubeconfig: Path
    kube: Path

    def kubectl(self, *words: str, document: Any = None, check: bool = True) -> subprocess.CompletedProcess[str]:
        argv = [str(self.kube), "kubectl", "--kubeconfig", str(self.kubeconfig), *words]
        text = json.dumps(document) if document is not None else None
        done = subprocess.run(argv, input=text, text=True, capture_output=True)
        assert not check or done.returncode == 0, done.stderr
        return done

    @cached_property
    def api(self) -> httpx.Client:
        """The API server, with requests as kubectl sends them; kubectl takes a third of a second to start."""
        config = json.loads(self.kubeconfig.read_text())
        headers = {"authorization": f"Bearer {config['users'][0]['user']['token']}"}
        return httpx.Client(base_url=config["clusters"][0]["cluster"]["server"], headers=headers, verify=False)

    def get(self, *words: str) -> Any:
        return json.loads(self.kubectl("get", *words, "--output", "json").stdout)


WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_ports = itertools.cycle(range(20_000 + 1_000 * (WORKER % 10), 21_000 + 1_000 * (WORKER % 10)))


def free_port() -> int:
    """Return a free port of this worker's own range.

    The range is below the one from which the kernel takes ports for connections: between this look and the server's start
    neither a connection nor another worker takes the port.
    """
    for port in itertools.islice(_ports, 1_000):
        with socket.socket() as tried, contextlib.suppress(OSError):
            tried.bind(("127.0.0.1", port))
            return port
    raise OSError("no port is free")


@contextmanager
def api_server(directory: Path) -> Iterator[ControlPlane]:
    """A fresh API server that knows no CRDs."""
    kube = binaries.path(cache_directory(os.environ), "kube")
    etcd, peer, api = free_port(), free_port(), free_port()
    processes = [_start(directory, "etcd", [str(kube), "etcd", *_etcd_flags(directory, etcd, peer)])]
    processes.append(_start(directory, "api", [str(kube), "kube-apiserver", *_api_flags(directory, etcd, api)]))
    plane = ControlPlane(_kubeconfig(directory, api), kube)
    try:
        _await(lambda: plane.kubectl("get", "--raw", "/readyz", check=False).returncode == 0, directory / "api.log")
        yield plane
    finally:
        for process in reversed(processes):
            process.kill()
            process.wait()


@pytest.fixture(scope="session")
def control_plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """An API server with the CRDs."""
    directory = tmp_path_factory.mktemp("control-plane")
    with api_server(directory) as plane:
        define(plane, directory / "api.log")
        yield plane


def define(plane: ControlPlane, log: Path) -> None:
    """Install the CRDs, and wait until they are served."""
    plane.kubectl("apply", "--server-side", *(word for crd in CRDS for word in ("--filename", str(crd))))
    plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
    _await(lambda: plane.kubectl("get", "mv,tj,dm,sb", check=False).returncode == 0, log)


def _start(directory: Path, name: str, argv: list[str]) -> subprocess.Popen[bytes]:
    with (directory / f"{name}.log").open("wb") as log:
        return subprocess.Popen(argv, stdout=log, stderr=log)


def _etcd_flags(directory: Path, client: int, peer: int) -> list[str]:
    url = f"http://127.0.0.1:{client}"
    return [
        f"--data-dir={directory / 'etcd'}",
        f"--listen-client-urls={url}",
        f"--advertise-client-urls={url}",
        f"--listen-peer-urls=http://127.0.0.1:{peer}",
        "--unsafe-no-fsync",
        "--log-level=error",
    ]


def _api_flags(directory: Path, etcd: int, port: int) -> list[str]:
    key = directory / "sa.key"
    subprocess.run(["openssl", "genrsa", "-out", str(key), "2048"], check=True, capture_output=True)
    subprocess.run(
        ["openssl", "rsa", "-in", str(key), "-pubout", "-out", f"{key}.pub"], check=True, capture_output=True
    )
    (directory / "tokens.csv").write_text('token-of-the-tests,admin,admin,"system:masters"\n')
    return [
        f"--secure-port={port}",
        "--bind-address=127.0.0.1",
        f"--etcd-servers=http://127.0.0.1:{etcd}",
        "--service-cluster-ip-range=10.97.0.0/16",
        f"--cert-dir={directory / 'pki'}",
        f"--token-auth-file={directory / 'tokens.csv'}",
        "--authorization-mode=RBAC",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={key}.pub",
        f"--service-account-signing-key-file={key}",
        "--disable-admission-plugins=ServiceAccount",
    ]


def _kubeconfig(directory: Path, port: int) -> Path:
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": "c", "cluster": {"server": f"https://127.0.0.1:{port}", "insecure-skip-tls-verify": True}}
        ],
        "users": [{"name": "u", "user": {"token": "token-of-the-tests"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "c",
    }
    path = directory / "kubeconfig"
    path.write_text(json.dumps(document))
    return path


def _await(condition: Any, log: Path) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, log.read_text()[-3000:]
        time.sleep(0.1)
