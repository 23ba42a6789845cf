"""The checks of the incumbents and of failback, one by one: each plan as a whole, with its message."""

from __future__ import annotations

from dataclasses import replace

import pytest

from modelward_operator.domain.core.failure import Failure
from modelward_operator.domain.core.record import ModelRecord, Quarantine
from modelward_operator.domain.rollout import failback, incumbents
from modelward_operator.domain.rollout.failback import FailbackContext, fail_back
from modelward_operator.domain.rollout.incumbents import IncumbentContext
from modelward_operator.domain.rollout.plan import VersionPlan
from modelward_operator.domain.rollout.roles import Roles
from tests.support.builders import NOW, digest, observed, version

NOBODY = Roles(None, None, None)
WITHDRAWN = {"withdrawn": True, "withdrawnBecause": "its outcomes are worse"}
SAID = "Withdrawn by spec.rollout.withdrawn: its outcomes are worse"
AUTOSCALED = {"autoscaling": {"minReplicas": 2, "maxReplicas": 6}}
TIME = "2026-01-01T11:00:00Z"
BANNED = Quarantine(
    digest=digest("1"), version="1.0.0", reason="Harm", message="Harm: errors. More in the record", time=TIME
)
RECORD = ModelRecord(quarantined=(BANNED,))
READY = {"type": "Ready", "status": "True", "reason": "Serving", "lastTransitionTime": TIME}
STALLED = {"type": "Stalled", "status": "True", "reason": "Forbidden", "lastTransitionTime": TIME}
APPLIED = {
    "type": "Applied",
    "status": "False",
    "reason": "Forbidden",
    "observedGeneration": 1,
    "lastTransitionTime": TIME,
}


def of(own, *others, leader=None, roles=NOBODY, record=None):
    """What a check sees of a version beside others."""
    return IncumbentContext(observed(own, *others, record=record or ModelRecord()), roles, own, leader, NOW)


# Versions that serve.


@pytest.mark.parametrize("phase", ["RolledBack", "Quarantined", "Failed", "Retired"])
def test_a_champion_that_is_deleted_serves_on_and_asks_for_another_version_if_all_others_have_ended(phase):
    own, other = version("v1", "Champion", pods=1, deleting=True), version("v2", phase)
    assert incumbents.is_champion(of(own, other, leader=own)) == VersionPlan(
        "Champion",
        "DeletionHeld",
        "v1 was deleted, and its pods keep serving traffic until another version replaces it. "
        "Apply another version, or delete all versions of the model",
        replicas=1,
        serve=True,
        stalled=True,
    )


def test_a_champion_that_is_deleted_serves_until_the_next_version_replaces_it():
    own = version("v1", "Champion", pods=1, serving={"replicas": 3}, deleting=True)
    assert incumbents.is_champion(of(own, version("v2", "Canary"), leader=own)) == VersionPlan(
        "Champion",
        "DeletionHeld",
        "v1 was deleted, and its pods keep serving traffic until another version replaces it. "
        "The rollout that is under way or next replaces it",
        replicas=3,
        serve=True,
    )


def test_a_version_that_is_deleted_too_replaces_nobody():
    own, other = version("v1", "Champion", pods=1, deleting=True), version("v2", "Canary", deleting=True)
    assert incumbents.is_champion(of(own, other, leader=own)).stalled


@pytest.mark.parametrize("role", ["predecessor", "standby"])
def test_a_champion_that_is_withdrawn_serves_until_the_one_before_it_is_ready(role):
    own, before = version("v2", "Champion", pods=1, rollout=WITHDRAWN), version("v1", "Retired")
    roles = replace(NOBODY, champion=own, **{role: before})
    assert incumbents.is_champion(of(own, before, leader=own, roles=roles)) == VersionPlan(
        "Champion",
        "WithdrawalUnderWay",
        f"{SAID}. It serves traffic until v1 is ready",
        replicas=1,
        serve=True,
    )


@pytest.mark.parametrize(("others", "stalled"), [((), True), ((version("v2", "Pending"),), False)])
def test_a_champion_that_is_withdrawn_and_has_nobody_before_it_serves_on(others, stalled):
    own = version("v1", "Champion", pods=1, rollout=WITHDRAWN)
    assert incumbents.is_champion(of(own, *others, leader=own)) == VersionPlan(
        "Champion",
        "WithdrawalHeld",
        f"{SAID}. No earlier version can take over, so it keeps serving traffic. Apply another version",
        replicas=1,
        serve=True,
        stalled=stalled,
    )


# Versions that have served.


def test_a_version_that_has_handed_over_stands_by_for_as_long_as_its_successor_says():
    own = version("v1", "Champion", pods=1, serving={"replicas": 3})
    leader = version("v2", "Promoting", pods=1, rollout={"keepWarm": "7m"})
    assert incumbents.has_handed_over(of(own, leader, leader=leader)) == VersionPlan(
        "Standby", "Superseded", "v2 serves all traffic; kept warm for 7m", replicas=3
    )


def test_a_version_that_has_handed_over_to_nobody_is_not_kept_warm():
    assert incumbents.has_handed_over(of(version("v1", "Champion"))) == VersionPlan(
        "Standby", "Superseded", "nobody serves all traffic; kept warm for 0s", replicas=1
    )


def test_a_version_that_has_handed_over_and_is_deleted_is_retired():
    own, leader = version("v1", "Champion", deleting=True), version("v2", "Champion")
    assert incumbents.has_handed_over(of(own, leader, leader=leader)) == VersionPlan(
        "Retired", "Deleted", "Being deleted"
    )


def test_only_a_version_whose_status_says_champion_hands_over():
    assert incumbents.has_handed_over(of(version("v1", "Standby"))) is None


WARM = {"since": 60, "message": "v2 serves", "conditions": (READY,)}
RETIRED = VersionPlan("Retired", "Retired", "No longer kept warm; apply it under another name to roll it out again")


def standing_by(rollout, since, **roles):
    own, leader = (
        version("v1", "Standby", pods=1, **{**WARM, "since": since}),
        version("v2", "Champion", rollout=rollout),
    )
    given = {"standby": own, "champion": leader, "candidate": None}
    given |= {name: {"leader": leader, "other": version("v3", "Standby")}[who] for name, who in roles.items()}
    return incumbents.stands_by(of(own, leader, leader=leader, roles=Roles(**given)))


def test_a_standby_keeps_its_pods_and_what_its_status_says():
    assert standing_by({"keepWarm": "61s"}, 60) == VersionPlan("Standby", "Serving", "v2 serves", replicas=1)


def test_a_standby_is_retired_in_the_second_in_which_its_time_is_over():
    assert standing_by({"keepWarm": "60s"}, 60) == RETIRED


def test_a_standby_stays_however_long_while_a_withdrawn_champion_may_need_it():
    assert standing_by({"keepWarm": "1s", **WITHDRAWN}, 60).phase == "Standby"


def test_of_two_standbys_one_is_kept_warm():
    assert standing_by({"keepWarm": "1h"}, 60, standby="other") == RETIRED


def test_a_standby_is_retired_when_the_next_version_takes_over():
    assert standing_by({"keepWarm": "1h"}, 60, candidate="leader") == RETIRED


def test_a_standby_behind_no_champion_is_not_kept_warm():
    own = version("v1", "Standby", pods=1, since=1)
    assert incumbents.stands_by(of(own, roles=replace(NOBODY, standby=own))) == RETIRED


def test_the_one_before_a_withdrawn_champion_starts_its_pods_again():
    own, champion = version("v1", "Retired", serving={"replicas": 2}), version("v2", "Champion", rollout=WITHDRAWN)
    seen = of(own, champion, leader=champion, roles=replace(NOBODY, champion=champion, predecessor=own))
    assert incumbents.is_recalled(seen) == VersionPlan(
        "Standby", "Recalled", "v2 is withdrawn; starting pods to take over again", replicas=2
    )
    assert incumbents.is_recalled(replace(seen, version=champion)) is None
    assert incumbents.is_recalled(replace(seen, roles=replace(NOBODY, predecessor=own))) is None


# Versions that have ended, or do not begin.


@pytest.mark.parametrize("phase", ["Canary", "Promoting", "Champion"])
def test_a_rollback_that_a_crash_interrupted_is_written_as_the_record_has_it(phase):
    assert incumbents.was_rolled_back(of(version("v1", phase), record=RECORD)) == VersionPlan(
        "RolledBack", "Harm", "Harm: errors. More in the record", decides="rollback"
    )


@pytest.mark.parametrize("phase", [None, "Pending", "Verifying", "Deploying", "Shadow", "Standby", "RolledBack"])
def test_a_digest_in_quarantine_that_answered_nobody_is_not_rolled_back(phase):
    assert incumbents.was_rolled_back(of(version("v1", phase), record=RECORD)) is None


def test_nothing_is_rolled_back_whose_digest_is_not_in_quarantine():
    assert incumbents.was_rolled_back(of(version("v2", "Canary"), record=RECORD)) is None


def test_a_withdrawn_version_is_rolled_back_and_its_digest_is_quarantined():
    assert incumbents.is_withdrawn(of(version("v2", "Canary", rollout=WITHDRAWN))) == VersionPlan(
        "RolledBack", "Withdrawn", SAID, quarantine=True, decides="rollback"
    )


def test_a_quarantined_digest_is_not_deployed_and_its_version_says_how_it_could_be():
    assert incumbents.is_quarantined(of(version("v1"), record=RECORD)) == VersionPlan(
        "Quarantined",
        "DigestQuarantined",
        f"This digest was rolled back on {TIME}. Harm: errors. It is not deployed again: "
        f"train a new version, or set spec.rollout.release to '{TIME}' to roll it out again",
    )


def test_a_version_that_gets_no_bundle_fails_for_the_reason_of_its_training():
    own = replace(version("v1"), artifact=None, artifact_failure=Failure("TrainingJobFailed", "it ended"))
    assert incumbents.has_no_bundle(of(own)) == VersionPlan("Failed", "TrainingJobFailed", "it ended")


def test_a_version_waits_for_the_bundle_of_its_training():
    own = version("v1")
    spec = own.spec.model_validate(
        {"model": "m", "version": "1.0.0", "trainingJobRef": {"name": "nightly"}}, by_alias=True
    )
    assert incumbents.awaits_its_bundle(of(replace(own, artifact=None, spec=spec))) == VersionPlan(
        "Pending", "WaitingForTraining", "Waiting for the bundle of TrainingJob nightly"
    )
    assert incumbents.awaits_its_bundle(of(own)) is None


@pytest.mark.parametrize("phase", ["Verifying", "Deploying", "Shadow"])
def test_a_shadow_makes_way_for_a_version_that_waits(phase):
    assert incumbents.makes_way(of(version("v2", phase, rollout={"strategy": "shadow"}))) == VersionPlan(
        "Retired", "Superseded", "Shadowing ended: another version is being rolled out"
    )


@pytest.mark.parametrize(("phase", "strategy"), [(None, "shadow"), ("Pending", "shadow"), ("Deploying", "canary")])
def test_a_version_that_has_not_begun_or_is_no_shadow_makes_no_way(phase, strategy):
    assert incumbents.makes_way(of(version("v2", phase, rollout={"strategy": strategy}))) is None


def test_a_version_that_was_refused_stays_as_it_is_and_needs_a_person():
    own = version("v2", "Pending", message="Deployment v2 is refused", conditions=(STALLED, APPLIED))
    assert incumbents.was_refused(of(own)) == VersionPlan(
        "Pending", "Pending", "Deployment v2 is refused", stalled=True
    )
    assert incumbents.was_refused(of(version("v2", "Pending"))) is None


@pytest.mark.parametrize(("candidate", "name"), [(version("v1", "Canary"), "v1"), (None, "another version")])
def test_a_version_waits_while_another_one_rolls_out(candidate, name):
    assert incumbents.waits_for_its_turn(of(version("v2"), roles=replace(NOBODY, candidate=candidate))) == VersionPlan(
        "Pending",
        "WaitingForRollout",
        f"Waiting: {name} is still rolling out, and a model rolls out one version at a time",
    )


def test_as_before_is_phase_reason_and_message_of_the_status():
    told = version("v1", "Standby", message="v2 serves", conditions=(STALLED, READY))
    assert incumbents.as_before(told) == VersionPlan("Standby", "Serving", "v2 serves")
    assert incumbents.as_before(version("v1")) == VersionPlan("Pending", "Pending", "")


# Failback.


def taking_over(standby, champion, drifting=None, record=None):
    found = observed(*[v for v in (champion, standby) if v], record=record or ModelRecord())
    return fail_back(found, Roles(champion, standby, None), drifting)


def again(after="", **more):
    return VersionPlan(
        "Champion", "TookOverAgain", f"Serves all traffic again{after}", **{"replicas": 1, "serve": True, **more}
    )


def test_a_standby_takes_over_where_there_is_no_champion():
    assert taking_over(version("v1", "Standby", pods=1), None) == {"v1": again()}


def test_a_standby_without_a_ready_pod_takes_over_from_nobody():
    assert taking_over(version("v1", "Standby"), None) == {}
    assert taking_over(None, version("v2", "Champion", pods=1, rollout=WITHDRAWN)) == {}


def test_a_standby_takes_nothing_from_a_champion_that_nothing_is_wrong_with():
    assert taking_over(version("v1", "Standby", pods=1), version("v2", "Champion", pods=1)) == {}


def test_first_the_standby_serves_then_the_withdrawn_champion_ends():
    plans = taking_over(version("v1", "Standby", pods=1), version("v2", "Champion", pods=1, rollout=WITHDRAWN))
    assert list(plans.items()) == [
        ("v1", again(", after v2")),
        (
            "v2",
            VersionPlan(
                "RolledBack",
                "Withdrawn",
                f"{SAID}. v1 serves all traffic again",
                quarantine=True,
                decides="rollback",
            ),
        ),
    ]


def test_a_standby_that_is_autoscaled_takes_over_with_as_many_pods_as_the_champion_has():
    standby = version("v1", "Standby", pods=1, serving=AUTOSCALED)
    assert taking_over(standby, version("v2", "Champion", pods=4, rollout=WITHDRAWN))["v1"].replicas == 4
    assert taking_over(standby, None)["v1"].replicas == 2


def test_of_a_champion_that_is_deleted_no_status_is_written():
    """The operator would write into an object that is about to be gone."""
    plans = taking_over(version("v1", "Standby", pods=1), version("v2", "Champion", pods=1, deleting=True))
    assert plans == {"v1": again(", after v2")}


def test_a_monitor_that_calls_drift_rolls_back_and_quarantines():
    plans = taking_over(version("v1", "Standby", pods=1), version("v2", "Champion", pods=1), drifting="watch")
    assert plans["v2"] == VersionPlan(
        "RolledBack",
        "Drift",
        "DriftMonitor watch called drift. v1 serves all traffic again",
        quarantine=True,
        decides="rollback",
    )


def test_a_rollback_of_a_champion_that_a_crash_interrupted_is_finished():
    record = ModelRecord(quarantined=(BANNED.model_copy(update={"digest": digest("2")}),))
    plans = taking_over(version("v1", "Standby", pods=1), version("v2", "Champion", pods=1), record=record)
    assert plans["v2"] == VersionPlan(
        "RolledBack", "Harm", "Harm: errors. More in the record", quarantine=True, decides="rollback"
    )


def test_a_deletion_goes_before_all_other_reasons():
    standby, champion = version("v1", "Standby", pods=1), version("v2", "Champion", deleting=True, rollout=WITHDRAWN)
    seen = FailbackContext(observed(champion, standby), champion, standby, "watch")
    assert failback.is_deleted(seen) == VersionPlan("RolledBack", "Deleted", "Being deleted; v1 serves all traffic")
    assert failback.is_deleted(replace(seen, champion=replace(champion, deleting=False))) is None
    assert failback.CHECKS[0] is failback.is_deleted
