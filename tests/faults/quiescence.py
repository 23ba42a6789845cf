"""What must hold once nothing goes wrong any more, and everything has come to rest."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from modelward_api import names
from modelward_api.resources.modelversion import Artifact, ModelVersionSpec
from modelward_operator.engine.kube import gateway as api
from modelward_operator.engine.kube.gateway import Manifest
from modelward_operator.manifests import serving
from tests.faults.cluster import NAMESPACE
from tests.faults.process import SETTINGS
from tests.faults.server import ApiServer
from tests.faults.world import World

QUIET = 80.0
"""Seconds without a write that count as rest: longer than a resync and the longest backoff."""
LATER = timedelta(days=3)
"""From the beginning: what waits for its time has had it, by the wall clock, however that was set meanwhile."""
KINDS = (
    api.MODEL_VERSIONS,
    api.DEPLOYMENTS,
    api.SERVICES,
    api.CONFIG_MAPS,
    api.DISRUPTION_BUDGETS,
    api.AUTOSCALERS,
    api.PODS,
)


def settle(world: World) -> None:
    """Mend everything, and wait until nothing is written any more."""
    world.heal()
    world.callers.rate = 0.0
    changes, since = world.server.changes, world.loop.time()
    deadline = since + 600
    while world.loop.time() - since < QUIET:
        assert world.loop.time() < deadline, f"no rest: {world.tell()}"
        world.wait(5.0)
        if world.server.changes != changes:
            changes, since = world.server.changes, world.loop.time()


def check(world: World) -> None:
    """All that must hold at rest."""
    assert world.invariants.violations == []
    _weights_sum_to_100(world)
    world.offset = LATER
    settle(world)
    assert world.invariants.violations == []
    _weights_sum_to_100(world)
    nothing_is_written_again(world)
    _nothing_is_left_of_earlier_specs(world)
    _a_fresh_operator_changes_nothing(world)


def _weights_sum_to_100(world: World) -> None:
    """In the statuses, and in the leases that the pods hold."""
    weights = {name: ((m.get("status") or {}).get("weight") or {}) for name, m in world.versions().items()}
    requested = {name: weight.get("requested", 0.0) for name, weight in weights.items()}
    champions = [name for name, phase in world.phases().items() if phase == "Champion" and _is_readable(world, name)]
    if not champions or not _is_readable(world, world.serves()):
        return
    assert champions == [world.serves()], world.tell()
    assert sum(requested.values()) == 100, requested
    for pod in world.cluster.ready(champions[0]):
        state = pod.state()
        given = state.weight if state is not None else 0.0
        tripped = any(evidence.tripped for evidence in pod.holder.evidence())
        assert tripped or given == 100 - requested[champions[0]], (given, requested)


def nothing_is_written_again(world: World) -> None:
    """Through a resync and all periods."""
    writes = world.faults.writes
    world.wait(75.0)
    assert world.faults.writes == writes, world.tell()


def _a_fresh_operator_changes_nothing(world: World) -> None:
    before = everything(world)
    for process in world.processes:
        process.die()
    world.wait(12.0)
    assert everything(world) == before


def _nothing_is_left_of_earlier_specs(world: World) -> None:
    """A→B is as a fresh B, and A→B→A as A: the Deployments are what a first apply on an empty server would make."""
    for name, deployment in _all(world.server, api.DEPLOYMENTS).items():
        version = world.version(name)
        if version is None or not _is_readable(world, name):
            continue  # kept as it was until the spec can be read again
        spec = ModelVersionSpec.model_validate(version["spec"])
        artifact = Artifact.model_validate(version["spec"]["artifact"])
        replicas = deployment["spec"]["replicas"]
        uid = version["metadata"]["uid"]
        wanted = serving.deployment(NAMESPACE, name, uid, spec, artifact, replicas, SETTINGS)
        fresh = ApiServer(world.now).apply(api.DEPLOYMENTS, wanted)
        assert deployment["spec"] == fresh["spec"]
        assert deployment["metadata"]["labels"] == fresh["metadata"]["labels"]


def _is_readable(world: World, name: str | None) -> bool:
    try:
        ModelVersionSpec.model_validate((world.version(name or "") or {}).get("spec"))
    except ValueError:
        return False
    return True


def everything(world: World) -> dict[str, Any]:
    """All objects of the namespace, as they read."""
    return {f"{resource.kind} {name}": m for resource in KINDS for name, m in _all(world.server, resource).items()}


def made(world: World) -> dict[str, str]:
    """What the operator has made, without what differs from one life of an object to the next, or is an autoscaler's."""
    found = {}
    scaled = _all(world.server, api.AUTOSCALERS)
    for resource in (api.DEPLOYMENTS, api.SERVICES, api.DISRUPTION_BUDGETS, api.AUTOSCALERS):
        for name, manifest in _all(world.server, resource).items():
            labels = manifest["metadata"].get("labels") or {}
            assert labels.get(names.MANAGED_BY) == names.MANAGER
            spec = manifest["spec"]
            if resource == api.DEPLOYMENTS and name in scaled:
                spec = {**spec, "replicas": "the autoscaler's"}
            found[f"{resource.kind} {name}"] = json.dumps([labels, spec], sort_keys=True)
    return found


def _all(server: ApiServer, resource: api.Resource) -> dict[str, Manifest]:
    return {m["metadata"]["name"]: m for m in server.list(resource, NAMESPACE)}
