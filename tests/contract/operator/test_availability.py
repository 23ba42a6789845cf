"""Two operators as processes against a real API server: who leads when one is killed, frozen, ended, or cut off."""

from __future__ import annotations

import asyncio
import signal
import time

import pytest

from modelward_api import names
from modelward_operator.engine.kube import gateway as api
from modelward_operator.engine.leadership import LEASE_NAME, TERMS, read
from tests.support.harness import operator_harness
from tests.support.process import operator
from tests.support.proxy import Proxy

pytestmark = pytest.mark.timeout(180)
TAKEOVER = 10.0
"""Seconds."""


@pytest.fixture
async def harness(control_plane):
    """A champion with one pod, which an operator polls repeatedly."""
    async with operator_harness(control_plane) as found:
        found.port = names.CONTROL_PORT
        await found.vacancy()
        yield found


@pytest.fixture
async def pod(harness):
    """The champion's pod; its journal of exchanges has the epochs."""
    await harness.version("v1", rollout={"strategy": "direct"})
    await harness.say_phase("v1", "Standby")
    return await harness.pod("v1")


@pytest.fixture
def proxy(control_plane):
    with Proxy(control_plane).running() as running:
        yield running


async def wait(condition, seconds=30.0):
    """Seconds until it came true."""
    began = time.monotonic()
    while not await asyncio.to_thread(condition):
        assert time.monotonic() < began + seconds, "not in time"
        await asyncio.sleep(0.02)
    return time.monotonic() - began


async def pair(first, second):
    """The first leads, the second stands by."""
    await wait(first.leads)
    await wait(second.stands_by)


async def lease(harness):
    return read(await harness.get(api.LEASES, LEASE_NAME))


async def test_one_leads_and_the_other_is_ready_to(harness):
    with operator(harness) as first:
        await wait(first.leads)
        with operator(harness) as second:
            await wait(second.stands_by)
            assert second.answers("/readyz") == (200, f"standby: {first.name} leads")
            assert first.answers("/readyz") == (200, "leader in epoch 8")
            for running, leads, epoch in ((first, 1, 8), (second, 0, 0)):
                metrics = running.answers("/metrics", running.metrics)[1]
                assert f"modelward_leader {leads}.0" in metrics
                assert f"modelward_leadership_epoch {epoch}.0" in metrics
            code, log = await asyncio.to_thread(second.end)
            assert (code, "Traceback" in log) == (0, False), log
            assert first.leads()


async def test_a_leader_that_is_killed_is_followed_within_ten_seconds(harness, pod, record_property):
    with operator(harness) as first:
        await wait(first.leads)
        with operator(harness) as second:
            await pair(first, second)
            await wait(lambda: pod.asked)
            first.process.kill()
            told = len(pod.asked)
            seconds = await wait(lambda: any(asked.epoch == 9 for asked in pod.asked[told:]))
            record_property("takeover", seconds)
            print(f"kill -9: the first exchange of the next leader after {seconds:.1f} s")
            assert seconds < TAKEOVER
            assert (await lease(harness)).holder == second.name
            assert {asked.epoch for asked in pod.asked[told:]} <= {8, 9}


async def test_a_leader_that_is_ended_hands_over_within_two_seconds(harness, pod):
    with operator(harness) as first:
        await wait(first.leads)
        with operator(harness) as second:
            await pair(first, second)
            first.process.send_signal(signal.SIGTERM)
            seconds = await wait(lambda: any(asked.epoch == 9 for asked in pod.asked))
            print(f"SIGTERM: the first exchange of the next leader after {seconds:.1f} s")
            assert seconds < 2
            assert (await asyncio.to_thread(first.ended))[0] == 0


@pytest.mark.slow
async def test_a_leader_that_was_frozen_past_its_lease_writes_nothing_more_and_ends(harness, pod, proxy, tmp_path):
    with operator(harness, KUBECONFIG=proxy.kubeconfig(tmp_path)) as first:
        await wait(first.leads)
        with operator(harness) as second:
            await pair(first, second)
            await wait(lambda: pod.asked)
            first.process.send_signal(signal.SIGSTOP)
            await wait(lambda: any(asked.epoch == 9 for asked in pod.asked))
            await harness.version("v2")
            before = len(pod.asked)
            assert proxy.writes
            proxy.writes.clear()
            first.process.send_signal(signal.SIGCONT)
            code, log = await asyncio.to_thread(first.ended)
            assert code == 1
            assert "epoch 8 was not renewed within 4.5 s" in log
            assert proxy.writes == []
            await wait(lambda: len(pod.asked) > before + 2)
            assert {asked.epoch for asked in pod.asked[before:]} == {9}
            found = await lease(harness)
            assert (found.holder, found.epoch) == (second.name, 9)


@pytest.mark.slow
async def test_a_leader_that_is_cut_off_ends_and_exactly_one_leads_when_all_are_back(harness, proxy, tmp_path):
    config = proxy.kubeconfig(tmp_path)
    with operator(harness, KUBECONFIG=config) as first:
        await wait(first.leads)
        with operator(harness, KUBECONFIG=config) as second:
            await pair(first, second)
            proxy.go_away()
            seconds = await wait(lambda: first.process.poll() is not None)
            print(f"the API server is away: the leader has ended after {seconds:.1f} s")
            assert seconds < TERMS.duration + 1
            assert (await asyncio.to_thread(first.ended))[0] == 1
            await wait(lambda: second.answers("/readyz") == (503, "standby: cannot read the Lease"))
            with operator(harness, KUBECONFIG=config, POD_NAME="again") as again:
                proxy.come_back()
                await wait(lambda: second.leads() or again.leads())
                await wait(lambda: second.stands_by() or again.stands_by())
                assert second.leads() != again.leads()
                assert (await lease(harness)).epoch == 9


async def test_a_lease_that_somebody_deletes_changes_neither_leader_nor_epoch(harness):
    with operator(harness) as first:
        await wait(first.leads)
        with operator(harness) as second:
            await pair(first, second)
            found = await harness.get(api.LEASES, LEASE_NAME)
            await harness.gateway.delete(api.LEASES, harness.namespace, LEASE_NAME, found["metadata"]["uid"])
            async with asyncio.timeout(5):
                while await harness.get(api.LEASES, LEASE_NAME) is None:
                    pass
            found = await lease(harness)
            assert (found.holder, found.epoch) == (first.name, 8)
            assert first.leads()
            assert second.stands_by()


@pytest.mark.slow
async def test_a_watch_that_ends_in_an_error_ends_the_process_which_hands_over(harness, proxy, tmp_path):
    with operator(harness, KUBECONFIG=proxy.kubeconfig(tmp_path)) as first:
        await wait(first.leads)
        with operator(harness) as second:
            await pair(first, second)
            await wait(lambda: proxy.watches("modelversions"))
            status = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 500, "reason": "InternalError"}
            began = time.monotonic()
            proxy.say("modelversions", {"type": "ERROR", "object": status})
            code, log = await asyncio.to_thread(first.ended)
            print(f"a watcher died: the process has ended after {time.monotonic() - began:.1f} s")
            assert code == 1
            assert "watcher for modelversions" in log.lower()
            assert "has stopped" in log
            assert "Traceback (most recent call last):\n" not in log
            await wait(second.leads, TAKEOVER)


@pytest.mark.slow
async def test_a_watch_that_falls_silent_is_made_up_for_found_out_and_ends_the_process_which_hands_over(
    harness, proxy, tmp_path
):
    with operator(harness, "--resync", "3", KUBECONFIG=proxy.kubeconfig(tmp_path)) as first:
        await wait(first.leads)
        with operator(harness) as second:
            await pair(first, second)
            await wait(lambda: proxy.watches("modelversions"))
            proxy.silence("modelversions")
            await harness.version("v1")
            seconds = await wait(lambda: harness.phase("v1") == "Verifying")
            assert proxy.watches("modelversions") == 1, "the watch looks alive"
            code, log = await asyncio.to_thread(first.ended)
            print(f"a silent watch: what it did not tell was seen after {seconds:.1f} s")
            assert code == 1
            assert "the watch of modelversions has missed" in log
            await wait(second.leads, TAKEOVER)


@pytest.mark.slow
async def test_a_standby_that_hears_nothing_ends_too(harness, proxy, tmp_path):
    with operator(harness) as first:
        await wait(first.leads)
        with operator(harness, "--resync", "3", KUBECONFIG=proxy.kubeconfig(tmp_path)) as second:
            await pair(first, second)
            await wait(lambda: proxy.watches("modelversions"))
            proxy.silence("modelversions")
            await harness.version("v1")
            code, log = await asyncio.to_thread(second.ended)
            assert code == 1
            assert "the watch of modelversions has missed" in log
            assert first.leads()


@pytest.mark.slow
async def test_watches_that_tell_everything_are_not_taken_for_deaf(harness):
    with operator(harness, "--resync", "1") as running:
        await wait(running.leads)
        await harness.version("v1")
        await wait(lambda: harness.phase("v1") == "Verifying")
        await harness.version("v2")
        before = _lists(running)
        await wait(lambda: _lists(running) > before + 3)
        assert running.leads()


def _lists(running):
    """How often it has listed the ModelVersions."""
    text = running.answers("/metrics", running.metrics)[1]
    found = [line for line in text.splitlines() if 'resource="modelversions",verb="list"' in line and "_total" in line]
    return float(found[0].split()[-1]) if found else 0.0
