"""Effects that need a fresh read of the API server."""

from __future__ import annotations

from dataclasses import replace

import pytest

from modelward_api import names
from modelward_operator.domain.core.failure import Failure
from modelward_operator.domain.core.note import Note
from modelward_operator.domain.core.record import ModelRecord, Quarantine
from modelward_operator.domain.rollout.decision import Decision, LeaseOrder
from modelward_operator.domain.rollout.observation import ModelService
from modelward_operator.engine.pods.control_client import IssuedLeases
from modelward_operator.engine.reconcile.freshness import CHECKS, requires_fresh_read
from modelward_operator.engine.reconcile.observe import ModelSnapshot
from tests.support.builders import digest, version

V1, V2 = version("v1", "Champion", pods=1), version("v2", "Canary", pods=1)
DEPLOYMENT = {"metadata": {"uid": "d"}, "spec": {"replicas": 1}}
HELD = IssuedLeases(orders={"v1": LeaseOrder("v1", "v2", 10.0)})
SEEN = ModelSnapshot(
    versions=(V1, V2),
    invalid=(),
    monitors=(),
    service=ModelService("v1", ours=True),
    manifests={n: {"metadata": {"name": n, "finalizers": [names.FINALIZER]}} for n in ("v1", "v2")},
    monitor_manifests={},
    deployments={"v1": DEPLOYMENT, "v2": DEPLOYMENT},
    autoscalers={},
    service_manifest=None,
    record_manifest=None,
    record=ModelRecord(),
    waiting={},
    unreadable_monitors={},
)
AS_IT_IS = Decision(
    statuses={"v1": V1.status, "v2": V2.status},
    record=ModelRecord(),
    workloads={"v1": 1, "v2": 1},
    serve="v1",
    leases=(LeaseOrder("v1", "v2", 10.0),),
)
QUARANTINE = Quarantine(digest=digest("2"), version="2.0.0", reason="Harm", message="m", time="2026-01-01T00:00:00Z")


def moved(phase: str):
    return {**AS_IT_IS.statuses, "v2": V2.status.model_copy(update={"phase": phase})}


WEIGHTY = {
    "an Event": {"notes": (Note("ModelVersion", "v2", "Normal", "Moved", "m"),)},
    "a phase": {"statuses": moved("Promoting")},
    "a quarantine": {"record": ModelRecord(quarantined=(QUARANTINE,))},
    "the Service's turn": {"serve": "v2"},
    "the Service's end": {"drop_service": True, "serve": None},
    "a challenger's greater weight": {"leases": (LeaseOrder("v1", "v2", 25.0),)},
    "another challenger": {"leases": (LeaseOrder("v1", "v3", 1.0),)},
    "pods that are not there": {"workloads": {"v1": 1, "v2": 1, "v3": 1}},
    "more pods": {"workloads": {"v1": 3, "v2": 1}},
    "no pods any more": {"workloads": {"v1": 1}},
    "a deletion let go": {"drop_finalizers": frozenset({"v2"})},
}
LIGHT = {
    "nothing new": {},
    "more evidence": {"statuses": {**AS_IT_IS.statuses, "v2": V2.status.model_copy(update={"message": "Holding"})}},
    "a smaller weight": {"leases": (LeaseOrder("v1", "v2", 5.0),)},
    "the end of a lease": {"leases": (LeaseOrder("v1", None),)},
    "a standby's late callers": {"leases": (*AS_IT_IS.leases, LeaseOrder("v0", "v1", 100.0, drain=True))},
    "a number of pods that an autoscaler sets": {"workloads": {"v1": 3, "v2": 1}, "autoscaled": frozenset({"v1"})},
    "a workload that is kept as it is": {"workloads": {"v1": 1}, "keep": frozenset({"v2"})},
}


@pytest.mark.parametrize("change", WEIGHTY.values(), ids=WEIGHTY.keys())
def test_of_consequence_is(change):
    assert requires_fresh_read(SEEN, HELD, replace(AS_IT_IS, **change))


@pytest.mark.parametrize("change", LIGHT.values(), ids=LIGHT.keys())
def test_of_no_consequence_is(change):
    assert not requires_fresh_read(SEEN, HELD, replace(AS_IT_IS, **change))


def test_a_record_that_cannot_be_read_is_none():
    seen = replace(SEEN, record=Failure("RecordUnreadable", "m"))
    assert requires_fresh_read(seen, HELD, replace(AS_IT_IS, record=ModelRecord(quarantined=(QUARANTINE,))))


def test_each_check_has_its_case():
    told = {check for check in CHECKS for change in WEIGHTY.values() if check(SEEN, HELD, replace(AS_IT_IS, **change))}
    assert told == set(CHECKS)
