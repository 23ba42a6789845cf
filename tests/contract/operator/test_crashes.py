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
from tests.support.harness import MODEL, Ward, ward
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


async def phase(place: Ward, name: str) -> str | None:
    return (await place.status(name)).get("phase")


@pytest.fixture
async def place(control_plane):
    async with ward(control_plane) as found:
        yield found


@pytest.mark.parametrize("pattern", cases(PATTERNS, ("never", "before any write, 1", "after write 6 of each life")))
async def test_a_promotion_ends_the_same_wherever_the_operator_dies(place, pattern):
    await place.version("v1")
    cluster = Cluster(place, good)
    await live(place, cluster, pattern, lambda: _is(place, v1="Champion"))
    await place.version("v2", rollout=ROLLOUT)
    quiet = await live(place, cluster, pattern, lambda: _is(place, v1="Standby", v2="Champion"))
    assert quiet == []
    assert (await place.get(api.SERVICES, MODEL))["spec"]["selector"][names.MODEL_VERSION] == "v2"
    history = [step["toPhase"] for step in (await place.status("v2"))["history"]]
    assert history[-3:] == ["Canary", "Promoting", "Champion"]
    # Its pods may be ready before anything is said of it: the Deployment comes before the status.
    assert history[:-3] in (["Verifying"], [])
    assert {m["metadata"]["name"] for m in await place.gateway.list(api.DEPLOYMENTS, place.namespace)} == {"v1", "v2"}


@pytest.mark.parametrize("pattern", cases(PATTERNS, ("never", "before any write, 1", "after write 6 of each life")))
async def test_a_rollback_ends_the_same_wherever_the_operator_dies(place, pattern):
    await place.version("v1")
    cluster = Cluster(place, bad)
    await live(place, cluster, pattern, lambda: _is(place, v1="Champion"))
    await place.version("v2", rollout=ROLLOUT)
    quiet = await live(place, cluster, pattern, lambda: _is(place, v1="Champion", v2="RolledBack"))
    assert quiet == []
    record = records.read(
        await place.get(api.CONFIG_MAPS, records.record_name(MODEL)), place.namespace, MODEL, KEY
    ).record
    assert [entry.digest for entry in record.quarantined] == [digest("2")]
    assert {m["metadata"]["name"] for m in await place.gateway.list(api.DEPLOYMENTS, place.namespace)} == {"v1"}
    assert cluster.pods["v1"][0].lease is None
    assert (await place.get(api.SERVICES, MODEL))["spec"]["selector"][names.MODEL_VERSION] == "v1"


async def _is(place: Ward, **wanted: str) -> bool:
    return {name: await phase(place, name) for name in wanted} == wanted
