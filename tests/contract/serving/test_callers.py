"""Callers with and without tokens, on real servers; the issuer's keys from a file and from a URL."""

from __future__ import annotations

import json
import threading
import time
from http.server import ThreadingHTTPServer

import grpc
import httpx
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from grpc_reflection.v1alpha import reflection_pb2
from jwt.algorithms import get_default_algorithms

from tests.support.calls import infer, typed
from tests.support.http_content import publishing
from tests.support.servers import AGE, MARK, launching, wait_for

ISSUER, AUDIENCE, WARD = "https://issuer.example", "mortality", "system:serviceaccount:clinic:ward"
KINDS = {
    "ES256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "RS256": lambda: rsa.generate_private_key(65537, 2048),
    "EdDSA": ed25519.Ed25519PrivateKey.generate,
}


class Issuer:
    """Signs tokens, and publishes its keys."""

    def __init__(self, kind="ES256", kid="one"):
        self.kind, self.kid, self.key = kind, kid, KINDS[kind]()

    def jwks(self):
        public = get_default_algorithms()[self.kind].to_jwk(self.key.public_key(), as_dict=True)
        return {"keys": [{**public, "kid": self.kid, "alg": self.kind, "use": "sig"}]}

    def token(self, *, key=None, kind=None, kid=None, **claims):
        now = int(time.time())
        said = {"iss": ISSUER, "aud": [AUDIENCE, "other"], "sub": WARD, "iat": now, "exp": now + 300, **claims}
        said = {name: value for name, value in said.items() if value is not None}
        return jwt.encode(said, self.key if key is None else key, kind or self.kind, {"kid": kid or self.kid})

    def public_pem(self):
        kind = serialization.PublicFormat.SubjectPublicKeyInfo
        return self.key.public_key().public_bytes(serialization.Encoding.PEM, kind)


def bearer(token):
    return {"authorization": f"Bearer {token}"}


@pytest.fixture(scope="module")
def issuer():
    return Issuer()


@pytest.fixture(scope="module")
def keys(issuer, tmp_path_factory):
    path = tmp_path_factory.mktemp("keys") / "jwks.json"
    path.write_text(json.dumps(issuer.jwks()))
    return path


def rules(keys, *more):
    return ("--callers-issuer", ISSUER, "--callers-audience", AUDIENCE, "--callers-jwks", keys, *more)


@pytest.fixture(scope="module")
def server(keys, tmp_path_factory):
    with launching(tmp_path_factory.mktemp("server")) as start:
        yield start(flags=rules(keys, "--callers-subject", WARD))


def refused(answer):
    return answer.status_code, answer.json()["reason"]


def test_a_caller_with_a_token_is_answered_over_rest_and_grpc(server, issuer):
    answer = server.ask(**bearer(issuer.token()))
    assert answer.status_code == 200
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc}") as channel:
        given = infer(channel, typed(), metadata=[("authorization", f"Bearer {issuer.token()}")])
    assert list(given.outputs[0].contents.fp32_contents) == answer.json()["outputs"][0]["data"]


def test_without_a_token_nothing_but_health_metrics_and_metadata_is_answered(server, issuer):
    url = f"http://127.0.0.1:{server.port}"
    answer = server.ask()
    assert (refused(answer), answer.headers["www-authenticate"]) == ((401, "NoToken"), "Bearer")
    assert refused(server.explain([55.0])) == (401, "NoToken")
    assert refused(httpx.post(f"{url}/predict", json={"inputs": {}})) == (401, "NoToken")
    assert refused(httpx.get(f"{url}/")) == (401, "NoToken")
    for path in ("/livez", "/readyz", "/v2/health/ready", "/metrics", "/v2/models/mortality", "/v2/openapi.json"):
        assert httpx.get(url + path).status_code == 200
    assert httpx.get(f"{url}/", headers=bearer(issuer.token()), timeout=30).status_code == 200
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc}") as channel, pytest.raises(grpc.RpcError) as caught:
        infer(channel, typed())
    assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED


def test_reflection_is_for_callers_with_a_token_and_health_for_all(server, issuer):
    asked = reflection_pb2.ServerReflectionRequest(list_services="").SerializeToString()
    with grpc.insecure_channel(f"127.0.0.1:{server.grpc}") as channel:
        ask = channel.stream_stream("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo")
        with pytest.raises(grpc.RpcError, match="NoToken") as caught:
            list(ask(iter([asked]), timeout=9))
        assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED
        metadata = [("authorization", f"Bearer {issuer.token()}")]
        (answer,) = ask(iter([asked]), timeout=9, metadata=metadata)
        assert b"inference.GRPCInferenceService" in answer
        assert channel.unary_unary("/grpc.health.v1.Health/Check")(b"", timeout=9) == b"\x08\x01"


BAD = {
    "that has expired": (lambda i: i.token(exp=int(time.time()) - 60), (401, "OutOfTime")),
    "that holds later": (lambda i: i.token(nbf=int(time.time()) + 60), (401, "OutOfTime")),
    "without an end": (lambda i: i.token(exp=None), (401, "BadToken")),
    "for others": (lambda i: i.token(aud="other"), (401, "WrongAudience")),
    "of another issuer": (lambda i: i.token(iss="https://other.example"), (401, "WrongIssuer")),
    "of another subject": (lambda i: i.token(sub="system:serviceaccount:clinic:other"), (403, "WrongSubject")),
    "with an unknown key": (lambda i: i.token(kid="two"), (401, "UnknownKey")),
    "signed by somebody else": (lambda i: Issuer().token(), (401, "BadToken")),
    "not signed": (lambda i: i.token(key="", kind="none"), (401, "BadToken")),
    "signed with the public key as a secret": (lambda i: confused(i), (401, "BadToken")),
    "that is none": (lambda i: MARK, (401, "BadToken")),
}


def confused(issuer):
    """HS256 with the public key, which PyJWT itself would refuse to make."""
    import base64
    import hashlib
    import hmac

    claims = jwt.decode(issuer.token(), options={"verify_signature": False})
    parts = [json.dumps(p).encode() for p in ({"alg": "HS256", "kid": issuer.kid, "typ": "JWT"}, claims)]
    signed = b".".join(base64.urlsafe_b64encode(p).rstrip(b"=") for p in parts)
    mac = hmac.new(issuer.public_pem(), signed, hashlib.sha256).digest()
    return (signed + b"." + base64.urlsafe_b64encode(mac).rstrip(b"=")).decode()


@pytest.mark.parametrize(("made", "told"), BAD.values(), ids=BAD.keys())
def test_a_token_is_refused(server, issuer, made, told):
    token = made(issuer)
    answer = server.ask(age=AGE, sex=MARK, **bearer(token))
    assert refused(answer) == told
    assert token not in answer.text + server.log.read_text()
    assert MARK not in answer.text


@pytest.mark.parametrize("kind", ["RS256", "EdDSA"])
def test_keys_that_change_in_the_file_hold_at_once(launch, tmp_path, kind):
    keys, old, new = tmp_path / "jwks.json", Issuer(), Issuer(kind, "two")
    keys.write_text(json.dumps(old.jwks()))
    server = launch(flags=rules(keys))
    assert server.ask(**bearer(old.token())).status_code == 200
    keys.write_text("broken")
    assert refused(server.ask(**bearer(new.token()))) == (401, "UnknownKey")
    keys.write_text(json.dumps(new.jwks()))
    assert server.ask(**bearer(new.token())).status_code == 200
    assert refused(server.ask(**bearer(old.token(sub="later")))) == (401, "UnknownKey")


def test_keys_are_fetched_from_a_url_and_losing_it_changes_nothing(launch):
    issuer = Issuer()
    content = json.dumps(issuer.jwks()).encode()
    listener = ThreadingHTTPServer(("127.0.0.1", 0), publishing(content))
    url = f"http://127.0.0.1:{listener.server_port}/keys"
    server = launch(flags=("--callers-issuer", ISSUER, "--callers-audience", AUDIENCE, "--callers-jwks-url", url))
    threading.Thread(target=listener.serve_forever, daemon=True).start()
    wait_for(lambda: server.ask(**bearer(issuer.token())).status_code == 200)
    listener.shutdown()
    listener.server_close()
    assert server.ask(**bearer(issuer.token(sub="another"))).status_code == 200


def test_without_the_issuers_keys_nobody_is_answered_and_it_says_why(launch, tmp_path):
    server = launch(flags=rules(tmp_path / "missing.json"))
    assert refused(server.ask(**bearer(Issuer().token()))) == (503, "NoKeys")


@pytest.mark.parametrize(("weight", "mirror"), [(100, 0.0), (0, 1.0)])
def test_the_challenger_gets_the_callers_token(launch, keys, issuer, weight, mirror):
    champion, challenger = launch(flags=rules(keys)), launch("2.0.0", flags=rules(keys))
    champion.exchange(champion.lease_to(challenger, weight, mirror=mirror))
    answer = champion.ask(**bearer(issuer.token()))
    with grpc.insecure_channel(f"127.0.0.1:{champion.grpc}") as channel:
        infer(channel, typed(), metadata=[("authorization", f"Bearer {issuer.token()}")])
    assert answer.headers["x-modelward-version"] == ("2.0.0" if weight else "1.0.0")
    wait_for(lambda: champion.evidence().counts.pairs == 2)
    assert champion.evidence().counts.errors_challenger == 0
