"""Traces across a caller, a champion and a challenger, as a real OTLP receiver gets them."""

from __future__ import annotations

import gzip
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from tests.support.calls import infer, typed
from tests.support.servers import AGE, MARK, wait_for

TRACE, CALLER = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{CALLER}-01"


class Collector:
    """Keeps the spans that come."""

    def __init__(self):
        spans = self.spans = []

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                content = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    content = gzip.decompress(content)
                for resource in ExportTraceServiceRequest.FromString(content).resource_spans:
                    version = {a.key: a.value.string_value for a in resource.resource.attributes}["service.version"]
                    spans.extend((version, span) for scope in resource.scope_spans for span in scope.spans)
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_): ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def by_version(self):
        return {version: span for version, span in self.spans if span.trace_id.hex() == TRACE}


@pytest.fixture
def collector(monkeypatch):
    found = Collector()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{found.server.server_port}")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "100")
    yield found
    found.server.shutdown()


def ask_rest(champion):
    assert champion.ask(age=AGE, sex=MARK, traceparent=PARENT).status_code == 200


def ask_grpc(champion):
    with grpc.insecure_channel(f"127.0.0.1:{champion.grpc}") as channel:
        infer(channel, typed(age=AGE, sex=MARK), metadata=[("traceparent", PARENT)])


@pytest.mark.parametrize("ask", [ask_rest, ask_grpc])
@pytest.mark.parametrize(("weight", "mirror"), [(100, 0.0), (0, 1.0)])
def test_the_challengers_span_is_a_child_of_the_champions_and_that_one_of_the_callers(
    collector, launch, ask, weight, mirror
):
    champion, challenger = launch(), launch("2.0.0")
    champion.exchange(champion.lease_to(challenger, weight, mirror=mirror))
    ask(champion)
    wait_for(lambda: len(collector.by_version()) == 2)
    spans = collector.by_version()
    assert spans["1.0.0"].parent_span_id.hex() == CALLER
    assert spans["2.0.0"].parent_span_id == spans["1.0.0"].span_id
    said = str(spans)
    assert MARK not in said
    assert str(AGE)[:6] not in said
    told = {a.key: a.value.string_value for a in spans["1.0.0"].attributes}
    assert told["modelward.arm"] == ("challenger" if weight else "champion")


def test_without_a_collector_the_callers_context_is_passed_on(launch):
    champion = launch()
    heard = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            heard.append(self.headers.get("traceparent"))
            self.send_response(500)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_): ...

    listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=listener.serve_forever, daemon=True).start()
    lease = champion.lease_to(champion, 100)
    endpoints = (f"127.0.0.1:{listener.server_port}",)
    champion.exchange(
        lease.model_copy(update={"challenger": lease.challenger.model_copy(update={"endpoints": endpoints})})
    )
    assert champion.ask(traceparent=PARENT).headers["x-modelward-arm"] == "champion"
    listener.shutdown()
    assert heard == [PARENT]
