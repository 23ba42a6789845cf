"""A namespace as a platform team gives it: no identity of one's own, limits or nothing, and little room."""

from __future__ import annotations

from typing import Any

import pytest

from examples import monica
from examples.clinic import STORE, Clinic
from tests.support import restricted

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(420)]

NAMESPACE = "platform"
SMALL = "requests.cpu=20m,requests.memory=200Mi,limits.cpu=2,limits.memory=1Gi"
IDENTITY = {"runAsUser": restricted.LOWEST + 7, "runAsGroup": 0, "fsGroup": restricted.LOWEST}
"""As OpenShift assigns them: any user, with the group of root."""


def settings() -> list[str]:
    found = [f"podDefaults.securityContext.{name}={value}" for name, value in IDENTITY.items()]
    found += [f"operator.securityContext.{name}={IDENTITY[name]}" for name in ("runAsUser", "runAsGroup")]
    found += ["operator.replicas=1", "operator.resources.limits.cpu=1"]
    for component in ("serving", "training", "batch"):
        found += [f"{component}.resources.{setting}" for setting in SMALL.split(",")]
    return found


@pytest.fixture(scope="module")
def clinic(cluster):
    found = Clinic(cluster, NAMESPACE)
    if found.get("namespace", NAMESPACE):
        found.kubectl("delete", "mv,tj,sb,dm", "--all", "--timeout=60s")
        found.kubectl("delete", "namespace", NAMESPACE, "--timeout=120s")
    quota = {"limits.cpu": "20", "limits.memory": "10Gi", "requests.cpu": "4", "requests.memory": "4Gi"}
    found.kubectl("create", "namespace", NAMESPACE)
    found.apply(
        *restricted.objects(NAMESPACE),
        {
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": "small", "namespace": NAMESPACE},
            "spec": {"hard": quota},
        },
    )
    found.install(*settings())
    put(found, "data/monica-1985-1986.csv", monica.as_csv(monica.hospitalised(85, 86)))
    return found


def put(clinic: Clinic, path: str, content: str) -> None:
    """Write a file into the store, through a pod that the namespace lets in."""
    container: dict[str, Any] = {
        "name": "main",
        "image": clinic.cluster.image("training"),
        "imagePullPolicy": "IfNotPresent",
        "command": ["sleep", "infinity"],
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
        "resources": {"limits": {"cpu": "1", "memory": "128Mi"}, "requests": {"cpu": "10m", "memory": "32Mi"}},
        "volumeMounts": [{"name": "store", "mountPath": STORE}],
    }
    security = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}, **IDENTITY}
    volume = {"name": "store", "persistentVolumeClaim": {"claimName": "modelward-store"}}
    spec = {"containers": [container], "securityContext": security, "volumes": [volume]}
    clinic.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "store"}, "spec": spec})
    clinic.put(path, content)


def test_a_model_is_trained_served_and_scores_a_batch_under_any_user_within_a_quota_on_limits(clinic):
    clinic.train(1)
    champion = clinic.wait_phase("mortality-v1", "Champion", seconds=240)
    assert champion["endpoints"]
    pods = clinic.list("pods", "--selector", "app.kubernetes.io/component=serving")
    assert {pod["spec"]["securityContext"]["runAsUser"] for pod in pods} == {IDENTITY["runAsUser"]}
    batch = {
        "apiVersion": "modelward.io/v1alpha1",
        "kind": "ScoreBatch",
        "metadata": {"name": "scores"},
        "spec": {
            "model": "mortality",
            "input": {"uri": "store://data/monica-1985-1986.csv", "format": "csv"},
            "output": {"uri": "store://scores"},
        },
    }
    clinic.apply(batch)

    def complete() -> bool:
        return clinic.status("scorebatch", "scores").get("phase") == "Complete"

    clinic.wait("the scores", complete, 180)


def test_what_the_quota_refuses_and_what_no_memory_suffices_for_is_told(clinic):
    for name, limits in {"greedy": {"memory": "64Gi"}, "starving": {"memory": "40Mi"}}.items():
        clinic.kubectl("delete", "trainingjob", name, "--ignore-not-found")
        clinic.train(1, as_model=name, resources={"limits": limits, "requests": {"cpu": "20m"}}, backoffLimit=0)

    def told(name: str, reason: str) -> str:
        conditions = clinic.status("trainingjob", f"{name}-v1").get("conditions", [])
        return next((c["message"] for c in conditions if c["type"] == "Ready" and c["reason"] == reason), "")

    assert "exceeded quota: small" in clinic.wait("the quota's words", lambda: told("greedy", "QuotaExceeded"), 60)
    assert "limits.memory" in clinic.wait("the end of the other", lambda: told("starving", "OOMKilled"), 120)
