"""CustomResourceDefinitions that are created late, deleted or recreated: the operator recovers, or exits to be restarted."""

from __future__ import annotations

import asyncio
import time

import pytest

from modelward_operator.engine.kube.watch_cache import WatchCache
from modelward_operator.engine.queue import WorkQueue
from modelward_operator.engine.watch import resync
from tests.support.control_plane import api_server, define
from tests.support.harness import operator_harness
from tests.support.process import operator

pytestmark = pytest.mark.slow
FREE = '{"metadata":{"finalizers":null}}'


@pytest.fixture
def plane(tmp_path):
    """An API server of one's own: its definitions go."""
    with api_server(tmp_path) as found:
        yield found


def remove(harness):
    harness.plane.kubectl("delete", "crd", "--all", "--wait=false")
    harness.plane.kubectl(
        "patch", "mv", "v1", "--namespace", harness.namespace, "--type=merge", "--patch", FREE, check=False
    )
    harness.plane.kubectl("wait", "--for=delete", "crd", "--all", "--timeout=30s")


async def works_or_ends(harness, running):
    """A new version is worked on; if the process has ended, by the next one."""
    await harness.version("v1")
    try:
        running.wait(lambda: running.process.poll() is not None or harness.phase("v1") == "Verifying", 60)
    except AssertionError:
        if running.process.poll() is None:
            raise
    if running.process.poll() is None:
        return
    code, log = running.ended()
    assert code == 1, log
    with operator(harness, "--resync", "2") as again:
        again.wait(lambda: harness.phase("v1") == "Verifying", 60)


async def test_definitions_that_are_deleted_and_made_again_are_noticed(plane, tmp_path):
    define(plane, tmp_path / "api.log")
    async with operator_harness(plane) as harness:
        await harness.vacancy()
        await harness.version("v1")
        with operator(harness, "--resync", "2") as running:
            running.wait(lambda: harness.phase("v1") == "Verifying", 60)
            remove(harness)
            define(plane, tmp_path / "api.log")
            await works_or_ends(harness, running)


async def test_definitions_that_were_gone_for_a_while_end_the_process_as_soon_as_they_are_back(plane, tmp_path, caplog):
    async def until(holds):
        deadline = time.monotonic() + 30
        while not holds():
            assert time.monotonic() < deadline
            await asyncio.sleep(0.1)

    define(plane, tmp_path / "api.log")
    async with operator_harness(plane) as harness:
        await harness.version("v1")
        cache = WatchCache()
        running = asyncio.create_task(resync.run(harness.gateway, WorkQueue(), cache, [harness.namespace], 0.2))
        await asyncio.wait_for(cache.filled.wait(), 20)
        remove(harness)
        await until(lambda: "404" in caplog.text)
        define(plane, tmp_path / "api.log")
        with pytest.raises(resync.StaleWatchError, match="deleted and restored"):
            await asyncio.wait_for(running, 20)


async def test_an_operator_that_was_there_first_works_once_the_definitions_are(plane, tmp_path):
    async with operator_harness(plane) as harness:
        await harness.vacancy()
        with operator(harness, "--resync", "2") as running:
            running.wait(lambda: running.answers("/readyz")[0] == 503, 60)
            define(plane, tmp_path / "api.log")
            await works_or_ends(harness, running)


async def test_an_operator_that_was_there_first_watches_as_soon_as_the_definitions_are(plane, tmp_path):
    async with operator_harness(plane) as harness:
        await harness.vacancy()
        with operator(harness) as running:
            running.wait(lambda: running.answers("/readyz")[0] == 503, 60)
            define(plane, tmp_path / "api.log")
            running.wait(running.leads, 20)
            await harness.version("v1")
            running.wait(lambda: harness.phase("v1") == "Verifying", 10)
