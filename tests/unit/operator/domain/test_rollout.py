"""The rollout, sentence by sentence: observation in, decision out."""

from __future__ import annotations

from dataclasses import replace

import pytest

from modelward_api.wire.exchange import PairedCounts
from modelward_operator.domain.core.failure import Failure
from modelward_operator.domain.core.record import ModelRecord, Quarantine
from modelward_operator.domain.rollout.observation import InvalidVersion, ModelService, Pod
from tests.support.builders import (
    NOW,
    ONE_STEP,
    canary,
    champion,
    clean,
    condition,
    decide,
    digest,
    documents,
    observed,
    phases,
    version,
)


def test_the_first_version_is_deployed_and_checked_before_anybody_is_sent_to_it():
    decision = decide(observed(version("v1")))
    assert phases(decision) == {"v1": "Verifying"}
    assert decision.workloads == {"v1": 1}
    assert decision.serve is None


def test_the_first_version_serves_once_its_pods_are_ready():
    decision = decide(observed(version("v1", "Deploying", pods=1)))
    assert decision.serve == "v1"
    assert phases(decision) == {"v1": "Deploying"}


def test_the_first_version_is_the_champion_once_the_service_selects_it():
    decision = decide(observed(version("v1", "Deploying", pods=1), serves="v1"))
    assert phases(decision) == {"v1": "Champion"}
    assert condition(decision, "v1", "Ready").status == "True"
    assert condition(decision, "v1", "Reconciling") is None


def test_a_second_version_is_verified_while_the_champion_answers_alone():
    decision = decide(observed(champion(), version("v2"), serves="v1"))
    assert phases(decision) == {"v1": "Champion", "v2": "Verifying"}
    assert [lease.challenger for lease in decision.leases] == [None]
    assert decision.serve == "v1"


def test_a_ready_challenger_starts_at_the_first_step():
    decision = decide(observed(champion(), version("v2", "Deploying", pods=1, rollout=ONE_STEP), serves="v1"))
    assert phases(decision)["v2"] == "Canary"
    (lease,) = decision.leases
    assert (lease.holder, lease.challenger, lease.weight, lease.mirror) == ("v1", "v2", 10.0, 1.0)


def test_a_step_is_held_until_it_has_seen_its_requests():
    decision = decide(observed(champion(), canary(), serves="v1", paired=clean(99)))
    assert phases(decision)["v2"] == "Canary"
    assert decision.statuses["v2"].step == 0
    assert decision.statuses["v2"].message.startswith("Holding: 90 of at least")


def test_a_step_is_held_for_its_pause_even_with_enough_requests():
    rollout = {"steps": [{"weight": 10, "minRequests": 10, "pause": "5m"}, {"weight": 50}]}
    decision = decide(observed(champion(), canary(rollout=rollout), serves="v1", paired=clean(500)), seconds=60)
    assert decision.statuses["v2"].step == 0


def test_the_weight_steps_up():
    rollout = {"steps": [{"weight": 10, "minRequests": 10}, {"weight": 50}]}
    decision = decide(observed(champion(), canary(rollout=rollout), serves="v1", paired=clean(10)))
    assert decision.statuses["v2"].step == 1
    assert decision.leases[0].weight == 50


def test_too_little_evidence_holds_the_last_step():
    decision = decide(observed(champion(), canary(), serves="v1", paired=clean(120)))
    assert phases(decision)["v2"] == "Canary"
    assert decision.statuses["v2"].verdict == "Hold"


def test_enough_clean_pairs_promote():
    decision = decide(observed(champion(), canary(), serves="v1", paired=clean(2000)))
    assert phases(decision) == {"v2": "Promoting", "v1": "Champion"}
    assert decision.leases[0].weight == 100
    assert decision.serve == "v1", "the Service turns only after Promoting has been written"


def test_a_promotion_waits_for_all_the_pods_that_the_version_needs():
    promoting = canary(phase="Promoting", serving={"replicas": 3})
    decision = decide(observed(champion(), promoting, serves="v1", paired=clean(2000)))
    assert decision.workloads == {"v2": 3, "v1": 1}
    assert decision.serve == "v1"


def test_the_service_turns_to_a_promoted_version_that_is_ready():
    decision = decide(observed(champion(), canary(phase="Promoting"), serves="v1", paired=clean(2000)))
    assert decision.serve == "v2"
    assert phases(decision)["v2"] == "Promoting", "Champion is written when the Service has turned"


def test_after_the_service_has_turned_the_old_champion_stands_by():
    decision = decide(observed(champion(), canary(phase="Promoting"), serves="v2", paired=clean(2000)))
    assert list(decision.statuses) == ["v2", "v1"], "first the new champion: a crash in between leaves two, never none"
    assert phases(decision) == {"v2": "Champion", "v1": "Standby"}
    assert {(lease.holder, lease.challenger, lease.weight) for lease in decision.leases} == {
        ("v2", None, 0.0),
        ("v1", "v2", 100.0),
    }


def test_two_champions_after_a_crash_are_told_apart_by_the_service():
    decision = decide(observed(champion(), version("v2", "Champion", pods=1), serves="v2"))
    assert phases(decision) == {"v1": "Standby", "v2": "Champion"}


def test_a_standby_is_retired_when_it_has_been_kept_warm_long_enough():
    winner = version("v2", "Champion", pods=1, rollout={"keepWarm": "10m"})
    warm = decide(observed(winner, version("v1", "Standby", pods=1, since=599), serves="v2"))
    cold = decide(observed(winner, version("v1", "Standby", pods=1, since=601), serves="v2"))
    assert (phases(warm)["v1"], warm.workloads) == ("Standby", {"v2": 1, "v1": 1})
    assert (phases(cold)["v1"], cold.workloads) == ("Retired", {"v2": 1})


def test_a_retired_version_has_no_pods_and_is_neither_ready_nor_on_its_way():
    winner = version("v2", "Champion", pods=1, rollout={"keepWarm": "10m"})
    cold = decide(observed(winner, version("v1", "Standby", pods=1, since=601), serves="v2"))
    told = {c.type: c.status for c in cold.statuses["v1"].conditions}
    assert told["Retired"] == "True"
    assert not told.keys() & {"Ready", "Reconciling", "Stalled"}, (
        "kstatus takes this for done, and Ready=False for not yet"
    )
    assert "Retired" not in {c.type for c in cold.statuses["v2"].conditions}


BAD = {
    "one invalid answer": clean(30, invalid=1, errors_challenger=1),
    "most of the first requests fail": PairedCounts(
        pairs=20, errors_challenger=15, opening_pairs=20, opening_errors=15
    ),
    "errors that the champion does not make": PairedCounts(
        pairs=400, compared=380, errors_challenger=20, opening_pairs=20
    ),
    "missed deadlines": clean(400, late_challenger=20),
    "decisions that differ far more often than allowed": clean(100, flips=60),
    "answers that are in time and yet far slower": clean(100, slower_challenger=(95, 90, 0)),
}


@pytest.mark.parametrize("counts", BAD.values(), ids=BAD.keys())
def test_a_challenger_is_rolled_back_for(counts):
    decision = decide(observed(champion(), canary(), serves="v1", paired=counts))
    assert phases(decision) == {"v2": "RolledBack", "v1": "Champion"}
    assert decision.leases[0].challenger is None
    assert decision.workloads == {"v1": 1}
    assert [q.digest for q in decision.record.quarantined] == [digest("2")]
    assert condition(decision, "v2", "Stalled").status == "True"
    assert any(note.type == "Warning" and note.name == "v2" for note in decision.notes)


def test_a_pod_that_tripped_by_itself_is_reason_enough():
    observation = observed(champion(), canary(), serves="v1", paired=clean(5))
    decision = decide(replace(observation, tripped={digest("2"): "InvalidAnswer"}))
    assert phases(decision)["v2"] == "RolledBack"


def test_harm_during_the_promotion_still_rolls_back():
    counts = clean(2000, invalid=1)
    decision = decide(observed(champion(), canary(phase="Promoting"), serves="v1", paired=counts))
    assert phases(decision)["v2"] == "RolledBack"


def test_when_both_versions_fail_the_canary_is_not_to_blame():
    counts = PairedCounts(pairs=400, errors_both=200, compared=200, opening_pairs=20)
    decision = decide(observed(champion(), canary(), serves="v1", paired=counts))
    assert phases(decision)["v2"] != "RolledBack"


def test_a_quarantined_digest_is_not_deployed_again_and_says_when_and_why():
    known = Quarantine(
        digest=digest("2"), version="2.0.0", reason="HarmShown", message="6% more errors", time="2025-12-24T00:00:00Z"
    )
    decision = decide(observed(champion(), version("v2"), serves="v1", record=ModelRecord(quarantined=(known,))))
    assert phases(decision)["v2"] == "Quarantined"
    assert decision.workloads == {"v1": 1}
    assert "2025-12-24" in decision.statuses["v2"].message
    assert "6% more errors" in decision.statuses["v2"].message
    assert condition(decision, "v2", "Stalled").reason == "DigestQuarantined"


def test_of_two_new_versions_the_newer_takes_the_place_of_the_other():
    decision = decide(observed(champion(), version("v3"), version("v2"), serves="v1"))
    assert phases(decision) == {"v1": "Champion", "v2": "Retired", "v3": "Verifying"}
    assert "Superseded by v3" in decision.statuses["v2"].message


def test_a_version_that_supersedes_nobody_waits_for_its_turn():
    patient = version("v3", rollout={"supersedes": False})
    decision = decide(observed(champion(), patient, version("v2"), serves="v1"))
    assert phases(decision) == {"v1": "Champion", "v2": "Verifying", "v3": "Pending"}
    assert "v2" in decision.statuses["v3"].message


def test_a_third_version_ends_the_canary_of_the_second_and_one_challenger_remains():
    decision = decide(observed(champion(), canary(), version("v3"), serves="v1", paired=clean(60)))
    assert phases(decision) == {"v1": "Champion", "v2": "Retired", "v3": "Verifying"}
    assert decision.workloads == {"v1": 1, "v3": 1}
    assert [(lease.holder, lease.challenger) for lease in decision.leases] == [("v1", None)]
    assert decision.record.decisions == (), "nothing was decided about it"


def test_a_third_version_comes_after_a_promotion_that_is_under_way():
    decision = decide(observed(champion(), canary(phase="Promoting"), version("v3"), serves="v1", paired=clean(2000)))
    assert phases(decision) == {"v1": "Champion", "v2": "Promoting", "v3": "Pending"}


UNABLE = {
    "whose training has not ended": replace(version("v3"), artifact=None),
    "whose bundle there will never be": replace(version("v3"), artifact_failure=Failure("NameTaken", "taken")),
    "that is withdrawn": version("v3", rollout={"withdrawn": True}),
    "that is only a shadow": version("v3", rollout={"strategy": "shadow"}),
    "that is being deleted": version("v3", deleting=True),
}


@pytest.mark.parametrize("third", UNABLE.values(), ids=UNABLE.keys())
def test_a_canary_is_not_ended_by_a_version(third):
    decision = decide(observed(champion(), canary(), third, serves="v1", paired=clean(60)))
    assert phases(decision)["v2"] == "Canary"


def test_while_nobody_answers_the_first_version_is_not_superseded():
    decision = decide(observed(version("v1", "Verifying"), version("v2")))
    assert phases(decision) == {"v1": "Verifying", "v2": "Pending"}


def test_a_version_that_waits_for_its_training_does_not_hold_up_others():
    awaited = replace(version("v2"), artifact=None)
    decision = decide(observed(champion(), awaited, version("v3"), serves="v1"))
    assert phases(decision) == {"v1": "Champion", "v2": "Pending", "v3": "Verifying"}


def test_a_bundle_that_is_not_what_it_should_be_fails_and_the_next_goes_on():
    broken = replace(
        version("v2", "Verifying"), pods=(Pod("v2-0", failure=Failure("DigestMismatch", "sha256:a is not sha256:b")),)
    )
    patient = version("v3", rollout={"supersedes": False})
    decision = decide(observed(champion(), broken, patient, serves="v1"))
    assert phases(decision)["v2"] == "Failed"
    assert condition(decision, "v2", "ArtifactVerified").reason == "DigestMismatch"
    again = decide(observed(champion(), replace(broken, status=decision.statuses["v2"]), patient, serves="v1"))
    assert phases(again)["v3"] == "Verifying"


def test_an_image_that_cannot_be_pulled_is_said_and_waited_for():
    waiting = replace(
        version("v2", "Verifying"), pods=(Pod("v2-0", failure=Failure("ImagePullBackOff", "no such image")),)
    )
    decision = decide(observed(champion(), waiting, serves="v1"))
    assert phases(decision)["v2"] == "Verifying"
    assert condition(decision, "v2", "Reconciling").reason == "ImagePullBackOff"


def test_an_undecided_canary_is_rolled_back_at_its_deadline_without_quarantine():
    late = canary(rollout={**ONE_STEP, "deadline": "1h"}, since=3601)
    decision = decide(observed(champion(), late, serves="v1", paired=clean(50)))
    assert phases(decision)["v2"] == "RolledBack"
    assert decision.record.quarantined == ()


def test_paused_holds_the_weight_and_does_not_promote():
    paused = canary(rollout={**ONE_STEP, "paused": True})
    decision = decide(observed(champion(), paused, serves="v1", paired=clean(5000)))
    assert phases(decision)["v2"] == "Canary"
    assert decision.leases[0].weight == 10
    assert condition(decision, "v2", "Paused").status == "True"


def test_paused_never_holds_a_rollback():
    paused = canary(rollout={**ONE_STEP, "paused": True})
    decision = decide(observed(champion(), paused, serves="v1", paired=clean(50, invalid=1)))
    assert phases(decision)["v2"] == "RolledBack"


def test_a_shadow_is_scored_and_never_answered_from():
    shadow = version("v2", "Shadow", pods=1, rollout={"strategy": "shadow"})
    decision = decide(observed(champion(), shadow, serves="v1", paired=clean(5000)))
    assert phases(decision)["v2"] == "Shadow"
    assert decision.leases[0].weight == 0


def test_a_shadow_makes_way_for_the_next_version():
    shadow = version("v2", "Shadow", pods=1, rollout={"strategy": "shadow"})
    decision = decide(observed(champion(), shadow, version("v3"), serves="v1"))
    assert phases(decision) == {"v1": "Champion", "v2": "Retired", "v3": "Verifying"}


def test_direct_takes_over_with_all_its_pods_and_no_evidence():
    direct = version("v2", "Deploying", pods=2, rollout={"strategy": "direct"}, serving={"replicas": 2})
    decision = decide(observed(champion(), direct, serves="v1"))
    assert phases(decision)["v2"] == "Promoting"


def test_a_new_champion_starts_the_canary_anew():
    rollout = {"steps": [{"weight": 10}, {"weight": 50}]}
    moved = canary(rollout=rollout, step=1, champion="v0")
    decision = decide(observed(champion(), moved, serves="v1", paired=clean(7)))
    status = decision.statuses["v2"]
    assert (status.step, status.step_pairs, status.champion) == (0, 10, "v1")


def test_deleting_the_champion_hands_over_to_the_warm_standby():
    leaving = champion(deleting=True)
    standby = version("v0", "Standby", pods=1)
    decision = decide(observed(leaving, standby, serves="v1"))
    assert decision.serve == "v0"
    assert phases(decision)["v0"] == "Champion"
    assert decision.drop_finalizers == frozenset(), "callers may still be on their way to it"
    assert "v1" in decision.workloads
    after = decide(observed(leaving, version("v0", "Champion", pods=1), serves="v0"))
    assert after.drop_finalizers == {"v1"}


def test_deleting_the_champion_is_held_while_other_versions_exist():
    decision = decide(observed(champion(deleting=True), version("v2", "Failed"), serves="v1"))
    assert decision.drop_finalizers == frozenset()
    assert decision.workloads == {"v1": 1}
    assert "v1 was deleted, and its pods keep serving traffic" in decision.statuses["v1"].message


@pytest.mark.parametrize("phase", ["Failed", "RolledBack", "Retired", "Quarantined", "Pending"])
def test_the_versions_that_are_left_say_that_the_champion_was_deleted_and_an_event_says_it_once(phase):
    left = version("v2", phase)
    seen = observed(champion(deleting=True), left, serves="v1")
    decision = decide(seen)
    told = condition(decision, "v2", "ChampionPresent")
    assert (told.status, told.reason) == ("False", "DeletionHeld")
    assert "v1 was deleted" in told.message
    events = [note for note in decision.notes if note.reason == "DeletionHeld"]
    assert [(note.name, note.type, note.message) for note in events] == [("v2", "Warning", told.message)]
    left = replace(left, status=decision.statuses["v2"])
    assert [
        n for n in decide(replace(seen, versions=(seen.versions[0], left))).notes if n.reason == "DeletionHeld"
    ] == []
    back = decide(replace(seen, versions=(champion(), left)))
    assert condition(back, "v2", "ChampionPresent") is None


def test_a_champion_that_is_withdrawn_is_not_said_to_be_deleted():
    decision = decide(observed(champion(rollout={"withdrawn": True}), version("v2", "Failed"), serves="v1"))
    assert condition(decision, "v2", "ChampionPresent") is None


REPLACED = {
    "by nobody": ((), True),
    "by one that has failed": ((version("v2", "Failed"),), True),
    "by one that is being deleted too": ((canary(deleting=True),), True),
    "by one that rolls out": ((canary(),), False),
    "by one that waits": ((version("v2", "Pending"),), False),
}


@pytest.mark.parametrize(("others", "stalled"), REPLACED.values(), ids=REPLACED.keys())
def test_a_champion_that_shall_go_is_stalled_unless_it_will_be_replaced(others, stalled):
    withdrawn = champion(rollout={"withdrawn": True})
    for leaving, reason in ((champion(deleting=True), "DeletionHeld"), (withdrawn, "WithdrawalHeld")):
        if leaving.deleting and all(other.deleting for other in others):
            continue  # then nothing is held
        decision = decide(observed(leaving, *others, serves="v1"))
        assert phases(decision)["v1"] == "Champion"
        assert decision.workloads["v1"] == 1
        assert condition(decision, "v1", "Ready").reason == reason
        assert (condition(decision, "v1", "Stalled") is not None) is stalled


def test_deleting_a_challenger_in_mid_canary_ends_its_lease_and_lets_it_go():
    decision = decide(observed(champion(), canary(deleting=True), serves="v1", paired=clean(50)))
    assert decision.leases[0].challenger is None
    assert decision.drop_finalizers == {"v2"}
    assert decision.workloads == {"v1": 1}


def test_deleting_all_versions_takes_the_service_along_and_remembers_what_was_rolled_back():
    known = Quarantine(digest=digest("9"), version="9.0.0", reason="HarmShown", message="", time="2025-12-24T00:00:00Z")
    gone = observed(
        champion(deleting=True), canary(deleting=True), serves="v1", record=ModelRecord(quarantined=(known,))
    )
    decision = decide(gone)
    assert decision.drop_service
    assert decision.drop_finalizers == {"v1", "v2"}
    assert decision.record.quarantined == (known,)


def test_a_service_that_belongs_to_somebody_else_is_left_alone():
    decision = decide(observed(version("v1"), service=ModelService(None, ours=False)))
    assert decision.serve is None
    assert condition(decision, "v1", "Stalled").reason == "NameTaken"
    assert not decision.drop_service


def test_a_version_that_cannot_be_read_is_told_so_and_its_pods_stay():
    invalid = InvalidVersion("v2", 3, version("v2").status, "spec.rollout: nonsense")
    decision = decide(observed(champion(), serves="v1", invalid=(invalid,)))
    assert decision.keep == {"v2"}
    assert condition(decision, "v2", "Stalled").reason == "InvalidSpec"


def test_nothing_takes_over_from_a_champion_that_cannot_be_read():
    invalid = InvalidVersion("v1", 3, champion().status, "spec.rollout: nonsense")
    waiting = version("v2", "Deploying", pods=1)
    decision = decide(observed(waiting, serves="v1", invalid=(invalid,)))
    assert (decision.serve, phases(decision)["v2"]) == (None, "Deploying")
    assert condition(decision, "v2", "Stalled").reason == "ChampionUnreadable"


def test_a_crash_between_quarantine_and_handing_back_is_mended():
    known = Quarantine(digest=digest("1"), version="1.0.0", reason="Drift", message="age", time="2026-01-01T00:00:00Z")
    record = ModelRecord(quarantined=(known,))
    decision = decide(observed(champion(), version("v0", "Standby", pods=1), serves="v1", record=record))
    assert phases(decision) == {"v0": "Champion", "v1": "RolledBack"}
    assert decision.serve == "v0"
    assert "v1" in decision.workloads, "its pods stay until the Service has turned away"
    assert (condition(decision, "v1", "Ready").reason, decision.statuses["v1"].message) == ("Drift", "age")
    assert [(d.model_version, d.outcome, d.reason) for d in decision.record.decisions] == [("v1", "rollback", "Drift")]
    assert [entry.digest for entry in decision.record.quarantined] == [digest("1")]


def test_a_champion_without_pods_says_so_and_keeps_its_place():
    decision = decide(observed(champion(pods=0), serves="v1"))
    assert phases(decision) == {"v1": "Champion"}
    assert decision.workloads == {"v1": 1}
    assert condition(decision, "v1", "Available").status == "False"


def test_a_few_more_requests_do_not_rewrite_the_status():
    first = decide(observed(champion(), canary(), serves="v1", paired=clean(60)))
    mid = replace(canary(), status=first.statuses["v2"])
    second = decide(observed(champion(), mid, serves="v1", paired=clean(61)))
    assert second.statuses["v2"] == first.statuses["v2"]


@pytest.mark.parametrize("counts", [clean(0), clean(60), clean(5000), clean(60, invalid=1)])
def test_deciding_twice_on_what_was_written_changes_nothing_more(counts):
    versions = (champion(), canary())
    first = decide(observed(*versions, serves="v1", paired=counts))
    written = tuple(replace(v, status=first.statuses[v.name]) for v in versions)
    observation = observed(*written, serves="v1", paired=counts)
    second = decide(replace(observation, record=first.record))
    settled = tuple(replace(v, status=second.statuses[v.name]) for v in written)
    third = decide(replace(observation, versions=settled, record=second.record))
    assert third.statuses == second.statuses
    assert third.record == second.record


def test_parity_and_digest_are_conditions():
    observation = observed(champion(), canary(), serves="v1", documents={digest("2"): documents("v2")})
    decision = decide(observation)
    assert condition(decision, "v2", "ParityVerified").status == "True"
    assert condition(decision, "v2", "ArtifactVerified").status == "True"
    assert NOW.year == 2026


def of_another_model(name: str):
    found = documents(name)
    return found.model_copy(update={"signature": found.signature.model_copy(update={"model": "other"})})


def test_a_bundle_of_another_model_is_never_promoted():
    first = version("v1", "Deploying", pods=1)
    decision = decide(observed(first, documents={first.digest: of_another_model("v1")}))
    assert phases(decision) == {"v1": "Failed"}
    assert decision.serve is None
    assert condition(decision, "v1", "Ready").status == "False"
    assert condition(decision, "v1", "Stalled").reason == "ModelMismatch"
    assert "The bundle belongs to model 'other', but spec.model is 'mortality'" in decision.statuses["v1"].message


def test_a_champion_whose_bundle_is_of_another_model_is_not_ready():
    champion = version("v1", "Champion", pods=1)
    decision = decide(observed(champion, serves="v1", documents={champion.digest: of_another_model("v1")}))
    assert condition(decision, "v1", "Ready").status == "False"
    assert condition(decision, "v1", "Stalled").reason == "ModelMismatch"


def test_a_bundle_of_another_version_is_never_promoted():
    first, found = version("v1", "Deploying", pods=1), documents("v1")
    other = found.model_copy(update={"signature": found.signature.model_copy(update={"version": "9.0.0"})})
    decision = decide(observed(first, documents={first.digest: other}))
    assert phases(decision) == {"v1": "Failed"}
    assert condition(decision, "v1", "Stalled").reason == "VersionMismatch"
    assert "The bundle belongs to version '9.0.0', but spec.version is '1.0.0'" in decision.statuses["v1"].message


def test_a_refused_lease_is_told_of_who_holds_it_and_of_who_is_tried():
    why = Failure("LeaseRefused", "Pod v1-0 refuses its lease")
    decision = decide(observed(champion(), canary(), serves="v1", refused={"v1": why}))
    for name in ("v1", "v2"):
        told = condition(decision, name, "LeaseTaken")
        assert (told.status, told.reason, told.message) == ("False", why.reason, why.message)
    mended = [replace(v, status=decision.statuses[v.name]) for v in (champion(), canary())]
    assert condition(decide(observed(*mended, serves="v1")), "v1", "LeaseTaken") is None


def test_a_step_counts_its_requests_exactly_though_its_status_tells_about_how_many():
    rollout = {"steps": [{"weight": 10, "minRequests": 20}, {"weight": 50}]}
    begun = decide(observed(champion(), canary(rollout=rollout, champion="v0"), serves="v1", paired=clean(27)))
    status = begun.statuses["v2"]
    assert status.step_pairs == 20
    later = canary(rollout=rollout, stepSince=status.step_since, stepPairs=20)
    for pairs, step in ((46, 0), (47, 1)):
        seen = observed(champion(), later, serves="v1", paired=clean(pairs), record=begun.record)
        assert decide(seen, 60.0).statuses["v2"].step == step
    lost = observed(champion(), later, serves="v1", paired=clean(41))
    assert decide(lost, 60.0).statuses["v2"].step == 1, "the status is what is left of it"
