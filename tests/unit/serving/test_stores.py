"""A store that cannot be used, over real sockets: each cause is a sentence of its own, in all three that use stores."""

from __future__ import annotations

import http.server
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import trustme

from modelward_api import store
from modelward_api.resources.data import Data
from modelward_serving.batch import store as batch
from modelward_serving.batch.errors import UnreachableError
from modelward_serving.model import fetch, store_check
from modelward_training.bundle import archive
from modelward_training.data import sources
from modelward_training.errors import StoreError
from tests.support.ports import free_port

SECRET = "PATIENT-7f3"
DIGEST = "sha256:" + "a" * 64
REFUSAL = (
    f"<Error><Code>SignatureDoesNotMatch</Code><Message>{SECRET} InvalidCertificate kind: Connect</Message></Error>"
)


class Refusing(http.server.BaseHTTPRequestHandler):
    """An S3 that knows no credentials, but for one path."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        content, status = (b"a,b\n1,2\n", 200) if "/public/" in self.path else (REFUSAL.encode(), 403)
        self.send_response(status)
        for name, value in (
            ("content-length", len(content)),
            ("etag", '"e"'),
            ("last-modified", self.date_time_string()),
        ):
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(content if self.command != "HEAD" else b"")

    do_HEAD = do_GET  # noqa: N815

    def do_PUT(self):
        if self.headers.get("content-length"):
            self.rfile.read(int(self.headers["content-length"]))
        self.close_connection = True
        self.do_GET()

    do_POST = do_PUT  # noqa: N815

    def log_message(self, *_):
        pass


@contextmanager
def serving(context: ssl.SSLContext | None = None) -> Iterator[int]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Refusing)
    if context is not None:
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def authority():
    return trustme.CA()


@pytest.fixture(scope="module")
def private(authority):
    """A server whose authority nobody knows."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    with serving(context) as port:
        yield port


@pytest.fixture(scope="module")
def plain():
    with serving() as port:
        yield port


@pytest.fixture(
    params=["StoreCertificateUntrusted", "StoreUnreachable", "StoreAccessDenied", "StoreAuthoritiesMissing"]
)
def trouble(request, private, plain, monkeypatch, tmp_path):
    """The environment of a store with that trouble."""
    endpoint = {
        "StoreUnreachable": f"http://localhost:{free_port()}",
        "StoreAccessDenied": f"http://localhost:{plain}",
    }.get(request.param, f"https://localhost:{private}")
    monkeypatch.setitem(store.RETRIES, "max_retries", 1)
    keys = {"AWS_ACCESS_KEY_ID": SECRET, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_REGION": "r", "NO_PROXY": "localhost"}
    for name, value in {**keys, "AWS_ENDPOINT": endpoint, "AWS_ALLOW_HTTP": "true"}.items():
        monkeypatch.setenv(name, value)
    if request.param == "StoreAuthoritiesMissing":
        monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "nothing"))
    return request.param


def of_fetch(into):
    found = fetch.fetch("s3://bucket/models/x", DIGEST, into, None)
    return found.reason, found.message


def of_training(_):
    columns = [{"name": "a", "kind": "numeric"}, {"name": "b", "kind": "boolean", "role": "label"}]
    label = {"column": "b", "positive": "true"}
    data = Data.model_validate({"sources": [{"uri": "s3://bucket/x.csv"}], "columns": columns, "label": label})
    with pytest.raises(StoreError) as raised:
        sources.read(data, None)
    return raised.value.reason, str(raised.value)


def of_batch(_):
    with pytest.raises(UnreachableError) as raised:
        batch.find("s3://bucket/rows/x.csv", "csv", "s3://bucket/scores", None)
    return raised.value.reason, str(raised.value)


def of_writing_scores(_):
    with pytest.raises(UnreachableError) as raised:
        batch.Output("s3://bucket/scores", None).put("shard", b"x")
    return raised.value.reason, str(raised.value)


def of_writing_a_bundle(_):
    with pytest.raises(StoreError) as raised:
        archive.put(b"x", "s3://bucket/models", MANIFEST, None)
    return raised.value.reason, str(raised.value)


class MANIFEST:
    model, version, digest = "m", "1.0.0", DIGEST


def of_the_check(_):
    found = store_check.check("s3://bucket/clinic")
    return found.reason, found.sentence


USERS = [of_the_check, of_fetch, of_training, of_batch, of_writing_scores, of_writing_a_bundle]


@pytest.mark.parametrize("use", USERS, ids=lambda use: use.__name__)
def test_each_trouble_has_its_reason_and_what_to_do_and_quotes_nobody(trouble, use, tmp_path):
    reason, message = use(tmp_path)
    assert reason == trouble
    remedy = {
        "StoreCertificateUntrusted": "Set caBundle",
        "StoreUnreachable": "Check the address",
        "StoreAccessDenied": "store.existingSecret",
        "StoreAuthoritiesMissing": "or correct caBundle",
    }
    assert remedy[reason] in message
    assert SECRET not in message
    assert "Error" not in message
    assert "retried" not in message  # a Job's last pod says it, too


def test_with_the_private_authority_in_the_bundle_the_store_is_read(private, authority, monkeypatch, tmp_path):
    authority.cert_pem.write_to_path(tmp_path / "ca.crt")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "ca.crt"))
    keys = {"AWS_ACCESS_KEY_ID": SECRET, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_REGION": "r", "NO_PROXY": "localhost"}
    for name, value in {**keys, "AWS_ENDPOINT": f"https://localhost:{private}"}.items():
        monkeypatch.setenv(name, value)
    (found,) = batch.find("s3://public/x.csv", "csv", "s3://public/scores", None).files
    assert found.size == len(b"a,b\n1,2\n")


def test_a_store_that_can_be_written_is_left_as_it_was(tmp_path, capsys):
    assert store_check.run(f"file://{tmp_path}") == 0
    assert capsys.readouterr().out == f"file://{tmp_path} can be written\n"
    assert list(tmp_path.iterdir()) == []


def test_the_check_names_the_reason_in_one_line(private, monkeypatch, capsys):
    monkeypatch.setitem(store.RETRIES, "max_retries", 0)
    keys = {"AWS_ACCESS_KEY_ID": SECRET, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_REGION": "r", "NO_PROXY": "localhost"}
    for name, value in {**keys, "AWS_ENDPOINT": f"https://localhost:{private}"}.items():
        monkeypatch.setenv(name, value)
    assert store_check.run("s3://bucket/clinic") == 1
    assert capsys.readouterr().out.startswith("StoreCertificateUntrusted: s3://bucket/clinic: ")


def test_a_volume_that_belongs_to_others_is_told_as_such():
    found = batch.trouble(PermissionError(13, "Permission denied", SECRET), "store://x?token=PATIENT-7f3")
    assert (found.reason, SECRET in found.sentence) == ("StoreAccessDenied", False)
    assert "securityContext.fsGroup" in found.sentence
