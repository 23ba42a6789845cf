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


def ask(clinic: TrainedClinic, name: str, *options: str, **rollout: object) -> None:
    """Change fields of a version's rollout."""
    patch = json.dumps({"spec": {"rollout": rollout}})
    clinic.kubectl("patch", "modelversion", name, "--type=merge", "--patch", patch, *options)


def selected(clinic: TrainedClinic, model: str = "mortality") -> str:
    return clinic.get("service", model)["spec"]["selector"]["modelward.io/modelversion"]


def test_late_outcomes_hand_back_to_the_warm_version_within_two_seconds_by_an_account_that_may_do_no_more(
    clinic, client
):
    clinic.version("v2", "v2", rollout=DIRECT)
    clinic.wait_phase("v2", "Champion")
    clinic.kubectl("apply", "--filename", str(MANIFESTS / "outcomes.yaml"))
    outcomes = f"--as=system:serviceaccount:{clinic.namespace}:outcomes"
    because = "observed/expected deaths 1.6 (95% CI 1.3-1.9) after 90 days"
    began = time.monotonic()
    ask(clinic, "v2", outcomes, withdrawn=True, withdrawnBecause=because)
    clinic.wait("the Service turns", lambda: selected(clinic) == "v1", 10, every=0.02)
    took = time.monotonic() - began
    status = clinic.wait_phase("v2", "RolledBack")
    print(f"withdrawn to selected: {took:.2f} s")
    assert took < 2
    assert status["decided"]["outcome"] == "rollback"
    decisions = json.loads(clinic.get("configmap", "mortality-modelward")["data"]["decisions.json"])["decisions"]
    assert decisions[-1]["reason"] == "Withdrawn"
    assert because in decisions[-1]["message"]
    assert because in status["message"]
    with pytest.raises(ClusterError, match="forbidden"):
        clinic.kubectl(outcomes, "delete", "modelversion", "v2")
    assert decisions[-1]["evidenceDigest"] == status["decided"]["evidenceDigest"]
    before = client.counts()["versions"]["1.0.0"]
    clinic.wait("answers of version 1", lambda: client.counts()["versions"]["1.0.0"] > before + 80)


def test_a_withdrawn_champion_answers_until_the_version_before_is_ready_again(clinic, client):
    clinic.version("v2", "v2", rollout={**DIRECT, "keepWarm": "0s"})
    clinic.wait_phase("v2", "Champion")
    clinic.wait_phase("v1", "Retired")
    ask(clinic, "v2", withdrawn=True)
    clinic.wait_phase("v1", "Champion")
    assert clinic.wait_phase("v2", "RolledBack")["message"].startswith("Withdrawn")
    assert selected(clinic) == "v1"


def test_a_third_version_ends_the_canary_of_the_second(clinic, client):
    clinic.version("v2", "v2", rollout=PATIENT)
    clinic.wait_phase("v2", "Canary")
    clinic.version("v3", "v3", rollout={**PATIENT, "analysis": {"flipAllowance": 1}})
    status = clinic.wait_phase("v2", "Retired")
    assert "Superseded by v3" in status["message"]
    clinic.wait_phase("v3", "Canary")
    assert clinic.get("deployment", "v2") is None


def test_what_was_rolled_back_is_rolled_out_again_when_a_person_releases_it(clinic, client):
    clinic.version("v2", "v2", rollout=PATIENT)
    clinic.wait_phase("v2", "Canary")
    ask(clinic, "v2", withdrawn=True)
    rolled_back_at = clinic.wait_phase("v2", "RolledBack")["rolledBackAt"]
    clinic.version("again", "v2", rollout=PATIENT)
    assert f"'{rolled_back_at}'" in clinic.wait_phase("again", "Quarantined")["message"]
    ask(clinic, "again", release=rolled_back_at)
    clinic.wait_phase("again", "Canary")


def test_models_are_rolled_out_independently_of_each_other(clinic, client):
    job = "readmission-v1"
    clinic.train(1, as_model="readmission")
    done = clinic.wait(f"end of {job}", lambda: _complete(clinic, job), 240)
    artifact = {"uri": done["uri"], "digest": done["digest"]}
    clinic.version("r1", "v1", model="readmission", artifact=artifact)
    clinic.wait_phase("r1", "Champion")
    clinic.version("r2", "v1", model="readmission", artifact=artifact, rollout=PATIENT)
    clinic.wait_phase("r2", "Canary")
    clinic.version("v2", "v2", rollout=QUICK)
    clinic.wait_phase("v2", "Champion", seconds=300)
    assert clinic.status("modelversion", "r2")["phase"] == "Canary"
    ask(clinic, "r2", withdrawn=True)
    clinic.wait_phase("r2", "RolledBack")
    assert (selected(clinic), selected(clinic, "readmission")) == ("v2", "r1")
    assert clinic.status("modelversion", "v2")["phase"] == "Champion"


def _complete(clinic: TrainedClinic, job: str):
    status = clinic.status("trainingjob", job)
    assert status.get("phase") != "Failed", status
    return status if status.get("phase") == "Complete" else None
