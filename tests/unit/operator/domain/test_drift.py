"""Drift: windows, evidence, effect, actions."""

from __future__ import annotations

import json
from dataclasses import replace
from math import log

import numpy as np

from modelward_operator.domain.drift.detector import unpack
from modelward_operator.manifests.record import config_map, read
from tests.support.builders import (
    KEY,
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

WATCHED = f"{digest('1')} {log(2 / 0.001)}"
"""What v1's detectors are remembered under."""
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
    assert [c.type for c in status.conditions] == ["Ready", "Reconciling"], "a version may be on its way"


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
    assert [(d.model_version, d.outcome, d.reason) for d in decision.record.decisions] == [("v1", "rollback", "Drift")]
    assert status.actions_taken[-1].outcome == "v0 serves all traffic again"


def test_rollback_without_a_warm_version_changes_nothing_and_says_so():
    decision, status = judged(watching(SHIFTED, actions=[{"do": "rollback"}]))
    assert phases(decision) == {"v1": "Champion"}
    assert "no earlier version is warm" in status.actions_taken[-1].outcome


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


BY_SEX = {sex: {"score": (100,) * 5 + (0, 0, 0), "age": (100,) * 5 + (0, 0, 0)} for sex in ("sex=f", "sex=m")}


def split(women, men):
    """All rows, and those of women and men, whose scores lie so."""
    strata = {"sex=f": women, "sex=m": men}
    both = tuple(map(sum, zip(women, men, strict=True)))
    cells = {sex: {"score": (*own, 0, 0, 0), "age": (*own, 0, 0, 0)} for sex, own in strata.items()}
    return counted(SAME, both).model_copy(update={"strata": cells, "rows": sum(both)})


def watching_subgroups(women, men, **spec):
    observation = watching(SAME, **spec)
    known = documents("v1")
    reference = known.reference.model_copy(update={"strata": BY_SEX})
    start = split((0,) * 5, (0,) * 5)
    observation = replace(observation, documents={digest("1"): known.model_copy(update={"reference": reference})})
    return with_profile(observation, "v1", split(women, men), {"watch": start})


def test_a_shift_in_the_scores_of_one_subgroup_is_called_though_the_whole_is_quiet():
    _, status = judged(watching_subgroups((2, 3, 5, 30, 60), (58, 57, 55, 30, 0)))
    drifts = {feature.name: feature.drifting for feature in status.features}
    assert drifts["score"] is False
    assert drifts["score[sex=f]"]
    assert status.state == "Drifting"


def test_subgroups_are_counted_among_what_is_tested():
    _, alone = judged(watching_subgroups(SAME, SAME, subgroups=[]))
    _, status = judged(watching_subgroups(SAME, SAME))
    assert [f.name for f in alone.features] == ["age", "score"]
    assert [f.name for f in status.features] == ["age", "score", "score[sex=f]", "score[sex=m]"]
    assert status.features[0].threshold > alone.features[0].threshold


def test_features_of_subgroups_are_watched_by_name():
    _, status = judged(watching_subgroups(SAME, SAME, subgroups=["age"]))
    assert [f.name for f in status.features][2:] == ["age[sex=f]", "age[sex=m]"]


def test_a_subgroup_of_few_rows_waits_for_more_and_nothing_is_told_of_it():
    decision, status = judged(watching_subgroups((1, 1, 1, 1, 0), SAME))
    assert "score[sex=f]" not in {feature.name for feature in status.features}
    window = decision.record.ledger.windows["watch"]
    assert (sum(window.strata["sex=f"]["score"]), sum(window.strata["sex=m"]["score"])) == (0, 100), (
        "its window goes on"
    )


def test_a_watched_feature_of_subgroups_that_the_model_does_not_have_is_told():
    _, status = judged(watching_subgroups(SAME, SAME, subgroups=["score", "agee"]))
    assert "spec.subgroups[1]" in next(c for c in status.conditions if c.type == "Stalled").message


def through(*windows, champion="v1", reread=True, **spec):
    """A monitor's course through windows, each after the operator has started anew from the cluster's objects."""
    observation = watching((0,) * 5, window=counted((0,) * 5), **spec)
    total = np.zeros(5, dtype=int)
    statuses, record = [], observation.record
    for n, cells in enumerate(windows, 1):
        total += cells
        observation = with_profile(observation, "v1", counted(tuple(total.tolist())))
        own = observation.record.ledger.model_copy(
            update={"windows": record.ledger.windows, "detectors": record.ledger.detectors}
        )
        observation = replace(observation, record=observation.record.model_copy(update={"ledger": own}))
        decision, status = judged(observation, 61.0 * n)
        record = (
            read(config_map("clinic", "mortality", decision.record, KEY), "clinic", "mortality", KEY).record
            if reread
            else decision.record
        )
        observation = replace(observation, monitors=(replace(observation.monitors[0], status=status),))
        statuses.append(status)
    return statuses, record, observation


SLIGHTLY = (11, 15, 19, 25, 30)


def test_a_shift_that_no_window_shows_alone_is_called_by_all_of_them_though_the_operator_starts_anew_each_time():
    statuses, _, _ = through(*[SLIGHTLY] * 12, score=SAME)
    assert statuses[0].state == "Quiet"
    assert statuses[-1].state == "Drifting"
    first = next(n for n, status in enumerate(statuses) if status.state == "Drifting")
    assert all(status.state == "Drifting" for status in statuses[first:]), "one episode"


def test_an_episode_ends_after_three_windows_like_the_reference_and_is_not_called_again():
    statuses, _, _ = through(SHIFTED, SHIFTED, *[SAME] * 12)
    states = [status.state for status in statuses]
    assert states == ["Drifting"] * 4 + ["Quiet"] * 10


def test_another_champion_is_judged_by_its_own_windows_alone():
    _, record, observation = through(SHIFTED, SHIFTED)
    assert unpack(record.ledger.detectors["watch"], WATCHED)["age"].drifting
    assert unpack(record.ledger.detectors["watch"], WATCHED.replace(digest("1"), digest("2"))) == {}
    status = observation.monitors[0].status.model_copy(update={"champion": "v0"})
    decision, status = judged(replace(observation, monitors=(replace(observation.monitors[0], status=status),)))
    assert (status.state, decision.record.ledger.detectors) == ("InsufficientData", {})


def test_an_episode_goes_on_though_the_record_was_lost():
    _, _, observation = through(SHIFTED, SHIFTED)
    lost = with_profile(observation, "v1", counted((0,) * 5))
    decision, status = judged(lost, 300.0)
    assert status.state == "Drifting"
    again = with_profile(lost, "v1", counted(SHIFTED), decision.record.ledger.windows)
    decision, status = judged(replace(again, monitors=(replace(again.monitors[0], status=status),)), 400.0)
    assert status.state == "Drifting"
    assert [n.reason for n in decision.notes if n.kind == "DriftMonitor"] == [], "it is not called a second time"


def test_what_a_monitor_remembers_stands_in_no_status():
    statuses, record, _ = through(SHIFTED, SHIFTED)
    assert record.ledger.detectors["watch"] not in json.dumps(statuses[-1].to_json())
    assert {f.rows % 10 for f in statuses[-1].features} == {0}


def test_a_reference_of_few_rows_is_told_instead_of_a_verdict():
    observation = watching(SHIFTED)
    known = documents("v1")
    few = [
        f.model_copy(update={"counts": (10,) * 5 + (0,) * 3})
        for f in (*known.reference.features, known.reference.score)
    ]
    reference = known.reference.model_copy(update={"rows": 50, "features": tuple(few[:-1]), "score": few[-1]})
    observation = replace(observation, documents={digest("1"): known.model_copy(update={"reference": reference})})
    _, status = judged(observation)
    assert (status.state, status.conditions[0].reason) == ("Unknown", "ReferenceTooSmall")
    assert "trained on 50 rows; a reference needs 100" in status.message


def test_figures_of_a_group_are_withheld_while_another_one_of_its_column_has_too_few_rows():
    """To one who counts all rows, those of the one would tell the rows of the other; a call of drift is told all the same."""
    few = watching_subgroups((2, 3, 5, 30, 60), (2, 2, 2, 2, 1))
    told = {feature.name: feature for feature in judged(few)[1].features}
    women = told["score[sex=f]"]
    assert (women.rows, women.log_evidence, women.psi, women.jensen_shannon) == (20, None, None, None)
    assert women.drifting
    assert "score[sex=m]" not in told
    both = watching_subgroups((2, 3, 5, 30, 60), (20, 20, 20, 20, 20))
    assert all(feature.psi is not None for feature in judged(both)[1].features)


def test_another_alpha_begins_anew_so_that_no_count_is_held_against_many():
    decision, status = judged(watching((10, 14, 20, 26, 30)))
    packed = decision.record.ledger.detectors["watch"]
    assert status.state == "Quiet"
    first = unpack(packed, WATCHED)
    assert first["age"].stretches
    assert unpack(packed, f"{digest('1')} {log(2 / 0.01)}") == {}


def test_what_three_pods_may_have_counted_three_times_is_a_third_of_the_evidence():
    """With countBy: encounter each pod remembers encounters of its own."""

    def evidence(pods, **serving):
        observation = watching((6, 10, 20, 28, 36))
        by_encounter = version("v1", "Champion", pods=pods, serving=serving)
        living = {f"v1-{i}": f"i{i}" for i in range(1, pods + 1)}
        rows = observation.record.ledger.profiles[digest("1")]["i1"]
        none = counted((0,) * 5)
        profiles = {digest("1"): {f"i{i}": rows if i == 1 else none for i in range(1, pods + 1)}}
        ledger = observation.record.ledger.model_copy(update={"instances": living, "profiles": profiles})
        record = observation.record.model_copy(update={"ledger": ledger})
        decision, _ = judged(replace(observation, versions=(by_encounter,), record=record))
        stretches = unpack(decision.record.ledger.detectors["watch"], WATCHED)["age"].stretches
        return sum(stretches[0].counts)

    by_encounter = {"countBy": "encounter", "stickyHeader": "X-Encounter-Id"}
    assert evidence(3) == evidence(1, **by_encounter) == 100
    assert 31 <= evidence(3, **by_encounter) <= 33
