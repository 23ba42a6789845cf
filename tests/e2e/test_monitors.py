"""DriftMonitors on live counts."""

from __future__ import annotations

import pytest

from tests.e2e.conftest import QUICK

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(420)]


def monitor(ward, name: str, **spec) -> None:
    body = {"model": "mortality", "interval": "5s", "tests": {"minimumRows": 150, "minimumEffect": 0.25}, **spec}
    ward.apply(
        {"apiVersion": "modelward.io/v1alpha1", "kind": "DriftMonitor", "metadata": {"name": name}, "spec": body}
    )


def test_a_monitor_of_an_unknown_model_or_feature_says_so(ward, champion):
    monitor(ward, "nobody", model="nobody")
    monitor(ward, "agee", features=["agee"])
    ward.wait(
        "unknown model",
        lambda: ward.condition("driftmonitor", "nobody", "Reconciling").get("reason") == "ModelNotFound",
    )
    ward.wait(
        "unknown feature", lambda: ward.condition("driftmonitor", "agee", "Stalled").get("reason") == "FeatureNotFound"
    )
    assert "spec.features[0]" in ward.status("driftmonitor", "agee")["message"]


def test_a_shift_is_called_and_hands_back_to_the_warm_version(ward, champion, events):
    ward.version("v2", "v2", rollout={**QUICK, "strategy": "direct"})
    ward.wait_phase("v2", "Champion")
    monitor(ward, "watch", actions=[{"when": "drift", "do": "rollback"}])
    ward.wait("a window", lambda: ward.status("driftmonitor", "watch").get("windowSince"))
    client = ward.start_replay("client", events, "--rate", "60", "--shifted")
    status = ward.wait_phase("v2", "RolledBack", seconds=120)
    assert "watch" in status["message"]
    ward.wait_phase("v1", "Champion")
    taken = ward.wait("the action is told", lambda: ward.status("driftmonitor", "watch").get("actionsTaken"))
    assert taken[-1]["do"] == "rollback"
    before = client.counts()["versions"].get("1.0.0", 0)
    ward.wait("answers of version 1", lambda: client.counts()["versions"].get("1.0.0", 0) > before + 60)
    counts = client.stop()
    assert counts["failed"] == 0, counts
