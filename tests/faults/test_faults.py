"""Each fault by its name: what goes wrong, and what comes of it."""

from __future__ import annotations

import itertools

import pytest

from modelward_operator.engine.kube import gateway as api
from modelward_operator.engine.pods.control_client import LEASE_SECONDS
from tests.faults import quiescence
from tests.faults.choices import KINDS, SERVINGS, UNREADABLE
from tests.faults.cluster import NAMESPACE, NOWHERE
from tests.faults.gateway import Fault
from tests.faults.world import QUICK, TICK, World, world
from tests.support.builders import digest

DIRECT = {"strategy": "direct"}
HELD = {"steps": [{"weight": 50, "minRequests": 1_000_000}]}
"""A canary that stays."""
WORKABLE = [serving for serving in SERVINGS if "nodeSelector" not in serving]
DAY = 86_400.0


@pytest.fixture
def place():
    with world() as found:
        found.callers.rate = 200
        yield found


def champion(place: World, name: str = "v1", **spec) -> None:
    place.create(name, rollout=DIRECT, **spec)
    place.until(lambda: place.phase(name) == "Champion", f"{name} answers")


def canary(place: World, name: str = "v2", rollout=HELD) -> None:
    place.create(name, rollout=rollout)
    place.until(lambda: place.phase(name) == "Canary" and place.callers.answered[name] > 0, f"{name} is compared")


def holds(place: World, **phases: str) -> None:
    """They are in these phases, and nothing was wrong on the way."""
    place.until(lambda: place.phases() == phases, f"{phases}", 1200)
    assert place.invariants.violations == []


# Events.


def test_without_any_event_a_promotion_only_takes_longer(place):
    champion(place)
    place.deafen()
    place.create("v2", rollout=QUICK)
    holds(place, v1="Standby", v2="Champion")


@pytest.mark.parametrize("fault", ["drop", "twice", "shuffled"])
def test_events_that_are_lost_repeated_or_out_of_order_change_nothing(place, fault):
    setattr(place.watches, fault, 10**6)
    champion(place)
    place.create("v2", rollout=QUICK)
    holds(place, v1="Standby", v2="Champion")
    quiescence.settle(place)
    quiescence.check(place)


def test_a_deletion_that_no_watch_has_told_of_is_found(place):
    champion(place)
    canary(place)
    place.deafen()
    place.delete("v2")
    place.wait(1.0)
    place.relist()
    place.until(lambda: place.server.get(api.DEPLOYMENTS, NAMESPACE, "v2") is None, "v2's pods go")
    assert place.version("v2") is None
    assert place.invariants.violations == []


def test_the_deletion_of_a_whole_model_while_the_watches_are_silent_is_found(place):
    champion(place)
    place.deafen()
    place.delete("v1")
    place.until(lambda: not place.versions() and place.serves() is None, "nothing is left")


def test_a_deployment_that_somebody_deletes_unseen_is_made_anew(place):
    champion(place)
    place.deafen()
    place.delete_deployment("v1")
    place.until(lambda: len(place.cluster.ready("v1")) == 1, "v1 answers again")
    assert place.invariants.violations == []


# Clocks.


@pytest.mark.parametrize("seconds", [-DAY, -30, 30, DAY])
def test_a_wall_clock_that_jumps_neither_promotes_nor_costs_an_answer(place, seconds):
    champion(place)
    canary(place)
    place.jump(seconds)
    place.wait(10.0)
    holds(place, v1="Champion", v2="Canary")
    assert place.callers.unanswered == 0


def test_a_clock_that_was_behind_does_not_keep_a_promotion_from_its_end(place):
    champion(place)
    place.jump(-DAY)
    place.create("v2", rollout=QUICK)
    holds(place, v1="Standby", v2="Champion")
    quiescence.settle(place)
    quiescence.check(place)


# Specs.


@pytest.mark.parametrize(("before", "after"), list(itertools.permutations(WORKABLE, 2)), ids=str)
def test_a_spec_that_was_changed_is_as_if_it_had_been_so_from_the_first(before, after):
    ends = []
    for history in ([after], [before, after], [after, before, after]):
        with world() as place:
            place.create("v1", serving=history[0])
            for spec in history[1:]:
                place.wait(3.0)
                place.edit("v1", serving=spec)
            place.wait(20.0)
            assert place.invariants.violations == []
            ends.append(quiescence.made(place))
    assert ends[0] == ends[1] == ends[2]


@pytest.mark.parametrize(
    "bad", [{"serving": {"replicas": 2, "nodeSelector": NOWHERE}}, {"rollout": UNREADABLE}], ids=str
)
def test_a_bad_spec_costs_no_answer_and_is_forgotten_when_it_is_taken_back(place, bad):
    champion(place, serving={"replicas": 2})
    made, good = quiescence.made(place), place.version("v1")["spec"]
    place.edit("v1", validated=False, **bad)
    place.wait(30.0)
    assert len(place.cluster.ready("v1")) == 2
    place.edit("v1", **{part: good.get(part, {}) for part in bad})
    place.wait(30.0)
    assert quiescence.made(place) == made
    assert place.callers.unanswered == 0
    assert place.invariants.violations == []


def test_nothing_takes_over_from_a_champion_whose_spec_cannot_be_read(place):
    champion(place)
    place.edit("v1", validated=False, rollout=UNREADABLE)
    place.create("v2", rollout=DIRECT)
    place.wait(30.0)
    assert place.serves() == "v1"
    assert place.status("v2")["conditions"][0]["reason"] == "ChampionUnreadable"
    place.edit("v1", rollout=DIRECT)
    holds(place, v1="Standby", v2="Champion")


def test_a_digest_that_was_rolled_back_does_not_come_back_under_another_name(place):
    champion(place)
    place.callers.quality[digest("2")] = "invalid"
    place.create("v2", rollout=QUICK)
    holds(place, v1="Champion", v2="RolledBack")
    place.create("v3", letter="2", rollout=DIRECT)
    holds(place, v1="Champion", v2="RolledBack", v3="Quarantined")


# Refusals of the API server.


@pytest.mark.parametrize("resource", KINDS, ids=lambda resource: resource.kind)
def test_writes_that_are_forbidden_for_a_while_are_made_later(place, resource):
    champion(place)
    place.faults.forbidden = frozenset({resource})
    place.create("v2", rollout=QUICK)
    place.wait(20.0)
    assert place.callers.unanswered == 0
    place.faults.forbidden = frozenset()
    holds(place, v1="Standby", v2="Champion")


@pytest.mark.parametrize("mishap", ["409", "500", "answer lost"])
def test_an_api_server_that_fails_every_other_call_only_takes_longer(place, mishap):
    place.faults.planned += [Fault(mishap, number, on) for number in range(1, 30) for on in ("read", "write")]
    place.create("v1", rollout=DIRECT)
    place.until(lambda: place.phase("v1") == "Champion", "v1 answers", 600)
    place.create("v2", rollout=QUICK)
    holds(place, v1="Standby", v2="Champion")


# Stale reads.


@pytest.mark.parametrize("lag", [1, 3, 8, 21])
@pytest.mark.parametrize("resource", [None, *KINDS], ids=lambda resource: resource.kind if resource else "everything")
def test_an_operator_that_starts_with_old_readings_does_no_harm(place, resource, lag):
    champion(place)
    canary(place, rollout=QUICK)
    holds(place, v1="Standby", v2="Champion")
    place.edit("v2", rollout={"withdrawn": True})
    holds(place, v1="Champion", v2="RolledBack")
    place.wait(5.0)
    before = place.phases()
    for kind in [resource] if resource else KINDS:
        place.faults.lag[kind] = lag
    for process in place.processes:
        process.die()
    place.wait(12.0)
    assert place.invariants.violations == []
    place.heal()
    place.wait(20.0)
    assert (place.phases(), place.serves()) == (before, "v1")
    assert place.callers.unanswered == 0


# The way to the pods.


def test_callers_notice_nothing_when_no_pod_can_be_reached_and_the_lease_runs_out(place):
    champion(place)
    canary(place)
    place.network.cut = {pod.ip for pod in place.cluster.pods.values()}
    place.wait(LEASE_SECONDS + 1)
    before = place.callers.answered["v2"]
    place.wait(10.0)
    assert place.callers.answered["v2"] == before
    assert place.callers.unanswered == 0
    place.network.cut.clear()
    place.wait(5.0)
    assert place.callers.answered["v2"] > before


@pytest.mark.parametrize("loss", ["lost", "unanswered", "late", "twice"])
def test_a_talk_with_the_pods_that_goes_wrong_again_and_again_only_takes_longer(place, loss):
    champion(place)
    place.network.losses = [loss, None, loss] * 8
    place.create("v2", rollout=QUICK)
    holds(place, v1="Standby", v2="Champion")


def test_a_lease_that_comes_late_brings_nobody_back_who_was_rolled_back(place):
    champion(place)
    canary(place)
    place.network.losses = ["twice"] * 20
    place.wait(1.5)
    place.callers.quality[digest("2")] = "failing"
    place.until(lambda: place.phase("v2") == "RolledBack", "v2 is out")
    place.wait(LEASE_SECONDS)
    assert place.invariants.violations == []


def test_an_end_of_a_lease_that_comes_late_ends_no_newer_one(place):
    champion(place)
    seen = []
    place.network.listeners.append(lambda pod: seen.append(pod.state() is not None))
    place.network.losses = ["late"] * 3  # while there is no challenger yet
    canary(place)
    place.wait(6.0)
    begun = seen.index(True)
    assert all(seen[begun:])
    assert not any(seen[:begun])


# Pods.


def test_a_champion_without_pods_stays_the_champion_and_nobody_takes_over_for_that(place):
    champion(place)
    canary(place)
    for pod in place.cluster.ready("v1"):
        place.kill_pod(pod.name)
    place.until(lambda: len(place.cluster.ready("v1")) == 1, "v1 has a pod again")
    place.wait(5.0)
    holds(place, v1="Champion", v2="Canary")
    assert place.serves() == "v1"


def test_a_challenger_without_pods_costs_no_answer(place):
    champion(place)
    canary(place)
    for pod in place.cluster.ready("v2"):
        place.kill_pod(pod.name)
    place.wait(15.0)
    assert place.callers.unanswered == 0
    assert place.invariants.violations == []


def test_a_champion_pod_that_starts_anew_gets_its_lease_again_and_no_pair_is_counted_twice(place):
    champion(place)
    canary(place)
    place.crash_pod(place.cluster.ready("v1")[0].name)
    place.wait(5.0)
    before = place.callers.answered["v2"]
    place.wait(5.0)
    assert place.callers.answered["v2"] > before
    holds(place, v1="Champion", v2="Canary")


# Operators.


def test_a_deposed_operator_changes_no_lease(place):
    champion(place)
    canary(place)
    former = place.leader()
    place.suspend()
    place.until(lambda: place.leader() is not None, "another one leads")
    place.edit("v2", rollout={"withdrawn": True})
    holds(place, v1="Champion", v2="RolledBack")
    place.resume()
    (pod,) = place.cluster.ready("v1")
    for _ in range(100):
        place.wait(0.25)
        assert pod.state() is None
    assert former.ended
    assert place.invariants.violations == []


def test_of_several_operators_one_leads(place):
    champion(place)
    for _ in range(3):
        place.start()
    place.create("v2", rollout=QUICK)
    while place.phases() != {"v1": "Standby", "v2": "Champion"}:
        place.wait(TICK)
        assert sum(process.leads for process in place.processes) == 1
    quiescence.settle(place)
    quiescence.check(place)


@pytest.mark.parametrize(("ends", "seconds"), [("die", 7.0), ("stop", 1.0)])
def test_the_next_one_leads_soon_after_a_leader_has_ended(place, ends, seconds):
    champion(place)
    canary(place)
    former = place.leader()
    place.processes.remove(former)  # nobody starts it anew under its name
    getattr(former, ends)()
    place.wait(seconds)
    assert place.leader().leadership.epoch == former.leadership.epoch + 1
    holds(place, v1="Champion", v2="Canary")


@pytest.mark.parametrize("mishap", ["409", "500", "answer lost"])
def test_a_leader_that_cannot_renew_its_lease_for_a_moment_leads_on(place, mishap):
    champion(place)
    former = place.leader()
    place.leases.planned += [Fault(mishap, number) for number in (1, 2)]
    place.wait(10.0)
    assert place.leases.planned == []
    assert place.leader() is former
