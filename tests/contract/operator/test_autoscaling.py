"""Ownership of a Deployment's number of pods on a real API server, with a writer that acts as an autoscaler."""

from __future__ import annotations

from functools import partial
from itertools import repeat

import pytest

from modelward_api import names
from modelward_operator.engine.kube import gateway as api
from tests.support.builders import digest
from tests.support.cases import cases
from tests.support.harness import MODEL, operator_harness
from tests.support.lives import ROLLOUT, Cluster, good, live, lives, luck

SCALED = {"autoscaling": {"minReplicas": 2, "maxReplicas": 6}}
AUTOSCALER = "kube-controller-manager"


@pytest.fixture
async def harness(control_plane):
    async with operator_harness(control_plane) as found:
        yield found


async def scale(harness, name, replicas):
    """Write the scale subresource, as the HorizontalPodAutoscaler's controller does."""
    path = f"/apis/apps/v1/namespaces/{harness.namespace}/deployments/{name}/scale"
    found = await harness.request("GET", path)
    found["spec"]["replicas"] = replicas
    await harness.request("PUT", path, {"fieldManager": AUTOSCALER}, found)
    harness.gateway.writes()


async def replicas(harness, name):
    return (await harness.get(api.DEPLOYMENTS, name))["spec"]["replicas"]


async def owners(harness, name) -> set[str]:
    """Return the owner of spec.replicas."""
    entries = (await harness.get(api.DEPLOYMENTS, name))["metadata"]["managedFields"]
    return {e["manager"] for e in entries if "f:replicas" in e["fieldsV1"].get("f:spec", {})}


async def champion(harness, name="v1", count=2, **spec):
    await harness.version(name, serving=SCALED, **spec)
    operate = harness.reconciler()
    await operate(harness.key)
    for _ in range(count):
        await harness.pod(name)
    for _ in range(4):
        await operate(harness.key)
    assert (await harness.status(name))["phase"] == "Champion"
    harness.gateway.writes()
    return operate


async def test_a_champion_has_an_autoscaler_and_keeps_its_pods_when_they_are_let_go_of(harness):
    await champion(harness)
    assert await replicas(harness, "v1") == 2, "what nobody owns falls back to one"
    assert await owners(harness, "v1") == {names.SCALE_MANAGER}
    spec = (await harness.get(api.AUTOSCALERS, "v1"))["spec"]
    assert (spec["minReplicas"], spec["maxReplicas"], spec["scaleTargetRef"]["name"]) == (2, 6, "v1")


async def test_reconciles_do_not_fight_the_autoscaler(harness):
    operate = await champion(harness)
    for count in (5, 3):
        await scale(harness, "v1", count)
        for again in (operate, harness.reconciler(epoch=2)):
            await again(harness.key)
            assert await replicas(harness, "v1") == count
    assert await owners(harness, "v1") == {AUTOSCALER}


async def test_a_second_reconcile_writes_nothing(harness):
    operate = await champion(harness)
    await scale(harness, "v1", 4)
    await operate(harness.key)
    harness.gateway.writes()
    for _ in range(3):
        await operate(harness.key)
    assert harness.gateway.writes() == []


async def test_a_change_of_the_pods_leaves_their_number_to_the_autoscaler(harness):
    operate = await champion(harness)
    await scale(harness, "v1", 5)
    await harness.gateway.patch(
        api.MODEL_VERSIONS, harness.namespace, "v1", {"spec": {"serving": {"requestTimeout": "3s"}}}
    )
    await operate(harness.key)
    found = await harness.get(api.DEPLOYMENTS, "v1")
    environment = found["spec"]["template"]["spec"]["containers"][0]["env"]
    assert {"name": "MODELWARD_REQUEST_TIMEOUT", "value": "3"} in environment
    assert found["spec"]["replicas"] == 5


async def test_when_autoscaling_is_removed_the_autoscaler_goes_and_the_number_is_ours_again(harness):
    operate = await champion(harness)
    await scale(harness, "v1", 5)
    change = {"spec": {"serving": {"autoscaling": None, "replicas": 3}}}
    await harness.gateway.patch(api.MODEL_VERSIONS, harness.namespace, "v1", change)
    harness.gateway.writes()
    await operate(harness.key)
    writes = [w for w in harness.gateway.writes() if "v1" in w and "modelversions" not in w]
    assert writes[:2] == ["DELETE horizontalpodautoscalers v1", "PATCH deployments v1"]
    assert await harness.get(api.AUTOSCALERS, "v1") is None
    assert await replicas(harness, "v1") == 3
    assert await owners(harness, "v1") == {names.FIELD_MANAGER}


async def test_autoscaling_can_be_added_to_a_champion_that_serves(harness):
    await harness.version("v1", serving={"replicas": 3})
    operate = harness.reconciler()
    await operate(harness.key)
    for _ in range(3):
        await harness.pod("v1")
    for _ in range(3):
        await operate(harness.key)
    change = {"spec": {"serving": {"replicas": 1, **SCALED}}}
    await harness.gateway.patch(api.MODEL_VERSIONS, harness.namespace, "v1", change)
    await operate(harness.key)
    assert await replicas(harness, "v1") == 3
    assert names.FIELD_MANAGER not in await owners(harness, "v1")


async def test_a_champion_that_somebody_scaled_to_nothing_comes_back_and_is_autoscaled_again(harness):
    operate = await champion(harness)
    await scale(harness, "v1", 0)
    await operate(harness.key)
    assert await replicas(harness, "v1") == 2
    await operate(harness.key)
    assert names.FIELD_MANAGER not in await owners(harness, "v1")
    assert await replicas(harness, "v1") == 2


async def test_an_autoscaler_that_somebody_changed_or_deleted_is_mended(harness):
    operate = await champion(harness)
    await harness.gateway.patch(api.AUTOSCALERS, harness.namespace, "v1", {"spec": {"maxReplicas": 50}})
    await operate(harness.key)
    found = await harness.get(api.AUTOSCALERS, "v1")
    assert found["spec"]["maxReplicas"] == 6
    await harness.gateway.delete(api.AUTOSCALERS, harness.namespace, "v1", found["metadata"]["uid"])
    await operate(harness.key)
    assert await harness.get(api.AUTOSCALERS, "v1") is not None


async def test_a_promotion_begins_with_the_old_champions_pods_and_keeps_it_as_warm(harness):
    operate = await champion(harness, count=4)
    await scale(harness, "v1", 4)
    await harness.version("v2", serving=SCALED, rollout={"strategy": "direct"})
    await operate(harness.key)
    assert await replicas(harness, "v2") == 1, "first it is verified"
    await harness.pod("v2")
    await operate(harness.key)
    assert await replicas(harness, "v2") == 4
    for _ in range(3):
        await harness.pod("v2")
    for _ in range(5):
        await operate(harness.key)
    assert [(await harness.status(name))["phase"] for name in ("v1", "v2")] == ["Standby", "Champion"]
    assert [await replicas(harness, name) for name in ("v1", "v2")] == [4, 4]
    assert await owners(harness, "v1") >= {names.FIELD_MANAGER}
    assert names.FIELD_MANAGER not in await owners(harness, "v2")
    assert await harness.get(api.AUTOSCALERS, "v1") is None
    assert await harness.get(api.AUTOSCALERS, "v2") is not None


async def test_what_is_retired_leaves_no_autoscaler_and_no_budget_even_for_a_new_operator(harness):
    await champion(harness)
    assert await harness.get(api.DISRUPTION_BUDGETS, "v1") is not None
    await harness.say_phase("v1", "RolledBack")
    await harness.version("v2", artifact={"uri": "store://x", "digest": digest("2")})
    service = await harness.get(api.SERVICES, "mortality")
    await harness.gateway.delete(api.SERVICES, harness.namespace, "mortality", service["metadata"]["uid"])
    await harness.reconciler(epoch=2)(harness.key)
    for resource in (api.DEPLOYMENTS, api.AUTOSCALERS, api.DISRUPTION_BUDGETS):
        assert await harness.get(resource, "v1") is None, resource.kind


class Load(Cluster):
    """A cluster whose autoscaler wants four pods for the champion."""

    async def turn(self) -> None:
        for scaler in await self.harness.gateway.list(api.AUTOSCALERS, self.harness.namespace):
            name = scaler["metadata"]["name"]
            deployment = await self.harness.get(api.DEPLOYMENTS, name)
            if deployment is not None and deployment["spec"]["replicas"] < 4:
                await scale(self.harness, name, 4)
        await super().turn()

    async def callers_are_answered(self) -> None:
        await super().callers_are_answered()
        service = await self.harness.get(api.SERVICES, MODEL)
        if service is not None:
            answering = service["spec"]["selector"][names.MODEL_VERSION]
            assert await replicas(self.harness, answering) >= self.least, self.harness.gateway.journal[-20:]

    least = 2


# Of two autoscaled versions, a new process applies eight things that it finds in order.
PATTERNS = {
    **{
        f"{when} write {length} of each life": partial(lambda n, w: lives(repeat(n), w), length, when)
        for length in (9, 10, 11)
        for when in ("before", "after")
    },
    "before any write": lambda: lives((2 * n for n in luck(1)), "before"),
    "after any write": lambda: lives((2 * n for n in luck(2)), "after"),
}


@pytest.mark.parametrize("pattern", cases(PATTERNS, ("before any write", "after write 10 of each life")))
async def test_whoever_answers_never_loses_pods_wherever_the_operator_dies(harness, pattern):
    cluster = Load(harness, good)

    async def phases(**wanted):
        return {name: (await harness.status(name)).get("phase") for name in wanted} == wanted

    await harness.version("v1", serving=SCALED)
    await live(harness, cluster, pattern, lambda: phases(v1="Champion"))
    await cluster.turn()
    cluster.least = 4
    await harness.version("v2", serving=SCALED, rollout=ROLLOUT)
    quiet = await live(harness, cluster, pattern, lambda: phases(v1="Standby", v2="Champion"))
    assert quiet == []
    assert [await replicas(harness, name) for name in ("v1", "v2")] == [4, 4]
    assert names.FIELD_MANAGER not in await owners(harness, "v2")
    scalers = await harness.gateway.list(api.AUTOSCALERS, harness.namespace)
    assert [m["metadata"]["name"] for m in scalers] == ["v2"]
