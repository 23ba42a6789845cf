"""A Kubernetes for tests and for the demo: the current context, kind, or an embedded cluster.

CLUSTER=existing | kind | embedded     by default kind where docker and kind work, else embedded
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tests.support.cluster import binaries, images, requirements
from tests.support.cluster.commands import run
from tests.support.cluster.embedded import Embedded
from tests.support.cluster.errors import ClusterError
from tests.support.cluster.layout import REPOSITORY, Layout

__all__ = ["Cluster", "ClusterError", "ensure_cluster", "provider"]

KIND_NAME = "modelward"


@dataclass(frozen=True)
class Cluster:
    """A running cluster."""

    provider: str
    kubeconfig: Path
    layout: Layout

    def kubectl(self, *words: str, stdin: str | None = None) -> str:
        """Run kubectl; its failure is a ClusterError that says what it said."""
        program = [self.binary("kube"), "kubectl"]
        return run([*program, "--kubeconfig", self.kubeconfig, *words], stdin=stdin).stdout

    def run(self, words: Sequence[str | Path]) -> str:
        """Run a program with this cluster as its KUBECONFIG."""
        return run(words, env={**os.environ, "KUBECONFIG": str(self.kubeconfig)}).stdout

    def binary(self, name: str) -> Path:
        """kube, helm, kubeconform or versitygw, built when it is first needed."""
        return binaries.path(self.layout.cache, name)

    def image(self, name: str) -> str:
        """The reference of operator, serving or training as the cluster holds it."""
        return os.environ.get(f"MODELWARD_{name.upper()}_IMAGE") or images.reference(name)

    def load_images(self) -> None:
        """Build what has changed, and give every node what it lacks."""
        if self.provider == "existing":
            return  # its owner says where the images are: MODELWARD_OPERATOR_IMAGE and so on
        for name in images.NAMES:
            if self.provider == "kind":
                archive = images.archive(name, self.layout.cache)
                run(["kind", "load", "image-archive", "--name", KIND_NAME, archive])
                continue
            embedded, wanted = Embedded(self.layout), images.reference(name)
            for node in range(embedded.nodes):
                if not embedded.has_image(node, wanted):  # what is there need not be built
                    embedded.load(node, images.archive(name, self.layout.cache))


def provider() -> str:
    """Which kind of cluster it will be."""
    chosen = os.environ.get("CLUSTER")
    if chosen:
        if chosen not in ("existing", "kind", "embedded"):
            raise ClusterError(f"CLUSTER={chosen}: existing, kind or embedded")
        return chosen
    return "kind" if shutil.which("kind") and images.has_docker() else "embedded"


def ensure_cluster(nodes: int = 1, images: bool = True) -> Cluster:
    """A running cluster with the images on its nodes; what is there already is used."""
    layout, kind = Layout.from_environment(), provider()
    if kind == "existing":
        path = os.environ.get("KUBECONFIG") or str(Path.home() / ".kube" / "config")
        cluster = Cluster(kind, Path(path.split(os.pathsep)[0]), layout)
        cluster.kubectl("get", "--raw", "/readyz")
    elif kind == "kind":
        cluster = Cluster(kind, layout.root / "kubeconfig", layout)
        _ensure_kind(cluster)
    else:
        if images:
            _build_side_by_side(layout)
        embedded = Embedded(layout)
        embedded.up(embedded.nodes or nodes)
        embedded.reset_volumes()
        cluster = Cluster(kind, layout.kubeconfig, layout)
    if images:
        cluster.load_images()
    return cluster


def _build_side_by_side(layout: Layout) -> None:
    """Build Kubernetes and the images at once on a fresh machine: one computes while the other downloads."""
    if (binaries.KUBE.output(layout.cache) / "kube").exists():
        return
    requirements.require_running()
    with ThreadPoolExecutor() as pool:
        kubernetes = pool.submit(binaries.path, layout.cache, "kube")
        for name in images.NAMES:
            images.archive(name, layout.cache)
        kubernetes.result()


def _ensure_kind(cluster: Cluster) -> None:
    cluster.layout.root.mkdir(parents=True, exist_ok=True)
    if KIND_NAME not in run(["kind", "get", "clusters"]).stdout.split():
        config = REPOSITORY / "kind-config.yaml"
        run(["kind", "create", "cluster", "--name", KIND_NAME, "--config", config, "--kubeconfig", cluster.kubeconfig])
    run(["kind", "export", "kubeconfig", "--name", KIND_NAME, "--kubeconfig", cluster.kubeconfig])
