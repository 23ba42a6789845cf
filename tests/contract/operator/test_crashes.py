"""The operator dies at writes, again and again, in the middle of a promotion and of a rollback."""

from __future__ import annotations

from functools import partial
from itertools import repeat

import pytest

from modelward_api import names
from modelward_operator.engine.kube import gateway as api
from modelward_operator.manifests import record as records
from tests.support.builders import KEY, digest
from tests.support.cases import cases
from tests.support.harness import MODEL, OperatorHarness, operator_harness
from tests.support.lives import ROLLOUT, Cluster, bad, good, live, lives, luck

PATTERNS = {
    "never": lambda: lives([10**6], "before"),
    **{
        f"{when} write {length} of each life": partial(lambda n, w: lives(repeat(n), w), length, when)
        for length in (6, 7, 8)
        for when in ("before", "after")
    },
    **{
        f"{when} any write, {seed}": partial(lambda s, w: lives(luck(s), w), seed, when)
        for seed in (1, 2)
        for when in ("before", "after")
    },
}


async def phase(harness: OperatorHarness, name: str) -> str | None:
    return (await harness.status(name)).get("phase")


@pytest.fixture
async def harness(control_plane):
    async with operator_harness(control_plane) as found:
        yield found


@pytest.mark.parametrize("pattern", cases(PATTERNS, ("never", "before any write, 1", "after write 6 of each life")))
async def test_a_promotion_ends_the_same_wherever_the_operator_dies(harness, pattern):
    await harness.version("v1")
    cluster = Cluster(harness, good)
    await live(harness, cluster, pattern, lambda: _is(harness, v1="Champion"))
    await harness.version("v2", rollout=ROLLOUT)
    quiet = await live(harness, cluster, pattern, lambda: _is(harness, v1="Standby", v2="Champion"))
    assert quiet == []
    assert (await harness.get(api.SERVICES, MODEL))["spec"]["selector"][names.MODEL_VERSION] == "v2"
    history = [step["toPhase"] for step in (await harness.status("v2"))["history"]]
    assert history[-3:] == ["Canary", "Promoting", "Champion"]
    # Its pods may be ready before anything is said of it: the Deployment comes before the status.
    assert history[:-3] in (["Verifying"], [])
    assert {m["metadata"]["name"] for m in await harness.gateway.list(api.DEPLOYMENTS, harness.namespace)} == {
        "v1",
        "v2",
    }


@pytest.mark.parametrize("pattern", cases(PATTERNS, ("never", "before any write, 1", "after write 6 of each life")))
async def test_a_rollback_ends_the_same_wherever_the_operator_dies(harness, pattern):
    await harness.version("v1")
    cluster = Cluster(harness, bad)
    await live(harness, cluster, pattern, lambda: _is(harness, v1="Champion"))
    await harness.version("v2", rollout=ROLLOUT)
    quiet = await live(harness, cluster, pattern, lambda: _is(harness, v1="Champion", v2="RolledBack"))
    assert quiet == []
    record = records.read(
        await harness.get(api.CONFIG_MAPS, records.record_name(MODEL)), harness.namespace, MODEL, KEY
    ).record
    assert [entry.digest for entry in record.quarantined] == [digest("2")]
    assert {m["metadata"]["name"] for m in await harness.gateway.list(api.DEPLOYMENTS, harness.namespace)} == {"v1"}
    assert cluster.pods["v1"][0].lease is None
    assert (await harness.get(api.SERVICES, MODEL))["spec"]["selector"][names.MODEL_VERSION] == "v1"


async def _is(harness: OperatorHarness, **wanted: str) -> bool:
    return {name: await phase(harness, name) for name in wanted} == wanted
