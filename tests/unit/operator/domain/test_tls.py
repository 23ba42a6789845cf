"""A rollout waits while only one side uses TLS, and the status reports a missing Secret."""

from __future__ import annotations

from dataclasses import replace

import pytest

from modelward_operator.domain.core.failure import Failure
from modelward_operator.domain.rollout.observation import Pod
from tests.support.builders import clean, condition, decide, observed, phases, version

TLS = {"tls": {"secretName": "mortality-tls"}}


def secure(name, phase, **more):
    """A version whose pods speak TLS, as its spec says."""
    found = version(name, phase, pods=1, serving=TLS, **more)
    return replace(found, pods=tuple(replace(pod, tls=True) for pod in found.pods))


@pytest.mark.parametrize("phase", ["Deploying", "Canary", "Promoting", "Shadow"])
@pytest.mark.parametrize("strategy", ["canary", "direct"])
@pytest.mark.parametrize("which", ["champion", "candidate"])
def test_a_rollout_is_held_while_only_one_side_speaks_tls(phase, strategy, which):
    make = (secure, version) if which == "champion" else (version, secure)
    sides = [{"pods": 1} if side is version else {} for side in make]
    champion = make[0]("v1", "Champion", **sides[0])
    candidate = make[1]("v2", phase, champion="v1", step=0, rollout={"strategy": strategy}, **sides[1])
    decision = decide(observed(champion, candidate, serves="v1", paired=clean(2000)))
    assert phases(decision)["v2"] == "Deploying"
    assert decision.serve == "v1"
    assert decision.leases[0].challenger is None
    assert condition(decision, "v2", "Stalled").reason == "TlsDiffers"
    assert "use the same" in condition(decision, "v2", "Stalled").message


def test_a_rollout_with_tls_on_both_sides_goes_on():
    champion, candidate = secure("v1", "Champion"), secure("v2", "Deploying")
    assert phases(decide(observed(champion, candidate, serves="v1")))["v2"] == "Canary"


def test_a_rollout_waits_for_pods_that_speak_as_the_changed_spec_says():
    changed = secure("v2", "Canary", champion="v1", step=0)
    changed = replace(changed, pods=tuple(replace(pod, tls=False) for pod in changed.pods))
    decision = decide(observed(secure("v1", "Champion"), changed, serves="v1", paired=clean(10)))
    assert phases(decision)["v2"] == "Deploying"
    assert condition(decision, "v2", "Ready").reason == "PodsChanging"


def test_a_new_model_needs_nobody_to_agree_with():
    assert decide(observed(secure("v1", "Deploying"))).serve == "v1"


MISSING = Failure(
    "TlsSecretMissing", "/etc/modelward/tls/tls.crt is missing: spec.serving.tls.secretName must be a Secret"
)


def test_a_missing_secret_is_told_and_waited_for():
    waiting = replace(version("v1", "Deploying", serving=TLS), pods=(Pod("p", verified=True, failure=MISSING),))
    decision = decide(observed(waiting))
    assert phases(decision)["v1"] == "Deploying"
    assert condition(decision, "v1", "Ready").reason == "TlsSecretMissing"
    told = condition(decision, "v1", "TlsReady")
    assert (told.status, told.reason, told.message) == ("False", "TlsSecretMissing", MISSING.message)


def test_a_champion_whose_new_pods_find_no_secret_answers_on_and_says_so():
    champion = version("v1", "Champion", pods=1, serving=TLS)
    champion = replace(champion, pods=(*champion.pods, Pod("new", verified=True, failure=MISSING)))
    decision = decide(observed(champion, serves="v1"))
    assert condition(decision, "v1", "Ready").status == "True"
    assert condition(decision, "v1", "TlsReady").reason == "TlsSecretMissing"


def test_a_champion_whose_secret_lost_a_file_answers_on_and_says_so_until_it_is_back():
    champion = secure("v1", "Champion")
    decision = decide(observed(champion, serves="v1", certificates={"v1": MISSING}))
    assert condition(decision, "v1", "Ready").status == "True"
    told = condition(decision, "v1", "TlsReady")
    assert (told.status, told.reason, told.message) == ("False", "TlsSecretMissing", MISSING.message)
    restored = decide(observed(replace(champion, status=decision.statuses["v1"]), serves="v1"))
    assert condition(restored, "v1", "TlsReady").status == "True"


def test_callers_are_told_the_scheme():
    decision = decide(observed(secure("v1", "Champion"), serves="v1"))
    assert decision.statuses["v1"].endpoints.rest == "https://mortality.clinic.svc:8080/v2/models/mortality"
    assert condition(decision, "v1", "TlsReady").status == "True"


def test_without_tls_nothing_is_said_of_it():
    secured = decide(observed(secure("v1", "Champion"), serves="v1")).statuses["v1"]
    plain = replace(version("v1", "Champion", pods=1), status=secured)
    assert condition(decide(observed(plain, serves="v1")), "v1", "TlsReady") is None
