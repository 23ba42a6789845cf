"""Clients that open TLS connections and do not complete the handshake, or do it clumsily."""

from __future__ import annotations

import contextlib
import socket
import ssl
import subprocess
from pathlib import Path

import grpc
import pytest
import trustme

from modelward_serving.transport.connections import TLS_MEMORY, shares
from tests.contract.serving.hostile.cost import measured
from tests.contract.serving.hostile.http1_attack import document, post
from tests.contract.serving.test_tls import ask, flags, trusting
from tests.support.calls import infer, typed
from tests.support.certificates import NAME, write
from tests.support.servers import launching

FILES = 400
"""Open files that the server may have."""
RECORD = 16_384
HALF = b"\x16\3\1" + RECORD.to_bytes(2) + b"\1" + (131_000).to_bytes(3) + b"\3\3" + bytes(RECORD - 6)
"""The first record of a ClientHello that declares the greatest length there is."""
MORE = b"\x16\3\1" + RECORD.to_bytes(2) + bytes(RECORD)


@pytest.fixture(scope="module")
def secured(tmp_path_factory):
    """A server that may open few files, and the authority of its certificate."""
    ca, folder = trustme.CA(), tmp_path_factory.mktemp("secret")
    write(folder, ca)
    with launching(tmp_path_factory.mktemp("target")) as start:
        yield start(as_users_do=True, files=FILES, flags=flags(folder)), ca


@pytest.fixture
def server(secured):
    yield secured
    target, ca = secured
    assert ask(target, trusting(ca)).status_code == 200, "the next caller is served as before"
    options = [("grpc.ssl_target_name_override", NAME)]
    known = grpc.ssl_channel_credentials(ca.cert_pem.bytes())
    with grpc.secure_channel(f"127.0.0.1:{target.grpc}", known, options=options) as channel:
        assert infer(channel, typed()).model_version == "1.0.0"


def by_address(ca):
    """A context for a caller that knows only the address."""
    context = trusting(ca)
    context.check_hostname = False
    return context


def opened(target, port, contents):
    """A connection on which so much is sent."""
    made = socket.create_connection(("127.0.0.1", getattr(target, port)))
    made.settimeout(5)
    for content in contents:
        with contextlib.suppress(OSError):
            made.sendall(content)
    return made


ATTACKS = {"nothing": [], "a byte": [b"\x16"], "half a hello": [HALF], "most of the largest hello": [HALF + MORE * 6]}


@pytest.mark.parametrize("port", ["port", "grpc"])
@pytest.mark.parametrize("attack", ATTACKS)
def test_connections_in_their_handshake_count_and_health_keeps_its_way_in(server, port, attack):
    target, ca = server
    with measured(target, by_address(ca)) as cost:
        attackers = [opened(target, port, ATTACKS[attack]) for _ in range(2 * FILES)]
        assert len(list(Path(f"/proc/{target.process.pid}/fd").iterdir())) < FILES
        assert ask(target, trusting(ca)).status_code == 200
    for one in attackers:
        one.close()
    connections = shares(FILES)[["port", "grpc"].index(port)]
    assert cost.memory < (8 if attack == "nothing" else connections * TLS_MEMORY / 2**20 + 16)
    assert cost.wait < 2


@pytest.mark.slow
def test_a_handshake_that_does_not_end_is_ended_after_ten_seconds(server):
    target, _ = server
    begun = [opened(target, port, sent) for port in ("port", "grpc") for sent in ATTACKS.values()]
    for one in begun:
        one.settimeout(13)
        with contextlib.suppress(ConnectionError):
            assert one.recv(1) == b""


class ByHand:
    """A TLS client whose bytes are sent as the test wants."""

    def __init__(self, target, ca, version):
        context = trusting(ca)
        context.minimum_version = context.maximum_version = version
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._in, self._out, server_hostname=NAME)
        self.socket = socket.create_connection(("127.0.0.1", target.port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.settimeout(10)

    def until(self, step, size):
        """The result of a step that needs the server, while bytes are sent in pieces of this size."""
        while True:
            try:
                return step()
            except ssl.SSLWantReadError:
                self.send(size)
                self._in.write(self.socket.recv(1 << 16))

    def send(self, size):
        """Send what is to be sent."""
        content = self._out.read()
        for at in range(0, len(content), size):
            self.socket.sendall(content[at : at + size])


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("size", [1, 7, 1 << 16])
def test_a_hello_in_pieces_and_a_request_together_with_the_end_of_the_handshake_are_understood(server, version, size):
    target, ca = server
    client = ByHand(target, ca, version)
    client.until(client.tls.do_handshake, size)
    client.tls.write(post(document()))
    assert client.until(lambda: client.tls.read(12), size) == b"HTTP/1.1 200"
    client.socket.close()


@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
@pytest.mark.parametrize(("port", "protocol"), [("port", "http/1.1"), ("grpc", "h2")])
def test_openssl_is_given_the_protocol_that_it_asks_for(server, version, port, protocol):
    target, _ = server
    where = f"127.0.0.1:{getattr(target, port)}"
    words = ["openssl", "s_client", version, "-alpn", protocol, "-servername", NAME, "-connect", where]
    done = subprocess.run(words, input=b"", capture_output=True, timeout=20)
    assert f"ALPN protocol: {protocol}".encode() in done.stdout


def test_plain_http_to_a_tls_port_ends_the_connection_and_is_not_answered(server):
    target, _ = server
    for port in ("port", "grpc"):
        one = opened(target, port, [b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"])
        with contextlib.suppress(ConnectionError):
            assert not one.recv(100).startswith(b"HTTP")
