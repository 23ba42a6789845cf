"""Whatever is lost around a model, under load over REST and gRPC: no request fails, and rollouts end as they would have.

One model for the whole module, its champion with a pod on each node. Callers ask from the first fault to the last, and once
only (`asked_once`); where a pod dies at once with what it was computing, they send again what nobody has answered
(`asked_again`).
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from examples.clinic import MANIFESTS
from tests.e2e.conftest import QUICK, Bundle, Ward, clean
from tests.e2e.scenario import PATIENT, RATE, Scene, address, node_of, ready
from tests.support import faulty_bundles
from tests.support.cluster import faults
from tests.support.cluster.embedded import Embedded
from tests.support.cluster.layout import REPOSITORY

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(420)]

HOSTNAME = "kubernetes.io/hostname"
MODEL = "modelward.io/model=mortality"
LEASE = 10.0
"""Seconds that a traffic lease lives."""
OUTAGE = 20.0
PROMPT = QUICK["analysis"]
"""Of a challenger that will fall silent: callers wait for it as long as its objective."""
ROOM = {"resources": {"requests": {"cpu": "200m", "memory": "200Mi"}}}
"""Enough to answer beside a training pod on the same core."""
TWO = {**ROOM, "replicas": 2}
HALF = {"steps": [{"weight": 50, "minRequests": 100}], "analysis": PATIENT}
STEPWISE = {**QUICK, "analysis": PATIENT}
NOTHING = "nothing: its Deployment starts another"
REPORT = REPOSITORY / "build" / "faults.json"


@pytest.fixture(scope="module")
def scene(trained: Ward, events: str) -> Iterator[Scene]:
    """Version 1 in charge, a pod of it on each node."""
    if trained.cluster.provider != "embedded":
        pytest.skip("faults are those of the embedded cluster's processes")
    embedded = Embedded(trained.cluster.layout)
    if embedded.nodes < 2:
        pytest.skip("faults want two nodes: `make cluster-down`, then `make cluster NODES=2`")
    clean(trained)
    add_good(trained, 4)
    trained.version("v1", "v1", serving=TWO)
    trained.wait_phase("v1", "Champion")
    found = Scene(trained, embedded, events)
    found.all_ready("v1", 2)
    yield found
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(json.dumps(found.seen, indent=1))
    found.leave()


@pytest.fixture
def asked_once(scene: Scene) -> None:
    """By callers that send no request twice."""
    scene.asked_by()


@pytest.fixture
def asked_again(scene: Scene) -> None:
    """By callers that send again what nobody has answered."""
    scene.asked_by("--retry")


def add_good(ward: Ward, number: int) -> None:
    """More versions that are as good as version 2."""
    content = ward.take(ward.bundles["v2"].uri.removeprefix("store://"))
    for major in range(10, 10 + number):
        archive, digest = faulty_bundles.rebuilt(content, f"{major}.0.0", faulty_bundles.unchanged)
        ward.put_bytes(f"models/good-{major}.bentomodel", archive)
        ward.bundles[f"v{major}"] = Bundle(f"{major}.0.0", f"store://models/good-{major}.bentomodel", digest)


@pytest.mark.usefixtures("asked_once")
def test_an_operator_that_is_killed_in_any_phase_goes_on_where_it_was(scene):
    ward = scene.ward
    does = "the standby, or the restarted container, resumes the same phase and step"
    with scene.watched("operator: kill -9 in each phase that a version can be in", does):
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


@pytest.mark.usefixtures("asked_once")
def test_a_control_plane_that_restarts_freezes_and_dies_in_mid_canary_stops_no_promotion(scene):
    name = scene.canary("v10", serving=TWO)

    def away(what: str, seconds: float, stop, start) -> None:
        with scene.watched(what, "retries until it gets a response; the canary then resumes at its step") as row:
            begun = time.time()
            stop()
            scene.goes_on_for(seconds)
            if seconds:
                row["canary answered for"] = round(scene.last_answer_of("10.0.0") - begun, 1)
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


@pytest.mark.usefixtures("asked_once")
def test_a_challengers_pods_die_and_callers_notice_nothing(scene):
    name = scene.canary("v11")
    what = "challenger: all its pods deleted without grace"
    with scene.watched(what, "stops routing to it; nothing is counted against it") as row:
        pods = [pod["metadata"]["name"] for pod in scene.pods(name)]
        scene.ward.kubectl("delete", "pod", *pods, "--grace-period=0", "--force")
        scene.answers_of("11.0.0")
        row["then"] = scene.ward.status("modelversion", name)["phase"]
    with scene.watched("challenger: kill -9 in all its pods", "counts its missed responses as failures") as row:
        scene.kill(*scene.pods(name))
        scene.goes_on(5 * RATE)
        status = scene.ward.status("modelversion", name)
        row["then"] = f"{status['phase']}: {status['message']}"
    scene.remove(name)


@pytest.mark.usefixtures("asked_once")
def test_a_champions_pod_that_is_deleted_is_missed_by_nobody(scene):
    name = scene.champion()
    with scene.watched("champion's pod: deleted, one of two", NOTHING):
        scene.ward.kubectl("delete", "pod", scene.pods(name)[0]["metadata"]["name"], "--wait=true")
        scene.all_ready(name, 2)


@pytest.mark.usefixtures("asked_once")
def test_a_partition_of_the_operator_from_the_pods_ends_the_canary_by_its_lease_and_healing_resumes_it(scene):
    champion, name = scene.champion(), scene.canary("v12", PROMPT)
    operators = [address(pod) for pod in scene.operators()]
    pods = [address(pod) for version in (champion, name) for pod in scene.pods(version)]
    does = "holds; the pods' leases expire, the champion answers alone, and the canary resumes when the pods are reachable again"
    with scene.watched("operator: cut off from the serving pods", does) as row:
        with faults.partition(scene.embedded, operators, pods):
            begun = time.time()
            scene.goes_on_for(LEASE + 3)
            row["lease lasted"] = round(scene.last_answer_of("12.0.0") - begun, 1)
            assert row["lease lasted"] <= LEASE + 1, "an answer may be under way when the lease expires"
        healed = time.time()
        scene.answers_of("12.0.0", 1)
        row["resumed after"] = round(time.time() - healed, 1)
    scene.answers_of("12.0.0")
    with scene.watched("challenger: cut off from the champion", "counts its missed responses as failures") as row:
        one, other = ([address(pod) for pod in scene.pods(version)] for version in (champion, name))
        with faults.partition(scene.embedded, one, other):
            scene.goes_on_for(LEASE)
            status = scene.ward.status("modelversion", name)
            row["then"] = f"{status['phase']}: {status['message']}"
    scene.remove(name)


@pytest.mark.usefixtures("asked_once")
def test_a_full_store_fails_training_with_its_reason_and_stops_nothing_else(scene):
    claim = scene.ward.get("persistentvolumeclaim", "modelward-store")["spec"]["volumeName"]
    volume = Path(scene.ward.get("persistentvolume", claim)["spec"]["local"]["path"])
    scene.ward.kubectl("cordon", "node1")  # the small volume is mounted on the first node only
    try:
        does = "fails the job with reason StoreFull; serving continues"
        small = faults.small_volume(scene.embedded, 0, volume, 8 << 20)
        with scene.watched("store: full", does) as row, small as store:
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


@pytest.mark.usefixtures("asked_again")
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


@pytest.mark.usefixtures("asked_again")
def test_a_node_goes_with_the_operator_the_challenger_and_a_champions_pod_and_no_request_fails(scene):
    away = {**ROOM, "nodeSelector": {HOSTNAME: "node1"}}
    champion, name = scene.champion(), scene.canary("v13", PROMPT, serving=away)
    gather_an_operator(scene, 1)
    scene.answers_of("13.0.0")
    assert {node_of(pod) for pod in scene.pods(champion)} == {0, 1}
    lost = "node: lost, with an operator, the challenger and one of two champions"
    does = "the standby takes over; a single operator's rollouts wait for it"
    with faults.lost_node(scene.embedded, 1), scene.watched(lost, does) as row:
        begun = time.monotonic()
        scene.ward.wait("the node is missed", lambda: not node_is_ready(scene.ward, "node1"), 90)
        row["missed after"] = round(time.monotonic() - begun)
    with scene.watched("node: back", "continues the rollout") as row:
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
