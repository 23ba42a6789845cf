"""Pods come and go under load over both protocols: no request fails."""

from __future__ import annotations

import pytest

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]


@pytest.fixture
def callers(clinic, champion, events):
    """One service on REST with kept connections, one on gRPC with a single channel; no request of either may fail."""
    replays = [
        clinic.start_replay("rest", events, "--rate", "40"),
        clinic.start_replay("grpc", events, "--rate", "40", "--grpc"),
    ]
    yield replays
    counts = {replay.name: replay.stop() for replay in replays}
    clinic.kubectl("delete", "pod", "rest", "grpc", "--wait=false", "--grace-period=0", "--force")
    for found in counts.values():
        assert found["failed"] == 0, counts
        assert found["ok"] == found["sent"]


def serve(clinic, replicas, cpu):
    """Change the champion's spec, and wait until its pods are as it says."""
    resources = {"requests": {"cpu": cpu, "memory": "200Mi"}}
    clinic.version("v1", "v1", serving={"replicas": replicas, "resources": resources})

    def done():
        deployment = clinic.get("deployment", "v1")
        container = deployment["spec"]["template"]["spec"]["containers"][0]
        status = deployment.get("status", {})
        told = status.get("observedGeneration") == deployment["metadata"]["generation"]
        counts = {status.get(kind) for kind in ("replicas", "updatedReplicas", "readyReplicas")}
        return told and container["resources"]["requests"]["cpu"] == cpu and counts == {replicas}

    clinic.wait(f"{replicas} pods with {cpu}", done, 240)


def test_no_request_fails_while_pods_are_added_deleted_replaced_and_removed(clinic, callers):
    def both_go_on():
        before = [replay.counts()["ok"] for replay in callers]
        clinic.wait(
            "more answers", lambda: all(r.counts()["ok"] > b + 80 for r, b in zip(callers, before, strict=True))
        )

    serve(clinic, 2, "20m")
    both_go_on()
    pods = clinic.list("pods", "--selector", "modelward.io/modelversion=v1")
    clinic.kubectl("delete", "pod", pods[0]["metadata"]["name"], "--wait=true")
    serve(clinic, 2, "20m")
    serve(clinic, 2, "21m")
    both_go_on()
    serve(clinic, 1, "21m")
    both_go_on()
