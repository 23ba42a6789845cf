"""The others' controllers: built from their Go modules, with the custom resources that the modules bring."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

from tests.support.cluster import Cluster, ClusterError
from tests.support.cluster.binaries import Module, ensure, find_go
from tests.support.cluster.commands import run

_HERE = Path(__file__).resolve().parent
FLAGGER_VERSION, ARGO_VERSION, GATEWAY_API_VERSION = "v1.36.1", "v1.10.0", "v1.3.0"
FLAGGER = Module(_HERE / "flagger", (("flagger", "github.com/fluxcd/flagger/cmd/flagger", "-s -w"),))
ARGO = Module(
    _HERE / "argo", (("rollouts-controller", "github.com/argoproj/argo-rollouts/cmd/rollouts-controller", "-s -w"),)
)
RESOURCES = (
    ("github.com/fluxcd/flagger", FLAGGER_VERSION, "artifacts/flagger/crd.yaml"),
    ("github.com/argoproj/argo-rollouts", ARGO_VERSION, "manifests/crds/*-crd.yaml"),
    ("sigs.k8s.io/gateway-api", GATEWAY_API_VERSION, "config/crd/standard/*_httproutes.yaml"),
)


def prepare(cluster: Cluster) -> None:
    """Build what is not built yet, and let the cluster know their kinds.

    Raises:
        ClusterError: something cannot be had here.
    """
    for module in (FLAGGER, ARGO):
        ensure(module, cluster.layout.cache)
    if shutil.which("prometheus") is None:
        raise ClusterError("prometheus is not installed: apt-get install prometheus")
    for file in _resources(cluster.layout.cache):
        cluster.kubectl("apply", "--server-side", "--force-conflicts", "--filename", str(file))


def flagger(cluster: Cluster) -> Path:
    """Its controller."""
    return FLAGGER.output(cluster.layout.cache) / "flagger"


def argo(cluster: Cluster) -> Path:
    """Its controller."""
    return ARGO.output(cluster.layout.cache) / "rollouts-controller"


def _resources(cache: Path) -> Iterator[Path]:
    for module, version, pattern in RESOURCES:
        told = run([find_go(cache), "mod", "download", "-json", f"{module}@{version}"], cwd=FLAGGER.directory)
        yield from sorted(Path(json.loads(told.stdout)["Dir"]).glob(pattern))
