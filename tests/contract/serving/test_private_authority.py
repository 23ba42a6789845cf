"""Issuers and collectors whose certificate only the CA bundle of the pod settings vouches for."""

from __future__ import annotations

import gzip
import json
import ssl
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import trustme
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from modelward_api.resources.pods import PodSettings
from modelward_operator.manifests import pod
from tests.contract.serving.test_callers import AUDIENCE, ISSUER, Issuer, bearer, refused
from tests.support.http_content import publishing
from tests.support.servers import wait_for

BUNDLE = PodSettings.model_validate({"caBundle": {"configMap": {"name": "authorities", "key": "ca.crt"}}})


@contextmanager
def over_tls(ca, handler):
    """A server with a certificate of that authority; its address."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    ca.issue_cert("127.0.0.1").configure_cert(context)
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"https://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def ca():
    return trustme.CA()


@pytest.fixture
def trusts(monkeypatch, tmp_path):
    """Set the variables that a manifest with a CA bundle sets."""

    def trust(ca):
        ca.cert_pem.write_to_path(tmp_path / pod.AUTHORITIES_FILE)
        for variable in pod.environment(BUNDLE, {})["env"]:
            monkeypatch.setenv(variable["name"], variable["value"].replace(pod.AUTHORITIES, str(tmp_path)))

    return trust


def test_keys_come_from_an_issuer_whose_authority_is_in_the_ca_bundle_and_from_no_other(launch, ca, trusts):
    issuer = Issuer()
    other = [{"kty": "of another kind", "x": "A" * 1000} for _ in range(200)]
    content = json.dumps({"keys": [*other, *issuer.jwks()["keys"]]}).encode()
    with over_tls(ca, publishing(content)) as url:
        words = ("--callers-issuer", ISSUER, "--callers-audience", AUDIENCE, "--callers-jwks-url", url)
        trusts(ca)
        server = launch(flags=words, as_users_do=True)
        wait_for(lambda: server.ask(**bearer(issuer.token())).status_code == 200, server.log)
        trusts(trustme.CA())
        server = launch(flags=words, as_users_do=True)
        wait_for(lambda: "cannot fetch the keys" in server.log.read_text())
        assert refused(server.ask(**bearer(issuer.token()))) == (503, "NoKeys")


def test_spans_reach_a_collector_whose_authority_is_in_the_ca_bundle(launch, ca, trusts, monkeypatch):
    spans = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self):
            content = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                content = gzip.decompress(content)
            spans.extend(ExportTraceServiceRequest.FromString(content).resource_spans)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_): ...

    with over_tls(ca, Collector) as url:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
        trusts(ca)
        server = launch(as_users_do=True)
        assert server.ask().status_code == 200
        wait_for(lambda: spans, server.log)
