"""The control port accepts only the operator's requests, and gives a reason for each refusal."""

from __future__ import annotations

import json
import time

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt.algorithms import OKPAlgorithm

from modelward_api.wire import control_token
from modelward_serving.security.control_auth import ControlAuthenticator, UnauthorizedControlError

POST = ("POST", "/v1/exchange", b"{}")
OWN, OTHER = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()


def public(kid, key):
    return {**json.loads(OKPAlgorithm.to_jwk(key.public_key())), "kid": kid, "alg": "EdDSA"}


def write(path, **keys):
    path.write_text(json.dumps({"keys": [public(kid, key) for kid, key in keys.items()]}))


def token(key=OWN, kid="own", request=POST, algorithm="EdDSA", **claims):
    now = int(time.time())
    said = {
        "iss": control_token.ISSUER,
        "aud": "pod-1",
        "iat": now,
        "exp": now + 30,
        "jti": "j",
        **control_token.bound(*request),
    }
    said = {name: value for name, value in {**said, **claims}.items() if value is not None}
    return "Bearer " + jwt.encode(said, key, algorithm, {"kid": kid} if kid else None)


@pytest.fixture
def trust(tmp_path):
    write(tmp_path / "jwks.json", own=OWN)
    return ControlAuthenticator(tmp_path / "jwks.json", "pod-1")


def test_the_operator_is_let_through(trust):
    trust.check(token(), *POST)


PAST, FUTURE = int(time.time()) - 3600, int(time.time()) + 3600
REFUSED = {
    "no token": (lambda: None, "Unsigned"),
    "another scheme": (lambda: "Basic YTpi", "Unsigned"),
    "garbage": (lambda: "Bearer a.b.c", "BadToken"),
    "a key that is not published": (lambda: token(OTHER, "other"), "UnknownKey"),
    "no key named": (lambda: token(kid=None), "UnknownKey"),
    "another key under a known name": (lambda: token(OTHER), "BadToken"),
    "no signature": (lambda: token(None, algorithm="none"), "BadToken"),
    "a signature with the public key as a secret": (lambda: token("x" * 32, algorithm="HS256"), "BadToken"),
    "an old token": (lambda: token(iat=PAST, exp=PAST + 30), "OutOfTime"),
    "a token of tomorrow": (lambda: token(iat=FUTURE, exp=FUTURE + 30), "OutOfTime"),
    "a token that never ends": (lambda: token(exp=None), "BadToken"),
    "a token without an identity": (lambda: token(jti=None), "BadToken"),
    "another pod's": (lambda: token(aud="pod-2"), "AnotherPod"),
    "another issuer's": (lambda: token(iss="somebody"), "BadToken"),
    "of another body": (lambda: token(request=("POST", "/v1/exchange", b'{"epoch":1}')), "AnotherRequest"),
    "of another path": (lambda: token(request=("POST", "/v1/bundle", b"{}")), "AnotherRequest"),
    "of another method": (lambda: token(request=("GET", "/v1/exchange", b"{}")), "AnotherRequest"),
    "of no request": (lambda: token(sha256=None), "AnotherRequest"),
}


@pytest.mark.parametrize(("presented", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_nobody_else_is(trust, presented, reason):
    with pytest.raises(UnauthorizedControlError) as refused:
        trust.check(presented(), *POST)
    assert refused.value.reason == reason


def test_a_token_is_used_once(trust):
    trust.check(token(jti="once"), *POST)
    with pytest.raises(UnauthorizedControlError, match="already used"):
        trust.check(token(jti="once"), *POST)
    trust.check(token(jti="twice"), *POST)


def test_what_was_seen_is_forgotten_when_it_could_not_be_used_any_more(tmp_path):
    clock = time.time()
    write(tmp_path / "jwks.json", own=OWN)
    trust = ControlAuthenticator(tmp_path / "jwks.json", "pod-1", lambda: clock)
    for number in range(50):
        trust.check(token(jti=str(number)), *POST)
    clock += control_token.SECONDS + control_token.SKEW + 2
    trust.check(token(jti="last"), *POST)
    assert len(trust._seen) == 1


def test_keys_are_read_again_when_they_change(trust, tmp_path):
    trust.check(token(jti="1"), *POST)
    write(tmp_path / "jwks.json", own=OWN, other=OTHER)
    trust.check(token(jti="2"), *POST)
    trust.check(token(OTHER, "other", jti="3"), *POST)
    write(tmp_path / "jwks.json", other=OTHER)
    with pytest.raises(UnauthorizedControlError, match="one of the 1 known keys"):
        trust.check(token(jti="4"), *POST)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"keys":[{"kty":"OKP"}]}', '{"keys":[1]}'])
def test_a_broken_file_changes_nothing(trust, tmp_path, text):
    trust.check(token(jti="1"), *POST)
    (tmp_path / "jwks.json").write_text(text)
    trust.check(token(jti="2"), *POST)


def test_without_any_key_nobody_is_let_through(tmp_path):
    with pytest.raises(UnauthorizedControlError, match="one of the 0 known keys"):
        ControlAuthenticator(tmp_path / "away.json", "pod-1").check(token(), *POST)
