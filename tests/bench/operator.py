"""The operator as it grows: thousands of ModelVersions on a real API server, the operator's process looked at from outside.

Every model has one champion, one standby and eight retired versions, a DriftMonitor, and one pod each of the first two, which
answer on loopback. Objects are made, and brought to rest by a first run of the operator, before anything is measured. Then, for
each size: a full resync (from the start of a new process until each model was looked at once), two minutes at rest, and changes
of single specs until `status.observedGeneration` follows.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import aiohttp

from modelward_api import API_VERSION, names
from modelward_operator.domain.core.clock import stamp
from modelward_operator.engine.kube import gateway as api
from modelward_operator.engine.kube.gateway import KubernetesGateway, Manifest, Resource
from modelward_operator.manifests.serving import short
from tests.bench import pods as ports
from tests.support.control_plane import CRDS, ControlPlane, api_server
from tests.support.ports import free_port

NAMESPACE = "scale"
VERSIONS = 10
AT_ONCE = 32
_SAMPLE = re.compile(r"^(\w+?)(?:_total)?(?:\{(.*)\})? ([\d.e+]+)$", re.M)


class Operator:
    """A process of the operator."""

    def __init__(self, plane: ControlPlane, log: Path) -> None:
        self.port = free_port()
        words = ["run", "--health-port", str(free_port()), "--metrics-port", str(self.port)]
        environment = {
            **os.environ,
            "KUBECONFIG": str(plane.kubeconfig),
            "MODELWARD_SERVING_IMAGE": "serving:1",
            "MODELWARD_TRAINING_IMAGE": "training:1",
            "MODELWARD_NAMESPACES": NAMESPACE,
            "MODELWARD_LOG_LEVEL": "WARNING",
            "POD_NAMESPACE": NAMESPACE,
            "POD_NAME": "operator",
        }
        self.began = time.monotonic()
        argv = [sys.executable, "-m", "modelward_operator", *words]
        self.process = subprocess.Popen(argv, env=environment, stderr=log.open("a"))

    def samples(self, *wanted: str) -> Iterator[tuple[str, dict[str, str], float]]:
        """Its metrics of those names: name, labels, value."""
        query = "&".join(f"name[]={name}" for name in wanted)
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/metrics?{query}", timeout=30) as answer:
            text = answer.read().decode()
        for name, labels, value in _SAMPLE.findall(text):
            yield name, dict(re.findall(r'(\w+)="([^"]*)"', labels)), float(value)

    def await_models(self, count: int, limit: float = 300.0) -> float:
        """Seconds from its start until it has looked at that many models."""
        while time.monotonic() - self.began < limit:
            assert self.process.poll() is None, "the operator has ended"
            try:
                looked = sum(value for *_, value in self.samples("modelward_models"))
            except OSError:
                looked = 0
            if looked >= count:
                return time.monotonic() - self.began
            time.sleep(0.1)
        raise TimeoutError(f"{looked:.0f} of {count} models after {limit:.0f} s")

    def calls(self) -> Counter[tuple[str, str]]:
        """Calls to the API server so far, by verb and kind."""
        found: Counter[tuple[str, str]] = Counter()
        for _, labels, value in self.samples("modelward_api_calls_total"):
            found[labels["verb"], labels["resource"]] += int(value)
        return found

    def reconciles(self) -> int:
        """How many models it has looked at, again and again."""
        return int(sum(v for _, labels, v in self.samples("modelward_reconciles_total") if labels["kind"] == "Model"))

    def memory(self, which: str) -> float:
        """VmRSS or VmHWM, in MiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.findall(rf"{which}:\s+(\d+) kB", status)[0]) / 1024

    def cpu(self) -> float:
        """Seconds of CPU so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def end(self) -> None:
        """Ask it to end, and wait."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        finally:
            self.process.kill()


@contextmanager
def running(plane: ControlPlane, log: Path) -> Iterator[Operator]:
    """A new process of the operator."""
    operator = Operator(plane, log)
    try:
        yield operator
    finally:
        operator.end()


def digest(model: int, version: int) -> str:
    return f"sha256:{model * 100 + version:064x}"


def model_name(model: int) -> str:
    return f"model-{model:04}"


def phase_of(version: int) -> str:
    return {VERSIONS: "Champion", VERSIONS - 1: "Standby"}.get(version, "Retired")


def model_version(model: int, version: int) -> Manifest:
    """One of a model's versions; its status is written apart."""
    return {
        "apiVersion": API_VERSION,
        "kind": "ModelVersion",
        "metadata": {
            "name": f"{model_name(model)}-v{version}",
            "namespace": NAMESPACE,
            "finalizers": [names.FINALIZER],
        },
        "spec": {
            "model": model_name(model),
            "version": f"{version}.0.0",
            "artifact": {"uri": f"store://models/{model}/{version}", "digest": digest(model, version)},
            "rollout": {
                "strategy": "canary",
                "steps": [{"weight": w, "minRequests": 100} for w in (5, 25, 50)],
                "keepWarm": "1000h",
            },
            "governance": {
                "intendedUse": "Risk of death in hospital within 48 hours of admission, shown to the ward's team",
                "population": "Adults admitted to general wards of the participating hospitals",
                "risks": ["Patients in palliative care are scored as well"],
                "limitations": ["Not validated for patients under 18 years"],
                "owner": "clinical-ai@hospital.example",
            },
        },
    }


def status_of(model: int, version: int) -> dict[str, Any]:
    """Its status, as a life before has left it."""
    now = stamp(datetime.now(UTC))
    walk = ["Verifying", "Deploying", "Canary", "Promoting", "Champion", "Standby", "Retired"]
    walk = walk[: walk.index(phase_of(version)) + 1]
    history = [
        {"time": now, "fromPhase": a, "toPhase": b, "reason": "Moved", "message": f"From {a} to {b} as it was decided"}
        for a, b in pairwise(walk)
    ]
    return {"phase": walk[-1], "phaseSince": now, "message": "As before", "history": history}


def drift_monitor(model: int) -> Manifest:
    return {
        "apiVersion": API_VERSION,
        "kind": "DriftMonitor",
        "metadata": {"name": f"{model_name(model)}-drift", "namespace": NAMESPACE},
        "spec": {"model": model_name(model), "interval": "5m"},
    }


def serving_pods(model: int) -> list[ports.Pod]:
    """The champion's pod, and the standby's."""
    return [
        ports.Pod(
            ports.address(1 + 2 * model + VERSIONS - version),
            f"{model_name(model)}-v{version}-0",
            model_name(model),
            f"{version}.0.0",
            digest(model, version),
        )
        for version in (VERSIONS, VERSIONS - 1)
    ]


def pod_manifest(pod: ports.Pod) -> tuple[Manifest, dict[str, Any]]:
    """A pod and its status, as the Deployment's controller and a kubelet would have them."""
    labels = {
        names.MANAGED_BY: names.MANAGER,
        names.MODEL: pod.model,
        names.MODEL_VERSION: pod.name.removesuffix("-0"),
        names.DIGEST: short(pod.digest),
    }
    done = {"name": "fetch", "state": {"terminated": {"exitCode": 0}}, "ready": True, "restartCount": 0}
    status = {
        "phase": "Running",
        "podIP": pod.ip,
        "podIPs": [{"ip": pod.ip}],
        "conditions": [{"type": "Ready", "status": "True"}],
        "initContainerStatuses": [{**done, "image": "serving:1", "imageID": ""}],
    }
    metadata = {"name": pod.name, "namespace": NAMESPACE, "labels": labels}
    spec = {"containers": [{"name": "serving", "image": "serving:1"}]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}, status


async def populate(gateway: KubernetesGateway, models: range) -> None:
    """Make all objects of those models."""
    turn = asyncio.Semaphore(AT_ONCE)

    async def make(resource: Resource, manifest: Manifest, status: dict[str, Any] | None) -> None:
        async with turn:
            made = await gateway.create(resource, manifest)
            if status is not None:
                await gateway.replace_status(resource, {**made, "status": status})

    async with asyncio.TaskGroup() as group:
        for model in models:
            group.create_task(make(api.DRIFT_MONITORS, drift_monitor(model), None))
            for version in range(1, VERSIONS + 1):
                made = model_version(model, version)
                group.create_task(make(api.MODEL_VERSIONS, made, status_of(model, version)))
            for pod in serving_pods(model):
                group.create_task(make(api.PODS, *pod_manifest(pod)))


async def settle(plane: ControlPlane, gateway: KubernetesGateway, models: int, log: Path) -> None:
    """Let the operator bring everything to rest: its own objects are made, statuses say what it would say."""
    with running(plane, log) as operator:
        await asyncio.to_thread(operator.await_models, models, 600.0)
        before: dict[str, str] = {}
        for _ in range(60):
            await asyncio.sleep(10)
            found = await versions_of_everything(gateway)
            if found == before:
                return
            before = found
    raise TimeoutError("the operator does not come to rest")


async def versions_of_everything(gateway: KubernetesGateway) -> dict[str, str]:
    """The resourceVersion of every object that the operator may write: it grows with each write, whoever makes it."""
    kinds = (api.MODEL_VERSIONS, api.DRIFT_MONITORS, api.DEPLOYMENTS, api.SERVICES, api.CONFIG_MAPS, api.PODS)
    return {
        f"{kind.plural}/{m['metadata']['name']}": m["metadata"]["resourceVersion"]
        for kind in kinds
        for m in await gateway.list(kind, NAMESPACE)
    }


async def rest(operator: Operator, gateway: KubernetesGateway, seconds: float) -> dict[str, Any]:
    """Nothing happens for a while: what does it cost?"""
    before, objects = operator.calls(), await versions_of_everything(gateway)
    looks, used, began = operator.reconciles(), operator.cpu(), time.monotonic()
    await asyncio.sleep(seconds)
    lasted, looked = time.monotonic() - began, operator.reconciles() - looks
    spent = operator.calls() - before
    changed = [k for k, v in (await versions_of_everything(gateway)).items() if objects.get(k) != v]
    return {
        "seconds": lasted,
        "cores": (operator.cpu() - used) / lasted,
        "reconciles": looked,
        "calls": by_verb(spent),
        "writes": sum(by_verb(spent)[v] for v in by_verb(spent) if v not in ("get", "list")),
        "objects_changed": len(changed),
        "rss_mib": operator.memory("VmRSS"),
        "peak_mib": operator.memory("VmHWM"),
    }


def by_verb(calls: Counter[tuple[str, str]]) -> dict[str, int]:
    """Without the Lease, which is renewed whatever there is to do."""
    found: Counter[str] = Counter()
    for (verb, resource), count in calls.items():
        if resource != "leases":
            found[verb] += count
    return dict(found)


async def changes(
    operator: Operator, plane: ControlPlane, gateway: KubernetesGateway, models: int, count: int, pause: float
) -> dict[str, Any]:
    """Pause and resume rollouts of champions chosen at random: seconds until the status has followed."""
    rng, before, looks = random.Random(7), operator.calls(), operator.reconciles()
    answered: dict[tuple[str, int], float] = {}
    watching = asyncio.create_task(_watch(plane, answered))
    await asyncio.sleep(1)
    asked: dict[tuple[str, int], float] = {}
    for _ in range(count):
        name = f"{model_name(rng.randrange(models))}-v{VERSIONS}"
        current = await gateway.get(api.MODEL_VERSIONS, NAMESPACE, name)
        assert current is not None
        patch = {"spec": {"rollout": {"paused": not current["spec"]["rollout"].get("paused", False)}}}
        sent = time.monotonic()
        made = await gateway.patch(api.MODEL_VERSIONS, NAMESPACE, name, patch)
        assert made is not None
        asked[name, made["metadata"]["generation"]] = sent
        await asyncio.sleep(pause)
    await asyncio.sleep(5)
    watching.cancel()
    took = sorted(_followed(answered, name, generation) - sent for (name, generation), sent in asked.items())
    spent, looked = by_verb(operator.calls() - before), operator.reconciles() - looks
    return {
        "changes": count,
        "p50_s": statistics.median(took),
        "p99_s": took[min(len(took) - 1, int(0.99 * len(took)))],
        "longest_s": took[-1],
        "reconciles": looked,
        "calls": spent,
    }


def _followed(answered: dict[tuple[str, int], float], name: str, generation: int) -> float:
    return min(
        (when for (who, seen), when in answered.items() if who == name and seen >= generation), default=float("inf")
    )


async def _watch(plane: ControlPlane, answered: dict[tuple[str, int], float]) -> None:
    """When each generation of each version was first said to be observed."""
    config = json.loads(plane.kubeconfig.read_text())
    server, token = config["clusters"][0]["cluster"]["server"], config["users"][0]["user"]["token"]
    url = f"{server}{api.MODEL_VERSIONS.root}/namespaces/{NAMESPACE}/{api.MODEL_VERSIONS.plural}"
    headers = {"Authorization": f"Bearer {token}"}
    timeout = aiohttp.ClientTimeout(total=None)
    session = aiohttp.ClientSession(headers=headers, timeout=timeout, read_bufsize=1 << 20)
    async with session:
        async with session.get(f"{url}?limit=1", ssl=False) as answer:
            since = (await answer.json())["metadata"]["resourceVersion"]  # else each object is told of at first
        stream = await session.get(f"{url}?watch=true&resourceVersion={since}", ssl=False)
        async for line in stream.content:
            manifest = json.loads(line)["object"]
            seen = (manifest.get("status") or {}).get("observedGeneration")
            if seen is not None:
                answered.setdefault((manifest["metadata"]["name"], seen), time.monotonic())


async def measure(
    plane: ControlPlane, gateway: KubernetesGateway, models: int, options: argparse.Namespace, log: Path
) -> dict[str, Any]:
    """All figures of one size, on objects at rest."""
    with running(plane, log) as operator:
        resync = await asyncio.to_thread(operator.await_models, models)
        started = {"seconds": resync, "cpu_s": operator.cpu(), "calls": by_verb(operator.calls())}
        await asyncio.sleep(options.calm)
        quiet = await rest(operator, gateway, options.rest)
        changed = await changes(operator, plane, gateway, models, options.changes, options.pause)
        return {
            "versions": models * VERSIONS,
            "models": models,
            "resync": started,
            "rest": quiet,
            "change": changed,
            "peak_mib": operator.memory("VmHWM"),
        }


async def run(options: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    found = []
    with api_server(folder) as plane:
        plane.kubectl("apply", "--server-side", *(word for crd in CRDS for word in ("--filename", str(crd))))
        plane.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=30s")
        plane.kubectl("create", "namespace", NAMESPACE)
        gateway = await KubernetesGateway.connect(str(plane.kubeconfig))
        made = 0
        for size in options.sizes:
            models = size // VERSIONS
            began = time.monotonic()
            await populate(gateway, range(made, models))
            made = models
            everyone = [pod for model in range(models) for pod in serving_pods(model)]
            with ports.serving(folder, everyone):
                await settle(plane, gateway, models, folder / "operator.log")
                print(f"{size} versions at rest after {time.monotonic() - began:.0f} s", flush=True)
                found.append(await measure(plane, gateway, models, options, folder / "operator.log"))
            print(json.dumps(found[-1]), flush=True)
        await gateway.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[100, 500, 1000, 5000], help="ModelVersions, growing")
    parser.add_argument("--calm", type=float, default=10.0, help="seconds between the resync and the rest")
    parser.add_argument("--rest", type=float, default=120.0, help="seconds at rest")
    parser.add_argument("--changes", type=int, default=200)
    parser.add_argument("--pause", type=float, default=0.3, help="seconds between two changes")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = asyncio.run(run(options, Path(folder)))
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
