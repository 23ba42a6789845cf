"""Whatever is lost around a model, under load over REST and gRPC: no request fails, and rollouts end as they would have.

One model for the whole module, its champion with a pod on each node. Callers ask from the first fault to the last, and once
only (`clients_without_retries`); where a pod dies at once with what it was computing, they send again what nobody has answered
(`clients_with_retries`).
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
from modelward_api import names
from tests.e2e.conftest import QUICK, Bundle, TrainedClinic, clean
from tests.e2e.scenario import PATIENT, RATE, FaultScenario, address, node_of, ready
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
def scenario(trained: TrainedClinic, events: str) -> Iterator[FaultScenario]:
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
    found = FaultScenario(trained, embedded, events)
    found.all_ready("v1", 2)
    yield found
    REPORT.parent.mkdir(exist_ok=True)
    REPORT.write_text(json.dumps(found.seen, indent=1))
    found.leave()


@pytest.fixture
def clients_without_retries(scenario: FaultScenario) -> None:
    """Clients that do not retry."""
    scenario.use_clients()


@pytest.fixture
def clients_with_retries(scenario: FaultScenario) -> None:
    """Clients that retry requests without an answer."""
    scenario.use_clients("--retry")


def add_good(clinic: TrainedClinic, number: int) -> None:
    """Add versions that are as good as version 2."""
    content = clinic.take(clinic.bundles["v2"].uri.removeprefix("store://"))
    for major in range(10, 10 + number):
        archive, digest = faulty_bundles.rebuilt(content, f"{major}.0.0", faulty_bundles.unchanged)
        clinic.put_bytes(f"models/good-{major}.bentomodel", archive)
        clinic.bundles[f"v{major}"] = Bundle(f"{major}.0.0", f"store://models/good-{major}.bentomodel", digest)


@pytest.mark.usefixtures("clients_without_retries")
def test_an_operator_that_is_killed_in_any_phase_goes_on_where_it_was(scenario):
    clinic = scenario.clinic
    does = "the standby, or the restarted container, resumes the same phase and step"
    with scenario.watched("operator: kill -9 in each phase that a version can be in", does):
        clinic.version("v2", "v2", rollout={**STEPWISE, "paused": True}, serving=TWO)
        scenario.kill_operator_in(v2="Verifying")
        clinic.version("v3", "v3", rollout={**STEPWISE, "supersedes": False})
        scenario.kill_operator_in(v2="Deploying", v3="Pending")
        clinic.version("v2", "v2", rollout=STEPWISE, serving=TWO)
        scenario.kill_operator_in(v2="Canary")
        scenario.kill_operator_in(v2="Promoting")
        scenario.kill_operator_in(v2="Champion", v1="Standby")
        scenario.answers_of("2.0.0")
        clinic.version("v2", "v2", rollout={**STEPWISE, "keepWarm": "0s"}, serving=TWO)
        scenario.kill_operator_in(v1="Retired", v3="RolledBack")
        clinic.version("again", "v3", rollout=STEPWISE)
        clinic.version("forged", "v10", rollout=STEPWISE, digest="sha256:" + "0" * 64)
        clinic.version("shadow", "v11", rollout={**STEPWISE, "strategy": "shadow"})
        scenario.kill_operator_in(again="Quarantined", forged="Failed", shadow="Shadow")
        samples = scenario.samples("shadow")
        clinic.wait("more evidence", lambda: scenario.samples("shadow") > samples)
        assert "changed decisions" in clinic.status("modelversion", "v3")["message"]
        assert {d["metadata"]["name"] for d in clinic.list("deployments", "--selector", MODEL)} == {"v2", "shadow"}
        assert scenario.champion() == "v2"
    scenario.remove("v1", "v3", "again", "forged", "shadow")


@pytest.mark.usefixtures("clients_without_retries")
def test_a_control_plane_that_restarts_freezes_and_dies_in_mid_canary_stops_no_promotion(scenario):
    name = scenario.canary("v10", serving=TWO)

    def away(what: str, seconds: float, stop, start) -> None:
        with scenario.watched(what, "retries until it gets a response; the canary then resumes at its step") as row:
            begun = time.time()
            stop()
            scenario.keeps_answering_for(seconds)
            if seconds:
                row["canary answered for"] = round(scenario.last_answer_of("10.0.0") - begun, 1)
            start()
            begun = time.monotonic()
            scenario.clinic.wait("the API server", scenario.embedded.is_ready)
            scenario.answers_of("10.0.0", 1)
            row["canary resumes after"] = round(time.monotonic() - begun, 1)

    etcd, server = (scenario.embedded, "etcd"), (scenario.embedded, "kube-apiserver")
    away("API server: restarted", 0, lambda: faults.kill(*server), lambda: scenario.embedded.start("kube-apiserver"))
    away("etcd: frozen for 20 s", OUTAGE, lambda: faults.freeze(*etcd), lambda: faults.thaw(*etcd))
    away("etcd: dead for 20 s", OUTAGE, lambda: faults.kill(*etcd), lambda: scenario.embedded.start("etcd"))
    scenario.clinic.version(name, name, rollout=HALF, serving=TWO)
    scenario.clinic.wait_phase(name, "Champion")
    scenario.remove("v2")


@pytest.mark.usefixtures("clients_without_retries")
def test_a_challengers_pods_die_and_callers_notice_nothing(scenario):
    name = scenario.canary("v11")
    what = "challenger: all its pods deleted without grace"
    with scenario.watched(what, "stops routing to it; nothing is counted against it") as row:
        pods = [pod["metadata"]["name"] for pod in scenario.pods(name)]
        scenario.clinic.kubectl("delete", "pod", *pods, "--grace-period=0", "--force")
        scenario.answers_of("11.0.0")
        row["then"] = scenario.clinic.status("modelversion", name)["phase"]
    with scenario.watched("challenger: kill -9 in all its pods", "counts its missed responses as failures") as row:
        scenario.kill(*scenario.pods(name))
        scenario.keeps_answering(5 * RATE)
        status = scenario.clinic.status("modelversion", name)
        row["then"] = f"{status['phase']}: {status['message']}"
    scenario.remove(name)


@pytest.mark.usefixtures("clients_without_retries")
def test_a_champions_pod_that_is_deleted_is_missed_by_nobody(scenario):
    name = scenario.champion()
    with scenario.watched("champion's pod: deleted, one of two", NOTHING):
        scenario.clinic.kubectl("delete", "pod", scenario.pods(name)[0]["metadata"]["name"], "--wait=true")
        scenario.all_ready(name, 2)


@pytest.mark.usefixtures("clients_without_retries")
def test_a_partition_of_the_operator_from_the_pods_ends_the_canary_by_its_lease_and_healing_resumes_it(scenario):
    champion, name = scenario.champion(), scenario.canary("v12", PROMPT)
    operators = [address(pod) for pod in scenario.operators()]
    pods = [address(pod) for version in (champion, name) for pod in scenario.pods(version)]
    does = "holds; the pods' leases expire, the champion answers alone, and the canary resumes when the pods are reachable again"
    with scenario.watched("operator: cut off from the serving pods", does) as row:
        with faults.partition(scenario.embedded, operators, pods):
            begun = time.time()
            scenario.keeps_answering_for(LEASE + 3)
            row["lease lasted"] = round(scenario.last_answer_of("12.0.0") - begun, 1)
            assert row["lease lasted"] <= LEASE + 1, "an answer may be under way when the lease expires"
        healed = time.time()
        scenario.answers_of("12.0.0", 1)
        row["resumed after"] = round(time.time() - healed, 1)
    scenario.answers_of("12.0.0")
    with scenario.watched("challenger: cut off from the champion", "counts its missed responses as failures") as row:
        one, other = ([address(pod) for pod in scenario.pods(version)] for version in (champion, name))
        with faults.partition(scenario.embedded, one, other):
            scenario.keeps_answering_for(LEASE)
            status = scenario.clinic.status("modelversion", name)
            row["then"] = f"{status['phase']}: {status['message']}"
    scenario.remove(name)


@pytest.mark.usefixtures("clients_without_retries")
def test_a_full_store_fails_training_with_its_reason_and_stops_nothing_else(scenario):
    claim = scenario.clinic.get("persistentvolumeclaim", "modelward-store")["spec"]["volumeName"]
    volume = Path(scenario.clinic.get("persistentvolume", claim)["spec"]["local"]["path"])
    scenario.clinic.kubectl("cordon", "node1")  # the small volume is mounted on the first node only
    try:
        does = "fails the job with reason StoreFull; serving continues"
        small = faults.small_volume(scenario.embedded, 0, volume, 8 << 20)
        with scenario.watched("store: full", does) as row, small as store:
            filler = faults.fill(store)
            before = bundles(store)
            status = trained_to_its_end(scenario.clinic, "without-room")
            row["then"] = f"{status['phase']}: {status['message']}"
            assert scenario.clinic.condition("trainingjob", "without-room", "Failed")["reason"] == "StoreFull"
            assert "spec.output.uri" in status["message"]
            assert bundles(store) == before, "nothing that is half written is taken for a bundle"
            filler.unlink()
            status = trained_to_its_end(scenario.clinic, "with-room")
            assert status["phase"] == "Complete", status
            assert len(bundles(store) - before) == 1
    finally:
        scenario.clinic.kubectl("uncordon", "node1")
        scenario.clinic.kubectl("delete", "trainingjob", "without-room", "with-room", "--ignore-not-found")


def bundles(store: Path) -> set[Path]:
    """Whatever stands where bundles are put, but the reports on the data."""
    reports = (names.VALIDATION_FILE, names.VALIDATION_PAGE)
    return {path for path in (store / "models").rglob("*") if path.is_file() and not path.name.endswith(reports)}


def trained_to_its_end(clinic: TrainedClinic, name: str) -> dict[str, Any]:
    job = yaml.safe_load((MANIFESTS / "trainingjob-v2.yaml").read_text())
    job["metadata"]["name"], job["spec"]["version"], job["spec"]["promote"] = name, "2.1.0", None
    clinic.apply(job)

    def ended() -> dict[str, Any] | None:
        status = clinic.status("trainingjob", name)
        return status if status.get("phase") in ("Complete", "Failed") else None

    return clinic.wait(f"end of {name}", ended, 120)


@pytest.mark.usefixtures("clients_with_retries")
def test_a_champions_pods_die_and_no_request_fails(scenario):
    name = scenario.champion()
    with scenario.watched("champion's pod: kill -9, one of two", NOTHING):
        scenario.kill(scenario.pods(name)[0])
        scenario.clinic.wait("a restart", lambda: not all(ready(pod) for pod in scenario.pods(name)), 30, every=0.1)
        scenario.all_ready(name, 2)
    with scenario.watched("champion's pod: deleted without grace, one of two", NOTHING):
        pod = scenario.pods(name)[0]["metadata"]["name"]
        scenario.clinic.kubectl("delete", "pod", pod, "--grace-period=0", "--force")
        scenario.all_ready(name, 2)


@pytest.mark.usefixtures("clients_with_retries")
def test_a_node_goes_with_the_operator_the_challenger_and_a_champions_pod_and_no_request_fails(scenario):
    away = {**ROOM, "nodeSelector": {HOSTNAME: "node1"}}
    champion, name = scenario.champion(), scenario.canary("v13", PROMPT, serving=away)
    gather_an_operator(scenario, 1)
    scenario.answers_of("13.0.0")
    assert {node_of(pod) for pod in scenario.pods(champion)} == {0, 1}
    lost = "node: lost, with an operator, the challenger and one of two champions"
    does = "the standby takes over; a single operator's rollouts wait for it"
    with faults.lost_node(scenario.embedded, 1), scenario.watched(lost, does) as row:
        begun = time.monotonic()
        scenario.clinic.wait("the node is missed", lambda: not node_is_ready(scenario.clinic, "node1"), 90)
        row["missed after"] = round(time.monotonic() - begun)
    with scenario.watched("node: back", "continues the rollout") as row:
        scenario.clinic.wait("the node", lambda: node_is_ready(scenario.clinic, "node1"), 60)
        scenario.all_ready(champion, 2)
        status = scenario.clinic.wait("the rollout", lambda: rolling(scenario.clinic, name), 120)
        row["then"] = f"{status['phase']}: {status['message']}"
    scenario.remove(name)


def gather_an_operator(scenario: FaultScenario, node: int) -> None:
    """One of the operator's pods runs on that node."""
    if any(node_of(pod) == node for pod in scenario.operators()):
        return
    scenario.clinic.kubectl("cordon", f"node{1 - node}")
    try:
        scenario.clinic.kubectl("delete", "pod", scenario.operators()[0]["metadata"]["name"], "--wait=true")
        scenario.clinic.kubectl("rollout", "status", "deployment/modelward", "--timeout=60s")
    finally:
        scenario.clinic.kubectl("uncordon", f"node{1 - node}")


def node_is_ready(clinic: TrainedClinic, name: str) -> bool:
    return ready(clinic.get("node", name))


def rolling(clinic: TrainedClinic, name: str) -> dict[str, Any] | None:
    """The status of a rollout that somebody looks after."""
    status = clinic.status("modelversion", name)
    return status if status.get("phase") == "RolledBack" or (status.get("weight") or 0) > 0 else None
