"""The API server in memory of tests/faults against a real one: the same script, and the same comes of each of its lines."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from modelward_api import API_VERSION, names
from modelward_api.resources.modelversion import Artifact, ModelVersionSpec
from modelward_operator.domain.core.record import ModelRecord, Quarantine
from modelward_operator.engine.kube import gateway as api
from modelward_operator.engine.kube.gateway import Gateway, GatewayError, Manifest, Resource
from modelward_operator.engine.reconcile.ownership import owns_replicas
from modelward_operator.manifests import record as records
from modelward_operator.manifests import serving
from modelward_operator.manifests.service import service
from tests.faults.gateway import Faults, MemoryGateway
from tests.faults.server import ApiServer
from tests.support.builders import KEY, MODEL, digest
from tests.support.harness import SETTINGS, OperatorHarness, operator_harness

SPEC = {
    "model": MODEL,
    "version": "1.0.0",
    "artifact": {"uri": "store://a", "digest": digest("1")},
    "serving": {"nodeSelector": {"disk": "fast"}},
}
PARSED = ModelVersionSpec.model_validate(SPEC)
ARTIFACT = Artifact(uri="store://a", digest=digest("1"))
KNOWN: dict[str, Resource] = {
    "version": api.MODEL_VERSIONS,
    "deployment": api.DEPLOYMENTS,
    "service": api.SERVICES,
    "record": api.CONFIG_MAPS,
    "budget": api.DISRUPTION_BUDGETS,
}


@dataclass
class Writer:
    """One of the two API servers, and what it held last."""

    gateway: Gateway
    namespace: str
    told: dict[str, Manifest]

    async def does(self, step: Step) -> Any:
        """What comes of one step, without what must differ."""
        before = {what: m["metadata"].get("resourceVersion") for what, m in self.told.items()}
        try:
            await step(self)
        except GatewayError as error:
            return type(error).__name__, error.status
        found = await self.gateway.list(api.MODEL_VERSIONS, self.namespace)
        seen = {}
        for what, resource in KNOWN.items():
            objects = found if what == "version" else await self.gateway.list(resource, self.namespace)
            for manifest in (m for m in objects if m["metadata"]["name"] in ("v1", MODEL, records.record_name(MODEL))):
                seen[what] = _shown(manifest) | {"written": manifest["metadata"]["resourceVersion"] != before.get(what)}
                self.told[what] = manifest
        return seen


Step = Callable[[Writer], Awaitable[Any]]


def _shown(manifest: Manifest) -> dict[str, Any]:
    metadata, spec = manifest["metadata"], manifest.get("spec") or {}
    return {
        "generation": metadata.get("generation"),
        "finalizers": metadata.get("finalizers", []),
        "deleting": "deletionTimestamp" in metadata,
        "labels": metadata.get("labels", {}),
        "annotations": metadata.get("annotations", {}),
        "replicas": spec.get("replicas"),
        "selector": spec.get("selector"),
        "node": spec.get("template", {}).get("spec", {}).get("nodeSelector"),
        "data": manifest.get("data"),
        "phase": manifest.get("status", {}).get("phase"),
        "paused": (spec.get("rollout") or {}).get("paused") or False,
        "ours to scale": owns_replicas(manifest),
    }


def version(writer: Writer, **spec: Any) -> Manifest:
    metadata = {"name": "v1", "namespace": writer.namespace}
    return {"apiVersion": API_VERSION, "kind": "ModelVersion", "metadata": metadata, "spec": SPEC | spec}


def deployment(writer: Writer, replicas: int | None = 1, spec: ModelVersionSpec = PARSED) -> Manifest:
    return serving.deployment(writer.namespace, "v1", "owner", spec, ARTIFACT, replicas, SETTINGS)


def as_of(manifest: Manifest, seen: Manifest, **fields: Any) -> Manifest:
    known = {name: seen["metadata"][name] for name in ("resourceVersion", "uid")}
    return {**manifest, **fields, "metadata": {**manifest["metadata"], **known}}


def patch(resource: Resource, name: str, change: Manifest) -> Step:
    return lambda w: w.gateway.patch(resource, w.namespace, name, change)


def status(phase: str, which: Callable[[Writer], Manifest]) -> Step:
    return lambda w: w.gateway.replace_status(api.MODEL_VERSIONS, {**which(w), "status": {"phase": phase}})


def quarantine(letter: str) -> ModelRecord:
    entry = Quarantine(digest=digest(letter), version="1.0.0", reason="R", message="m", time="2026-01-01T00:00:00Z")
    return ModelRecord(quarantined=(entry,))


def now(writer: Writer) -> Manifest:
    return writer.told["version"]


def first(writer: Writer) -> Manifest:
    """As it was before its first status."""
    return writer.told["first"]


async def remember(writer: Writer) -> None:
    writer.told["first"] = writer.told["version"]


async def recreate(writer: Writer) -> None:
    writer.told["gone"] = writer.told["version"]
    await writer.gateway.create(api.MODEL_VERSIONS, version(writer))


PLAIN = ModelVersionSpec.model_validate(SPEC | {"serving": {}})
SCRIPT: dict[str, Step] = {
    "a version is created": lambda w: w.gateway.create(api.MODEL_VERSIONS, version(w)),
    "a version is created again": lambda w: w.gateway.create(api.MODEL_VERSIONS, version(w)),
    "what it is like is remembered": remember,
    "a status is written": status("Pending", now),
    "the same status is written": status("Pending", now),
    "a status is written on an old reading": status("Champion", first),
    "the status that is there is written on an old reading": status("Pending", first),
    "a finalizer is put on": patch(api.MODEL_VERSIONS, "v1", {"metadata": {"finalizers": [names.FINALIZER]}}),
    "a spec is changed": patch(api.MODEL_VERSIONS, "v1", {"spec": {"rollout": {"paused": True}}}),
    "a spec is changed to what it is": patch(api.MODEL_VERSIONS, "v1", {"spec": {"rollout": {"paused": True}}}),
    "an artifact is changed": patch(api.MODEL_VERSIONS, "v1", {"spec": {"artifact": {"digest": digest("2")}}}),
    "a spec is made invalid": patch(api.MODEL_VERSIONS, "v1", {"spec": {"rollout": {"steps": []}}}),
    "a patch writes no status": patch(api.MODEL_VERSIONS, "v1", {"status": {"phase": "Champion"}}),
    "a patch on an old reading": lambda w: w.gateway.patch(
        api.MODEL_VERSIONS,
        w.namespace,
        "v1",
        {"metadata": {"finalizers": [], "resourceVersion": first(w)["metadata"]["resourceVersion"]}},
    ),
    "a replacement writes no status": lambda w: w.gateway.replace(
        api.MODEL_VERSIONS, as_of(version(w), now(w), status={"phase": "Champion"})
    ),
    "a replacement on an old reading": lambda w: w.gateway.replace(api.MODEL_VERSIONS, as_of(version(w), first(w))),
    "the finalizer is put on again": patch(api.MODEL_VERSIONS, "v1", {"metadata": {"finalizers": [names.FINALIZER]}}),
    "another uid is deleted": lambda w: w.gateway.delete(api.MODEL_VERSIONS, w.namespace, "v1", "another"),
    "a version with a finalizer is deleted": lambda w: w.gateway.delete(
        api.MODEL_VERSIONS, w.namespace, "v1", now(w)["metadata"]["uid"]
    ),
    "it is deleted again": lambda w: w.gateway.delete(
        api.MODEL_VERSIONS, w.namespace, "v1", now(w)["metadata"]["uid"]
    ),
    "it cannot be created meanwhile": lambda w: w.gateway.create(api.MODEL_VERSIONS, version(w)),
    "its finalizer goes": patch(api.MODEL_VERSIONS, "v1", {"metadata": {"finalizers": []}}),
    "a status of what is gone": status("Pending", now),
    "a patch of what is gone": patch(api.MODEL_VERSIONS, "v1", {"spec": {"rollout": {"paused": True}}}),
    "a deletion of what is gone": lambda w: w.gateway.delete(api.MODEL_VERSIONS, w.namespace, "v1", "any"),
    "it is created anew": recreate,
    "a status of the one before": status("Champion", lambda w: w.told["gone"]),
    "a deployment is applied": lambda w: w.gateway.apply(api.DEPLOYMENTS, deployment(w)),
    "the same is applied": lambda w: w.gateway.apply(api.DEPLOYMENTS, deployment(w)),
    "others write into it": patch(
        api.DEPLOYMENTS, "v1", {"metadata": {"annotations": {"team": "c"}}, "spec": {"paused": True}}
    ),
    "other pods are applied": lambda w: w.gateway.apply(api.DEPLOYMENTS, deployment(w, 3)),
    "what is no longer wanted goes": lambda w: w.gateway.apply(api.DEPLOYMENTS, deployment(w, 3, PLAIN)),
    "it is applied on an old reading": lambda w: w.gateway.apply(
        api.DEPLOYMENTS, as_of(deployment(w), {"metadata": {"resourceVersion": "1", "uid": _uid(w, "deployment")}})
    ),
    "it is applied on the newest reading": lambda w: w.gateway.apply(
        api.DEPLOYMENTS, as_of(deployment(w, 2), w.told["deployment"])
    ),
    "the number of pods is handed over": lambda w: w.gateway.apply(
        api.DEPLOYMENTS, serving.replicas_only(w.namespace, "v1", 2), names.SCALE_MANAGER
    ),
    "the number of pods is left out": lambda w: w.gateway.apply(api.DEPLOYMENTS, deployment(w, None)),
    "the number of pods is taken back": lambda w: w.gateway.apply(api.DEPLOYMENTS, deployment(w, 4)),
    "a number that nobody else has is left out": lambda w: w.gateway.apply(api.DEPLOYMENTS, deployment(w, None)),
    "a budget is applied": lambda w: w.gateway.apply(
        api.DISRUPTION_BUDGETS, serving.disruption_budget(w.namespace, "v1", PARSED)
    ),
    "a service is applied": lambda w: w.gateway.apply(api.SERVICES, service(w.namespace, MODEL, "v1")),
    "a service turns": lambda w: w.gateway.apply(api.SERVICES, service(w.namespace, MODEL, "v2")),
    "a service is turned by hand": patch(api.SERVICES, MODEL, {"spec": {"selector": {"app": "other"}}}),
    "a service is applied over that": lambda w: w.gateway.apply(api.SERVICES, service(w.namespace, MODEL, "v2")),
    "a record is applied": lambda w: w.gateway.apply(
        api.CONFIG_MAPS, records.config_map(w.namespace, MODEL, quarantine("1"), KEY)
    ),
    "another record is applied": lambda w: w.gateway.apply(
        api.CONFIG_MAPS, records.config_map(w.namespace, MODEL, quarantine("2"), KEY)
    ),
    "a deployment is deleted": lambda w: w.gateway.delete(
        api.DEPLOYMENTS, w.namespace, "v1", _uid(w, "deployment")
    ),
    "what is gone is applied as it was read": lambda w: w.gateway.apply(
        api.DEPLOYMENTS, as_of(deployment(w), w.told["deployment"])
    ),
}  # fmt: skip


def _uid(writer: Writer, what: str) -> str:
    found: str = writer.told[what]["metadata"]["uid"]
    return found


@pytest.fixture
async def harness(control_plane):
    async with operator_harness(control_plane) as found:
        yield found


async def test_both_make_the_same_of_every_step(harness: OperatorHarness):
    server, awake = ApiServer(lambda: datetime.now(UTC)), asyncio.Event()
    awake.set()
    memory = Writer(MemoryGateway(server, Faults(), awake, lambda: None), harness.namespace, {})
    real = Writer(harness.gateway, harness.namespace, {})
    for name, step in SCRIPT.items():
        assert _differences(await memory.does(step), await real.does(step)) == {}, name


def _differences(memory: Any, real: Any) -> dict[str, Any]:
    """Return the differences between the server in memory and the real one."""
    if not (isinstance(memory, dict) and isinstance(real, dict)):
        return {} if memory == real else {"outcome": (memory, real)}
    found = {what: _differences(memory.get(what), real.get(what)) for what in memory.keys() | real.keys()}
    return {what: difference for what, difference in found.items() if difference}
