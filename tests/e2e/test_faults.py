"""The control plane goes away: callers notice nothing, and rollouts go on when it is back."""

from __future__ import annotations

import json

import pytest

from tests.cluster import faults
from tests.cluster.embedded import Embedded
from tests.cluster.waiting import wait_until
from tests.e2e.conftest import QUICK

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(420)]


@pytest.fixture
def embedded(ward):
    if ward.cluster.provider != "embedded":
        pytest.skip("faults are those of the embedded cluster's processes")
    return Embedded(ward.cluster.layout)


def answered(ward, embedded) -> int:
    """The client's count, from the node's file: without an API server there is no `kubectl logs`."""
    (log,) = (embedded.layout.node(0) / "pod-logs").glob(f"{ward.namespace}_client_*/main/0.log")
    return json.loads(log.read_text().splitlines()[-1].partition(" F ")[2])["ok"]


def test_the_api_server_and_etcd_die_in_mid_canary_and_the_promotion_goes_on(ward, client, embedded):
    ward.version("v2", "v2", rollout={**QUICK, "steps": [{"weight": 20, "minRequests": 400}]})
    ward.wait_phase("v2", "Canary")
    for service in ("kube-apiserver", "etcd"):
        faults.kill(embedded, service)
    before = answered(ward, embedded)
    wait_until(lambda: answered(ward, embedded) > before + 100, "answers without a control plane", 60)
    for service in ("etcd", "kube-apiserver"):
        embedded.start(service)
    wait_until(embedded.is_ready, "the API server", 60)
    ward.wait_phase("v2", "Champion", seconds=240)
