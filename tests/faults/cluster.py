"""The controllers and the kubelets: Deployments become pods, pods start, end and fail, orphans are collected."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from typing import Any

from modelward_api import names
from modelward_api.wire.exchange import FetchOutcome
from modelward_operator.engine.kube import gateway as api
from modelward_operator.engine.kube.gateway import Manifest
from tests.faults.pods import ServingPod
from tests.faults.server import ApiServer
from tests.support.builders import MODEL

NAMESPACE = "clinic"
STARTING, ENDING = 0.5, 0.5
"""Seconds."""
TEMPLATE = "pod-template-hash"
NOWHERE = {"disk": "none"}
"""A nodeSelector that no node has."""
CONTROLLER = "kube-controller-manager"


class Cluster:
    """What makes objects happen. Works on the API server directly: it does not fail with the operator's way to it."""

    def __init__(self, server: ApiServer, clock: Callable[[], float]) -> None:
        self._server = server
        self._clock = clock
        self.pods: dict[str, ServingPod] = {}
        """By name: those whose container runs."""
        self._due: dict[str, float] = {}
        """By pod: when it is ready, or gone."""
        self._addresses = 0
        self._hashes: dict[str, str] = {}
        self._seen = -1
        """The change of the API server after which there was nothing left to do."""
        self.corrupt: set[str] = set()
        """Digests whose bundle is another one in the store."""

    def at(self, ip: str) -> ServingPod | None:
        """The pod that has that address."""
        return next((pod for pod in self.pods.values() if pod.ip == ip), None)

    def step(self) -> None:
        """All controllers, once."""
        for name in [name for name, when in self._due.items() if when <= self._clock()]:
            del self._due[name]
            self._come_due(name)
        if self._seen == self._server.changes:
            return
        self._server.collect_garbage()
        for deployment in self._server.list(api.DEPLOYMENTS, NAMESPACE):
            self._roll(deployment)
        self._server.collect_garbage()
        self.pods = {name: pod for name, pod in self.pods.items() if self._server.get(api.PODS, NAMESPACE, name)}
        self._seen = self._server.changes

    def of(self, version: str) -> list[Manifest]:
        """The pods of that version."""
        return self._server.list(api.PODS, NAMESPACE, f"{names.MODEL}={MODEL},{names.MODEL_VERSION}={version}")

    def ready(self, version: str) -> list[ServingPod]:
        """Those that a Service which selects that version sends callers to."""
        return [self.pods[m["metadata"]["name"]] for m in self.of(version) if _is_ready(m)]

    def kill(self, name: str) -> None:
        """The node is gone, and the pod with it."""
        self.pods.pop(name, None)
        self._due.pop(name, None)
        self._server.delete(api.PODS, NAMESPACE, name)

    def crash(self, name: str) -> None:
        """Its server ends, and is started again."""
        self.pods[name].start()
        self._say(name, ready=False)
        self._due[name] = self._clock() + STARTING

    def _roll(self, deployment: Manifest) -> None:
        """RollingUpdate with one pod more than wanted and none fewer."""
        template = self._hash(deployment)
        wanted = deployment["spec"]["replicas"]
        pods = [m for m in self._server.list(api.PODS, NAMESPACE) if _owner(m) == deployment["metadata"]["uid"]]
        pods = [m for m in pods if not _is_deleting(m)]
        pods.sort(key=_is_ready, reverse=True)
        current = [m for m in pods if m["metadata"]["labels"][TEMPLATE] == template]
        old = [m for m in pods if m not in current]
        for _ in range(min(wanted - len(current), wanted + bool(old) - len(pods))):
            self._create(deployment, template)
        for pod in [m for m in old if not _is_ready(m)] + current[wanted:]:
            self._end(pod)
        ready = sum(_is_ready(m) for m in pods)
        for pod in [m for m in old if _is_ready(m)][: max(0, ready - wanted)]:
            self._end(pod)

    def _hash(self, deployment: Manifest) -> str:
        metadata = deployment["metadata"]
        key = f"{metadata['uid']} {metadata['generation']}"
        if key not in self._hashes:
            written = json.dumps(deployment["spec"]["template"], sort_keys=True)
            self._hashes[key] = hashlib.sha256(written.encode()).hexdigest()[:10]
        return self._hashes[key]

    def _create(self, deployment: Manifest, template: str) -> None:
        metadata, spec = deployment["spec"]["template"]["metadata"], deployment["spec"]["template"]["spec"]
        name = deployment["metadata"]["name"]
        owner = {"kind": "Deployment", "name": name, "uid": deployment["metadata"]["uid"]}
        made = self._server.create(
            api.PODS,
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {
                    "generateName": f"{name}-",
                    "namespace": NAMESPACE,
                    "labels": {**metadata["labels"], TEMPLATE: template},
                    "ownerReferences": [owner],
                },
                "spec": spec,
            },
            CONTROLLER,
        )
        if spec.get("nodeSelector") != NOWHERE:
            self._due[made["metadata"]["name"]] = self._clock() + STARTING
            return
        message = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no node fits"}
        self._server.patch_status(api.PODS, NAMESPACE, made["metadata"]["name"], {"conditions": [message]})

    def _end(self, pod: Manifest) -> None:
        """It answers those who still ask it, and goes."""
        name = pod["metadata"]["name"]
        if name not in self.pods:
            self.kill(name)
            return
        self._server.patch(api.PODS, NAMESPACE, name, {"metadata": {"finalizers": ["kubelet"]}}, CONTROLLER)
        self._server.delete(api.PODS, NAMESPACE, name)
        self._due[name] = self._clock() + ENDING

    def _come_due(self, name: str) -> None:
        manifest = self._server.get(api.PODS, NAMESPACE, name)
        if manifest is None:
            return
        if _is_deleting(manifest):
            self.pods.pop(name, None)
            self._server.patch(api.PODS, NAMESPACE, name, {"metadata": {"finalizers": None}}, CONTROLLER)
            return
        digest = next(e["value"] for e in _environment(manifest) if e["name"] == "MODELWARD_DIGEST")
        if digest in self.corrupt:
            self._fail(name, digest)
            return
        if name not in self.pods:
            self._addresses += 1
            ip = f"10.0.{self._addresses // 256}.{self._addresses % 256}"
            version = manifest["metadata"]["labels"][names.MODEL_VERSION]
            self.pods[name] = ServingPod(name, version, digest, ip, self._clock)
        self._say(name, ready=True)

    def _say(self, name: str, *, ready: bool) -> None:
        fetched = {"name": "fetch", "state": {"terminated": {"exitCode": 0}}}
        status = {
            "phase": "Running",
            "podIP": self.pods[name].ip,
            "initContainerStatuses": [fetched],
            "conditions": [{"type": "Ready", "status": "True" if ready else "False"}],
        }
        self._server.patch_status(api.PODS, NAMESPACE, name, status)

    def _fail(self, name: str, digest: str) -> None:
        outcome = FetchOutcome(verified=False, reason="DigestMismatch", message="another bundle", digest=digest)
        said = {"exitCode": 1, "message": json.dumps(outcome.to_json())}
        status = {"phase": "Pending", "initContainerStatuses": [{"name": "fetch", "state": {"terminated": said}}]}
        self._server.patch_status(api.PODS, NAMESPACE, name, status)


def _is_ready(manifest: Manifest) -> bool:
    conditions = (manifest.get("status") or {}).get("conditions", [])
    return not _is_deleting(manifest) and any((c["type"], c["status"]) == ("Ready", "True") for c in conditions)


def _is_deleting(manifest: Manifest) -> bool:
    return "deletionTimestamp" in manifest["metadata"]


def _owner(manifest: Manifest) -> str | None:
    return next((owner["uid"] for owner in manifest["metadata"].get("ownerReferences", [])), None)


def _environment(manifest: Manifest) -> list[Any]:
    found: list[Any] = manifest["spec"]["containers"][0]["env"]
    return found
