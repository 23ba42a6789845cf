"""One cluster, one installation of the chart, three trained versions: made once for all end-to-end tests."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from examples import monica
from examples.clinic import Clinic
from tests.support import faulty_bundles
from tests.support.cluster import Cluster, ensure_cluster, provider
from tests.support.cluster.embedded import Embedded
from tests.support.cluster.layout import Layout

NAMESPACE = "e2e"


@dataclass(frozen=True)
class Bundle:
    version: str
    uri: str
    digest: str


@dataclass(frozen=True)
class TrainedClinic(Clinic):
    """A clinic whose bundles are known."""

    bundles: dict[str, Bundle]

    def version(self, name: str, bundle: str, *, digest: str | None = None, **spec: Any) -> str:
        """Apply a ModelVersion of a bundle."""
        known = self.bundles[bundle]
        body = {
            "model": "mortality",
            "version": known.version,
            "artifact": {"uri": known.uri, "digest": digest or known.digest},
            "serving": {"resources": {"requests": {"cpu": "20m", "memory": "200Mi"}}},
            **spec,
        }
        metadata = {"name": name}
        self.apply({"apiVersion": "modelward.io/v1alpha1", "kind": "ModelVersion", "metadata": metadata, "spec": body})
        return name

    def condition(self, kind: str, name: str, type_: str) -> dict[str, Any]:
        conditions = self.status(kind, name).get("conditions", [])
        return next((c for c in conditions if c["type"] == type_), {})


QUICK = {
    "steps": [{"weight": 10, "minRequests": 100}, {"weight": 50, "minRequests": 100}],
    "analysis": {"errorMargin": 0.02, "flipAllowance": 0.5, "latencyObjective": "1s"},
}


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """The current cluster, or one that exists for these tests only."""
    embedded = provider() == "embedded"
    was_there = embedded and Embedded(Layout.from_environment()).nodes > 0
    yield ensure_cluster(nodes=2, images=True)
    if embedded and not was_there:
        Embedded(Layout.from_environment()).down()


@pytest.fixture(scope="session")
def installed(cluster: Cluster) -> Clinic:
    clinic = Clinic(cluster, NAMESPACE)
    if clinic.get("namespace", NAMESPACE):
        clean(clinic)
        clinic.kubectl("delete", "namespace", NAMESPACE, "--timeout=180s")
    clinic.install()
    clinic.put("data/monica-1985-1986.csv", monica.as_csv(monica.hospitalised(85, 86)))
    return clinic


@pytest.fixture(scope="session")
def trained(installed: Clinic) -> TrainedClinic:
    """Versions 1 (boosted trees), 2 (logistic) and 3 (label swapped), trained by TrainingJobs on the cluster."""
    for number in (1, 2, 3):
        installed.train(number, promote=None)
    bundles = {}
    for number in (1, 2, 3):
        name = f"mortality-v{number}"
        status = installed.wait(f"end of {name}", lambda n=name: _ended(installed, n), 240)
        assert status["phase"] == "Complete", status
        bundles[f"v{number}"] = Bundle(f"{number}.0.0", status["uri"], status["digest"])
    clinic = TrainedClinic(installed.cluster, installed.namespace, bundles)
    _add_broken(clinic)
    return clinic


@pytest.fixture
def clinic(trained: TrainedClinic) -> TrainedClinic:
    """A clinic without model versions, monitors and records."""
    clean(trained)
    return trained


@pytest.fixture
def champion(clinic: TrainedClinic) -> str:
    """Version 1 as the champion."""
    clinic.version("v1", "v1")
    clinic.wait_phase("v1", "Champion")
    return "v1"


@pytest.fixture(scope="session")
def events() -> str:
    return monica.as_csv(monica.hospitalised(87, 93))


@pytest.fixture
def client(clinic: TrainedClinic, champion: str, events: str):
    """A client that sends requests all the time. None of them may fail."""
    replay = clinic.start_replay("client", events, "--rate", "40")
    yield replay
    counts = replay.stop()
    clinic.kubectl("delete", "pod", "client", "--wait=false", "--grace-period=0", "--force")
    assert counts["failed"] == 0, json.dumps(counts)
    assert counts["ok"] == counts["sent"]


def _ended(clinic: Clinic, name: str) -> dict[str, Any] | None:
    status = clinic.status("trainingjob", name)
    return status if status.get("phase") in ("Complete", "Failed") else None


def clean(clinic: Clinic) -> None:
    """A clinic without model versions, monitors and records."""
    clinic.kubectl("delete", "mv,dm,scorebatch", "--all", "--timeout=120s")
    # What was rolled back is remembered in two places.
    clinic.kubectl("delete", "controllerrevisions", "--selector", "modelward.io/model=mortality")
    clinic.kubectl("delete", "configmap", "mortality-modelward", "--ignore-not-found")
    clinic.kubectl("delete", "pod", "client", "rest", "grpc", "--ignore-not-found", "--grace-period=0", "--force")

    def gone() -> bool:
        return not clinic.list("pods", "--selector", "modelward.io/model=mortality")

    clinic.wait("the end of the serving pods", gone, 60)


def _add_broken(clinic: TrainedClinic) -> None:
    path = clinic.bundles["v2"].uri.removeprefix("store://")
    content = clinic.take(path)
    kinds = {
        "nan": faulty_bundles.not_a_number,
        "impossible": faulty_bundles.not_a_probability,
        "slow": faulty_bundles.slow,
    }
    for number, (name, nodes) in enumerate(kinds.items(), start=4):
        archive, digest = faulty_bundles.rebuilt(content, f"{number}.0.0", nodes)
        clinic.put_bytes(f"models/{name}.bentomodel", archive)
        clinic.bundles[name] = Bundle(f"{number}.0.0", f"store://models/{name}.bentomodel", digest)
