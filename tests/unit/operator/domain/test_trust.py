"""A rollout waits while the challenger would refuse the champion's clients."""

from __future__ import annotations

from dataclasses import replace

import pytest

from modelward_api.resources.modelversion import Authentication
from modelward_operator.domain.core.caller_auth import fingerprint, refused_for
from tests.support.builders import clean, condition, decide, observed, phases, version

WARD, LAB = "system:serviceaccount:clinic:ward", "system:serviceaccount:clinic:lab"


def trusting(**more):
    return {"issuer": "https://idp", "audiences": ["mortality"], "jwksConfigMap": "keys", **more}


def guarded(name, phase, authentication, **more):
    """A version whose pods ask for tokens, as its spec says."""
    found = version(name, phase, pods=1, serving={"authentication": authentication} if authentication else {}, **more)
    return replace(found, pods=tuple(replace(pod, callers=found.callers) for pod in found.pods))


HELD = {
    "tokens that callers do not send": (None, trusting(), "it requires tokens"),
    "another issuer": (trusting(), trusting(issuer="https://other"), "its issuer differs"),
    "an audience less": (trusting(audiences=["a", "b"]), trusting(audiences=["a"]), "it accepts fewer audiences"),
    "some callers only": (trusting(), trusting(subjects=[WARD]), "it accepts fewer subjects"),
    "other callers": (trusting(subjects=[WARD]), trusting(subjects=[LAB]), "it accepts fewer subjects"),
}
HARMLESS = {
    "nothing on either side": (None, None),
    "the same": (trusting(), trusting()),
    "no tokens any more": (trusting(), None),
    "an audience more": (trusting(), trusting(audiences=["b", "mortality"])),
    "a caller more": (trusting(subjects=[WARD]), trusting(subjects=[LAB, WARD])),
    "all callers": (trusting(subjects=[WARD]), trusting()),
    "the keys from elsewhere": (trusting(), {**trusting(jwksUrl="https://idp/keys"), "jwksConfigMap": None}),
}


def read(authentication):
    return None if authentication is None else Authentication.model_validate(authentication)


@pytest.mark.parametrize(("champion", "challenger", "why"), HELD.values(), ids=HELD)
@pytest.mark.parametrize("phase", ["Deploying", "Canary", "Promoting", "Shadow"])
def test_a_rollout_is_held_for(champion, challenger, why, phase):
    candidate = guarded("v2", phase, challenger, champion="v1", step=0)
    decision = decide(observed(guarded("v1", "Champion", champion), candidate, serves="v1", paired=clean(10)))
    assert phases(decision)["v2"] == "Deploying"
    assert (decision.serve, decision.leases[0].challenger) == ("v1", None)
    told = condition(decision, "v2", "Stalled")
    assert told.reason == "AuthenticationDiffers"
    assert told.message.startswith(f"v2 would reject clients of v1: {why}.")


@pytest.mark.parametrize(("champion", "challenger"), HARMLESS.values(), ids=HARMLESS)
def test_nobody_is_refused_with(champion, challenger):
    assert refused_for(read(champion), read(challenger)) is None
    candidate = guarded("v2", "Deploying", challenger)
    assert phases(decide(observed(guarded("v1", "Champion", champion), candidate, serves="v1")))["v2"] == "Canary"


@pytest.mark.parametrize("changed", ["champion", "candidate"])
def test_a_rollout_waits_for_pods_that_take_the_tokens_that_the_spec_says(changed):
    champion, candidate = guarded("v1", "Champion", trusting()), guarded("v2", "Deploying", trusting())
    old = champion if changed == "champion" else candidate
    old = replace(old, pods=tuple(replace(pod, callers="another") for pod in old.pods))
    sides = (old, candidate) if changed == "champion" else (champion, old)
    decision = decide(observed(*sides, serves="v1"))
    assert phases(decision)["v2"] == "Deploying"
    assert condition(decision, "v2", "Ready").reason == "PodsChanging"
    assert old.name in condition(decision, "v2", "Ready").message


def test_the_order_of_what_is_trusted_does_not_matter():
    one, other = trusting(audiences=["a", "b"]), trusting(audiences=["b", "a"])
    assert fingerprint(read(one)) == fingerprint(read(other)) != fingerprint(None)
