"""`python -m modelward_operator run`, as a process, against a real API server."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager

import pytest

from modelward_api import names
from modelward_operator.desired import keys
from modelward_operator.engine import epoch
from modelward_operator.engine import gateway as api
from tests.contract.conftest import free_port
from tests.contract.ward import ward

IMAGES = {"MODELWARD_SERVING_IMAGE": "serving:1", "MODELWARD_TRAINING_IMAGE": "training:1"}


@pytest.fixture
async def place(control_plane):
    async with ward(control_plane) as found:
        yield found


class Operator:
    def __init__(self, process: subprocess.Popen, health: int, metrics: int) -> None:
        self.process, self.health, self.metrics = process, health, metrics

    def answers(self, path: str, port: int | None = None) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port or self.health}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    def wait(self, condition, seconds: float = 20.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def end(self) -> tuple[int, str]:
        self.process.send_signal(signal.SIGTERM)
        _, said = self.process.communicate(timeout=15)
        return self.process.returncode, said

    @property
    def memory(self) -> float:
        """Resident, in MiB."""
        with open(f"/proc/{self.process.pid}/status") as status:  # noqa: PTH123
            line = next(line for line in status if line.startswith("VmRSS"))
        return int(line.split()[1]) / 1024


@contextmanager
def operator(place, **environment: str):
    health, metrics = free_port(), free_port()
    words = ["run", "--health-port", str(health), "--metrics-port", str(metrics)]
    env = {
        **os.environ,
        **IMAGES,
        "KUBECONFIG": str(place.plane.kubeconfig),
        "MODELWARD_NAMESPACES": place.namespace,
        "POD_NAMESPACE": place.namespace,
        "POD_NAME": f"operator-{health}",
        **environment,
    }
    process = subprocess.Popen(
        [sys.executable, "-m", "modelward_operator", *words], env=env, stderr=subprocess.PIPE, text=True
    )
    try:
        yield Operator(process, health, metrics)
    finally:
        process.kill()
        process.wait()


async def test_it_becomes_ready_reconciles_tells_metrics_and_ends_cleanly(place):
    with operator(place) as running:
        running.wait(lambda: running.answers("/readyz")[0] == 200)
        assert running.answers("/livez") == (200, "ok")
        place.plane.kubectl("apply", "--filename", "-", document=_version(place.namespace))
        phase = ["get", "mv", "v1", "--namespace", place.namespace, "--output", "jsonpath={.status.phase}"]
        running.wait(lambda: place.plane.kubectl(*phase).stdout == "Verifying", 5)
        # The metrics follow the status that they tell of.
        running.wait(lambda: 'phase="Verifying"' in running.answers("/metrics", running.metrics)[1], 5)
        assert 'modelward_reconciles_total{kind="Model"}' in running.answers("/metrics", running.metrics)[1]
        code, log = running.end()
    assert code == 0, log
    assert "Traceback" not in log
    assert all(line.startswith("time=") for line in log.splitlines()), log


async def test_it_makes_its_key_publishes_only_the_public_half_and_keeps_it_when_it_starts_again(place):
    published = []
    words = ["get", "configmap", names.CONTROL_KEYS, "--namespace", place.namespace, "--output", "name"]
    for _ in range(2):
        with operator(place) as running:
            running.wait(lambda: running.answers("/readyz")[0] == 200)
            place.plane.kubectl("apply", "--filename", "-", document=_version(place.namespace))
            running.wait(lambda: place.plane.kubectl(*words, check=False).returncode == 0)
            _, log = running.end()
        published.append((await place.get(api.CONFIG_MAPS, names.CONTROL_KEYS))["data"][names.CONTROL_KEYS_FILE])
    assert published[0] == published[1]
    (key,) = json.loads(published[0])["keys"]
    ring = keys.read(await place.get(api.SECRETS, keys.SECRET))
    assert key["kid"] == ring.keys[0].key["kid"]
    assert "d" not in key
    assert ring.keys[0].key["d"] not in log


async def test_it_is_small_when_idle(place):
    with operator(place) as running:
        running.wait(lambda: running.answers("/readyz")[0] == 200)
        assert running.memory < 130


async def test_it_works_on_what_was_there_before_it_started(place):
    await place.version("v1")
    with operator(place) as running:
        phase = ["get", "mv", "v1", "--namespace", place.namespace, "--output", "jsonpath={.status.phase}"]
        running.wait(lambda: place.plane.kubectl(*phase).stdout == "Verifying")


async def test_it_leaves_other_namespaces_alone(place, control_plane):
    async with ward(control_plane) as other:
        await other.version("v1")
        with operator(place) as running:
            await place.version("v1")
            phase = ["get", "mv", "v1", "--namespace", place.namespace, "--output", "jsonpath={.status.phase}"]
            running.wait(lambda: place.plane.kubectl(*phase).stdout == "Verifying")
        assert await other.status("v1") == {}


async def test_it_watches_all_namespaces_when_none_is_named(place):
    everything = ["mv,dm,tj,sb,pods", "--all", "--all-namespaces", "--force", "--grace-period=0", "--wait=false"]
    place.plane.kubectl("delete", *everything)  # what other tests left, with pods that answer nobody
    with operator(place, MODELWARD_NAMESPACES="") as running:
        running.wait(lambda: running.answers("/readyz")[0] == 200)
        await place.version("v1")
        phase = ["get", "mv", "v1", "--namespace", place.namespace, "--output", "jsonpath={.status.phase}"]
        running.wait(lambda: place.plane.kubectl(*phase).stdout == "Verifying")


async def test_a_newer_operator_ends_the_one_before(place):
    begun = await epoch.begin(place.gateway, place.namespace, "first")
    holding = epoch.hold(place.gateway, place.namespace, "first", begun, period=0.01)
    await epoch.begin(place.gateway, place.namespace, "second")
    with pytest.raises(epoch.DeposedError, match="second has begun epoch 2"):
        await holding


async def test_the_epoch_outlives_a_lease_that_somebody_deletes(place):
    for name in ("first", "second"):
        begun = await epoch.begin(place.gateway, place.namespace, name)
    lease = await place.get(api.LEASES, epoch.LEASE_NAME)
    await place.gateway.delete(api.LEASES, place.namespace, epoch.LEASE_NAME, lease["metadata"]["uid"])
    holding = asyncio.create_task(epoch.hold(place.gateway, place.namespace, "second", begun, period=0.01))
    async with asyncio.timeout(5):
        while await place.get(api.LEASES, epoch.LEASE_NAME) is None:
            pass
    holding.cancel()
    assert await epoch.begin(place.gateway, place.namespace, "third") == 3


def test_an_api_server_that_is_away_ends_it_with_one_line(place, tmp_path):
    config = place.plane.kubeconfig.read_text()
    away = tmp_path / "kubeconfig"
    away.write_text(config.replace(config.split("https://127.0.0.1:")[1].split('"')[0], "1"))
    with operator(place, KUBECONFIG=str(away)) as running:
        _, said = running.process.communicate(timeout=20)
    assert running.process.returncode == 1
    assert "Traceback" not in said
    assert "ClientConnectorError" in said


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"MODELWARD_SERVING_IMAGE": ""}, "MODELWARD_SERVING_IMAGE must be set"),
        ({"MODELWARD_LOG_LEVEL": "chatty"}, "MODELWARD_LOG_LEVEL: 'chatty' is none of"),
    ],
    ids=["without an image", "with an unknown log level"],
)
def test_it_refuses_to_start(place, change, said):
    with operator(place, **change) as running:
        _, log = running.process.communicate(timeout=20)
    assert running.process.returncode == 2
    assert log.startswith("modelward_operator: ")
    assert said in log


def test_help_and_version_need_nothing():
    for words in (["--help"], ["run", "--help"], ["version"]):
        done = subprocess.run([sys.executable, "-m", "modelward_operator", *words], capture_output=True, text=True)
        assert done.returncode == 0
        assert done.stdout


def _version(namespace: str) -> dict:
    artifact = {"uri": "store://a", "digest": "sha256:" + "a" * 64}
    return {
        "apiVersion": "modelward.io/v1alpha1",
        "kind": "ModelVersion",
        "metadata": {"name": "v1", "namespace": namespace},
        "spec": {"model": "mortality", "version": "1.0.0", "artifact": artifact},
    }
