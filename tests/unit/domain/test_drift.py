"""Drift: windows, evidence, effect, actions."""

from __future__ import annotations

from datetime import timedelta

import pytest

from modelward_operator.domain.drift import is_due
from tests.unit.domain.given import (
    NOW,
    counted,
    decide,
    digest,
    documents,
    monitor,
    observed,
    phases,
    version,
    with_profile,
)

SAME, SHIFTED = (20, 20, 20, 20, 20), (2, 3, 5, 30, 60)
OPEN = {"champion": "v1", "state": "InsufficientData", "windowSince": "2026-01-01T12:00:00Z", "rows": 0}


def watching(cells, *, others=(), score=SAME, window=None, **spec):
    champion = version("v1", "Champion", pods=1)
    status = spec.pop("status", OPEN)
    observation = observed(
        champion,
        *others,
        serves="v1",
        monitors=(monitor(status=status, **spec),),
        documents={digest("1"): documents("v1")},
    )
    return with_profile(observation, "v1", counted(cells, score), {"watch": window or counted((0,) * 5)})


def judged(observation, seconds=61.0):
    decision = decide(observation, seconds)
    return decision, decision.monitors["watch"]


def test_a_monitor_of_a_model_that_does_not_exist_says_so():
    _, status = judged(observed(monitors=(monitor(),)))
    assert (status.state, status.conditions[0].reason) == ("Unknown", "ModelNotFound")


def test_a_monitor_on_a_feature_that_the_model_does_not_have_says_so_and_watches_the_rest():
    _, status = judged(watching(SHIFTED, features=["agee", "age"]))
    stalled = next(c for c in status.conditions if c.type == "Stalled")
    assert stalled.reason == "FeatureNotFound"
    assert "spec.features[0]" in stalled.message
    assert "age, score" in stalled.message
    assert status.state == "Drifting"


def test_the_first_look_opens_a_window_at_the_counts_as_they_are():
    decision, status = judged(watching(SAME, status={}))
    assert status.state == "InsufficientData"
    assert decision.record.ledger.windows["watch"].rows == 100


def test_a_window_with_too_few_rows_waits():
    _, status = judged(watching((4, 4, 4, 4, 3)))
    assert status.state == "InsufficientData"


def test_a_window_is_not_judged_before_its_interval_is_over():
    _, status = judged(watching(SHIFTED), seconds=59)
    assert status.state == "InsufficientData"


def test_data_like_the_reference_are_quiet():
    decision, status = judged(watching(SAME))
    assert status.state == "Quiet"
    assert decision.record.ledger.windows["watch"].rows == 100, "the next window begins"


def test_a_shift_is_called_with_the_feature_that_shifted():
    decision, status = judged(watching(SHIFTED))
    assert (status.state, status.worst_feature) == ("Drifting", "age")
    assert [note.reason for note in decision.notes if note.kind == "DriftMonitor"] == ["DriftDetected"]
    assert status.actions_taken[0].do == "alert"


def test_strong_evidence_for_a_small_effect_is_no_alarm():
    _, status = judged(watching(SHIFTED, tests={"minimumRows": 20, "minimumEffect": 9.0}))
    assert status.state == "Quiet"


def test_rollback_hands_back_to_the_warm_version_and_quarantines_the_digest():
    standby = version("v0", "Standby", pods=1)
    decision, status = judged(watching(SHIFTED, others=(standby,), actions=[{"do": "rollback"}]))
    assert phases(decision) == {"v0": "Champion", "v1": "RolledBack"}
    assert decision.serve == "v0"
    assert [q.reason for q in decision.record.quarantined] == ["Drift"]
    assert status.actions_taken[-1].outcome == "v0 answers again"


def test_rollback_without_a_warm_version_changes_nothing_and_says_so():
    decision, status = judged(watching(SHIFTED, actions=[{"do": "rollback"}]))
    assert phases(decision) == {"v1": "Champion"}
    assert "no version before is warm" in status.actions_taken[-1].outcome


def test_a_rollback_is_not_repeated_within_its_cooldown():
    before = {
        **OPEN,
        "actionsTaken": [{"time": "2026-01-01T11:00:00Z", "do": "rollback", "feature": "age", "outcome": ""}],
    }
    standby = version("v0", "Standby", pods=1)
    decision, _ = judged(watching(SHIFTED, others=(standby,), actions=[{"do": "rollback"}], status=before))
    assert phases(decision)["v1"] == "Champion"


def test_counters_that_went_backwards_open_a_new_window_instead_of_an_alarm():
    _, status = judged(watching(SAME, window=counted(SHIFTED)))
    assert status.state == "InsufficientData"


@pytest.mark.parametrize(
    ("seconds", "opened", "champions", "due"),
    [
        (59, True, ["v1"], False),
        (60, True, ["v1"], True),
        (1, False, ["v1"], True),
        (1, True, ["v2"], True),
        (1, True, [], True),
    ],
    ids=["within its interval", "after it", "without a window", "with another champion", "without a champion"],
)
def test_a_monitor_needs_counts_once_an_interval_and_when_it_begins(seconds, opened, champions, due):
    assert is_due(monitor(status=OPEN), opened, champions, NOW + timedelta(seconds=seconds)) is due
