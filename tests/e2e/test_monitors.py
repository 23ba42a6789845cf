"""DriftMonitors on live counts."""

from __future__ import annotations

import pytest

from tests.e2e.conftest import QUICK

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(420)]


def monitor(clinic, name: str, **spec) -> None:
    body = {"model": "mortality", "interval": "5s", "tests": {"minimumRows": 150, "minimumEffect": 0.25}, **spec}
    clinic.apply(
        {"apiVersion": "modelward.io/v1alpha1", "kind": "DriftMonitor", "metadata": {"name": name}, "spec": body}
    )


def test_a_monitor_of_an_unknown_model_or_feature_says_so(clinic, champion):
    monitor(clinic, "nobody", model="nobody")
    monitor(clinic, "agee", features=["agee"])
    clinic.wait(
        "unknown model",
        lambda: clinic.condition("driftmonitor", "nobody", "Reconciling").get("reason") == "ModelNotFound",
    )
    clinic.wait(
        "unknown feature",
        lambda: clinic.condition("driftmonitor", "agee", "Stalled").get("reason") == "FeatureNotFound",
    )
    assert "spec.features[0]" in clinic.status("driftmonitor", "agee")["message"]


def test_a_shift_is_called_and_hands_back_to_the_warm_version(clinic, champion, events):
    clinic.version("v2", "v2", rollout={**QUICK, "strategy": "direct"})
    clinic.wait_phase("v2", "Champion")
    monitor(clinic, "watch", actions=[{"when": "drift", "do": "rollback"}])
    clinic.wait("a window", lambda: clinic.status("driftmonitor", "watch").get("windowSince"))
    client = clinic.start_replay("client", events, "--rate", "60", "--shifted")
    status = clinic.wait_phase("v2", "RolledBack", seconds=120)
    assert "watch" in status["message"]
    clinic.wait_phase("v1", "Champion")
    taken = clinic.wait("the action is told", lambda: clinic.status("driftmonitor", "watch").get("actionsTaken"))
    assert taken[-1]["do"] == "rollback"
    before = client.counts()["versions"].get("1.0.0", 0)
    clinic.wait("answers of version 1", lambda: client.counts()["versions"].get("1.0.0", 0) > before + 60)
    counts = client.stop()
    assert counts["failed"] == 0, counts
