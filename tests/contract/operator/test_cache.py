"""Reconciles from the watch cache, on a real API server. No watch runs here: a test delivers the events."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from modelward_api import names
from modelward_api.wire.exchange import ProfileCounts
from modelward_operator.domain.evidence import ledger
from modelward_operator.domain.rollout.advance import PROFILE_PERIOD
from modelward_operator.engine.kube import gateway as api
from modelward_operator.engine.kube.cached_gateway import CachedGateway
from modelward_operator.engine.kube.kinds import CACHED
from modelward_operator.engine.kube.watch_cache import WatchCache
from modelward_operator.engine.reconcile.observe import observe
from modelward_operator.engine.watch.resync import look
from tests.support.builders import digest
from tests.support.harness import MODEL, OperatorHarness, monitor, operator_harness


class Hearsay:
    """An operator whose cache holds only the events that a test delivers, and its own writes."""

    def __init__(self, harness: OperatorHarness) -> None:
        self.harness, self.cache = harness, WatchCache()
        self.gateway = CachedGateway(harness.gateway, self.cache)
        self.operate = harness.reconciler(gateway=self.gateway, fresh=harness.gateway, cache=self.cache)

    async def listen(self) -> set:
        """List everything, as the resync does; return the keys with changes."""
        news, _ = await look(self.harness.gateway, self.cache, self.harness.namespace)
        self.cache.filled.set()
        return news

    async def reconcile(self) -> list[str]:
        """Reconcile once; return what was written."""
        self.harness.gateway.writes()
        await self.operate(self.harness.key)
        return self.harness.gateway.writes()

    async def settle(self) -> None:
        """A champion with one pod, at rest."""
        await self.listen()
        await self.reconcile()
        self.pod = await self.harness.pod("v1")
        for _ in range(4):
            await self.listen()
            await self.reconcile()
        assert (await self.harness.status("v1"))["phase"] == "Champion"


@pytest.fixture
async def hearsay(control_plane):
    async with operator_harness(control_plane) as harness:
        await harness.version("v1")
        found = Hearsay(harness)
        await found.settle()
        yield found


async def test_a_second_reconcile_writes_nothing_and_asks_the_api_server_nothing(hearsay):
    before = hearsay.harness.gateway.reads
    assert await hearsay.reconcile() == []
    assert hearsay.harness.gateway.reads == before


async def test_a_model_at_rest_has_its_leases_renewed(hearsay):
    asked = len(hearsay.pod.asked)
    for _ in range(3):
        await hearsay.reconcile()
    assert len(hearsay.pod.asked) == asked + 3


async def test_a_watched_model_at_rest_keeps_what_its_pods_told_last(hearsay):
    harness = hearsay.harness
    await harness.create(api.DRIFT_MONITORS, "watch", monitor("watch", harness.namespace, interval="1h")["spec"])
    for _ in range(4):
        await hearsay.listen()
        await hearsay.reconcile()
    memory = hearsay.operate.model.memories[harness.key]
    assert memory.idle is not None
    assert memory.idle.again <= PROFILE_PERIOD
    hearsay.pod.profile = ProfileCounts(rows=7)
    assert await hearsay.reconcile() == []
    assert ledger.profile_totals(memory.latest.ledger, digest("1")).rows == 7


async def test_a_look_that_has_heard_something_is_one_call(hearsay):
    harness = hearsay.harness
    for paused in (True, False):
        change = {"spec": {"rollout": {"paused": paused}}}
        await hearsay.gateway.patch(api.MODEL_VERSIONS, harness.namespace, "v1", change)
        before = harness.gateway.reads
        assert await hearsay.reconcile() == ["PUT modelversions v1/status"]
        assert harness.gateway.reads == before + 1


async def test_what_no_watch_tells_of_is_looked_at_after_a_while(hearsay):
    """The record: a person may edit it."""
    memory = hearsay.operate.model.memories[hearsay.harness.key]
    memory.idle = replace(memory.idle, until=0.0)
    before = hearsay.harness.gateway.reads
    assert await hearsay.reconcile() == []
    assert hearsay.harness.gateway.reads == before + 1


async def test_a_look_sees_what_is_there(hearsay):
    harness = hearsay.harness
    await harness.create(api.DRIFT_MONITORS, "watch", monitor("watch", harness.namespace)["spec"])
    await harness.version("v2", model="another")
    await hearsay.listen()
    told = await observe(hearsay.gateway, harness.namespace, MODEL)
    there = await observe(harness.gateway, harness.namespace, MODEL)
    assert (told.versions, told.monitors, told.service) == (there.versions, there.monitors, there.service)
    assert [v.name for v in told.versions] == ["v1"]
    assert len(told.versions[0].pods) == 1


async def test_its_own_writes_are_seen_before_any_watch_tells(control_plane):
    async with operator_harness(control_plane) as harness:
        await harness.version("v1")
        hearsay = Hearsay(harness)
        await hearsay.listen()
        assert await hearsay.reconcile() != []
        told, there = [await observe(g, harness.namespace, MODEL) for g in (hearsay.gateway, harness.gateway)]
        assert {n: m["metadata"]["resourceVersion"] for n, m in told.manifests.items()} == {
            n: m["metadata"]["resourceVersion"] for n, m in there.manifests.items()
        }
        assert told.deployments.keys() == there.deployments.keys() == {"v1"}
        assert told.versions == there.versions


async def test_a_deletion_that_no_watch_told_heals_when_everything_is_listed(hearsay):
    harness = hearsay.harness
    service = await harness.get(api.SERVICES, MODEL)
    await harness.gateway.delete(api.SERVICES, harness.namespace, MODEL, service["metadata"]["uid"])
    assert await hearsay.reconcile() == []
    assert await hearsay.listen() == {harness.key}
    assert await hearsay.reconcile() == [f"PATCH services {MODEL}"]
    assert await hearsay.listen() == set()


async def test_a_pod_that_is_gone_without_a_word_is_not_counted_after_the_listing(hearsay):
    harness = hearsay.harness
    (pod,) = (await observe(harness.gateway, harness.namespace, MODEL)).versions[0].pods
    path = f"/api/v1/namespaces/{harness.namespace}/pods/{pod.name}"
    await harness.request("DELETE", path, {}, {"gracePeriodSeconds": 0})
    assert (await observe(hearsay.gateway, harness.namespace, MODEL)).versions[0].ready_pods == 1
    assert await hearsay.listen() == {harness.key}
    assert (await observe(hearsay.gateway, harness.namespace, MODEL)).versions[0].ready_pods == 0


async def test_what_it_deletes_itself_is_gone_at_once_and_what_a_finalizer_holds_is_not(hearsay):
    harness = hearsay.harness
    service = await harness.get(api.SERVICES, MODEL)
    await hearsay.gateway.delete(api.SERVICES, harness.namespace, MODEL, service["metadata"]["uid"])
    assert hearsay.cache.get(api.SERVICES, harness.namespace, MODEL) is None
    held = {"metadata": {"finalizers": ["somebody.example/else"]}}
    version = await harness.gateway.patch(api.MODEL_VERSIONS, harness.namespace, "v1", held)
    await hearsay.gateway.delete(api.MODEL_VERSIONS, harness.namespace, "v1", version["metadata"]["uid"])
    held = hearsay.cache.get(api.MODEL_VERSIONS, harness.namespace, "v1")
    assert held["metadata"]["deletionTimestamp"]
    await harness.gateway.patch(api.MODEL_VERSIONS, harness.namespace, "v1", {"metadata": {"finalizers": None}})


async def test_the_last_version_is_not_let_go_while_another_has_come_unheard(hearsay):
    """It has heard of the deletion of v1 and not of v2: on that alone, callers would lose their Service."""
    harness = hearsay.harness
    await harness.version("v2")
    before = await harness.get(api.MODEL_VERSIONS, "v1")
    harness.plane.kubectl("delete", "mv", "v1", "--namespace", harness.namespace)
    hearsay.cache.drop(api.MODEL_VERSIONS, harness.namespace, "v1", before["metadata"]["uid"])
    writes = await hearsay.reconcile()
    assert not [entry for entry in writes if entry.startswith("DELETE")], writes
    assert (await harness.get(api.SERVICES, MODEL))["spec"]["selector"][names.MODEL_VERSION] == "v1"
    assert await harness.get(api.DEPLOYMENTS, "v1") is not None


async def test_a_status_on_an_old_reading_is_refused_and_told_right_after_the_listing(hearsay):
    harness = hearsay.harness
    change = {"spec": {"rollout": {"paused": True}}}
    await harness.gateway.patch(api.MODEL_VERSIONS, harness.namespace, "v1", change)
    assert await hearsay.reconcile() == []
    assert await hearsay.listen() == {harness.key}
    await hearsay.reconcile()
    found = await harness.get(api.MODEL_VERSIONS, "v1")
    assert found["status"]["observedGeneration"] == found["metadata"]["generation"] == 2


async def test_a_service_of_somebody_else_is_seen_though_no_watch_tells_of_it(control_plane):
    async with operator_harness(control_plane) as harness:
        await harness.create(api.SERVICES, MODEL, {"selector": {"app": "theirs"}, "ports": [{"port": 80}]})
        await harness.version("v1")
        hearsay = Hearsay(harness)
        await hearsay.listen()
        for _ in range(3):
            await hearsay.reconcile()
        assert (await harness.condition("v1", "Stalled"))["reason"] == "NameTaken"


async def test_nothing_is_believed_before_everything_was_listed_once(hearsay):
    starting = CachedGateway(hearsay.harness.gateway, WatchCache())
    looking = asyncio.create_task(observe(starting, hearsay.harness.namespace, MODEL))
    done, _ = await asyncio.wait({looking}, timeout=0.5)
    assert not done
    await look(hearsay.harness.gateway, starting.cache, hearsay.harness.namespace)
    starting.cache.filled.set()
    assert [v.name for v in (await looking).versions] == ["v1"]


async def test_all_that_a_look_reads_from_memory_is_kept(hearsay):
    held = {resource for resource in CACHED if hearsay.cache.of_model(resource, hearsay.harness.namespace, MODEL)}
    assert held == {api.MODEL_VERSIONS, api.DEPLOYMENTS, api.PODS, api.SERVICES}
