"""How many pods an autoscaled version begins with, keeps, and gives back."""

from __future__ import annotations

from dataclasses import replace

import pytest

from modelward_api.modelversion import Autoscaling
from modelward_operator.domain.rollout.size import pods
from tests.unit.domain.given import clean, decide, observed, phases, version

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
