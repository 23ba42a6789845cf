"""Modelward goes, in every way, and nothing hangs; what serves goes on."""

from __future__ import annotations

import os
import re
import subprocess
import time
from pathlib import Path

import pytest

from examples import monica
from examples.clinic import Clinic
from tests.support.cluster.layout import REPOSITORY

NAMESPACE = "leaving"
PAGE = REPOSITORY / "docs" / "leaving.md"
KINDS = "deployments,services,configmaps,secrets,serviceaccounts,networkpolicies,leases,controllerrevisions"


@pytest.fixture(scope="module")
def bundle(cluster):
    """A clinic of its own with one trained bundle; its installation comes and goes."""
    clinic = Clinic(cluster, NAMESPACE)
    clinic.install()
    clinic.put("data/monica-1985-1986.csv", monica.as_csv(monica.hospitalised(85, 86)))
    clinic.train(2, promote=None)
    clinic.wait("the bundle", lambda: clinic.status("trainingjob", "mortality-v2").get("phase") == "Complete", 240)
    status = clinic.status("trainingjob", "mortality-v2")
    return clinic, {"uri": status["uri"], "digest": status["digest"]}


@pytest.fixture
def clinic(bundle) -> Clinic:
    """Installed, with a champion."""
    clinic, artifact = bundle
    clinic.install()
    spec = {"model": "mortality", "version": "2.0.0", "artifact": artifact}
    spec["serving"] = {"resources": {"requests": {"cpu": "20m", "memory": "200Mi"}}}
    metadata = {"name": "v2"}
    clinic.apply({"apiVersion": "modelward.io/v1alpha1", "kind": "ModelVersion", "metadata": metadata, "spec": spec})
    clinic.wait_phase("v2", "Champion")
    clinic.wait("a pod that answers", lambda: ready(clinic))
    return clinic


def ready(clinic: Clinic) -> list[str]:
    pods = clinic.list("pods", "--selector", "modelward.io/modelversion=v2")
    return [
        pod["metadata"]["name"]
        for pod in pods
        if "deletionTimestamp" not in pod["metadata"]
        and any((c["type"], c["status"]) == ("Ready", "True") for c in pod["status"].get("conditions", []))
    ]


def uninstall(clinic: Clinic) -> None:
    words = [str(clinic.cluster.binary("helm")), "uninstall", "modelward", "--namespace", NAMESPACE, "--wait"]
    clinic.cluster.run([*words, "--timeout", "60s"])


def test_after_an_uninstallation_a_lost_pod_comes_back(clinic):
    uninstall(clinic)
    (lost,) = ready(clinic)
    clinic.kubectl("delete", "pod", lost, "--grace-period=1")
    assert clinic.wait("another pod", lambda: [name for name in ready(clinic) if name != lost])


def test_after_an_uninstallation_a_deletion_ends_and_the_pods_answer_on(clinic):
    uninstall(clinic)
    before = ready(clinic)
    clinic.kubectl("delete", "modelversion", "v2", "--timeout=10s")
    assert clinic.get("modelversion", "v2") is None
    assert ready(clinic) == before
    clinic.install()
    clinic.wait("an operator that removes what nobody wants", lambda: clinic.get("deployment", "v2") is None)
    assert clinic.get("service", "mortality") is None


def test_a_version_that_is_applied_again_after_an_uninstallation_keeps_its_pods(bundle, clinic):
    uninstall(clinic)
    before = ready(clinic)
    manifest = clinic.get("modelversion", "v2")
    clinic.kubectl("delete", "modelversion", "v2", "--timeout=10s")
    again = {key: manifest[key] for key in ("apiVersion", "kind", "spec")}
    clinic.apply({**again, "metadata": {"name": "v2"}})
    clinic.install()
    clinic.wait_phase("v2", "Champion")
    assert ready(clinic) == before


def commands() -> str:
    """What the page says of one namespace. The store and the CRDs stay for the other tests."""
    blocks = re.findall(r"```\n(.*?)```", PAGE.read_text(), re.DOTALL)
    lines = "".join(blocks).replace("NAMESPACE", NAMESPACE).splitlines()
    return "\n".join(line for line in lines if "persistentvolumeclaim" not in line and "delete crd" not in line)


def test_the_commands_of_the_page_leave_nothing_but_the_store(clinic, tmp_path: Path):
    for name, program in {"kubectl": "kube", "helm": "helm"}.items():
        (tmp_path / name).symlink_to(clinic.cluster.binary(program))
    labels = {"app.kubernetes.io/managed-by": "modelward"}
    mark = {"apiVersion": "apps/v1", "kind": "ControllerRevision", "revision": 1, "data": {}}
    clinic.apply({**mark, "metadata": {"name": "mortality-quarantine-1", "labels": labels}})
    path, kubeconfig = f"{tmp_path}:{os.environ['PATH']}", str(clinic.cluster.kubeconfig)
    environment = {**os.environ, "PATH": path, "KUBECONFIG": kubeconfig}
    script = f"set -euo pipefail\n{commands()}"
    done = subprocess.run(["bash", "-c", script], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    left = clinic.kubectl("get", KINDS, "--output", "name").split()
    assert set(left) == {"configmap/kube-root-ca.crt", "serviceaccount/default"}


def test_a_namespace_with_the_operator_and_an_unfinished_batch_in_it_goes_within_a_minute(clinic):
    spec = {
        "model": "mortality",
        "input": {"uri": "store://data/monica-1985-1986.csv", "format": "csv"},
        "output": {"uri": "store://scores"},
        "pod": {"nodeSelector": {"pool": "none"}},
    }
    clinic.apply({"apiVersion": "modelward.io/v1alpha1", "kind": "ScoreBatch", "metadata": {"name": "b"}, "spec": spec})
    clinic.wait("its pod", lambda: clinic.list("pods", "--selector", "modelward.io/scorebatch=b"))
    began = time.monotonic()
    clinic.cluster.kubectl("delete", "namespace", NAMESPACE, "--timeout=60s")
    print(f"the namespace was gone after {time.monotonic() - began:.0f} s")
    assert clinic.cluster.kubectl("get", "namespace", NAMESPACE, "--ignore-not-found").strip() == ""
