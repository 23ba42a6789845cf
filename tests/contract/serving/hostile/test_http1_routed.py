"""Only a champion can say that a request was routed: what callers say of that changes nothing for them or for the counts."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import httpx
import jwt
import pytest

from modelward_api import names
from modelward_api.wire import control_token
from modelward_api.wire.exchange import ExchangeRequest, ExchangeResponse
from modelward_operator.domain.operator import keyring
from modelward_operator.domain.operator.keyring import Keyring
from modelward_operator.engine.pods.request_signing import Signer, new_key
from modelward_operator.manifests import keys
from tests.support.servers import launching

UID = "11111111-2222-3333-4444-555555555555"


@pytest.fixture(scope="module")
def signer():
    return Signer(keyring.turned(Keyring(), datetime.now(UTC), new_key))


@pytest.fixture(scope="module")
def launch(tmp_path_factory):
    with launching(tmp_path_factory.mktemp("servers")) as start:
        yield start


@pytest.fixture(scope="module")
def guarded(launch, signer, tmp_path_factory):
    """A challenger that knows the operator's keys."""
    path = tmp_path_factory.mktemp("keys") / "jwks.json"
    path.write_text(keys.config_map("clinic", signer.ring)["data"][names.CONTROL_KEYS_FILE])
    return launch("2.0.0", flags=["--control-keys", str(path), "--pod-uid", UID])


@pytest.fixture(scope="module")
def champion(launch):
    return launch()


def counted(server, signer):
    """The rows that a guarded pod has counted as its own."""
    body = json.dumps(ExchangeRequest(epoch=1, keep=True, profile=True).to_json()).encode()
    headers = {"Authorization": f"Bearer {signer.sign(UID, 'POST', names.EXCHANGE_PATH, body)}"}
    answer = httpx.post(f"http://127.0.0.1:{server.control}{names.EXCHANGE_PATH}", content=body, headers=headers)
    return ExchangeResponse.model_validate_json(answer.content).profile.rows


def test_what_a_champion_routes_is_counted_there_alone(champion, guarded, signer):
    before = counted(guarded, signer)
    lease = champion.lease_to(guarded, 100).model_copy(update={"proof": signer.prove(guarded.digest)})
    assert champion.exchange(lease).refused is None
    assert champion.ask().headers["x-modelward-version"] == "2.0.0"
    assert counted(guarded, signer) == before


def test_a_champion_of_an_older_operator_is_answered_and_counted(champion, guarded, signer):
    before = counted(guarded, signer)
    champion.exchange(champion.lease_to(guarded, 100, sequence=2))
    asked = {"outputs": [{"name": "score"}]}
    inputs = [
        {"name": "age", "shape": [1, 1], "datatype": "FP32", "data": [55]},
        {"name": "sex", "shape": [1, 1], "datatype": "BYTES", "data": ["f"]},
    ]
    url = f"http://127.0.0.1:{champion.port}/v2/models/mortality/infer"
    answer = httpx.post(url, json={"inputs": inputs, **asked})
    assert answer.headers["x-modelward-version"] == "2.0.0"
    assert champion.evidence().counts.errors_challenger == 0
    assert counted(guarded, signer) == before + 1


def forged(signer, digest):
    stranger = Signer(keyring.turned(Keyring(), datetime.now(UTC), new_key))
    old = Signer(signer.ring)
    key = keyring.signs(signer.ring, datetime.now(UTC))
    claims = {"iss": control_token.ISSUER, "aud": digest, "exp": 2_000_000_000}
    another = jwt.encode({**claims, "sub": "x"}, jwt.PyJWK.from_dict(key), "EdDSA", {"kid": key["kid"]})
    return {
        "one": "1",
        "empty": "",
        "a stranger's": stranger.prove(digest),
        "for another bundle": old.prove("sha256:" + "0" * 64),
        "expired": Signer(signer.ring).prove(digest, datetime.now(UTC) - timedelta(hours=1)),
        "another subject": another,
        "for the control port": signer.sign(UID, "POST", names.EXCHANGE_PATH, b""),
        "not ASCII": "ü" * 100,
        "long": "a" * 5_000,
    }


def test_what_a_caller_says_of_it_changes_nothing(champion, guarded, launch, signer):
    for name, value in forged(signer, guarded.digest).items():
        before = counted(guarded, signer)
        assert guarded.ask(**{names.ROUTED_HEADER: value.encode()}).status_code == 200, name
        assert counted(guarded, signer) == before + 1, name
    champion.exchange(champion.lease_to(guarded, 100, sequence=3))
    for value in ("1", signer.prove(champion.digest)):
        answer = champion.ask(**{names.ROUTED_HEADER: value})
        assert answer.headers["x-modelward-version"] == "2.0.0", "without the operator's keys nothing proves it"


def test_a_proof_is_signed_anew_before_it_ends_and_not_for_each_lease(signer):
    now, digest = datetime.now(UTC), "sha256:" + "1" * 64
    half = timedelta(seconds=control_token.ROUTED_SECONDS / 2)
    first = signer.prove(digest, now)
    assert signer.prove(digest, now + half - timedelta(seconds=2)) == first
    assert signer.prove(digest, now + half + timedelta(seconds=2)) != first
