"""Two real servers with certificates: callers, the router, probes, and a Secret that changes or is missing."""

from __future__ import annotations

import json
import ssl
import subprocess
import sys

import grpc
import httpx
import pytest
import trustme

from tests.support import bundles
from tests.support.calls import infer, typed
from tests.support.certificates import NAME, write
from tests.support.ports import free_port
from tests.support.servers import wait_for

INPUTS = [
    {"name": "age", "shape": [1, 1], "datatype": "FP32", "data": [55.0]},
    {"name": "sex", "shape": [1, 1], "datatype": "BYTES", "data": ["f"]},
]


def flags(folder, clients=False):
    words = ["--tls-cert", "tls.crt", "--tls-key", "tls.key", "--tls-ca", "ca.crt"]
    words += ["--tls-client-ca", "clients.crt"] if clients else []
    return [
        *(str(folder / word) if word.endswith((".crt", ".key")) else word for word in words),
        "--tls-server-name",
        NAME,
    ]


def trusting(ca, own=None):
    context = ssl.create_default_context()
    ca.configure_trust(context)
    if own is not None:
        own.issue_cert("caller").configure_cert(context)
    return context


def ask(server, context):
    """As a caller of the Service does: by its name, here on loopback."""
    url = f"https://127.0.0.1:{server.port}/v2/models/mortality/infer"
    with httpx.Client(verify=context) as session:
        return session.post(url, json={"inputs": INPUTS}, extensions={"sni_hostname": NAME}, timeout=10)


@pytest.fixture
def secret(tmp_path):
    ca = trustme.CA()
    folder = tmp_path / "secret"
    folder.mkdir()
    write(folder, ca)
    return folder, ca


def test_callers_are_answered_over_https_only(launch, secret):
    folder, ca = secret
    server = launch(flags=flags(folder))
    assert ask(server, trusting(ca)).status_code == 200
    with pytest.raises(httpx.TransportError):
        server.ask()
    with pytest.raises(httpx.ConnectError):
        ask(server, trusting(trustme.CA()))


def test_the_champion_asks_a_challenger_by_its_address_and_knows_it_by_the_services_name(launch, secret):
    folder, ca = secret
    champion, challenger = launch(flags=flags(folder)), launch("2.0.0", flags=flags(folder), shift=-9.0)
    assert champion.exchange(champion.lease_to(challenger, 100, tls=True)).refused is None
    assert ask(champion, trusting(ca)).headers["x-modelward-version"] == "2.0.0"


def test_a_challenger_with_a_certificate_for_another_name_gets_no_values(launch, secret, tmp_path):
    folder, ca = secret
    (tmp_path / "other").mkdir()
    write(tmp_path / "other", ca, "another.clinic.svc")
    champion, challenger = launch(flags=flags(folder)), launch("2.0.0", flags=flags(tmp_path / "other"))
    champion.exchange(champion.lease_to(challenger, 100, tls=True))
    assert ask(champion, trusting(ca)).headers["x-modelward-version"] == "1.0.0"
    assert champion.evidence().counts.errors_challenger == 1


def test_a_lease_to_a_challenger_that_speaks_otherwise_is_refused(launch, secret):
    folder, _ = secret
    secured, plain = launch(flags=flags(folder)), launch("2.0.0")
    assert secured.exchange(secured.lease_to(plain, 100)).refused == "TlsDiffers"
    assert plain.exchange(plain.lease_to(secured, 100, tls=True)).refused == "TlsDiffers"


def test_callers_need_a_certificate_when_it_is_required_and_so_does_the_champion(launch, secret):
    folder, ca = secret
    champion = launch(flags=flags(folder, clients=True))
    challenger = launch("2.0.0", flags=flags(folder, clients=True), shift=-9.0)
    with pytest.raises(httpx.TransportError):
        ask(champion, trusting(ca))
    champion.exchange(champion.lease_to(challenger, 100, tls=True))
    assert ask(champion, trusting(ca, ca)).headers["x-modelward-version"] == "2.0.0"


def test_probes_need_no_certificate_on_the_control_port_and_follow_the_drain(launch, secret):
    folder, _ = secret
    server = launch(flags=[*flags(folder, clients=True), "--control-keys", str(folder / "none"), "--pod-uid", "u"])
    url = f"http://127.0.0.1:{server.control}"
    assert [httpx.get(url + path).status_code for path in ("/livez", "/readyz", "/v1/bundle")] == [200, 200, 401]
    server.process.terminate()
    wait_for(lambda: httpx.get(f"{url}/readyz").status_code == 503)
    assert server.process.wait(timeout=15) == 0


def test_a_new_certificate_is_served_without_a_restart(launch, secret):
    folder, _ = secret
    server, renewed = launch(flags=flags(folder)), trustme.CA()
    write(folder, renewed)

    def answered():
        try:
            return ask(server, trusting(renewed)).status_code == 200
        except httpx.ConnectError:
            return False

    wait_for(answered, server.log)
    assert server.process.poll() is None


@pytest.mark.parametrize(("lost", "reason"), [("tls.crt", "TlsSecretMissing"), ("tls.key", "TlsSecretMissing")])
def test_a_secret_that_loses_a_file_is_told_to_the_operator_and_costs_nobody_an_answer(launch, secret, lost, reason):
    folder, ca = secret
    server = launch(flags=flags(folder))
    assert server.exchange(keep=True).certificate is None
    kept = (folder / lost).read_bytes()
    (folder / lost).unlink()
    wait_for(lambda: server.exchange(keep=True).certificate == reason, server.log)
    assert ask(server, trusting(ca)).status_code == 200
    (folder / lost).write_bytes(b"not a certificate")
    wait_for(lambda: server.exchange(keep=True).certificate == "TlsSecretUnusable", server.log)
    assert ask(server, trusting(ca)).status_code == 200
    (folder / lost).write_bytes(kept)
    wait_for(lambda: server.exchange(keep=True).certificate is None, server.log)


def test_grpc_has_the_same_certificate_and_asks_for_one_likewise(launch, secret):
    folder, ca = secret
    server = launch(flags=flags(folder, clients=True))
    own = ca.issue_cert("caller")
    chain = b"".join(pem.bytes() for pem in own.cert_chain_pems)
    named = [("grpc.ssl_target_name_override", NAME)]
    authority = ca.cert_pem.bytes()
    known = grpc.ssl_channel_credentials(authority, own.private_key_pem.bytes(), chain)
    with grpc.secure_channel(f"127.0.0.1:{server.grpc}", known, options=named) as channel:
        assert infer(channel, typed()).model_version == "1.0.0"
    unknown = grpc.ssl_channel_credentials(authority)
    with (
        grpc.secure_channel(f"127.0.0.1:{server.grpc}", unknown, options=named) as channel,
        pytest.raises(grpc.RpcError),
    ):
        infer(channel, typed())


def test_a_missing_secret_ends_the_server_with_a_sentence_for_the_operator(tmp_path):
    digest = bundles.write(tmp_path / "bundle", "1.0.0")
    words = ["--bundle", tmp_path / "bundle", "--digest", digest, "--termination-log", tmp_path / "end"]
    words += ["--port", free_port(), "--control-port", free_port(), *flags(tmp_path / "secret")]
    done = subprocess.run([sys.executable, "-m", "modelward_serving", "serve", *map(str, words)], capture_output=True)
    said = json.loads((tmp_path / "end").read_text())
    assert done.returncode == 1
    assert (said["verified"], said["reason"]) == (False, "TlsSecretMissing")
    assert "spec.serving.tls.secretName" in said["message"]
