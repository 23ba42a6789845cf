"""A model's life on a real API server, in which the operator dies at its writes and is restarted."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable

import pytest

from modelward_api import names
from modelward_api.wire.exchange import PairedCounts
from modelward_operator.engine.kube import gateway as api
from modelward_operator.engine.kube.gateway import ConflictError
from tests.support.harness import MODEL, CrashError, OperatorHarness

ROLLOUT = {"steps": [{"weight": 10, "minRequests": 10}, {"weight": 50, "minRequests": 10}]}


def lives(lengths: Iterable[int], when: str) -> Callable[[int], str | None]:
    """Processes that end just before or after their n-th write. (A new one applies once what it finds in order.)"""
    rest = iter(lengths)

    def crash(number: int) -> str | None:
        nonlocal length
        if number < length:
            return None
        length = next(rest, 10**6)
        return when

    length = next(rest)
    return crash


def luck(seed: int) -> Iterable[int]:
    drawn = random.Random(seed)
    return (drawn.randint(1, 9) for _ in range(10**6))


class Cluster:
    """The controllers and the kubelet: pods for Deployments, and no pods without."""

    def __init__(self, harness: OperatorHarness, counts) -> None:
        self.harness = harness
        self.counts = counts
        self.pods: dict[str, list] = {}
        self.round = 0

    async def turn(self) -> None:
        self.round += 1
        wanted = {
            m["metadata"]["name"]: m for m in await self.harness.gateway.list(api.DEPLOYMENTS, self.harness.namespace)
        }
        for name, manifest in wanted.items():
            have = self.pods.setdefault(name, [])
            while len(have) < manifest["spec"]["replicas"]:
                have.append(await self.harness.pod(name))
        for name in self.pods.keys() - wanted.keys():
            for pod in self.pods.pop(name):
                await self._remove(pod.name)
        for pod in self.pods.get("v1", []):
            pod.count("v2", **self.counts(self.round))

    async def _remove(self, name: str) -> None:
        path = f"/api/v1/namespaces/{self.harness.namespace}/pods/{name}"
        await self.harness.request("DELETE", path, {}, {"gracePeriodSeconds": 0}, absent_is_none=True)

    async def callers_are_answered(self) -> None:
        """Check that the version that the Service selects has ready pods."""
        found = await self.harness.get(api.SERVICES, MODEL)
        if found is not None:
            assert self.pods.get(found["spec"]["selector"][names.MODEL_VERSION]), self.harness.gateway.journal


async def live(harness: OperatorHarness, cluster: Cluster, pattern, until) -> list[str]:
    """Reconcile until then, as a new process after each crash; returns what was written."""
    epoch, operate, crash = 1, harness.reconciler(), pattern()
    for _ in range(150):
        harness.gateway.crash = crash
        try:
            await operate(harness.key)
        except (CrashError, ConflictError):
            epoch += 1
            harness.gateway.number = 0
            operate = harness.reconciler(epoch=epoch)
        harness.gateway.crash = lambda _: None
        await cluster.callers_are_answered()
        await cluster.turn()
        if await until():
            break
    else:
        pytest.fail(f"not there after 150 rounds: {harness.gateway.journal[-20:]}")
    settled = harness.reconciler(epoch=epoch + 1)
    for _ in range(2):
        await settled(harness.key)
    harness.gateway.writes()
    await settled(harness.key)
    return harness.gateway.writes()


def good(number: int) -> dict[str, int]:
    pairs = 400 * number
    return PairedCounts(pairs=pairs, compared=pairs, requests=pairs, answered=pairs // 10).model_dump()


def bad(number: int) -> dict[str, int]:
    return PairedCounts(
        pairs=30 * number, compared=20 * number, errors_challenger=10 * number, invalid=10 * number
    ).model_dump()
