"""Whatever is lost around a model, under load over REST and gRPC: no request fails, and rollouts end as they would have.

One model for the whole module, its champion with a pod on each node; two callers ask from the first fault to the last. They
try again what nobody has answered: where a fault may not cost them even that, the test says `unnoticed`.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from examples.clinic import MANIFESTS, Replay
from tests.cluster import faults
from tests.cluster.embedded import Embedded
from tests.cluster.layout import REPOSITORY
from tests.e2e import broken
from tests.e2e.conftest import QUICK, Bundle, Ward, clean

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(420)]

HOSTNAME = "kubernetes.io/hostname"
MODEL = "modelward.io/model=mortality"
RATE = 30
"""Requests a second of each caller."""
LEASE = 10.0
"""Seconds that a traffic lease lives."""
OUTAGE = 20.0
PATIENT = {**QUICK["analysis"], "latencyObjective": "5s"}
"""Everything starts anew beside the callers, on few cores: what that takes is not what is looked at here."""
PROMPT = QUICK["analysis"]
"""Of a challenger that will fall silent: its callers wait as long as its objective, and they wait no longer than SILENCE."""
SMALL = {"resources": {"requests": {"cpu": "20m", "memory": "200Mi"}}}
TWO = {**SMALL, "replicas": 2}
HALF = {"steps": [{"weight": 50, "minRequests": 100}], "analysis": PATIENT}
STEPWISE = {**QUICK, "analysis": PATIENT}
NOTHING = "nothing: its Deployment brings another"
REPORT = REPOSITORY / "build" / "faults.json"


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
class Scene:
    """A model with its callers, and what may happen to them."""

    ward: Ward
    embedded: Embedded
    callers: Sequence[Caller]
    seen: list[dict[str, Any]] = field(default_factory=list)

    def goes_on(self, answers: int = 2 * RATE) -> None:
        """Every caller gets so many more answers."""
        before = [caller.counts()["ok"] for caller in self.callers]
        self._wait("more answers", lambda: self._more("ok", before, answers))

    def answers_of(self, version: str, answers: int = RATE // 3) -> None:
        """Every caller gets more answers of that version."""
        before = [caller.counts()["versions"].get(version, 0) for caller in self.callers]
        self._wait(f"answers of {version}", lambda: self._more("versions", before, answers, version))

    def goes_on_for(self, seconds: float) -> None:
        """That long, no caller waits for an answer for three seconds."""
        begun = time.monotonic()
        while time.monotonic() - begun < seconds:
            before = [caller.counts()["ok"] for caller in self.callers]
            self._wait("more answers", lambda before=before: self._more("ok", before, 1), seconds=3)

    def last_answer_of(self, version: str) -> float:
        """When the last caller got it, in seconds since 1970."""
        return max(caller.counts()["last"].get(version, 0.0) for caller in self.callers)

    @contextlib.contextmanager
    def watched(self, fault: str, operator: str) -> Iterator[dict[str, Any]]:
        """What the callers notice of a fault, as one row of the report, with what the operator does about it.

        No request of theirs may fail.
        """
        begin = [(caller.counts(), caller.log.stat().st_size) for caller in self.callers]
        row: dict[str, Any] = {"fault": fault, "operator": operator}
        yield row
        self.goes_on()
        totals: Counter[str] = Counter()
        for caller, (before, size) in zip(self.callers, begin, strict=True):
            lines = caller.lines(size)
            totals.update({key: lines[-1][key] - before[key] for key in ("sent", "failed", "retried")})
            row["slowest"] = max(row.get("slowest", 0.0), *(line["slowest_lately"] for line in lines[1:]))
            assert lines[-1]["failed"] == before["failed"], (fault, lines[-1]["reasons"])
        row |= totals
        self.seen.append(row)
        print(json.dumps(row))

    @contextlib.contextmanager
    def unnoticed(self, fault: str, operator: str) -> Iterator[dict[str, Any]]:
        """The same, and no request has to be sent twice."""
        with self.watched(fault, operator) as row:
            yield row
        assert row["retried"] == 0, (row, [caller.counts()["retries"] for caller in self.callers])

    def champion(self) -> str:
        """The name of the ModelVersion in charge."""
        versions = self.ward.list("modelversions")
        (name,) = [v["metadata"]["name"] for v in versions if v.get("status", {}).get("phase") == "Champion"]
        return name

    def samples(self, name: str) -> int:
        """The requests that a version's evidence rests on, as far as its status tells."""
        return max(
            (signal["samples"] for signal in self.ward.status("modelversion", name).get("evidence", [])), default=0
        )

    def canary(self, bundle: str, analysis: dict[str, Any] = PATIENT, **spec: Any) -> str:
        """A version that answers every other request for as long as it is left there; its name."""
        held = {"steps": [{"weight": 50, "minRequests": 1_000_000}], "analysis": analysis}
        self.ward.version(bundle, bundle, rollout=held, **spec)
        self.ward.wait_phase(bundle, "Canary")
        self.answers_of(self.ward.bundles[bundle].version)
        return bundle

    def remove(self, *names: str) -> None:
        self.ward.kubectl("delete", "modelversion", *names, "--timeout=60s")

    def pods(self, version: str) -> list[dict[str, Any]]:
        """The pods of a version that are meant to stay."""
        found = self.ward.list("pods", "--selector", f"modelward.io/modelversion={version}")
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def operators(self) -> list[dict[str, Any]]:
        found = self.ward.list("pods", "--selector", "app.kubernetes.io/component=operator")
        return [pod for pod in found if "deletionTimestamp" not in pod["metadata"]]

    def leading(self) -> list[dict[str, Any]]:
        """Whoever holds the operator's Lease, once it runs; without a Lease, all of its pods."""
        lease = self.ward.get("lease", "modelward-operator") or {}
        holder = lease.get("spec", {}).get("holderIdentity")
        return [pod for pod in self.operators() if ready(pod) and holder in (None, pod["metadata"]["name"])]

    def kill_operator_in(self, **phases: str) -> None:
        """kill -9 as soon as these versions are in these phases: none of them has moved on by then."""
        doomed = self._wait("an operator that leads", self.leading)
        for name, phase in phases.items():
            reached = f"--for=jsonpath={{.status.phase}}={phase}"
            self.ward.kubectl("wait", f"modelversion/{name}", reached, "--timeout=90s")
        self.kill(*doomed)
        assert {name: self.ward.status("modelversion", name)["phase"] for name in phases} == phases
        before = {pod["metadata"]["uid"]: restarts(pod) for pod in doomed}
        self._wait(
            "its end is noticed",
            lambda: all(restarts(p) > before.get(p["metadata"]["uid"], -1) for p in self.operators()),
        )

    def kill(self, *pods: dict[str, Any]) -> None:
        """kill -9 the process of each pod's container."""
        for pod in pods:
            (container,) = pod["status"]["containerStatuses"]
            if container["state"].get("running"):
                identifier = container["containerID"].removeprefix("containerd://")
                faults.kill_container(self.embedded, node_of(pod), identifier)

    def all_ready(self, version: str, count: int) -> None:
        self._wait(f"{count} ready pods of {version}", lambda: [ready(p) for p in self.pods(version)] == count * [True])

    def _more(self, key: str, before: Sequence[int], answers: int, version: str | None = None) -> bool:
        counts = [caller.counts()[key] for caller in self.callers]
        now = [found if version is None else found.get(version, 0) for found in counts]
        return all(n >= b + answers for n, b in zip(now, before, strict=True))

    def _wait(self, what: str, condition: Any, seconds: float = 60) -> Any:
        return self.ward.wait(what, condition, seconds, every=0.1)


def node_of(pod: dict[str, Any]) -> int:
    return int(pod["spec"]["nodeName"].removeprefix("node"))


def ready(pod: dict[str, Any]) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", []))


def restarts(pod: dict[str, Any]) -> int:
    return sum(container["restartCount"] for container in pod["status"].get("containerStatuses", []))


def address(pod: dict[str, Any]) -> str:
    return pod["status"]["podIP"]


@pytest.fixture(scope="module")
def scene(trained: Ward, events: str) -> Iterator[Scene]:
    """Version 1 in charge, a pod of it on each node, a caller over each protocol on the first node."""
    if trained.cluster.provider != "embedded":
        pytest.skip("faults are those of the embedded cluster's processes")
    embedded = Embedded(trained.cluster.layout)
    if embedded.nodes < 2:
        pytest.skip("faults want two nodes: `make cluster-down`, then `make cluster NODES=2`")
    clean(trained)
    add_good(trained, 4)
    trained.version("v1", "v1", serving=TWO)
    trained.wait_phase("v1", "Champion")
    trained.wait(
        "two pods", lambda: (trained.get("deployment", "v1") or {}).get("status", {}).get("readyReplicas") == 2
    )
    callers = [
        start_caller(trained, embedded, events, "rest"),
        start_caller(trained, embedded, events, "grpc", "--grpc"),
    ]
    found = Scene(trained, embedded, callers)
    yield found
    counts = {caller.replay.name: caller.replay.stop() for caller in callers}
    trained.kubectl("delete", "pod", *counts, "--wait=false", "--grace-period=0", "--force")
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(json.dumps(found.seen, indent=1))
    for count in counts.values():
        assert count["failed"] == 0, counts
        assert count["ok"] == count["sent"]


def start_caller(ward: Ward, embedded: Embedded, events: str, name: str, *options: str) -> Caller:
    replay = ward.start_replay(name, events, "--rate", str(RATE), "--retry", *options, node="node0")
    (log,) = (embedded.layout.node(0) / "pod-logs").glob(f"{ward.namespace}_{name}_*/main/0.log")
    return Caller(replay, log)


def add_good(ward: Ward, number: int) -> None:
    """More versions that are as good as version 2."""
    content = ward.take(ward.bundles["v2"].uri.removeprefix("store://"))
    for major in range(10, 10 + number):
        archive, digest = broken.rebuilt(content, f"{major}.0.0", broken.unchanged)
        ward.put_bytes(f"models/good-{major}.bentomodel", archive)
        ward.bundles[f"v{major}"] = Bundle(f"{major}.0.0", f"store://models/good-{major}.bentomodel", digest)


def test_an_operator_that_is_killed_in_any_phase_goes_on_where_it_was(scene):
    ward = scene.ward
    does = "starts again, reads everything anew, and goes on in that phase at that step"
    with scene.unnoticed("operator: kill -9 in each phase that a version can be in", does):
        ward.version("v2", "v2", rollout={**STEPWISE, "paused": True}, serving=TWO)
        scene.kill_operator_in(v2="Verifying")
        ward.version("v3", "v3", rollout={**STEPWISE, "supersedes": False})
        scene.kill_operator_in(v2="Deploying", v3="Pending")
        ward.version("v2", "v2", rollout=STEPWISE, serving=TWO)
        scene.kill_operator_in(v2="Canary")
        scene.kill_operator_in(v2="Promoting")
        scene.kill_operator_in(v2="Champion", v1="Standby")
        scene.answers_of("2.0.0")
        ward.version("v2", "v2", rollout={**STEPWISE, "keepWarm": "0s"}, serving=TWO)
        scene.kill_operator_in(v1="Retired", v3="RolledBack")
        ward.version("again", "v3", rollout=STEPWISE)
        ward.version("forged", "v10", rollout=STEPWISE, digest="sha256:" + "0" * 64)
        ward.version("shadow", "v11", rollout={**STEPWISE, "strategy": "shadow"})
        scene.kill_operator_in(again="Quarantined", forged="Failed", shadow="Shadow")
        samples = scene.samples("shadow")
        ward.wait("more evidence", lambda: scene.samples("shadow") > samples)
        assert "changed decisions" in ward.status("modelversion", "v3")["message"]
        assert {d["metadata"]["name"] for d in ward.list("deployments", "--selector", MODEL)} == {"v2", "shadow"}
        assert scene.champion() == "v2"
    scene.remove("v1", "v3", "again", "forged", "shadow")


def test_a_control_plane_that_restarts_freezes_and_dies_in_mid_canary_stops_no_promotion(scene):
    name = scene.canary("v10", serving=TWO)

    def away(what: str, seconds: float, stop, start) -> None:
        with scene.unnoticed(what, "tries again until it is answered; the canary then goes on at its step") as row:
            stop()
            scene.goes_on_for(seconds)
            start()
            begun = time.monotonic()
            scene.ward.wait("the API server", scene.embedded.is_ready)
            scene.answers_of("10.0.0", 1)
            row["canary goes on after"] = round(time.monotonic() - begun, 1)

    etcd, server = (scene.embedded, "etcd"), (scene.embedded, "kube-apiserver")
    away("API server: restarted", 0, lambda: faults.kill(*server), lambda: scene.embedded.start("kube-apiserver"))
    away("etcd: frozen for 20 s", OUTAGE, lambda: faults.freeze(*etcd), lambda: faults.thaw(*etcd))
    away("etcd: dead for 20 s", OUTAGE, lambda: faults.kill(*etcd), lambda: scene.embedded.start("etcd"))
    scene.ward.version(name, name, rollout=HALF, serving=TWO)
    scene.ward.wait_phase(name, "Champion")
    scene.remove("v2")


def test_a_challengers_pods_die_and_callers_notice_nothing(scene):
    name = scene.canary("v11")
    with scene.unnoticed("challenger: all its pods deleted without grace", "has nobody ask it; no blame") as row:
        pods = [pod["metadata"]["name"] for pod in scene.pods(name)]
        scene.ward.kubectl("delete", "pod", *pods, "--grace-period=0", "--force")
        scene.answers_of("11.0.0")
        row["then"] = scene.ward.status("modelversion", name)["phase"]
    with scene.unnoticed("challenger: kill -9 in all its pods", "counts what it did not answer") as row:
        scene.kill(*scene.pods(name))
        scene.goes_on(5 * RATE)
        status = scene.ward.status("modelversion", name)
        row["then"] = f"{status['phase']}: {status['message']}"
    scene.remove(name)


def test_a_champions_pods_die_and_no_request_fails(scene):
    name = scene.champion()
    with scene.watched("champion's pod: kill -9, one of two", NOTHING):
        scene.kill(scene.pods(name)[0])
        scene.ward.wait("a restart", lambda: not all(ready(pod) for pod in scene.pods(name)), 30, every=0.1)
        scene.all_ready(name, 2)
    with scene.watched("champion's pod: deleted without grace, one of two", NOTHING):
        pod = scene.pods(name)[0]["metadata"]["name"]
        scene.ward.kubectl("delete", "pod", pod, "--grace-period=0", "--force")
        scene.all_ready(name, 2)
    with scene.unnoticed("champion's pod: deleted, one of two", NOTHING):
        scene.ward.kubectl("delete", "pod", scene.pods(name)[0]["metadata"]["name"], "--wait=true")
        scene.all_ready(name, 2)


def test_a_partition_of_the_operator_from_the_pods_ends_the_canary_by_its_lease_and_healing_resumes_it(scene):
    champion, name = scene.champion(), scene.canary("v12", PROMPT)
    operators = [address(pod) for pod in scene.operators()]
    pods = [address(pod) for version in (champion, name) for pod in scene.pods(version)]
    does = (
        "holds; the pods' leases expire, the champion answers alone, and the canary goes on when they are reached again"
    )
    with scene.unnoticed("operator: cut off from the serving pods", does) as row:
        with faults.partition(scene.embedded, operators, pods):
            begun = time.time()
            scene.goes_on_for(LEASE + 3)
            row["lease lasted"] = round(scene.last_answer_of("12.0.0") - begun, 1)
            assert row["lease lasted"] <= LEASE + 1, "an answer may be under way when the lease expires"
        healed = time.time()
        scene.answers_of("12.0.0", 1)
        row["resumed after"] = round(time.time() - healed, 1)
    scene.answers_of("12.0.0")
    with scene.unnoticed("challenger: cut off from the champion", "counts what it did not answer") as row:
        one, other = ([address(pod) for pod in scene.pods(version)] for version in (champion, name))
        with faults.partition(scene.embedded, one, other):
            scene.goes_on_for(LEASE)
            status = scene.ward.status("modelversion", name)
            row["then"] = f"{status['phase']}: {status['message']}"
    scene.remove(name)


def test_a_full_store_fails_training_with_its_reason_and_stops_nothing_else(scene):
    claim = scene.ward.get("persistentvolumeclaim", "modelward-store")["spec"]["volumeName"]
    volume = Path(scene.ward.get("persistentvolume", claim)["spec"]["local"]["path"])
    scene.ward.kubectl("cordon", "node1")  # the small volume is mounted on the first node only
    try:
        does = "fails the job with reason StoreFull; serving goes on"
        small = faults.small_volume(scene.embedded, 0, volume, 8 << 20)
        with scene.unnoticed("store: full", does) as row, small as store:
            filler = faults.fill(store)
            before = bundles(store)
            status = trained_to_its_end(scene.ward, "without-room")
            row["then"] = f"{status['phase']}: {status['message']}"
            assert scene.ward.condition("trainingjob", "without-room", "Failed")["reason"] == "StoreFull"
            assert "spec.output.uri" in status["message"]
            assert bundles(store) == before, "nothing that is half written is taken for a bundle"
            filler.unlink()
            status = trained_to_its_end(scene.ward, "with-room")
            assert status["phase"] == "Complete", status
            assert len(bundles(store) - before) == 1
    finally:
        scene.ward.kubectl("uncordon", "node1")
        scene.ward.kubectl("delete", "trainingjob", "without-room", "with-room", "--ignore-not-found")


def bundles(store: Path) -> set[Path]:
    """Whatever stands where bundles are put."""
    return {path for path in (store / "models").rglob("*") if path.is_file()}


def trained_to_its_end(ward: Ward, name: str) -> dict[str, Any]:
    job = yaml.safe_load((MANIFESTS / "trainingjob-v2.yaml").read_text())
    job["metadata"]["name"], job["spec"]["version"], job["spec"]["promote"] = name, "2.1.0", None
    ward.apply(job)

    def ended() -> dict[str, Any] | None:
        status = ward.status("trainingjob", name)
        return status if status.get("phase") in ("Complete", "Failed") else None

    return ward.wait(f"end of {name}", ended, 120)


def test_a_node_goes_with_the_operator_the_challenger_and_a_champions_pod_and_no_request_fails(scene):
    away = {**SMALL, "nodeSelector": {HOSTNAME: "node1"}}
    champion, name = scene.champion(), scene.canary("v13", PROMPT, serving=away)
    gather_an_operator(scene, 1)
    scene.answers_of("13.0.0")
    assert {node_of(pod) for pod in scene.pods(champion)} == {0, 1}
    lost = "node: lost, with an operator, the challenger and one of two champions"
    with faults.lost_node(scene.embedded, 1), scene.watched(lost, "is away with it: rollouts stand still") as row:
        begun = time.monotonic()
        scene.ward.wait("the node is missed", lambda: not node_is_ready(scene.ward, "node1"), 90)
        row["missed after"] = round(time.monotonic() - begun)
    with scene.watched("node: back", "goes on with the rollout") as row:
        scene.ward.wait("the node", lambda: node_is_ready(scene.ward, "node1"), 60)
        scene.all_ready(champion, 2)
        status = scene.ward.wait("the rollout", lambda: rolling(scene.ward, name), 120)
        row["then"] = f"{status['phase']}: {status['message']}"
    scene.remove(name)


def gather_an_operator(scene: Scene, node: int) -> None:
    """One of the operator's pods runs on that node."""
    if any(node_of(pod) == node for pod in scene.operators()):
        return
    scene.ward.kubectl("cordon", f"node{1 - node}")
    try:
        scene.ward.kubectl("delete", "pod", scene.operators()[0]["metadata"]["name"], "--wait=true")
        scene.ward.kubectl("rollout", "status", "deployment/modelward", "--timeout=60s")
    finally:
        scene.ward.kubectl("uncordon", f"node{1 - node}")


def node_is_ready(ward: Ward, name: str) -> bool:
    return ready(ward.get("node", name))


def rolling(ward: Ward, name: str) -> dict[str, Any] | None:
    """The status of a rollout that somebody looks after."""
    status = ward.status("modelversion", name)
    return status if status.get("phase") == "RolledBack" or (status.get("weight") or 0) > 0 else None
