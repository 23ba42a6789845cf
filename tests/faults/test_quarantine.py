"""A digest that was rolled back stays out, whichever of the places that remember it somebody deletes."""

from __future__ import annotations

import json

import pytest

from modelward_operator.engine.kube import gateway as api
from modelward_operator.manifests import quarantine as marks
from modelward_operator.manifests import record as records
from tests.faults import quiescence
from tests.faults.cluster import NAMESPACE
from tests.faults.world import PERSON, World, world
from tests.support.builders import MODEL, digest

DIRECT = {"strategy": "direct"}
PLACES = {
    "the record": (api.CONFIG_MAPS, records.record_name(MODEL)),
    "its second memory": (api.REVISIONS, marks.mark_name(MODEL, digest("2"))),
}


@pytest.fixture
def harness():
    """v2 was withdrawn because of deaths."""
    with world() as found:
        for name in ("v1", "v2"):
            found.create(name, rollout=DIRECT)
            found.until(lambda name=name: found.phase(name) == "Champion", f"{name} answers")
        found.edit("v2", rollout={"withdrawn": True, "withdrawnBecause": "deaths"})
        found.until(lambda: found.phases() == {"v1": "Champion", "v2": "RolledBack"}, "v1 answers again")
        yield found


def lose(harness: World, what: str) -> None:
    resource, name = PLACES[what]
    assert harness.server.get(resource, NAMESPACE, name) is not None
    harness.server.delete(resource, NAMESPACE, name)


def apply_again(harness: World, name: str = "v3") -> None:
    harness.create(name, letter="2", rollout=DIRECT)
    harness.until(lambda: harness.phase(name) is not None, f"{name} is looked at")
    harness.wait(20.0)
    assert harness.phase(name) == "Quarantined", harness.tell()
    assert harness.serves() == "v1"


@pytest.mark.parametrize("forgets", [False, True], ids=["its operator goes on", "its operator is another one"])
@pytest.mark.parametrize("gone", [False, True], ids=["v2 is there", "v2 is deleted"])
@pytest.mark.parametrize("what", PLACES)
def test_one_place_is_restored_from_the_other_and_the_loss_is_told(harness, what, gone, forgets):
    if gone:
        harness.delete("v2")
        harness.until(lambda: harness.version("v2") is None, "v2 goes")
    lose(harness, what)
    if forgets:
        for process in harness.processes:
            process.die()
        harness.wait(12.0)
    apply_again(harness)
    harness.wait(70.0)
    for resource, name in PLACES.values():
        assert harness.server.get(resource, NAMESPACE, name) is not None
    told = [m for m in harness.server.list(api.EVENTS, NAMESPACE) if m["reason"] == "RecordLost"]
    assert len(told) == 1
    conditions = {c["type"]: c for c in harness.status("v1")["conditions"]}
    assert conditions["RecordKept"]["status"] == "False"


def test_a_quarantine_that_was_written_before_there_was_a_second_place_is_only_added_to_it(harness):
    resource, name = PLACES["the record"]
    written = harness.server.get(resource, NAMESPACE, name)
    before = json.loads(written["data"][records.RECORD])
    assert before.pop("marked") == [digest("2")]
    harness.server.patch(resource, NAMESPACE, name, {"data": {records.RECORD: json.dumps(before)}}, PERSON)
    lose(harness, "its second memory")
    for process in harness.processes:
        process.die()
    harness.wait(30.0)
    second, mark = PLACES["its second memory"]
    assert harness.server.get(second, NAMESPACE, mark) is not None
    assert [m for m in harness.server.list(api.EVENTS, NAMESPACE) if m["reason"] == "RecordLost"] == []
    assert json.loads(harness.server.get(resource, NAMESPACE, name)["data"][records.RECORD])["marked"] == [digest("2")]
    lose(harness, "its second memory")
    harness.wait(70.0)
    assert [m["reason"] for m in harness.server.list(api.EVENTS, NAMESPACE) if m["reason"] == "RecordLost"]


def test_a_digest_whose_places_were_all_deleted_is_known_by_its_own_version(harness):
    for what in PLACES:
        lose(harness, what)
    apply_again(harness)
    for resource, name in PLACES.values():
        assert harness.server.get(resource, NAMESPACE, name) is not None


def test_a_release_counts_in_both_places(harness):
    harness.edit("v2", rollout={**DIRECT, "release": harness.status("v2")["rolledBackAt"]})
    harness.until(lambda: harness.phase("v2") == "Champion", "v2 answers", 60)
    assert harness.server.list(api.REVISIONS, NAMESPACE) == []
    quiescence.settle(harness)
    assert harness.phase("v2") == "Champion"
    assert [m for m in harness.server.list(api.EVENTS, NAMESPACE) if m["reason"] == "RecordLost"] == []
