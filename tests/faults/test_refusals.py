"""The API server refuses one object after another, once or for ever: what does not depend on it goes on."""

from __future__ import annotations

import pytest

from modelward_operator.engine import gateway as api
from modelward_operator.engine.gateway import Resource
from tests.faults import LONG
from tests.faults.cluster import NAMESPACE
from tests.faults.server import Change
from tests.faults.world import QUICK, World, world

DIRECT = {"strategy": "direct"}
STATUSES = (403, 404, 409, 413, 422, 429, 500, 0)
CAREFUL = {"minRequests": 1_000_000, "weight": 5}
WAITS = {**DIRECT, "supersedes": False}

Write = tuple[str, Resource, str]


@pytest.fixture
def place():
    with world() as found:
        found.callers.rate = 200
        yield found


def life(place: World) -> None:
    """Deploy, promote after a canary, roll back, withdraw, replace, delete."""
    place.create("v1", rollout=DIRECT, serving={"replicas": 2})
    place.wait(8.0)
    place.create("v2", rollout=QUICK, serving={"autoscaling": {"minReplicas": 2, "maxReplicas": 4}})
    place.wait(25.0)
    place.edit("v2", rollout={"withdrawn": True})
    place.wait(8.0)
    place.create("v3", rollout=DIRECT)
    place.wait(10.0)
    place.delete("v1")
    place.wait(5.0)


def writes_of_a_life() -> list[Write]:
    with world() as place:
        place.callers.rate = 200
        life(place)
        return sorted(set(place.faults.made), key=lambda w: (w[1].kind, w[2], w[0]))


WRITES = writes_of_a_life()


def lies_of(place: World) -> list[str]:
    """What statuses say at the moment of their writing that is not so."""
    lies: list[str] = []

    def look(change: Change) -> None:
        if change.resource != api.MODEL_VERSIONS or change.verb == "DELETED":
            return
        name, status = change.manifest["metadata"]["name"], change.manifest.get("status") or {}
        told, serves = status.get("message") or "", place.serves()
        ready = any((c["type"], c["status"]) == ("Ready", "True") for c in status.get("conditions", ()))
        was, phases[name] = phases.get(name), status.get("phase")
        if was != "Champion" and phases[name] == "Champion" and ready and serves != name:
            lies.append(f"{name} becomes a ready champion, and callers come to {serves}")
        if "answers again" in told and told not in known:
            known.add(told)
            if f"{serves} answers again" not in told:
                lies.append(f"{name}: {told}, and callers come to {serves}")

    known: set[str] = set()
    phases: dict[str, str | None] = {}
    place.server.listeners.append(look)
    return lies


@pytest.mark.parametrize("status", STATUSES if LONG else STATUSES[::3])
def test_a_life_in_which_any_write_is_refused_once_ends_as_it_would_without(status):
    with world() as place:
        place.callers.rate = 200
        refused: set[Write] = set()

        def once(*write) -> int | None:
            if write in refused:
                return None
            refused.add(write)
            return status

        place.faults.refuses, lies = once, lies_of(place)
        life(place)
        place.until(lambda: place.phases() == {"v2": "RolledBack", "v3": "Champion"}, "the end of this life", 300)
        assert lies == []
        assert place.serves() == "v3"
        assert place.invariants.violations == []
        assert place.callers.unanswered == 0


def of_models(write: Write) -> bool:
    return write[1].kind != "Secret"


@pytest.mark.parametrize(
    "write", [w for w in WRITES if of_models(w)][:: 1 if LONG else 4], ids=lambda w: f"{w[0]} {w[1].kind} {w[2]}"
)
def test_a_write_that_is_refused_for_ever_costs_no_answer_and_no_lie_and_is_made_when_the_fault_ends(write):
    status = STATUSES[WRITES.index(write) % len(STATUSES)]
    with world() as place:
        place.callers.rate = 200
        place.faults.refuses = lambda *asked: status if asked == write else None
        lies = lies_of(place)
        life(place)
        assert lies == []
        assert place.callers.unanswered == 0
        assert place.invariants.violations == []
        place.heal()
        place.until(lambda: place.phases() == {"v2": "RolledBack", "v3": "Champion"}, "the end of this life", 300)
        assert lies == []
        assert place.serves() == "v3"
        assert place.invariants.violations == []


def canary_that_cannot_be_deployed(place: World, rollout=DIRECT) -> None:
    place.create("v1", rollout=DIRECT)
    place.until(lambda: place.phase("v1") == "Champion", "v1 answers")
    place.create("v2", rollout=DIRECT)
    place.until(lambda: place.phases() == {"v1": "Standby", "v2": "Champion"}, "v2 answers")
    place.faults.refuses = lambda _, resource, name: 422 if (resource, name) == (api.DEPLOYMENTS, "v3") else None
    place.create("v3", rollout=rollout)
    place.wait(5.0)


def applied(place: World, name: str):
    return next((c for c in place.status(name).get("conditions", []) if c["type"] == "Applied"), None)


def test_a_version_that_cannot_be_deployed_says_why_and_keeps_nobody_from_handing_back(place):
    canary_that_cannot_be_deployed(place)
    assert place.phase("v3") == "Pending"
    assert applied(place, "v3")["reason"] == "Invalid"
    assert "Deployment v3 is refused: as planned" in place.status("v3")["message"]
    place.edit("v2", rollout={"withdrawn": True})
    place.until(lambda: place.phase("v2") == "RolledBack", "v1 answers again", 10)
    assert place.serves() == "v1"
    assert place.callers.unanswered == 0


def test_a_service_that_cannot_be_turned_is_said_to_have_turned_by_nobody(place):
    place.create("v1", rollout=DIRECT)
    place.until(lambda: place.phase("v1") == "Champion", "v1 answers")
    place.create("v2", rollout=DIRECT)
    place.until(lambda: place.phases() == {"v1": "Standby", "v2": "Champion"}, "v2 answers")
    place.faults.refuses = lambda _, resource, name: 403 if resource == api.SERVICES else None
    place.edit("v2", rollout={"withdrawn": True})
    place.wait(20.0)
    assert place.phases() == {"v1": "Standby", "v2": "Champion"}
    assert applied(place, "v2")["reason"] == "Forbidden"
    assert "answers again" not in place.status("v2")["message"]
    place.heal()
    place.until(lambda: place.phases() == {"v1": "Champion", "v2": "RolledBack"}, "v1 answers again", 60)
    assert place.serves() == "v1"


def test_a_version_that_cannot_be_deployed_yields_to_one_that_waits_and_is_tried_after_it(place):
    canary_that_cannot_be_deployed(place, WAITS)
    place.create("v4", rollout=WAITS)
    place.until(lambda: place.phase("v4") == "Champion", "v4 answers", 30)
    assert place.phase("v3") == "Pending"
    place.heal()
    place.until(lambda: place.phase("v3") == "Champion", "v3 answers", 120)


def test_a_first_version_that_cannot_be_deployed_does_not_keep_the_next_one_from_answering(place):
    place.faults.refuses = lambda _, resource, name: 403 if (resource, name) == (api.DEPLOYMENTS, "v1") else None
    place.create("v1", rollout=WAITS)
    place.wait(5.0)
    place.create("v2", rollout=WAITS)
    place.until(lambda: place.phase("v2") == "Champion", "v2 answers", 30)


def test_what_is_refused_is_tried_with_a_back_off_and_deployed_when_the_quota_allows_it(place):
    canary_that_cannot_be_deployed(place)
    before = len(place.faults.made)
    place.wait(120.0)
    tries = [w for w in place.faults.made[before:] if w[1:] == (api.DEPLOYMENTS, "v3")]
    assert 3 <= len(tries) <= 12
    assert len(place.faults.made) - before <= 25
    place.faults.refuses = lambda verb, resource, name: None
    place.until(lambda: place.phase("v3") == "Champion", "v3 answers", 60)
    assert applied(place, "v3") is None
    assert place.server.get(api.DEPLOYMENTS, NAMESPACE, "v3") is not None
