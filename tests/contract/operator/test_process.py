"""`python -m modelward_operator run`, as a process, against a real API server."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from modelward_api import names
from modelward_operator.engine.kube import gateway as api
from modelward_operator.manifests import keys
from tests.support.harness import operator_harness
from tests.support.process import operator


@pytest.fixture
async def harness(control_plane):
    async with operator_harness(control_plane) as found:
        await found.vacancy()
        yield found


async def test_it_becomes_ready_reconciles_tells_metrics_and_ends_cleanly(harness):
    with operator(harness, as_users_do=True) as running:
        running.wait(lambda: running.answers("/readyz")[0] == 200)
        assert running.answers("/livez") == (200, "ok")
        await harness.version("v1")
        running.wait(lambda: harness.phase("v1") == "Verifying", 5)
        # The metrics follow the status that they tell of.
        running.wait(lambda: 'phase="Verifying"' in running.answers("/metrics", running.metrics)[1], 5)
        assert 'modelward_reconciles_total{kind="Model"}' in running.answers("/metrics", running.metrics)[1]
        code, log = running.end()
    assert code == 0, log
    assert "Traceback" not in log
    assert all(line.startswith("time=") for line in log.splitlines()), log


async def test_it_makes_its_key_publishes_only_the_public_half_and_keeps_it_when_it_starts_again(harness):
    published = []
    words = ["get", "configmap", names.CONTROL_KEYS, "--namespace", harness.namespace, "--output", "name"]
    await harness.version("v1")
    for _ in range(2):
        with operator(harness) as running:
            running.wait(lambda: running.answers("/readyz")[0] == 200)
            running.wait(lambda: harness.plane.kubectl(*words, check=False).returncode == 0)
            _, log = running.end()
        published.append((await harness.get(api.CONFIG_MAPS, names.CONTROL_KEYS))["data"][names.CONTROL_KEYS_FILE])
    assert published[0] == published[1]
    (key,) = json.loads(published[0])["keys"]
    ring = keys.read(await harness.get(api.SECRETS, keys.SECRET))
    assert key["kid"] == ring.keys[0].key["kid"]
    assert "d" not in key
    assert ring.keys[0].key["d"] not in log


@pytest.mark.slow
async def test_public_keys_that_somebody_deletes_are_back_in_seconds(harness):
    words = ["get", "configmap", names.CONTROL_KEYS, "--namespace", harness.namespace, "--output", "name"]
    with operator(harness) as running:
        running.wait(lambda: running.answers("/readyz")[0] == 200)
        await harness.version("v1")
        running.wait(lambda: harness.plane.kubectl(*words, check=False).returncode == 0)
        harness.plane.kubectl("delete", "configmap", names.CONTROL_KEYS, "--namespace", harness.namespace)
        running.wait(lambda: harness.plane.kubectl(*words, check=False).returncode == 0, 15)


@pytest.mark.slow
async def test_it_is_small_when_idle(harness):
    with operator(harness, as_users_do=True) as running:
        running.wait(lambda: running.answers("/readyz")[0] == 200)
        assert running.memory < 130


async def test_it_works_on_what_was_there_before_it_started(harness):
    await harness.version("v1")
    with operator(harness) as running:
        running.wait(lambda: harness.phase("v1") == "Verifying")


async def test_it_leaves_other_namespaces_alone(harness, control_plane):
    async with operator_harness(control_plane) as other:
        await other.version("v1")
        with operator(harness) as running:
            await harness.version("v1")
            running.wait(lambda: harness.phase("v1") == "Verifying")
        assert await other.status("v1") == {"observedGeneration": -1}


async def test_it_watches_all_namespaces_when_none_is_named(harness):
    everything = ["mv,dm,tj,sb,pods", "--all", "--all-namespaces", "--force", "--grace-period=0", "--wait=false"]
    harness.plane.kubectl("delete", *everything)  # what other tests left, with pods that answer nobody
    with operator(harness, MODELWARD_NAMESPACES="") as running:
        running.wait(lambda: running.answers("/readyz")[0] == 200)
        await harness.version("v1")
        running.wait(lambda: harness.phase("v1") == "Verifying")


def test_an_api_server_that_is_away_is_waited_for_unready(harness, tmp_path):
    config = harness.plane.kubeconfig.read_text()
    away = tmp_path / "kubeconfig"
    away.write_text(config.replace(config.split("https://127.0.0.1:")[1].split('"')[0], "1"))
    with operator(harness, KUBECONFIG=str(away)) as running:
        running.wait(lambda: running.answers("/readyz") == (503, "standby: cannot read the Lease"))
        assert running.answers("/livez") == (200, "ok")
        code, said = running.end()
    assert code == 0
    assert "Traceback" not in said
    assert "ClientConnectorError" in said


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"MODELWARD_SERVING_IMAGE": ""}, "MODELWARD_SERVING_IMAGE must be set"),
        ({"MODELWARD_LOG_LEVEL": "chatty"}, "MODELWARD_LOG_LEVEL: must be one of"),
    ],
    ids=["without an image", "with an unknown log level"],
)
def test_it_refuses_to_start(harness, change, said):
    with operator(harness, **change) as running:
        code, log = running.ended(20)
    assert code == 2
    assert log.startswith("modelward_operator: ")
    assert said in log


def test_help_and_version_need_nothing():
    for words in (["--help"], ["run", "--help"], ["version"]):
        done = subprocess.run([sys.executable, "-m", "modelward_operator", *words], capture_output=True, text=True)
        assert done.returncode == 0
        assert done.stdout
