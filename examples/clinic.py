"""A clinic on a cluster: Modelward installed by its chart, data in its store, and a service that uses the model.

The demo tells what it does with it; the end-to-end tests assert.
"""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.support.cluster import Cluster, ClusterError

REPOSITORY = Path(__file__).resolve().parents[1]
MANIFESTS = REPOSITORY / "examples" / "mortality"
CHART = REPOSITORY / "charts" / "modelward"
STORE = "/var/lib/modelward/store"
RESTRICTED = {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}


class NotInTimeError(AssertionError):
    """A condition did not come true before its deadline."""


@dataclass(frozen=True)
class Clinic:
    """One namespace with Modelward in it."""

    cluster: Cluster
    namespace: str

    def kubectl(self, *words: str, stdin: str | None = None) -> str:
        return self.cluster.kubectl("--namespace", self.namespace, *words, stdin=stdin)

    def get(self, *words: str) -> Any:
        """An object, as JSON; None when it is not there."""
        text = self.kubectl("get", *words, "--output", "json", "--ignore-not-found")
        return json.loads(text) if text.strip() else None

    def list(self, *words: str) -> list[dict[str, Any]]:
        """Objects, as JSON."""
        return (self.get(*words) or {"items": []})["items"]

    def apply(self, *documents: dict[str, Any]) -> str:
        items = {"apiVersion": "v1", "kind": "List", "items": documents}
        return self.kubectl("apply", "--filename", "-", stdin=json.dumps(items))

    def status(self, kind: str, name: str) -> dict[str, Any]:
        return (self.get(kind, name) or {}).get("status") or {}

    def wait(self, what: str, condition: Callable[[], Any], seconds: float = 120.0, every: float = 0.25) -> Any:
        """Poll until the condition gives something true, and return that."""
        deadline = time.monotonic() + seconds
        while not (found := condition()):
            if time.monotonic() > deadline:
                raise NotInTimeError(f"{what}: not within {seconds:g} s\n{self.report()}")
            time.sleep(every)
        return found

    def wait_phase(self, name: str, *phases: str, seconds: float = 120.0) -> dict[str, Any]:
        """The status of a ModelVersion once it is in one of the phases."""

        def reached() -> dict[str, Any] | None:
            status = self.status("modelversion", name)
            return status if status.get("phase") in phases else None

        return self.wait(f"ModelVersion {name} in {' or '.join(phases)}", reached, seconds)

    def report(self) -> str:
        """Return the objects that a person would look at first."""
        looks = (
            ("get", "mv,tj,dm,pods,services", "--output", "wide"),
            ("get", "events", "--sort-by=.lastTimestamp"),
            ("logs", "--selector", "app.kubernetes.io/component=operator", "--prefix", "--tail=40"),
        )
        return "\n".join(self._look(*words)[-6000:] for words in looks)

    def _look(self, *words: str) -> str:
        try:
            return self.kubectl(*words)
        except ClusterError as error:
            return str(error)

    def install(self, *values: str) -> None:
        """The chart, with the images that the cluster holds."""
        # The cluster's volumes belong to root.
        settings = ["crds.adopt=true", "podDefaults.securityContext.fsGroup=65532", *values]
        for name in ("operator", "serving", "training"):
            repository, _, tag = self.cluster.image(name).rpartition(":")
            settings += [f"images.{name}.repository={repository}", f"images.{name}.tag={tag}"]
        words = [str(self.cluster.binary("helm")), "upgrade", "--install", "modelward", str(CHART)]
        words += ["--namespace", self.namespace, "--create-namespace", "--take-ownership", "--wait", "--timeout", "90s"]
        self.cluster.run([*words, *(word for setting in settings for word in ("--set", setting))])

    def put(self, path: str, content: str) -> None:
        """Write a file into the artifact store, through a pod that mounts it."""
        if self.get("pod", "store") is None:
            self.apply(_pod("store", self.cluster.image("training"), ["sleep", "infinity"], claim="modelward-store"))
        self.kubectl("wait", "--for=condition=Ready", "pod/store", "--timeout=120s")
        script = 'mkdir -p "$(dirname "$0")" && cat > "$0"'
        self.kubectl("exec", "-i", "store", "--", "sh", "-c", script, f"{STORE}/{path}", stdin=content)

    def put_bytes(self, path: str, content: bytes) -> None:
        """Write a binary file into the artifact store."""
        self.put(path + ".base64", base64.b64encode(content).decode())
        decode = f"base64 -d {STORE}/{path}.base64 > {STORE}/{path} && rm {STORE}/{path}.base64"
        self.kubectl("exec", "store", "--", "sh", "-c", decode)

    def take(self, path: str) -> bytes:
        """Read a file of the artifact store."""
        return base64.b64decode(self.kubectl("exec", "store", "--", "base64", f"{STORE}/{path}"))

    def train(self, number: int, *, as_model: str = "mortality", **spec: Any) -> dict[str, Any]:
        """Apply a TrainingJob of the example; of another model, it promotes nothing."""
        job = yaml.safe_load((MANIFESTS / f"trainingjob-v{number}.yaml").read_text())
        if as_model != "mortality":
            spec = {"model": as_model, "promote": None, **spec}
            job["metadata"]["name"] = f"{as_model}-v{number}"
        job["spec"].update(spec)
        self.apply(job)
        return job

    def start_replay(self, name: str, rows: str, *options: str, node: str | None = None) -> Replay:
        """A pod that asks the model, all the time."""
        script = (REPOSITORY / "examples" / "replay.py").read_text()
        files = {"replay.py": script, "rows.csv": rows}
        self.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": files})
        url = "mortality:9000" if "--grpc" in options else "http://mortality:8080"
        words = ["python", "/replay/replay.py", "--url", url, "--model", "mortality"]
        words += ["--rows", "/replay/rows.csv", *options]
        self.apply(_pod(name, self.cluster.image("serving"), words, files=name, node=node))
        self.kubectl("wait", "--for=condition=Ready", f"pod/{name}", "--timeout=120s")
        replay = Replay(self, name)
        self.wait("the first answers", lambda: replay.counts().get("ok"), 60)
        return replay


@dataclass(frozen=True)
class Replay:
    """The pod that asks."""

    clinic: Clinic
    name: str

    def counts(self) -> dict[str, Any]:
        """Its newest line."""
        lines = self.clinic.kubectl("logs", self.name, "--tail=1").strip().splitlines()
        return json.loads(lines[-1]) if lines and lines[-1].startswith("{") else {}

    def stop(self) -> dict[str, Any]:
        """End it and return the final counts."""
        self.clinic.kubectl("exec", self.name, "--", "python", "-c", "import os; os.kill(1, 15)")
        self.clinic.wait("the end of the client", self._ended, 60)
        return self.counts()

    def _ended(self) -> bool:
        phase = (self.clinic.get("pod", self.name) or {}).get("status", {}).get("phase")
        return phase in ("Succeeded", "Failed")


def transitions(clinic: Clinic, names: Sequence[str]) -> Iterator[tuple[str, str, str]]:
    """Each new (version, phase, message) of these ModelVersions, as they happen; endless."""
    told: dict[str, tuple[str, str]] = {}
    while True:
        for item in clinic.list("modelversions"):
            name, status = item["metadata"]["name"], item.get("status") or {}
            now = status.get("phase") or "", status.get("message") or ""
            if name in names and now != told.get(name):
                told[name] = now
                yield name, *now
        time.sleep(0.5)
        yield "", "", ""


def _pod(
    name: str,
    image: str,
    command: list[str],
    *,
    claim: str | None = None,
    files: str | None = None,
    node: str | None = None,
) -> dict[str, Any]:
    volumes: list[dict[str, Any]] = []
    mounts: list[dict[str, Any]] = []
    if claim:
        volumes.append({"name": "store", "persistentVolumeClaim": {"claimName": claim}})
        mounts.append({"name": "store", "mountPath": STORE})
    if files:
        volumes.append({"name": "files", "configMap": {"name": files}})
        mounts.append({"name": "files", "mountPath": "/replay", "readOnly": True})
    container = {
        "name": "main",
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": command,
        "securityContext": RESTRICTED,
        "volumeMounts": mounts,
        "env": [{"name": "PYTHONUNBUFFERED", "value": "1"}],
    }
    security = {
        "runAsNonRoot": True,
        "runAsUser": 65532,
        "fsGroup": 65532,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name},
        "spec": {
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": 5,
            "automountServiceAccountToken": False,
            "securityContext": security,
            "containers": [container],
            "volumes": volumes,
            **({"nodeSelector": {"kubernetes.io/hostname": node}} if node else {}),
        },
    }
