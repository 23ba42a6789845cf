"""How many pods an autoscaled version begins with, keeps, and gives back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from modelward_api.resources.modelversion import Autoscaling
from modelward_operator.domain.rollout.size import pods
from tests.support.builders import clean, decide, observed, phases, version

SCALED = {"autoscaling": {"minReplicas": 2, "maxReplicas": 6}}


def scaled(name, phase, *, pods, **more):
    return version(name, phase, pods=pods, serving=SCALED, **more)


def promoting(pods, **more):
    return scaled("v2", "Promoting", pods=pods, champion="v1", step=2, **more)


def test_a_version_without_autoscaling_has_its_replicas_whatever_there_is():
    assert pods(version("v1", "Champion", pods=9, serving={"replicas": 3}), at_least=7) == 3


@pytest.mark.parametrize(
    ("grown", "at_least", "wanted"), [(0, 0, 2), (1, 0, 2), (4, 0, 4), (3, 5, 5), (9, 0, 6), (1, 9, 6)]
)
def test_an_autoscaled_version_keeps_what_it_has_grown_to_within_its_bounds(grown, at_least, wanted):
    assert pods(scaled("v1", "Champion", pods=grown), at_least) == wanted


def test_the_first_version_begins_with_the_least_of_its_pods():
    decision = decide(observed(scaled("v1", "Deploying", pods=1)))
    assert decision.workloads == {"v1": 2}
    assert decision.autoscaled == frozenset(), "nobody else says how many until it answers"


def test_only_the_champions_number_of_pods_is_left_to_an_autoscaler():
    champion, canary = scaled("v1", "Champion", pods=4), scaled("v2", "Canary", pods=1, champion="v1", step=0)
    decision = decide(observed(champion, canary, serves="v1", paired=clean(5)))
    assert decision.autoscaled == {"v1"}
    assert decision.workloads == {"v1": 4, "v2": 1}


def test_a_promotion_waits_for_as_many_pods_as_the_champion_has_ready():
    decision = decide(observed(scaled("v1", "Champion", pods=5), promoting(2), serves="v1", paired=clean(2000)))
    assert (decision.workloads["v2"], decision.serve) == (5, "v1")
    decision = decide(observed(scaled("v1", "Champion", pods=5), promoting(5), serves="v1", paired=clean(2000)))
    assert decision.serve == "v2"


def test_a_promotion_does_not_shrink_while_the_champion_does():
    decision = decide(observed(scaled("v1", "Champion", pods=3), promoting(5), serves="v1", paired=clean(2000)))
    assert decision.workloads["v2"] == 5


def test_after_a_promotion_the_new_champion_is_autoscaled_and_the_old_one_stays_as_warm_as_it_was():
    decision = decide(observed(scaled("v1", "Champion", pods=5), promoting(5), serves="v2", paired=clean(2000)))
    assert phases(decision) == {"v2": "Champion", "v1": "Standby"}
    assert decision.workloads == {"v2": 5, "v1": 5}
    assert decision.autoscaled == {"v2"}


def test_a_standby_that_takes_over_again_begins_with_the_load_of_whom_it_relieves():
    leaving = scaled("v2", "Champion", pods=6, deleting=True)
    decision = decide(observed(leaving, scaled("v1", "Standby", pods=3), serves="v2"))
    assert phases(decision)["v1"] == "Champion"
    assert decision.workloads["v1"] == 6
    assert decision.autoscaled == {"v1"}


def test_a_champion_whose_autoscaling_is_removed_has_its_replicas_again():
    champion = scaled("v1", "Champion", pods=5)
    serving = champion.spec.serving.model_copy(update={"autoscaling": None})
    fixed = replace(champion, spec=champion.spec.model_copy(update={"serving": serving}))
    decision = decide(observed(fixed, serves="v1"))
    assert (decision.workloads, decision.autoscaled) == ({"v1": 1}, frozenset())


def test_bounds_that_cross_are_refused():
    with pytest.raises(ValueError, match="minReplicas must not be greater"):
        Autoscaling(min_replicas=3, max_replicas=2)


def beside(champion_pods, weight, serving=None):
    """A canary at a weight beside a champion with so many pods: its pods, and the fraction that is mirrored."""
    candidate = version(
        "v2",
        "Canary",
        pods=1,
        serving=serving or {"replicas": 10},
        rollout={"steps": [{"weight": weight, "minRequests": 100}]},
        champion="v1",
        step=0,
    )
    champion = version("v1", "Champion", pods=champion_pods, serving={"replicas": champion_pods})
    decision = decide(observed(champion, candidate, serves="v1", paired=clean(5)))
    return decision.workloads["v2"], decision.leases[0].mirror


@pytest.mark.parametrize(
    ("champion_pods", "weight", "pods"), [(1, 5, 1), (1, 100, 1), (4, 5, 1), (4, 26, 2), (10, 50, 5), (10, 51, 6)]
)
def test_a_challengers_pods_follow_its_weight(champion_pods, weight, pods):
    assert beside(champion_pods, weight)[0] == pods


@pytest.mark.parametrize(
    ("serving", "pods"),
    [({"replicas": 2}, 2), ({"autoscaling": {"minReplicas": 1, "maxReplicas": 3}}, 3)],
    ids=["replicas", "maxReplicas"],
)
def test_a_challenger_has_no_more_pods_than_it_may_have_when_it_answers_all(serving, pods):
    assert beside(10, 50, serving)[0] == pods


@pytest.mark.parametrize("champion_pods", [1, 2, 3, 10])
@pytest.mark.parametrize("weight", [1, 5, 20, 50, 99])
def test_a_challengers_pod_is_asked_no_more_than_a_champions(champion_pods, weight):
    pods, mirror = beside(champion_pods, weight)
    asked = weight / 100 + (1 - weight / 100) * mirror
    assert asked == pytest.approx(pods / champion_pods), "and no less: the more evidence, the sooner it is decided"


def test_beside_one_pod_a_challenger_scores_every_request():
    assert beside(1, 5) == (1, pytest.approx(1.0))


def test_the_fraction_that_a_person_set_is_not_exceeded():
    candidate = version("v2", "Canary", pods=1, rollout={"mirror": 0.25}, champion="v1", step=0)
    decision = decide(observed(version("v1", "Champion", pods=1), candidate, serves="v1", paired=clean(5)))
    assert decision.leases[0].mirror == 0.25


def test_while_a_challengers_pods_start_those_that_are_ready_get_no_more_than_before():
    steps = [{"weight": 10, "minRequests": 1}, {"weight": 50, "minRequests": 100}]
    champion = version("v1", "Champion", pods=10, serving={"replicas": 10})
    candidate = version(
        "v2", "Canary", pods=1, serving={"replicas": 10}, rollout={"steps": steps}, champion="v1", step=1
    )
    decision = decide(observed(champion, candidate, serves="v1", paired=clean(5)))
    assert (decision.workloads["v2"], decision.leases[0].weight) == (5, 10.0)
    assert decision.statuses["v2"].weight.requested == 50.0
