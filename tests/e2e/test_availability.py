"""The operator that leads is killed, frozen and ended in mid-canary: the other one goes on, and no request fails."""

from __future__ import annotations

import signal
import time
from dataclasses import dataclass
from datetime import datetime

import pytest

from modelward_operator.engine.leadership import LEASE_NAME
from tests.e2e.conftest import QUICK, TrainedClinic
from tests.e2e.scenario import container_of, send
from tests.support.cluster.embedded import Embedded

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(420)]

ASKED = 'import urllib.request; print(urllib.request.urlopen("http://localhost:8080/metrics").read().decode())'
PATIENT = {**QUICK, "steps": [{"weight": 20, "minRequests": 100_000}]}


@dataclass(frozen=True)
class Leader:
    """Who leads."""

    name: str | None
    epoch: int
    since: float
    """By the clock of its machine, which is this one."""


@dataclass(frozen=True)
class Operators:
    """Both of them, on the embedded cluster."""

    clinic: TrainedClinic
    cluster: Embedded

    def leader(self) -> Leader:
        spec = self.clinic.get("lease", LEASE_NAME)["spec"]
        since = datetime.fromisoformat(spec["acquireTime"]).timestamp()
        return Leader(spec.get("holderIdentity"), spec["leaseTransitions"], since)

    def both_ready(self) -> Leader:
        """The leader, once the other one stands by."""
        self.clinic.kubectl("rollout", "status", "deployment/modelward", "--timeout=90s")
        self.clinic.wait("a leader", lambda: self.leader().name)
        return self.leader()

    def send(self, name: str, number: signal.Signals) -> None:
        send(self.cluster, self.clinic.get("pod", name), number)

    def next_after(self, former: Leader, since: float) -> tuple[Leader, float]:
        """Who leads next, and the seconds until it had looked at a model: told the pods, and collected what they had counted."""
        self.clinic.wait("the next epoch", lambda: self.leader().epoch > former.epoch, 30, every=0.05)
        following = self.leader()
        assert following.name is not None
        self.clinic.wait("its first look at a model", lambda: self._looks(following.name or ""), 30, every=0.05)
        return following, time.monotonic() - since

    def _looks(self, name: str) -> float:
        told = self.clinic.kubectl("exec", name, "--", "python", "-c", ASKED)
        looks = [line for line in told.splitlines() if line.startswith('modelward_reconciles_total{kind="Model"}')]
        return float(looks[0].split()[1]) if looks else 0.0


@pytest.fixture
def operators(clinic):
    if clinic.cluster.provider != "embedded":
        pytest.skip("signals go to the embedded cluster's containers")
    return Operators(clinic, Embedded(clinic.cluster.layout))


def test_a_killed_leader_is_followed_within_ten_seconds_and_the_canary_goes_on_to_its_decision(
    clinic, client, operators
):
    clinic.version("v2", "v2", rollout={**QUICK, "steps": [{"weight": 20, "minRequests": 400}]})
    clinic.wait_phase("v2", "Canary")
    former = operators.both_ready()
    killed = time.monotonic()
    operators.send(former.name, signal.SIGKILL)
    following, seconds = operators.next_after(former, killed)
    who = "its container, anew" if following.name == former.name else "the other one"  # whichever is the first
    print(f"kill -9: {seconds:.1f} s until the first look of the next leader, {who}")
    assert seconds < 10
    assert clinic.status("modelversion", "v2")["phase"] == "Canary"
    assert clinic.wait_phase("v2", "Champion", seconds=240)["history"][-2]["message"].startswith("Passed after ")


def test_a_frozen_leader_is_followed_writes_nothing_when_it_wakes_and_ends(clinic, client, operators):
    clinic.version("v2", "v2", rollout=PATIENT)
    clinic.wait_phase("v2", "Canary")
    former = operators.both_ready()
    restarts, frozen = _container(clinic, former.name)["restartCount"], time.monotonic()
    operators.send(former.name, signal.SIGSTOP)
    following, seconds = operators.next_after(former, frozen)
    print(f"frozen: {seconds:.1f} s until the next leader's first look")
    assert following.name != former.name
    assert seconds < 10
    clinic.kubectl("patch", "mv", "v2", "--type=merge", "--patch", '{"spec": {"rollout": {"withdrawn": true}}}')
    clinic.wait_phase("v2", "RolledBack")
    operators.send(former.name, signal.SIGCONT)
    clinic.wait("its end", lambda: _container(clinic, former.name)["restartCount"] > restarts, 30)
    assert _container(clinic, former.name)["lastState"]["terminated"]["exitCode"] == 1
    log = clinic.kubectl("logs", former.name, "--previous")
    assert f"epoch {former.epoch} was not renewed within" in log
    assert operators.both_ready() == following
    assert clinic.status("modelversion", "v2")["phase"] == "RolledBack"
    assert clinic.get("service", "mortality")["spec"]["selector"]["modelward.io/modelversion"] == "v1"


def test_a_leader_that_is_ended_hands_over_at_once(clinic, client, operators):
    clinic.version("v2", "v2", rollout=PATIENT)
    clinic.wait_phase("v2", "Canary")
    former = operators.both_ready()
    asked, ended = time.time(), time.monotonic()
    operators.send(former.name, signal.SIGTERM)
    following, seconds = operators.next_after(former, ended)
    print(f"SIGTERM: {following.since - asked:.1f} s until the next one leads, {seconds:.1f} s until its first look")
    assert following.name != former.name
    assert following.since - asked < 2
    assert seconds < 10
    operators.both_ready()
    assert clinic.status("modelversion", "v2")["phase"] == "Canary"


def _container(clinic: TrainedClinic, name: str):
    return container_of(clinic.get("pod", name))
