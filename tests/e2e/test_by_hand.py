"""People withdraw, release and supersede versions by fields that they own, under load: no request fails."""

from __future__ import annotations

import json
import time

import pytest

from examples.clinic import MANIFESTS
from tests.e2e.conftest import QUICK, TrainedClinic
from tests.support.cluster import ClusterError

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(420)]

DIRECT = {**QUICK, "strategy": "direct"}
PATIENT = {**QUICK, "steps": [{"weight": 10, "minRequests": 100_000}]}


def ask(ward: TrainedClinic, name: str, *options: str, **rollout: object) -> None:
    """Change fields of a version's rollout."""
    patch = json.dumps({"spec": {"rollout": rollout}})
    ward.kubectl("patch", "modelversion", name, "--type=merge", "--patch", patch, *options)


def selected(ward: TrainedClinic, model: str = "mortality") -> str:
    return ward.get("service", model)["spec"]["selector"]["modelward.io/modelversion"]


def test_late_outcomes_hand_back_to_the_warm_version_within_two_seconds_by_an_account_that_may_do_no_more(ward, client):
    ward.version("v2", "v2", rollout=DIRECT)
    ward.wait_phase("v2", "Champion")
    ward.kubectl("apply", "--filename", str(MANIFESTS / "outcomes.yaml"))
    outcomes = f"--as=system:serviceaccount:{ward.namespace}:outcomes"
    because = "observed/expected deaths 1.6 (95% CI 1.3-1.9) after 90 days"
    began = time.monotonic()
    ask(ward, "v2", outcomes, withdrawn=True, withdrawnBecause=because)
    ward.wait("the Service turns", lambda: selected(ward) == "v1", 10, every=0.02)
    took = time.monotonic() - began
    status = ward.wait_phase("v2", "RolledBack")
    print(f"withdrawn to selected: {took:.2f} s")
    assert took < 2
    assert status["decided"]["outcome"] == "rollback"
    decisions = json.loads(ward.get("configmap", "mortality-modelward")["data"]["decisions.json"])["decisions"]
    assert decisions[-1]["reason"] == "Withdrawn"
    assert because in decisions[-1]["message"]
    assert because in status["message"]
    with pytest.raises(ClusterError, match="forbidden"):
        ward.kubectl(outcomes, "delete", "modelversion", "v2")
    assert decisions[-1]["evidenceDigest"] == status["decided"]["evidenceDigest"]
    before = client.counts()["versions"]["1.0.0"]
    ward.wait("answers of version 1", lambda: client.counts()["versions"]["1.0.0"] > before + 80)


def test_a_withdrawn_champion_answers_until_the_version_before_is_ready_again(ward, client):
    ward.version("v2", "v2", rollout={**DIRECT, "keepWarm": "0s"})
    ward.wait_phase("v2", "Champion")
    ward.wait_phase("v1", "Retired")
    ask(ward, "v2", withdrawn=True)
    ward.wait_phase("v1", "Champion")
    assert ward.wait_phase("v2", "RolledBack")["message"].startswith("Withdrawn")
    assert selected(ward) == "v1"


def test_a_third_version_ends_the_canary_of_the_second(ward, client):
    ward.version("v2", "v2", rollout=PATIENT)
    ward.wait_phase("v2", "Canary")
    ward.version("v3", "v3", rollout={**PATIENT, "analysis": {"flipAllowance": 1}})
    status = ward.wait_phase("v2", "Retired")
    assert "Superseded by v3" in status["message"]
    ward.wait_phase("v3", "Canary")
    assert ward.get("deployment", "v2") is None


def test_what_was_rolled_back_is_rolled_out_again_when_a_person_releases_it(ward, client):
    ward.version("v2", "v2", rollout=PATIENT)
    ward.wait_phase("v2", "Canary")
    ask(ward, "v2", withdrawn=True)
    rolled_back_at = ward.wait_phase("v2", "RolledBack")["rolledBackAt"]
    ward.version("again", "v2", rollout=PATIENT)
    assert f"'{rolled_back_at}'" in ward.wait_phase("again", "Quarantined")["message"]
    ask(ward, "again", release=rolled_back_at)
    ward.wait_phase("again", "Canary")


def test_models_are_rolled_out_independently_of_each_other(ward, client):
    job = "readmission-v1"
    ward.train(1, as_model="readmission")
    done = ward.wait(f"end of {job}", lambda: _complete(ward, job), 240)
    artifact = {"uri": done["uri"], "digest": done["digest"]}
    ward.version("r1", "v1", model="readmission", artifact=artifact)
    ward.wait_phase("r1", "Champion")
    ward.version("r2", "v1", model="readmission", artifact=artifact, rollout=PATIENT)
    ward.wait_phase("r2", "Canary")
    ward.version("v2", "v2", rollout=QUICK)
    ward.wait_phase("v2", "Champion", seconds=300)
    assert ward.status("modelversion", "r2")["phase"] == "Canary"
    ask(ward, "r2", withdrawn=True)
    ward.wait_phase("r2", "RolledBack")
    assert (selected(ward), selected(ward, "readmission")) == ("v2", "r1")
    assert ward.status("modelversion", "v2")["phase"] == "Champion"


def _complete(ward: TrainedClinic, job: str):
    status = ward.status("trainingjob", job)
    assert status.get("phase") != "Failed", status
    return status if status.get("phase") == "Complete" else None
