"""The operator's own exchange with real serving processes that let nobody else through."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import aiohttp
import httpx
import pytest

from modelward_api import names
from modelward_api.resources.modelversion import Artifact
from modelward_api.wire.exchange import ExchangeRequest
from modelward_operator.domain.operator import keyring
from modelward_operator.domain.operator.keyring import LIFE, SPREAD, Keyring
from modelward_operator.domain.rollout.decision import LeaseOrder
from modelward_operator.domain.rollout.observation import Pod
from modelward_operator.engine.kube import gateway as api
from modelward_operator.engine.pods import request_signing
from modelward_operator.engine.pods.control_client import Exchange, IssuedLeases
from modelward_operator.engine.pods.request_signing import Signer, new_key
from modelward_operator.manifests import keys
from tests.support.builders import version
from tests.support.harness import operator_harness

UID = "11111111-2222-3333-4444-555555555555"
BODY = json.dumps(ExchangeRequest(epoch=1, keep=True).to_json()).encode()


def publish(path, ring):
    """As the kubelet does: a whole new file in the place of the old one."""
    text = keys.config_map("clinic", ring)["data"][names.CONTROL_KEYS_FILE]
    (path.parent / "new").write_text(text)
    (path.parent / "new").replace(path)


@pytest.fixture
def ring():
    return keyring.turned(Keyring(), datetime.now(UTC), new_key)


@pytest.fixture
def server(launch, ring, tmp_path):
    publish(tmp_path / names.CONTROL_KEYS_FILE, ring)
    flags = ["--control-keys", str(tmp_path / names.CONTROL_KEYS_FILE), "--pod-uid", UID]
    return launch(flags=flags)


def ask(server, token=None, path=names.EXCHANGE_PATH, method="POST", port=None):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    url = f"http://127.0.0.1:{port or server.control}{path}"
    return httpx.request(method, url, content=BODY if method == "POST" else b"", headers=headers)


async def exchanged(server, signer, uid=UID):
    """What the operator's exchange makes of that pod."""
    pod, known = Pod("p", uid=uid, ip="127.0.0.1", ready=True, verified=True), version("v1", "Champion")
    artifact = Artifact(uri="store://models/v1", digest=server.digest)
    champion = replace(known, pods=(pod,), artifact=artifact)
    async with aiohttp.ClientSession() as session:
        exchange = Exchange(session, 7, signer, server.control)
        answers = await exchange.order(IssuedLeases(), {"v1": champion}, [LeaseOrder("v1", None)])
        return answers, await exchange.documents([champion])


async def test_the_operator_is_answered_and_nobody_else(server, ring):
    answers, documents = await exchanged(server, Signer(ring))
    assert [answer.pod for answer in answers] == ["p"]
    assert set(documents) == {server.digest}
    for path, method in ((names.EXCHANGE_PATH, "POST"), (names.DOCUMENTS_PATH, "GET"), ("/", "GET"), ("/x", "PUT")):
        answer = ask(server, path=path, method=method)
        assert (answer.status_code, answer.json()["reason"]) == (401, "Unsigned")
    assert "refused 127.0.0.1: Unsigned" in server.log.read_text()


async def test_an_operator_with_other_keys_is_refused_and_says_so(server, caplog):
    stranger = Signer(keyring.turned(Keyring(), datetime.now(UTC), new_key))
    assert await exchanged(server, stranger) == ([], {})
    assert "pod p rejected the operator's signature" in caplog.text
    assert "UnknownKey" in caplog.text


async def test_what_one_pod_is_told_serves_nobody_at_another_and_not_again(server, ring):
    signer = Signer(ring)
    for_another = signer.sign("another", "POST", names.EXCHANGE_PATH, BODY)
    assert ask(server, for_another).json()["reason"] == "AnotherPod"
    token = signer.sign(UID, "POST", names.EXCHANGE_PATH, BODY)
    assert ask(server, token).status_code == 200
    assert ask(server, token).json()["reason"] == "Repeated"


async def test_keys_turn_over_and_every_exchange_is_answered(server, ring, tmp_path):
    """A month and a half, as the pod and the operator live through it: the pod learns of a key late, but in time."""
    signer, begun = Signer(ring), datetime.now(UTC)
    moments = [0.0, LIFE, LIFE + SPREAD - 1, LIFE + SPREAD, LIFE + 2 * SPREAD, 1.5 * LIFE]
    seen = set()
    for moment in moments:
        now = begun + timedelta(seconds=moment)
        signer.ring = keyring.turned(signer.ring, now, new_key)
        publish(tmp_path / names.CONTROL_KEYS_FILE, signer.ring)
        key = keyring.signs(signer.ring, now)
        seen.add(key["kid"])
        signs = Signer(Keyring(keys=tuple(k for k in signer.ring.keys if k.key == key)))
        answers, _ = await exchanged(server, signs)
        assert len(answers) == 1, moment
    assert len(seen) == 2


def test_the_inference_port_has_no_way_to_the_leases(server, ring):
    token = Signer(ring).sign(UID, "POST", names.EXCHANGE_PATH, BODY)
    for path in (names.EXCHANGE_PATH, names.DOCUMENTS_PATH, f"/v2{names.EXCHANGE_PATH}", "/v2/repository/index"):
        for method in ("GET", "POST"):
            assert ask(server, token, path, method, server.port).status_code in (404, 405), path


def test_without_keys_the_port_is_open_and_the_log_says_so(launch):
    server = launch()
    assert ask(server).status_code == 200
    assert server.log.read_text().count("control port: unauthenticated") == 1


@pytest.fixture
async def harness(control_plane):
    async with operator_harness(control_plane) as found:
        yield found


async def test_the_key_is_made_once_and_found_again(harness):
    first = await request_signing.begin(harness.gateway, harness.namespace)
    second = await request_signing.begin(harness.gateway, harness.namespace)
    assert first.ring == second.ring
    assert (await harness.get(api.SECRETS, keys.SECRET))["type"] == "Opaque"


async def test_two_operators_that_start_at_once_have_one_key(harness):
    signers = await asyncio.gather(*(request_signing.begin(harness.gateway, harness.namespace) for _ in range(5)))
    assert len({s.ring.to_json()["keys"][0]["key"]["kid"] for s in signers}) == 1


async def test_an_old_key_gets_a_successor_in_the_secret_and_in_the_namespaces(harness):
    old = Keyring.model_validate({"keys": [{"key": new_key(), "since": "2020-01-01T00:00:00Z"}]})
    await harness.gateway.create(api.SECRETS, keys.secret(harness.namespace, old))
    signer = await request_signing.begin(harness.gateway, harness.namespace)
    assert len(signer.ring.keys) == 2
    assert keys.read(await harness.get(api.SECRETS, keys.SECRET)) == signer.ring
    await signer.publish(harness.gateway, harness.namespace, 0.0)
    told = (await harness.get(api.CONFIG_MAPS, names.CONTROL_KEYS))["data"][names.CONTROL_KEYS_FILE]
    assert len(json.loads(told)["keys"]) == 2


async def test_deleting_the_secret_makes_a_new_key_while_the_operator_runs(harness):
    signer = await request_signing.begin(harness.gateway, harness.namespace)
    before = signer.ring
    found = await harness.get(api.SECRETS, keys.SECRET)
    await harness.gateway.delete(api.SECRETS, harness.namespace, keys.SECRET, found["metadata"]["uid"])
    holding = asyncio.create_task(request_signing.hold(harness.gateway, harness.namespace, signer, period=0.01))
    async with asyncio.timeout(5):
        while signer.ring == before:
            await harness.get(api.SECRETS, keys.SECRET)
    holding.cancel()
    assert [k.key["kid"] for k in signer.ring.keys] != [k.key["kid"] for k in before.keys]


async def test_a_secret_that_holds_no_keyring_is_told_and_not_overwritten(harness):
    metadata = {"name": keys.SECRET, "namespace": harness.namespace}
    theirs = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "data": {"theirs": "eWVz"}}
    await harness.gateway.create(api.SECRETS, theirs)
    with pytest.raises(api.GatewayError, match="holds no valid keyring: delete it"):
        await request_signing.begin(harness.gateway, harness.namespace)
    assert (await harness.get(api.SECRETS, keys.SECRET))["data"] == {"theirs": "eWVz"}
