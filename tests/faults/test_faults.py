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
from tests.support.cases import cases

DIRECT = {"strategy": "direct"}
HELD = {"steps": [{"weight": 50, "minRequests": 1_000_000}]}
"""A canary that stays."""
WORKABLE = [serving for serving in SERVINGS if "nodeSelector" not in serving]
DAY = 86_400.0


@pytest.fixture
def harness():
    with world() as found:
        found.callers.rate = 200
        yield found


def champion(harness: World, name: str = "v1", **spec) -> None:
    harness.create(name, rollout=DIRECT, **spec)
    harness.until(lambda: harness.phase(name) == "Champion", f"{name} answers")


def canary(harness: World, name: str = "v2", rollout=HELD) -> None:
    harness.create(name, rollout=rollout)
    harness.until(lambda: harness.phase(name) == "Canary" and harness.callers.answered[name] > 0, f"{name} is compared")


def holds(harness: World, **phases: str) -> None:
    """They are in these phases, and nothing was wrong on the way."""
    harness.until(lambda: harness.phases() == phases, f"{phases}", 1200)
    assert harness.invariants.violations == []


# Events.


def test_without_any_event_a_promotion_only_takes_longer(harness):
    champion(harness)
    harness.deafen()
    harness.create("v2", rollout=QUICK)
    holds(harness, v1="Standby", v2="Champion")


@pytest.mark.parametrize("fault", ["drop", "twice", "shuffled"])
def test_events_that_are_lost_repeated_or_out_of_order_change_nothing(harness, fault):
    setattr(harness.watches, fault, 10**6)
    champion(harness)
    harness.create("v2", rollout=QUICK)
    holds(harness, v1="Standby", v2="Champion")
    quiescence.settle(harness)
    quiescence.check(harness)


def test_a_deletion_that_no_watch_has_told_of_is_found(harness):
    champion(harness)
    canary(harness)
    harness.deafen()
    harness.delete("v2")
    harness.wait(1.0)
    harness.relist()
    harness.until(lambda: harness.server.get(api.DEPLOYMENTS, NAMESPACE, "v2") is None, "v2's pods go")
    assert harness.version("v2") is None
    assert harness.invariants.violations == []


def test_the_deletion_of_a_whole_model_while_the_watches_are_silent_is_found(harness):
    champion(harness)
    harness.deafen()
    harness.delete("v1")
    harness.until(lambda: not harness.versions() and harness.serves() is None, "nothing is left")


def test_a_deployment_that_somebody_deletes_unseen_is_made_anew(harness):
    champion(harness)
    harness.deafen()
    harness.delete_deployment("v1")
    harness.until(lambda: len(harness.cluster.ready("v1")) == 1, "v1 answers again")
    assert harness.invariants.violations == []


# Clocks.


@pytest.mark.parametrize("seconds", [-DAY, -30, 30, DAY])
def test_a_wall_clock_that_jumps_neither_promotes_nor_costs_an_answer(harness, seconds):
    champion(harness)
    canary(harness)
    harness.jump(seconds)
    harness.wait(10.0)
    holds(harness, v1="Champion", v2="Canary")
    assert harness.callers.unanswered == 0


def test_a_clock_that_was_behind_does_not_keep_a_promotion_from_its_end(harness):
    champion(harness)
    harness.jump(-DAY)
    harness.create("v2", rollout=QUICK)
    holds(harness, v1="Standby", v2="Champion")
    quiescence.settle(harness)
    quiescence.check(harness)


# Specs.


@pytest.mark.parametrize(
    ("before", "after"),
    cases(
        {f"{i}-{j}": (WORKABLE[i], WORKABLE[j]) for i, j in itertools.permutations(range(len(WORKABLE)), 2)},
        always=["0-1", "1-2", "2-3", "3-0"],
    ),
)
def test_a_spec_that_was_changed_is_as_if_it_had_been_so_from_the_first(before, after):
    ends = []
    for history in ([after], [before, after], [after, before, after]):
        with world() as harness:
            harness.create("v1", serving=history[0])
            for spec in history[1:]:
                harness.wait(3.0)
                harness.edit("v1", serving=spec)
            harness.wait(20.0)
            assert harness.invariants.violations == []
            ends.append(quiescence.made(harness))
    assert ends[0] == ends[1] == ends[2]


@pytest.mark.parametrize(
    "bad", [{"serving": {"replicas": 2, "nodeSelector": NOWHERE}}, {"rollout": UNREADABLE}], ids=str
)
def test_a_bad_spec_costs_no_answer_and_is_forgotten_when_it_is_taken_back(harness, bad):
    champion(harness, serving={"replicas": 2})
    made, good = quiescence.made(harness), harness.version("v1")["spec"]
    harness.edit("v1", validated=False, **bad)
    harness.wait(30.0)
    assert len(harness.cluster.ready("v1")) == 2
    harness.edit("v1", **{part: good.get(part, {}) for part in bad})
    harness.wait(30.0)
    assert quiescence.made(harness) == made
    assert harness.callers.unanswered == 0
    assert harness.invariants.violations == []


def test_nothing_takes_over_from_a_champion_whose_spec_cannot_be_read(harness):
    champion(harness)
    harness.edit("v1", validated=False, rollout=UNREADABLE)
    harness.create("v2", rollout=DIRECT)
    harness.wait(30.0)
    assert harness.serves() == "v1"
    assert harness.status("v2")["conditions"][0]["reason"] == "ChampionUnreadable"
    harness.edit("v1", rollout=DIRECT)
    holds(harness, v1="Standby", v2="Champion")


def test_a_digest_that_was_rolled_back_does_not_come_back_under_another_name(harness):
    champion(harness)
    harness.callers.quality[digest("2")] = "invalid"
    harness.create("v2", rollout=QUICK)
    holds(harness, v1="Champion", v2="RolledBack")
    harness.create("v3", letter="2", rollout=DIRECT)
    holds(harness, v1="Champion", v2="RolledBack", v3="Quarantined")


# Refusals of the API server.


@pytest.mark.parametrize("resource", KINDS, ids=lambda resource: resource.kind)
def test_writes_that_are_forbidden_for_a_while_are_made_later(harness, resource):
    champion(harness)
    harness.faults.forbidden = frozenset({resource})
    harness.create("v2", rollout=QUICK)
    harness.wait(20.0)
    assert harness.callers.unanswered == 0
    harness.faults.forbidden = frozenset()
    holds(harness, v1="Standby", v2="Champion")


@pytest.mark.parametrize("mishap", ["409", "500", "answer lost"])
def test_an_api_server_that_fails_every_other_call_only_takes_longer(harness, mishap):
    harness.faults.planned += [Fault(mishap, number, on) for number in range(1, 30) for on in ("read", "write")]
    harness.create("v1", rollout=DIRECT)
    harness.until(lambda: harness.phase("v1") == "Champion", "v1 answers", 600)
    harness.create("v2", rollout=QUICK)
    holds(harness, v1="Standby", v2="Champion")


# Stale reads.


@pytest.mark.parametrize(
    ("resource", "lag"),
    cases(
        {
            f"{kind.kind if kind else 'everything'}-{lag}": (kind, lag)
            for kind, lag in itertools.product((None, *KINDS), (1, 3, 8, 21))
        },
        always=["everything-1", "everything-3", "everything-8", "everything-21", *(f"{kind.kind}-8" for kind in KINDS)],
    ),
)
def test_an_operator_that_starts_with_old_readings_does_no_harm(harness, resource, lag):
    champion(harness)
    canary(harness, rollout=QUICK)
    holds(harness, v1="Standby", v2="Champion")
    harness.edit("v2", rollout={"withdrawn": True})
    holds(harness, v1="Champion", v2="RolledBack")
    harness.wait(5.0)
    before = harness.phases()
    for kind in [resource] if resource else KINDS:
        harness.faults.lag[kind] = lag
    for process in harness.processes:
        process.die()
    harness.wait(12.0)
    assert harness.invariants.violations == []
    harness.heal()
    harness.wait(20.0)
    assert (harness.phases(), harness.serves()) == (before, "v1")
    assert harness.callers.unanswered == 0


# The way to the pods.


def test_callers_notice_nothing_when_no_pod_can_be_reached_and_the_lease_runs_out(harness):
    champion(harness)
    canary(harness)
    harness.network.cut = {pod.ip for pod in harness.cluster.pods.values()}
    harness.wait(LEASE_SECONDS + 1)
    before = harness.callers.answered["v2"]
    harness.wait(10.0)
    assert harness.callers.answered["v2"] == before
    assert harness.callers.unanswered == 0
    harness.network.cut.clear()
    harness.wait(5.0)
    assert harness.callers.answered["v2"] > before


@pytest.mark.parametrize("loss", ["lost", "unanswered", "late", "twice"])
def test_a_talk_with_the_pods_that_goes_wrong_again_and_again_only_takes_longer(harness, loss):
    champion(harness)
    harness.network.losses = [loss, None, loss] * 8
    harness.create("v2", rollout=QUICK)
    holds(harness, v1="Standby", v2="Champion")


def test_a_lease_that_comes_late_brings_nobody_back_who_was_rolled_back(harness):
    champion(harness)
    canary(harness)
    harness.network.losses = ["twice"] * 20
    harness.wait(1.5)
    harness.callers.quality[digest("2")] = "failing"
    harness.until(lambda: harness.phase("v2") == "RolledBack", "v2 is out")
    harness.wait(LEASE_SECONDS)
    assert harness.invariants.violations == []


def test_an_end_of_a_lease_that_comes_late_ends_no_newer_one(harness):
    champion(harness)
    seen = []
    harness.network.listeners.append(lambda pod: seen.append(pod.state() is not None))
    harness.network.losses = ["late"] * 3  # while there is no challenger yet
    canary(harness)
    harness.wait(6.0)
    begun = seen.index(True)
    assert all(seen[begun:])
    assert not any(seen[:begun])


# Pods.


def test_a_champion_without_pods_stays_the_champion_and_nobody_takes_over_for_that(harness):
    champion(harness)
    canary(harness)
    for pod in harness.cluster.ready("v1"):
        harness.kill_pod(pod.name)
    harness.until(lambda: len(harness.cluster.ready("v1")) == 1, "v1 has a pod again")
    harness.wait(5.0)
    holds(harness, v1="Champion", v2="Canary")
    assert harness.serves() == "v1"


def test_a_challenger_without_pods_costs_no_answer(harness):
    champion(harness)
    canary(harness)
    for pod in harness.cluster.ready("v2"):
        harness.kill_pod(pod.name)
    harness.wait(15.0)
    assert harness.callers.unanswered == 0
    assert harness.invariants.violations == []


def test_a_champion_pod_that_starts_anew_gets_its_lease_again_and_no_pair_is_counted_twice(harness):
    champion(harness)
    canary(harness)
    harness.crash_pod(harness.cluster.ready("v1")[0].name)
    harness.wait(5.0)
    before = harness.callers.answered["v2"]
    harness.wait(5.0)
    assert harness.callers.answered["v2"] > before
    holds(harness, v1="Champion", v2="Canary")


# Operators.


def test_a_deposed_operator_changes_no_lease(harness):
    champion(harness)
    canary(harness)
    former = harness.leader()
    harness.suspend()
    harness.until(lambda: harness.leader() is not None, "another one leads")
    harness.edit("v2", rollout={"withdrawn": True})
    holds(harness, v1="Champion", v2="RolledBack")
    harness.resume()
    (pod,) = harness.cluster.ready("v1")
    for _ in range(100):
        harness.wait(0.25)
        assert pod.state() is None
    assert former.ended
    assert harness.invariants.violations == []


def test_of_several_operators_one_leads(harness):
    champion(harness)
    for _ in range(3):
        harness.start()
    harness.create("v2", rollout=QUICK)
    while harness.phases() != {"v1": "Standby", "v2": "Champion"}:
        harness.wait(TICK)
        assert sum(process.leads for process in harness.processes) == 1
    quiescence.settle(harness)
    quiescence.check(harness)


@pytest.mark.parametrize(("ends", "seconds"), [("die", 7.0), ("stop", 1.0)])
def test_the_next_one_leads_soon_after_a_leader_has_ended(harness, ends, seconds):
    champion(harness)
    canary(harness)
    former = harness.leader()
    harness.processes.remove(former)  # nobody starts it anew under its name
    getattr(former, ends)()
    harness.wait(seconds)
    assert harness.leader().leadership.epoch == former.leadership.epoch + 1
    holds(harness, v1="Champion", v2="Canary")


@pytest.mark.parametrize("mishap", ["409", "500", "answer lost"])
def test_a_leader_that_cannot_renew_its_lease_for_a_moment_leads_on(harness, mishap):
    champion(harness)
    former = harness.leader()
    harness.leases.planned += [Fault(mishap, number) for number in (1, 2)]
    harness.wait(10.0)
    assert harness.leases.planned == []
    assert harness.leader() is former
