"""The API server refuses one object after another, once or for ever: what does not depend on it goes on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from modelward_api import names
from modelward_operator.engine.kube import gateway as api
from modelward_operator.engine.kube.gateway import Resource
from modelward_operator.manifests import quarantine as marks
from modelward_operator.manifests import record as records
from tests.faults import LONG
from tests.faults.cluster import NAMESPACE
from tests.faults.server import Change
from tests.faults.world import QUICK, World, world
from tests.support.builders import MODEL, digest
from tests.support.cases import cases

DIRECT = {"strategy": "direct"}
LASTING, PASSING = (403, 404, 413, 422), (409, 429, 500, 0)
STATUSES = (*LASTING, *PASSING)
"""What the API server refuses with; 0 is no answer."""
WAITS = {**DIRECT, "supersedes": False}

Write = tuple[str, Resource, str]
"""Verb, kind and name."""
NOTHING: Write = ("", api.SECRETS, "")


@pytest.fixture
def harness():
    with world() as found:
        found.callers.rate = 200
        yield found


def life(harness: World) -> None:
    """Deploy, promote after a canary, roll back, withdraw, replace, delete."""
    harness.create("v1", rollout=DIRECT, serving={"replicas": 2})
    harness.wait(5.0)
    harness.create("v2", rollout=QUICK, serving={"autoscaling": {"minReplicas": 2, "maxReplicas": 4}})
    harness.wait(12.0)
    harness.edit("v2", rollout={"withdrawn": True})
    harness.wait(5.0)
    harness.create("v3", rollout=DIRECT)
    harness.wait(8.0)
    harness.delete("v1")
    harness.wait(5.0)


WRITES: tuple[Write, ...] = (
    ("apply", api.CONFIG_MAPS, names.CONTROL_KEYS),
    ("apply", api.CONFIG_MAPS, records.record_name(MODEL)),
    ("create", api.CONFIG_MAPS, records.record_name(MODEL)),
    ("create", api.REVISIONS, marks.mark_name(MODEL, digest("2"))),
    ("apply", api.DEPLOYMENTS, "v1"),
    ("delete", api.DEPLOYMENTS, "v1"),
    ("apply", api.DEPLOYMENTS, "v2"),
    ("delete", api.DEPLOYMENTS, "v2"),
    ("apply", api.DEPLOYMENTS, "v3"),
    ("create", api.EVENTS, "v1."),
    ("create", api.EVENTS, "v2."),
    ("create", api.EVENTS, "v3."),
    ("apply", api.AUTOSCALERS, "v2"),
    ("delete", api.AUTOSCALERS, "v2"),
    ("replace_status", api.MODEL_VERSIONS, "v1"),
    ("replace_status", api.MODEL_VERSIONS, "v2"),
    ("replace_status", api.MODEL_VERSIONS, "v3"),
    ("apply", api.DISRUPTION_BUDGETS, "v1"),
    ("delete", api.DISRUPTION_BUDGETS, "v1"),
    ("apply", api.DISRUPTION_BUDGETS, "v2"),
    ("delete", api.DISRUPTION_BUDGETS, "v2"),
    ("apply", api.SERVICES, MODEL),
)
"""All that the operator asks for in that life, but for its key, without which no operator begins."""
TRIED_WITH_ALL = (
    ("apply", api.SERVICES, MODEL),
    ("apply", api.DEPLOYMENTS, "v3"),
    ("replace_status", api.MODEL_VERSIONS, "v3"),
)


def tried() -> Iterator[Any]:
    """All writes with all statuses in long runs; else each write with one that lasts and one that passes.

    Not slow: of each verb and kind the first name, with a status that lasts.
    """
    met = set()
    for number, write in enumerate(WRITES):
        always, now_and_then = LASTING[number % len(LASTING)], PASSING[number % len(PASSING)]
        is_first = write[:2] not in met
        met.add(write[:2])
        for status in STATUSES if LONG or write in TRIED_WITH_ALL else (always, now_and_then):
            slow = [pytest.mark.slow] * (not LONG and not (is_first and status == always))
            yield pytest.param(write, status, id=f"{write[0]} {write[1].kind} {write[2]}-{status}", marks=slow)


def test_the_list_of_writes_has_all_that_are_asked_for(harness):
    life(harness)
    assert {write for write in harness.faults.made if write[1] != api.SECRETS} == set(WRITES)


class Lies:
    """What statuses say that is not so: whenever one is written, and when nothing happens any more."""

    def __init__(self, harness: World) -> None:
        self.found: list[str] = []
        self._place = harness
        self._last: dict[str, object] = {}
        harness.server.listeners.append(self._look)

    def _look(self, change: Change) -> None:
        name, status = change.manifest["metadata"]["name"], change.manifest.get("status") or {}
        if change.resource != api.MODEL_VERSIONS or change.verb == "DELETED" or self._last.get(name) == status:
            return
        before: Any = self._last.get(name) or {}
        self._last[name] = status
        serves, told = self._place.serves(), status.get("message") or ""
        if is_ready_champion(status) and serves != name:
            self.found.append(f"{name} is a ready champion, and callers come to {serves}")
        if (
            "serves all traffic again" in told
            and told != before.get("message")
            and f"{serves} serves all traffic again" not in told
        ):
            self.found.append(f"{name}: {told}, and callers come to {serves}")

    def at_rest(self, refused: Write) -> list[str]:
        """Also of what was so when it was written. A status that cannot be written stays as it was."""
        serves = self._place.serves()
        for name, manifest in self._place.versions().items():
            status = manifest.get("status") or {}
            writable = refused[1:] != (api.MODEL_VERSIONS, name)
            if writable and is_ready_champion(status) and serves != name:
                self.found.append(f"{name} is still a ready champion, and callers come to {serves}")
        return self.found


def is_ready_champion(status: Any) -> bool:
    ready = any((c["type"], c["status"]) == ("Ready", "True") for c in status.get("conditions", ()))
    return ready and status.get("phase") == "Champion"


def has_ended_well(harness: World) -> bool:
    return harness.phases() == {"v2": "RolledBack", "v3": "Champion"}


@pytest.mark.parametrize("status", cases({str(status): status for status in STATUSES}, ["403", "422", "409", "0"]))
def test_a_life_in_which_any_write_is_refused_once_ends_as_it_would_without(harness, status):
    refused: set[Write] = set()

    def once(*write) -> int | None:
        if write in refused:
            return None
        refused.add(write)
        return status

    harness.faults.refuses, lies = once, Lies(harness)
    life(harness)
    harness.until(lambda: has_ended_well(harness), "the end of this life", 300)
    assert lies.found == []
    assert harness.serves() == "v3"
    assert harness.invariants.violations == []
    assert harness.callers.unanswered == 0


@pytest.mark.parametrize(("write", "status"), list(tried()))
def test_a_write_that_is_refused_for_ever_costs_no_answer_and_no_lie_and_is_made_when_the_fault_ends(
    harness, write, status
):
    harness.faults.refuses = lambda *asked: status if asked == write else None
    lies = Lies(harness)
    life(harness)
    assert lies.at_rest(write) == []
    assert harness.callers.unanswered == 0
    assert harness.invariants.violations == []
    harness.heal()
    harness.until(lambda: has_ended_well(harness), "the end of this life", 300)
    assert lies.at_rest(NOTHING) == []
    assert harness.serves() == "v3"
    assert harness.invariants.violations == []


def canary_that_cannot_be_deployed(harness: World, rollout=DIRECT) -> None:
    harness.create("v1", rollout=DIRECT)
    harness.until(lambda: harness.phase("v1") == "Champion", "v1 answers")
    harness.create("v2", rollout=DIRECT)
    harness.until(lambda: harness.phases() == {"v1": "Standby", "v2": "Champion"}, "v2 answers")
    harness.faults.refuses = lambda _, resource, name: 422 if (resource, name) == (api.DEPLOYMENTS, "v3") else None
    harness.create("v3", rollout=rollout)
    harness.wait(5.0)


def applied(harness: World, name: str):
    return next((c for c in harness.status(name).get("conditions", []) if c["type"] == "Applied"), None)


def test_a_version_that_cannot_be_deployed_says_why_and_keeps_nobody_from_handing_back(harness):
    canary_that_cannot_be_deployed(harness)
    assert harness.phase("v3") == "Pending"
    assert applied(harness, "v3")["reason"] == "Invalid"
    assert "Deployment v3 is refused: as planned" in harness.status("v3")["message"]
    harness.edit("v2", rollout={"withdrawn": True})
    harness.until(lambda: harness.phase("v2") == "RolledBack", "v1 answers again", 10)
    assert harness.serves() == "v1"
    assert harness.callers.unanswered == 0


def test_a_service_that_cannot_be_turned_is_said_to_have_turned_by_nobody(harness):
    harness.create("v1", rollout=DIRECT)
    harness.until(lambda: harness.phase("v1") == "Champion", "v1 answers")
    harness.create("v2", rollout=DIRECT)
    harness.until(lambda: harness.phases() == {"v1": "Standby", "v2": "Champion"}, "v2 answers")
    harness.faults.refuses = lambda _, resource, name: 403 if resource == api.SERVICES else None
    harness.edit("v2", rollout={"withdrawn": True})
    harness.wait(20.0)
    assert harness.phases() == {"v1": "Standby", "v2": "Champion"}
    assert applied(harness, "v2")["reason"] == "Forbidden"
    assert "serves all traffic again" not in harness.status("v2")["message"]
    harness.heal()
    harness.until(lambda: harness.phases() == {"v1": "Champion", "v2": "RolledBack"}, "v1 answers again", 60)
    assert harness.serves() == "v1"


def test_a_version_that_cannot_be_deployed_yields_to_one_that_waits_and_is_tried_after_it(harness):
    canary_that_cannot_be_deployed(harness, WAITS)
    harness.create("v4", rollout=WAITS)
    harness.until(lambda: harness.phase("v4") == "Champion", "v4 answers", 30)
    assert harness.phase("v3") == "Pending"
    harness.heal()
    harness.until(lambda: harness.phase("v3") == "Champion", "v3 answers", 120)


def test_a_first_version_that_cannot_be_deployed_does_not_keep_the_next_one_from_answering(harness):
    harness.faults.refuses = lambda _, resource, name: 403 if (resource, name) == (api.DEPLOYMENTS, "v1") else None
    harness.create("v1", rollout=WAITS)
    harness.wait(5.0)
    harness.create("v2", rollout=WAITS)
    harness.until(lambda: harness.phase("v2") == "Champion", "v2 answers", 30)


def test_what_is_refused_is_tried_with_a_back_off_and_deployed_when_the_quota_allows_it(harness):
    canary_that_cannot_be_deployed(harness)
    before = len(harness.faults.made)
    harness.wait(120.0)
    tries = [w for w in harness.faults.made[before:] if w[1:] == (api.DEPLOYMENTS, "v3")]
    assert 3 <= len(tries) <= 12
    assert len(harness.faults.made) - before <= 25
    harness.faults.refuses = lambda verb, resource, name: None
    harness.until(lambda: harness.phase("v3") == "Champion", "v3 answers", 60)
    assert applied(harness, "v3") is None
    assert harness.server.get(api.DEPLOYMENTS, NAMESPACE, "v3") is not None
