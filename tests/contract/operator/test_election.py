"""The Lease on a real API server: won, renewed, lost, deleted; with clocks that the tests turn."""

from __future__ import annotations

import asyncio

import pytest

from modelward_operator.domain.operator.leadership import Terms
from modelward_operator.engine.kube import gateway as api
from modelward_operator.engine.kube.gateway import KubernetesGateway
from modelward_operator.engine.leadership import LEASE_NAME, DeposedError, Standby, read
from tests.support.harness import operator_harness

QUICK = Terms(duration=6.0, deadline=4.5, period=0.02, look=0.02)


@pytest.fixture
async def harness(control_plane):
    async with operator_harness(control_plane) as found:
        yield found


class Clock:
    """A clock that a test advances."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


def standby(harness, name, clock):
    return Standby(harness.gateway, harness.namespace, name, QUICK, clock)


async def leader(harness, name, clock):
    """One that has won a Lease which was handed back."""
    if await lease(harness) is None:
        await harness.vacancy()
    async with asyncio.timeout(5):
        return await standby(harness, name, clock).win()


async def lease(harness):
    found = await harness.get(api.LEASES, LEASE_NAME)
    return read(found) if found is not None else None


async def remove(harness):
    found = await harness.get(api.LEASES, LEASE_NAME)
    await harness.gateway.delete(api.LEASES, harness.namespace, LEASE_NAME, found["metadata"]["uid"])


async def looked(harness, standing):
    """Let a standby look at the Lease as it is now."""
    standing._looked = None
    while standing._looked is None:
        await lease(harness)


async def test_a_lease_that_was_handed_back_is_won_at_once_and_held(harness, clock):
    leading = await leader(harness, "a", clock)
    leading.check()
    before = await lease(harness)
    assert (before.holder, before.epoch) == ("a", 8)
    acquired = (await harness.get(api.LEASES, LEASE_NAME))["spec"]["acquireTime"]
    holding = asyncio.create_task(leading.hold())
    async with asyncio.timeout(5):
        while (await lease(harness)).version == before.version:
            pass
    holding.cancel()
    spec = (await harness.get(api.LEASES, LEASE_NAME))["spec"]
    assert (spec["leaseDurationSeconds"], spec["leaseTransitions"]) == (6, 8)
    assert spec["renewTime"] > spec["acquireTime"] == acquired


async def test_operators_that_start_at_once_get_one_leader(harness, clock):
    await harness.vacancy()
    winning = [asyncio.create_task(standby(harness, name, clock).win()) for name in "abcde"]
    done, waiting = await asyncio.wait(winning, return_when=asyncio.FIRST_COMPLETED, timeout=5)
    assert len(done) == 1
    (first,) = done
    await first.result().hand_back()
    done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED, timeout=5)
    assert [task.result().epoch for task in done] == [9]
    for task in waiting:
        task.cancel()


async def test_a_lease_that_is_not_renewed_is_taken_after_its_duration_and_the_former_leader_is_deposed(harness, clock):
    former, other = await leader(harness, "a", clock), standby(harness, "b", clock)
    winning = asyncio.create_task(other.win())
    await looked(harness, other)
    clock.now += 5.9
    former_may = pytest.raises(DeposedError, match="not renewed within")
    with former_may:
        former.check()
    await looked(harness, other)
    assert not winning.done()
    clock.now += 0.1
    async with asyncio.timeout(5):
        leading = await winning
    assert (leading.epoch, (await lease(harness)).holder) == (9, "b")
    with pytest.raises(DeposedError):
        await former.hold()
    await former.hand_back()
    assert (await lease(harness)).holder == "b"


async def test_a_leader_that_finds_another_in_its_place_is_deposed_at_its_next_renewal(harness, clock):
    former = await leader(harness, "a", clock)
    taken = await harness.get(api.LEASES, LEASE_NAME)
    taken["spec"] |= {"holderIdentity": "b", "leaseTransitions": 9}
    await harness.gateway.replace(api.LEASES, taken)
    former.check()
    with pytest.raises(DeposedError, match="b holds the Lease in epoch 9, after 8"):
        await former.hold()
    with pytest.raises(DeposedError):
        former.check()


async def test_a_lease_that_somebody_labels_stays_with_its_leader(harness, clock):
    leading = await leader(harness, "a", clock)
    await harness.gateway.patch(api.LEASES, harness.namespace, LEASE_NAME, {"metadata": {"labels": {"x": "y"}}})
    before = (await lease(harness)).version
    holding = asyncio.create_task(leading.hold())
    async with asyncio.timeout(5):
        while (await lease(harness)).version == before:
            pass
    holding.cancel()
    assert (await lease(harness)).epoch == 8


async def test_a_lease_that_somebody_deletes_is_put_back_by_its_leader_in_its_epoch(harness, clock):
    leading, other = await leader(harness, "a", clock), standby(harness, "b", clock)
    winning = asyncio.create_task(other.win())
    await looked(harness, other)
    await remove(harness)
    await looked(harness, other)
    assert await lease(harness) is None
    holding = asyncio.create_task(leading.hold())
    async with asyncio.timeout(5):
        while await lease(harness) is None:
            pass
    found = await lease(harness)
    assert (found.holder, found.epoch) == ("a", 8)
    assert not winning.done()
    for task in (holding, winning):
        task.cancel()


async def test_a_lease_that_stays_away_is_made_in_an_epoch_above_all_before(harness, clock):
    epochs = []
    for name in ("a", "b"):
        standing = standby(harness, name, clock)
        winning = asyncio.create_task(standing.win())
        await looked(harness, standing)
        clock.now += 6
        async with asyncio.timeout(5):
            epochs.append((await winning).epoch)
        await remove(harness)
    assert 7 < epochs[0] <= epochs[1] < 2**31


async def test_a_container_that_begins_anew_in_its_pod_leads_at_once_in_a_new_epoch(harness, clock):
    former = await leader(harness, "a", clock)
    again = await leader(harness, "a", clock)
    assert (former.epoch, again.epoch) == (8, 9)
    with pytest.raises(DeposedError, match="epoch 9, after 8"):
        await former.hold()


async def test_a_gateway_writes_nothing_once_its_leader_may_be_deposed(harness, clock):
    leading = await leader(harness, "a", clock)
    gateway = await KubernetesGateway.connect(str(harness.plane.kubeconfig), leading.check)
    await harness.create(api.CONFIG_MAPS, "c", None)
    assert await gateway.patch(api.CONFIG_MAPS, harness.namespace, "c", {"data": {"by": "leader"}})
    clock.now += 4.5
    manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": harness.namespace}}
    writes = (
        gateway.patch(api.CONFIG_MAPS, harness.namespace, "c", {"data": {"by": "deposed"}}),
        gateway.apply(api.CONFIG_MAPS, manifest | {"data": {"by": "deposed"}}),
        gateway.create(api.CONFIG_MAPS, manifest | {"metadata": {"name": "d", "namespace": harness.namespace}}),
        gateway.replace(api.CONFIG_MAPS, manifest),
        gateway.replace_status(api.PODS, manifest),
        gateway.delete(api.CONFIG_MAPS, harness.namespace, "c", "some-uid"),
    )
    for write in writes:
        with pytest.raises(DeposedError):
            await write
    assert (await gateway.get(api.CONFIG_MAPS, harness.namespace, "c"))["data"] == {"by": "leader"}
    await gateway.close()


async def test_a_standby_that_has_not_seen_the_lease_of_late_is_blind(harness, clock):
    standing = standby(harness, "a", clock)
    assert standing.cannot_see_lease()
    winning = asyncio.create_task(standing.win())
    await looked(harness, standing)
    assert not standing.cannot_see_lease()
    winning.cancel()
    clock.now += 6.1
    assert standing.cannot_see_lease()
