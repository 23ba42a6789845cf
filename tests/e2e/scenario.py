"""A model under load on two nodes, and what may happen to it."""

from __future__ import annotations

import contextlib
import json
import signal
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from examples.clinic import Replay
from modelward_operator.engine.leadership import LEASE_NAME
from tests.e2e.conftest import QUICK, TrainedClinic
from tests.support.cluster import faults
from tests.support.cluster.embedded import Embedded

RATE = 30
"""Requests a second of each caller."""
PATIENT = {**QUICK["analysis"], "latencyObjective": "5s"}
"""Everything starts anew beside the callers, on few cores: what that takes is not what is looked at here."""


@dataclass(frozen=True)
class Caller:
    """A service that asks all the time."""

    replay: Replay
    log: Path
    """On its node, as there is no `kubectl logs` without an API server."""

    def lines(self, begin: int = 0) -> list[dict[str, Any]]:
        """Its counts, one a second, from that byte of its log on."""
        with self.log.open() as file:
            file.seek(begin)
            said = [line.partition(" F ")[2] for line in file if line.endswith("\n")]
        return [json.loads(line) for line in said if line.startswith("{")]

    def counts(self) -> dict[str, Any]:
        return self.lines(max(0, self.log.stat().st_size - 8192))[-1]


@dataclass
class FaultScenario:
    """A model with its callers, and what may happen to them."""

    clinic: TrainedClinic
    embedded: Embedded
    events: str
    """The rows that are asked."""
    callers: Sequence[Caller] = ()
    options: Sequence[str] | None = None
    """What the callers were started with; None while there are none."""
    seen: list[dict[str, Any]] = field(default_factory=list)

    def use_clients(self, *options: str) -> None:
        """One caller over each protocol on the first node, started with these options; they stay until others are wanted."""
        if self.options != options:
            self.leave()
            self.callers = [self._caller("rest", *options), self._caller("grpc", "--grpc", *options)]
            self.options = options

    def leave(self) -> None:
        """The callers go; none of their requests has failed."""
        counts = {caller.replay.name: caller.replay.stop() for caller in self.callers}
        if counts:
            self.clinic.kubectl("delete", "pod", *counts, "--grace-period=0", "--force")
        self.callers, self.options = (), None
        for count in counts.values():
            assert count["failed"] == 0, counts
            assert count["ok"] == count["sent"]

    def _caller(self, name: str, *options: str) -> Caller:
        replay = self.clinic.start_replay(name, self.events, "--rate", str(RATE), *options, node="node0")
        pod = f"{self.clinic.namespace}_{name}_{self.clinic.get('pod', name)['metadata']['uid']}"
        return Caller(replay, self.embedded.layout.node(0) / "pod-logs" / pod / "main" / "0.log")

    def keeps_answering(self, answers: int = 2 * RATE) -> None:
        """Wait until every client got this many more answers."""
        before = [caller.counts()["ok"] for caller in self.callers]
        self._wait("more answers", lambda: self._more("ok", before, answers))

    def answers_of(self, version: str, answers: int = RATE // 3) -> None:
        """Wait until every client got more answers of that version."""
        before = [caller.counts()["versions"].get(version, 0) for caller in self.callers]
        self._wait(f"answers of {version}", lambda: self._more("versions", before, answers, version))

    def keeps_answering_for(self, seconds: float) -> None:
        """Watch for that time; no client may wait three seconds for an answer."""
        begun = time.monotonic()
        while time.monotonic() - begun < seconds:
            before = [caller.counts()["ok"] for caller in self.callers]
            self._wait("more answers", lambda before=before: self._more("ok", before, 1), seconds=3)

    def last_answer_of(self, version: str) -> float:
        """Return when a client last got an answer of that version, in seconds since 1970."""
        return max(caller.counts()["last"].get(version, 0.0) for caller in self.callers)

    @contextlib.contextmanager
    def watched(self, fault: str, operator: str) -> Iterator[dict[str, Any]]:
        """What the callers notice of a fault, as one row of the report, with what the operator does about it.

        No request of theirs may fail.
        """
        begin = [(caller.counts(), caller.log.stat().st_size) for caller in self.callers]
        row: dict[str, Any] = {"fault": fault, "operator": operator}
        yield row
        self.keeps_answering()
        totals: Counter[str] = Counter()
        for caller, (before, size) in zip(self.callers, begin, strict=True):
            lines = caller.lines(size)
            totals.update({key: lines[-1][key] - before[key] for key in ("sent", "failed", "retried")})
            row["slowest"] = max(row.get("slowest", 0.0), *(line["slowest_lately"] for line in lines[1:]))
            assert lines[-1]["failed"] == before["failed"], (fault, lines[-1]["reasons"])
        row |= totals
        self.seen.append(row)
        print(json.dumps(row))

    def champion(self) -> str:
        """The name of the ModelVersion in charge."""
        versions = self.clinic.list("modelversions")
        (name,) = [v["metadata"]["name"] for v in versions if v.get("status", {}).get("phase") == "Champion"]
        return name

    def samples(self, name: str) -> int:
        """The requests that a version's evidence rests on, as far as its status tells."""
        return max(
            (signal["samples"] for signal in self.clinic.status("modelversion", name).get("evidence", [])), default=0
        )

    def canary(self, bundle: str, analysis: dict[str, Any] = PATIENT, **spec: Any) -> str:
        """A version that answers every other request for as long as it is left there; its name."""
        held = {"steps": [{"weight": 50, "minRequests": 1_000_000}], "analysis": analysis}
        self.clinic.version(bundle, bundle, rollout=held, **spec)
        self.clinic.wait_phase(bundle, "Canary")
        self.answers_of(self.clinic.bundles[bundle].version)
        return bundle

    def remove(self, *names: str) -> None:
        self.clinic.kubectl("delete", "modelversion", *names, "--timeout=60s")

    def pods(self, version: str) -> list[dict[str, Any]]:
        """The pods of a version that are meant to stay."""
        return self._staying(f"modelward.io/modelversion={version}")

    def operators(self) -> list[dict[str, Any]]:
        return self._staying("app.kubernetes.io/component=operator")

    def leading(self) -> list[dict[str, Any]]:
        """Whoever holds the operator's Lease, once it runs; without a Lease, all of its pods."""
        lease = self.clinic.get("lease", LEASE_NAME) or {}
        holder = lease.get("spec", {}).get("holderIdentity")
        return [pod for pod in self.operators() if ready(pod) and holder in (None, pod["metadata"]["name"])]

    def kill_operator_in(self, **phases: str) -> None:
        """kill -9 as soon as these versions are in these phases: none of them has moved on by then."""
        doomed = self._wait("an operator that leads", self.leading)
        for name, phase in phases.items():
            reached = f"--for=jsonpath={{.status.phase}}={phase}"
            self.clinic.kubectl("wait", f"modelversion/{name}", reached, "--timeout=90s")
        self.kill(*doomed)
        assert {name: self.clinic.status("modelversion", name)["phase"] for name in phases} == phases
        before = {pod["metadata"]["uid"]: restarts(pod) for pod in doomed}
        self._wait(
            "its end is noticed",
            lambda: all(restarts(p) > before.get(p["metadata"]["uid"], -1) for p in self.operators()),
        )

    def kill(self, *pods: dict[str, Any]) -> None:
        """kill -9 the process of each pod's container, which may still be starting when this is called."""
        for pod in pods:
            send(self.embedded, self._running(pod), signal.SIGKILL)

    def all_ready(self, version: str, count: int) -> None:
        self._wait(f"{count} ready pods of {version}", lambda: [ready(p) for p in self.pods(version)] == count * [True])

    def _running(self, pod: dict[str, Any]) -> dict[str, Any]:
        """The pod once its container runs: a pod is listed while its init containers still work."""
        if runs(pod):
            return pod
        name = pod["metadata"]["name"]
        return self._wait(
            f"{name} runs", lambda: next((p for p in [self.clinic.get("pod", name)] if p and runs(p)), None)
        )

    def _staying(self, selector: str) -> list[dict[str, Any]]:
        found = self.clinic.list("pods", "--selector", selector)
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def _more(self, key: str, before: Sequence[int], answers: int, version: str | None = None) -> bool:
        counts = [caller.counts()[key] for caller in self.callers]
        now = [found if version is None else found.get(version, 0) for found in counts]
        return all(n >= b + answers for n, b in zip(now, before, strict=True))

    def _wait(self, what: str, condition: Any, seconds: float = 60) -> Any:
        return self.clinic.wait(what, condition, seconds, every=0.1)


def send(cluster: Embedded, pod: dict[str, Any], number: signal.Signals) -> None:
    """A signal to the process of a pod's container."""
    identifier = container_of(pod)["containerID"].removeprefix("containerd://")
    faults.signal_container(cluster, node_of(pod), identifier, number)


def runs(pod: dict[str, Any]) -> bool:
    return any("running" in container["state"] for container in pod["status"].get("containerStatuses", []))


def container_of(pod: dict[str, Any]) -> dict[str, Any]:
    """What is told of the only container of a pod."""
    (container,) = pod["status"]["containerStatuses"]
    return container


def node_of(pod: dict[str, Any]) -> int:
    return int(pod["spec"]["nodeName"].removeprefix("node"))


def ready(pod: dict[str, Any]) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))


def restarts(pod: dict[str, Any]) -> int:
    return sum(container["restartCount"] for container in pod["status"].get("containerStatuses", []))


def address(pod: dict[str, Any]) -> str:
    return pod["status"]["podIP"]
