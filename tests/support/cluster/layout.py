"""Where a cluster keeps its things and what its names and addresses are.

Everything is derived from the root directory, so that clusters with different roots (and ports) live side by side.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.cluster.errors import ClusterError

MAX_NODES = 3
KUBERNETES_VERSION = "v1.35.4"
SERVICES = "10.96.0.0/16"
DNS_ADDRESS = "10.96.0.10"
PODS = "10.244.0.0/16"
REPOSITORY = Path(__file__).resolve().parents[3]


def cache_directory(environ: Mapping[str, str]) -> Path:
    """The directory that outlives clusters: binaries, base image, builder storage, node images."""
    if chosen := environ.get("MODELWARD_CACHE"):
        return Path(chosen).absolute()
    base = environ.get("XDG_CACHE_HOME") or str(Path(environ.get("HOME", "/root")) / ".cache")
    return Path(base).absolute() / "modelward"


@dataclass(frozen=True)
class Layout:
    """One cluster's paths, names and addresses."""

    root: Path
    port: int
    cache: Path

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Layout:
        """MODELWARD_CLUSTER_ROOT, MODELWARD_CLUSTER_PORT and MODELWARD_CACHE, or their defaults."""
        root = Path(environ.get("MODELWARD_CLUSTER_ROOT") or "/var/lib/modelward-cluster").absolute()
        if root.is_relative_to("/run") or root.is_relative_to("/var/run"):
            raise ClusterError(f"MODELWARD_CLUSTER_ROOT={root} is below /run, which every node replaces by its own")
        port = environ.get("MODELWARD_CLUSTER_PORT") or "16443"
        if not port.isdecimal() or not 0 < int(port) < 65536:
            raise ClusterError(f"MODELWARD_CLUSTER_PORT={port} is not a port number")
        return cls(root=root, port=int(port), cache=cache_directory(environ))

    @property
    def name(self) -> str:
        """Names the cgroups and mounts; short, and different for every root."""
        return "modelward-" + self._digest[:6]

    @property
    def _digest(self) -> str:
        return hashlib.sha256(str(self.root).encode()).hexdigest()

    @property
    def subnet(self) -> str:
        """The nodes' /24 without its last octet. Clusters share no switch; different subnets only make traces readable."""
        return f"172.31.{int(self._digest[:2], 16)}"

    def node_address(self, node: int) -> str:
        return f"{self.subnet}.{10 + node}"

    @staticmethod
    def pod_subnet(node: int) -> str:
        return f"10.244.{node}.0/24"

    def node(self, node: int) -> Path:
        return self.root / f"node{node}"

    def socket(self, node: int) -> Path:
        """The node's containerd."""
        return self.node(node) / "containerd.sock"

    def image_store(self, node: int) -> Path:
        """The node's containerd root: kept over `down`, so that an image is loaded once."""
        return self.cache / "nodes" / self.name / f"node{node}"

    @property
    def run(self) -> Path:
        return self.root / "run"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def pki(self) -> Path:
        return self.root / "pki"

    @property
    def conf(self) -> Path:
        """One kubeconfig for every component."""
        return self.root / "conf"

    @property
    def volumes(self) -> Path:
        return self.root / "volumes"

    @property
    def kubeconfig(self) -> Path:
        return self.root / "kubeconfig"

    @property
    def server(self) -> str:
        return f"https://127.0.0.1:{self.port}"
