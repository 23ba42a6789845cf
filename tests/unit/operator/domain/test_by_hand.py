"""Decisions by people, and the record of every decision."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from modelward_api.resources.modelversion import Transition
from modelward_operator.domain.core.clock import stamp
from modelward_operator.domain.core.record import ModelRecord, Quarantine
from modelward_operator.domain.evidence import publication
from tests.support.builders import NOW, clean, condition, decide, digest, observed, phases, version

STEPS = {"steps": [{"weight": 10, "minRequests": 100}]}
CANARY = {"champion": "v1", "step": 0, "stepPairs": 0, "stepSince": "2026-01-01T12:00:00Z"}
OUT = {"withdrawn": True}


def champion(name: str = "v1", **more):
    return version(name, "Champion", pods=more.pop("pods", 1), **more)


def canary(**rollout):
    return version("v2", "Canary", pods=1, rollout={**STEPS, **rollout}, **CANARY)


def known(letter: str, time: str = "2025-12-24T00:00:00Z") -> Quarantine:
    return Quarantine(digest=digest(letter), version=f"{letter}.0.0", reason="HarmShown", message="harm", time=time)


def former(name: str, since: float = 0.0):
    """A version that was the champion once, and has no pods any more."""
    past = Transition(time="2025-11-01T00:00:00Z", to_phase="Champion", reason="Promoted")
    return version(name, "Retired", since=since, history=[past.to_json()])


# Withdrawal


def test_a_withdrawn_challenger_is_rolled_back_whatever_the_evidence_says():
    decision = decide(observed(champion(), canary(**OUT), serves="v1", paired=clean(5000)))
    assert phases(decision) == {"v1": "Champion", "v2": "RolledBack"}
    assert decision.leases[0].challenger is None
    assert [entry.reason for entry in decision.record.quarantined] == ["Withdrawn"]


def test_a_withdrawn_version_that_waits_never_begins():
    decision = decide(observed(champion(), version("v2", rollout=OUT), serves="v1"))
    assert phases(decision) == {"v1": "Champion", "v2": "RolledBack"}
    assert decision.workloads == {"v1": 1}


def test_withdrawing_during_the_promotion_hands_everything_back():
    promoting = replace(canary(**OUT), status=canary().status.model_copy(update={"phase": "Promoting"}))
    decision = decide(observed(champion(), promoting, serves="v1", paired=clean(2000)))
    assert phases(decision) == {"v1": "Champion", "v2": "RolledBack"}
    assert decision.serve == "v1"


def test_a_withdrawn_champion_hands_back_to_the_warm_version_in_one_step():
    decision = decide(observed(champion("v2", rollout=OUT), version("v1", "Standby", pods=1), serves="v2"))
    assert decision.serve == "v1"
    assert list(phases(decision).items()) == [("v1", "Champion"), ("v2", "RolledBack")]
    assert "v2" in decision.workloads, "its pods stay until the Service has turned away"
    assert decision.record.quarantined[0].digest == digest("2")


def test_why_a_version_was_withdrawn_stands_in_its_message_and_in_the_record():
    because = {**OUT, "withdrawnBecause": "O/E 1.6 after 90 days"}
    standby = version("v1", "Standby", pods=1)
    for withdrawn in (champion("v2", rollout=because), version("v2", rollout=because)):
        decision = decide(observed(withdrawn, standby, serves="v2"))
        assert "Withdrawn by spec.rollout.withdrawn: O/E 1.6 after 90 days" in decision.statuses["v2"].message
        assert "O/E 1.6" in decision.record.decisions[-1].message


def test_why_a_champion_is_withdrawn_is_said_while_it_still_answers_too():
    withdrawn = champion("v2", rollout={**OUT, "withdrawnBecause": "O/E 1.6 after 90 days"})
    for observation in (observed(withdrawn, former("v1", since=5), serves="v2"), observed(withdrawn, serves="v2")):
        message = decide(observation).statuses["v2"].message
        assert message.startswith("Withdrawn by spec.rollout.withdrawn: O/E 1.6 after 90 days. ")


def test_without_a_warm_version_the_one_before_is_made_ready_while_the_withdrawn_one_answers():
    decision = decide(observed(champion("v3", rollout=OUT), former("v1", since=9), former("v2", since=5), serves="v3"))
    assert phases(decision) == {"v3": "Champion", "v2": "Standby", "v1": "Retired"}
    assert decision.workloads == {"v3": 1, "v2": 1}
    assert decision.serve == "v3"
    assert condition(decision, "v3", "Ready").reason == "WithdrawalUnderWay"


def test_a_recalled_version_is_kept_until_it_answers_even_if_nothing_is_kept_warm():
    withdrawn = champion("v2", rollout={**OUT, "keepWarm": "0s"})
    decision = decide(observed(withdrawn, version("v1", "Standby", since=60), serves="v2"))
    assert phases(decision) == {"v2": "Champion", "v1": "Standby"}
    ready = decide(observed(withdrawn, version("v1", "Standby", pods=1, since=60), serves="v2"))
    assert phases(ready) == {"v1": "Champion", "v2": "RolledBack"}


def test_a_withdrawn_champion_that_nobody_can_replace_answers_on_and_says_so():
    decision = decide(observed(champion(rollout=OUT), serves="v1"))
    assert phases(decision) == {"v1": "Champion"}
    assert condition(decision, "v1", "Stalled").reason == "WithdrawalHeld"


def test_a_withdrawn_standby_answers_never_again():
    standby = version("v1", "Standby", pods=1, rollout=OUT)
    decision = decide(observed(champion("v2", rollout=OUT), standby, serves="v2"))
    assert phases(decision) == {"v2": "Champion", "v1": "RolledBack"}


def test_a_version_that_never_answered_is_not_recalled():
    decision = decide(observed(champion("v2", rollout=OUT), version("v1", "Retired"), serves="v2"))
    assert phases(decision) == {"v2": "Champion", "v1": "Retired"}


# Release


def rolled_back(release: str | None):
    rollout = {**STEPS, "release": release} if release else STEPS
    return version("v2", "RolledBack", rollout=rollout, rolledBackAt="2025-12-24T00:00:00Z")


def test_a_person_releases_a_rollback_by_its_time():
    observation = observed(
        champion(),
        rolled_back("2025-12-24T00:00:00Z"),
        serves="v1",
        record=ModelRecord(quarantined=(known("2"), known("9"))),
    )
    decision = decide(observation)
    assert phases(decision)["v2"] == "Pending"
    assert [entry.digest for entry in decision.record.quarantined] == [digest("9")]
    begins = decide(replace(observation, versions=_written(observation, decision), record=decision.record))
    assert phases(begins)["v2"] == "Verifying"


def test_another_rollback_has_another_time_and_is_not_released():
    record = ModelRecord(quarantined=(known("2", "2026-01-01T00:00:00Z"),))
    again = version(
        "v2", "RolledBack", rollout={"release": "2025-12-24T00:00:00Z"}, rolledBackAt="2026-01-01T00:00:00Z"
    )
    decision = decide(observed(champion(), again, serves="v1", record=record))
    assert phases(decision)["v2"] == "RolledBack"
    assert decision.record == record


def test_a_digest_that_comes_under_another_name_says_how_to_release_it_and_can_be():
    record = ModelRecord(quarantined=(known("2"),))
    decision = decide(observed(champion(), version("v2"), serves="v1", record=record))
    status = decision.statuses["v2"]
    assert (status.phase, status.rolled_back_at) == ("Quarantined", "2025-12-24T00:00:00Z")
    assert "spec.rollout.release to '2025-12-24T00:00:00Z'" in status.message
    released = replace(version("v2", rollout={"release": status.rolled_back_at}), status=status)
    assert phases(decide(observed(champion(), released, serves="v1", record=record)))["v2"] == "Pending"


def test_a_canary_that_was_undecided_at_its_deadline_is_tried_again_when_released():
    late = version("v2", "Canary", pods=1, rollout={**STEPS, "deadline": "1h"}, since=3601, **CANARY)
    status = decide(observed(champion(), late, serves="v1", paired=clean(50))).statuses["v2"]
    assert (status.phase, status.rolled_back_at) == ("RolledBack", stamp(NOW))
    assert f"spec.rollout.release to '{stamp(NOW)}'" in status.message
    released = replace(version("v2", rollout={"release": stamp(NOW)}), status=status)
    assert phases(decide(observed(champion(), released, serves="v1")))["v2"] == "Pending"


def test_who_is_withdrawn_is_not_released():
    both = version(
        "v2", "RolledBack", rollout={**OUT, "release": "2025-12-24T00:00:00Z"}, rolledBackAt="2025-12-24T00:00:00Z"
    )
    assert phases(decide(observed(champion(), both, serves="v1")))["v2"] == "RolledBack"


# Decision records


def test_a_promotion_is_recorded_with_all_that_it_rests_on():
    decision = decide(observed(champion(), canary(), serves="v1", paired=clean(2000)))
    (entry,) = decision.record.decisions
    assert (entry.outcome, entry.model_version, entry.champion, entry.reason) == ("promote", "v2", "v1", "HarmBounded")
    assert (entry.evidence.challenger, entry.evidence.champion) == (digest("2"), digest("1"))
    assert entry.evidence.counts == publication.rough(clean(2000)).middle
    assert decision.record.ledger.decided == {entry.key: clean(2000)}, "exact, for an auditor"
    assert {signal.verdict for signal in entry.evidence.signals} == {"Pass"}
    told = decision.statuses["v2"].decided
    assert told is not None
    assert (told.outcome, told.evidence_digest) == ("promote", entry.evidence.digest)


def test_the_evidence_digest_does_not_depend_on_how_the_document_is_written():
    (entry,) = decide(observed(champion(), canary(), serves="v1", paired=clean(2000))).record.decisions
    shuffled = json.loads(json.dumps(entry.to_json(), sort_keys=True))
    again = type(entry).model_validate(shuffled)
    assert again.evidence.digest == entry.evidence_digest
    other = entry.evidence.model_copy(update={"counts": clean(2001)})
    assert other.digest != entry.evidence_digest


CAUSES = {
    "harm": (observed(champion(), canary(), serves="v1", paired=clean(30, invalid=1)), "HardFailure"),
    "a person": (observed(champion(), canary(**OUT), serves="v1", paired=clean(60)), "Withdrawn"),
    "its deadline": (
        observed(
            champion(), version("v2", "Canary", pods=1, rollout={"deadline": "1s"}, since=9, **CANARY), serves="v1"
        ),
        "DeadlineExceeded",
    ),
}


@pytest.mark.parametrize(("observation", "reason"), CAUSES.values(), ids=CAUSES.keys())
def test_a_rollback_is_recorded_when_it_is_caused_by(observation, reason):
    (entry,) = decide(observation).record.decisions
    assert (entry.outcome, entry.reason, entry.model_version) == ("rollback", reason, "v2")


def test_the_first_version_is_recorded_as_promoted_without_evidence():
    (entry,) = decide(observed(version("v1", "Deploying", pods=1), serves="v1")).record.decisions
    assert (entry.outcome, entry.evidence.champion, entry.evidence.signals) == ("promote", None, ())


def test_a_crash_after_the_record_does_not_record_a_decision_twice():
    observation = observed(champion(), canary(), serves="v1", paired=clean(30, invalid=1))
    first = decide(observation)
    again = decide(replace(observation, record=first.record), seconds=5)
    assert phases(again)["v2"] == "RolledBack"
    assert again.record.decisions == first.record.decisions
    assert again.record.quarantined == first.record.quarantined


def test_a_decision_is_recorded_again_when_it_is_made_again():
    record = decide(observed(champion(), canary(), serves="v1", paired=clean(30, invalid=1))).record
    later = replace(canary(), status=canary().status.model_copy(update={"phase_since": stamp(NOW.replace(hour=13))}))
    observation = observed(champion(), later, serves="v1", paired=clean(30, invalid=1))
    released = ModelRecord(decisions=record.decisions, ledger=observation.record.ledger)
    decision = decide(replace(observation, record=released), seconds=7200)
    assert [entry.outcome for entry in decision.record.decisions] == ["rollback", "rollback"]


def test_decisions_outlive_the_versions():
    record = decide(observed(champion(), canary(), serves="v1", paired=clean(2000))).record
    gone = observed(champion(deleting=True), serves="v1", record=record)
    assert decide(gone).record.decisions == record.decisions


def _written(observation, decision):
    return tuple(replace(v, status=decision.statuses[v.name]) for v in observation.versions)


def test_rolling_back_another_name_of_what_answers_does_not_quarantine_what_answers():
    again = replace(canary(**OUT), artifact=champion().artifact)
    decision = decide(observed(champion(), again, serves="v1"))
    assert phases(decision) == {"v1": "Champion", "v2": "RolledBack"}
    assert decision.record.quarantined == ()
