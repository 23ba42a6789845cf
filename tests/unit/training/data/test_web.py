"""https sources: nothing that only the cluster can reach, and nothing that was not checked."""

from __future__ import annotations

import ipaddress
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import trustme

from modelward_api.store import InvalidAddressError, resolve_data
from modelward_training.data.sources import read, web
from modelward_training.errors import InvalidInputError, StoreError
from tests.unit.training.data.test_sources import PLAIN, declared

PRIVATE = [
    "127.0.0.1", "10.0.0.1", "172.16.3.4", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "255.255.255.255",
    "224.0.0.1", "::1", "::", "fe80::1", "fd00::1", "::ffff:10.0.0.1", "64:ff9b::a00:1", "2002:a00:1::", "ff02::1",
    "::ffff:169.254.169.254",
]  # fmt: skip
PUBLIC = ["8.8.8.8", "2001:4860:4860::8888", "::ffff:8.8.8.8", "64:ff9b::808:808"]


@pytest.mark.parametrize("address", PRIVATE)
def test_a_private_address_is_refused(address):
    assert not web.is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_allowed(address):
    assert web.is_public(ipaddress.ip_address(address))


def refused(host, addresses, environ):
    try:
        web.check_host(host, addresses, "https://x/y", environ)
    except InvalidAddressError as error:
        assert "sources.privateHosts" in str(error)
        return True
    return False


def test_every_address_of_a_name_must_be_public():
    assert not refused("data.example.org", ["8.8.8.8"], {})
    assert refused("data.example.org", ["8.8.8.8", "10.0.0.1"], {})
    assert refused("data.example.org", ["fe80::1%eth0"], {})


@pytest.mark.parametrize(
    "host", ["kubernetes", "files.clinic.svc", "files.clinic.svc.cluster.local", "Files.LOCAL.", "x.internal"]
)
def test_a_name_of_the_cluster_is_refused_whatever_its_address(host):
    assert refused(host, ["8.8.8.8"], {})


def test_the_api_server_is_refused_also_if_its_address_is_public():
    assert refused("data.example.org", ["203.0.114.1"], {"KUBERNETES_SERVICE_HOST": "203.0.114.1"})


def test_the_chart_may_allow_a_host():
    assert not refused("Files.ward", ["10.0.0.1"], {"MODELWARD_PRIVATE_HOSTS": "a.b, files.ward"})
    assert refused("other.files.ward", ["10.0.0.1"], {"MODELWARD_PRIVATE_HOSTS": "files.ward"})


def test_plain_http_is_refused_with_what_to_use():
    with pytest.raises(InvalidAddressError, match="use https://"):
        resolve_data("http://files.example.org/a.csv", None)


@pytest.mark.parametrize("scheme", ["s3", "gs", "az"])
def test_a_bucket_cannot_choose_a_host(scheme):
    assert resolve_data(f"{scheme}://bucket/a/*.csv", None) == f"{scheme}://bucket/a/*.csv"
    assert resolve_data(f"{scheme}://bucket/a/", None) == f"{scheme}://bucket/a/"
    for uri in (
        f"{scheme}://user@host/a",
        f"{scheme}://host:80/a",
        f"{scheme}://bucket/../a",
        f"{scheme}://bucket/a%3Fb",
    ):
        with pytest.raises(InvalidAddressError):
            resolve_data(uri, None)


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append((self.path, self.headers["Host"]))
        status = {"/moved": 302, "/gone": 404, "/secret": 401, "/broken": 500}.get(self.path, 200)
        self.send_response(status)
        if status == 302:
            self.send_header("Location", "https://169.254.169.254/latest/meta-data")
        body = PLAIN.encode()
        if self.path != "/endless":
            self.send_header("Content-Length", str(len(body) + (5 if self.path == "/short" else 0)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    authority = trustme.CA()
    file = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(file)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.asked, made.authorities = [], str(file)
    made.socket = context.wrap_socket(made.socket, server_side=True)
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield made
    made.shutdown()
    made.server_close()


@pytest.fixture
def allowed(server, monkeypatch):
    server.asked.clear()
    monkeypatch.setenv("SSL_CERT_FILE", server.authorities)
    monkeypatch.setenv("MODELWARD_PRIVATE_HOSTS", "localhost")
    return lambda path: declared(uri=f"https://localhost:{server.server_port}/{path}")


@pytest.mark.parametrize("uri", ["https://example.com:99999/x", "https://a..b/x", "https://example.com/müller.csv"])
def test_an_address_that_cannot_be_is_refused(uri):
    with pytest.raises(InvalidInputError) as caught:
        read(declared(uri=uri), None)
    assert (caught.value.reason, caught.value.field) == ("InvalidAddress", "spec.data.sources[0].uri")


def test_a_file_at_a_web_server_is_read(allowed, server):
    parts = read(allowed("visits/a.csv"), None)
    assert parts.parts[0].frame.collect().height == 2
    assert server.asked == [("/visits/a.csv", f"localhost:{server.server_port}")]


@pytest.mark.parametrize(
    ("path", "kind", "reason", "told"),
    [
        ("moved", InvalidInputError, "InvalidAddress", "the server redirects, which is not followed"),
        ("gone", InvalidInputError, "MissingFile", "no file at https://localhost"),
        ("secret", StoreError, "StoreAccessDenied", "wants credentials"),
        ("broken", StoreError, "StoreUnavailable", "status 500"),
        ("short", StoreError, "StoreUnavailable", "only a part of the file"),
        ("endless", InvalidInputError, "InvalidAddress", "does not say how long the file is"),
        ("visits/", InvalidInputError, "InvalidAddress", "does not list its files"),
        ("visits/*.csv", InvalidInputError, "InvalidAddress", "does not list its files"),
    ],
)
def test_what_a_server_refuses_is_told(allowed, path, kind, reason, told):
    with pytest.raises(kind) as caught:
        read(allowed(path), None)
    assert caught.value.reason == reason
    assert told in str(caught.value)


def test_a_loopback_server_is_not_even_connected_to(allowed, server, monkeypatch):
    monkeypatch.delenv("MODELWARD_PRIVATE_HOSTS")
    for host in ("localhost", "127.0.0.1", "2130706433", "0x7f.1", "localhost."):
        uri = f"https://{host}:{server.server_port}/a.csv"
        with pytest.raises(InvalidInputError) as caught:
            read(declared(uri=uri), None)
        assert (caught.value.reason, caught.value.field) == ("InvalidAddress", "spec.data.sources[0].uri")
    assert server.asked == []


def test_a_certificate_that_is_not_trusted_is_told(allowed, monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(StoreError) as caught:
        read(allowed("a.csv"), None)
    assert caught.value.reason == "StoreCertificateUntrusted"
