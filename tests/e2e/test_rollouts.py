"""Promotion and rollback under load, on real pods, with the operator lost on the way."""

from __future__ import annotations

import json

import pytest

from tests.e2e.conftest import QUICK, TrainedClinic

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(420)]


def kill_operator(clinic: TrainedClinic) -> None:
    clinic.kubectl("delete", "pod", "--selector", "app.kubernetes.io/component=operator", "--grace-period=0", "--force")


def test_a_better_version_is_promoted_on_evidence_and_no_request_fails_though_the_operator_dies(clinic, client):
    clinic.version("v2", "v2", rollout=QUICK)
    clinic.wait_phase("v2", "Canary")
    kill_operator(clinic)
    status = clinic.wait_phase("v2", "Champion", seconds=300)
    assert [t["toPhase"] for t in status["history"]][-2:] == ["Promoting", "Champion"]
    assert status["history"][-2]["message"].startswith("Passed after "), (
        "later requests may be slower: what counts is then"
    )
    before = client.counts()["versions"].get("2.0.0", 0)
    clinic.wait("answers of version 2", lambda: client.counts()["versions"].get("2.0.0", 0) > before + 80)
    assert clinic.status("modelversion", "v1")["phase"] == "Standby"
    assert clinic.get("service", "mortality")["spec"]["selector"]["modelward.io/modelversion"] == "v2"


def test_a_version_that_decides_the_opposite_is_rolled_back_and_stays_away(clinic, client):
    clinic.version("v3", "v3", rollout=QUICK)
    status = clinic.wait_phase("v3", "RolledBack", seconds=180)
    assert "changed decisions" in status["message"]
    item = clinic.get("modelversion", "v3")
    clinic.kubectl("delete", "modelversion", "v3")
    clinic.apply(
        {"apiVersion": item["apiVersion"], "kind": item["kind"], "metadata": {"name": "v3"}, "spec": item["spec"]}
    )
    again = clinic.wait_phase("v3", "Quarantined")
    assert "rolled back on" in again["message"]
    assert clinic.get("deployment", "v3") is None


@pytest.mark.parametrize("kind", ["nan", "impossible", "slow"])
def test_a_version_that_fails_on_live_requests_is_rolled_back(clinic, client, kind):
    analysis = {**QUICK["analysis"], "latencyObjective": "30ms"} if kind == "slow" else QUICK["analysis"]
    clinic.version("bad", kind, rollout={**QUICK, "analysis": analysis})
    status = clinic.wait_phase("bad", "RolledBack", seconds=180)
    counts = client.counts()
    print(json.dumps({"kind": kind, "message": status["message"], "answers": counts["versions"]}))
    if kind != "slow":
        assert clinic.bundles[kind].version not in counts["versions"] or status["evidence"]


def test_a_bundle_with_another_digest_never_serves(clinic, client):
    clinic.version("v2", "v2", digest="sha256:" + "0" * 64)
    status = clinic.wait_phase("v2", "Failed")
    assert clinic.condition("modelversion", "v2", "Stalled")["reason"] == "DigestMismatch", status
    assert set(client.counts()["versions"]) == {"1.0.0"}


def test_of_two_new_versions_one_waits_if_it_supersedes_nobody(clinic, champion):
    clinic.version("v2", "v2", rollout={**QUICK, "paused": True})
    clinic.version("v3", "v3", rollout={**QUICK, "supersedes": False})
    clinic.wait(
        "v3 waits", lambda: clinic.condition("modelversion", "v3", "Ready").get("reason") == "WaitingForRollout"
    )
    assert clinic.get("deployment", "v3") is None


def test_a_deleted_champion_hands_over_to_the_warm_version_and_no_request_fails(clinic, client):
    clinic.version("v2", "v2", rollout={**QUICK, "strategy": "direct"})
    clinic.wait_phase("v2", "Champion")
    clinic.kubectl("delete", "modelversion", "v2", "--timeout=60s")
    assert clinic.wait_phase("v1", "Champion")["phase"] == "Champion"
    before = client.counts()["ok"]
    clinic.wait("more answers", lambda: client.counts()["ok"] > before + 80)


def test_the_pods_of_a_deleted_champion_that_nobody_can_replace_answer_on(clinic, client):
    clinic.version("v2", "v2", digest="sha256:" + "0" * 64)
    clinic.wait_phase("v2", "Failed")
    clinic.kubectl("delete", "modelversion", "v1", "--timeout=10s")
    before = client.counts()["ok"]
    clinic.wait("more answers", lambda: client.counts()["ok"] > before + 80)
    assert clinic.get("deployment", "v1") is not None
    assert clinic.get("service", "mortality") is not None


def test_a_champion_answers_on_while_the_operator_is_gone(clinic, client):
    clinic.kubectl("scale", "deployment/modelward", "--replicas=0")
    try:
        clinic.kubectl(
            "wait", "--for=delete", "pod", "--selector", "app.kubernetes.io/component=operator", "--timeout=60s"
        )
        before = client.counts()["ok"]
        clinic.wait("more answers", lambda: client.counts()["ok"] > before + 200)
    finally:
        clinic.kubectl("scale", "deployment/modelward", "--replicas=2")
        clinic.kubectl("rollout", "status", "deployment/modelward", "--timeout=60s")
