"""Traces of requests over OTLP, if OTEL_EXPORTER_OTLP_ENDPOINT names a collector.

A span says which version answered, never what.

The variables are OpenTelemetry's own: https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from modelward_serving.protocol.fields import sendable

HEADERS = frozenset((b"traceparent", b"tracestate"))
"""W3C Trace Context: https://www.w3.org/TR/trace-context/"""
WHERE = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")


def passed_on(headers: Mapping[bytes, bytes]) -> dict[bytes, bytes]:
    """Return the client's trace context, for the challenger."""
    if HEADERS.isdisjoint(headers):
        return {}
    return sendable(headers, HEADERS)


class Tracing:
    """Creates spans and exports them in the background. OpenTelemetry is imported only if tracing is enabled."""

    def __init__(self, model: str, version: str, digest: str) -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.trace import SpanKind
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        attributes = {"service.name": model, "service.version": version, "modelward.digest": digest}
        self._provider = TracerProvider(resource=Resource.create(attributes))
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("modelward.serving")
        self._kind = SpanKind.SERVER
        self._context = TraceContextTextMapPropagator()

    def begin(self, protocol: str, headers: Mapping[bytes, bytes]) -> Any:
        """Start a span for a request, as a child of the client's span if it has one."""
        carrier = {name.decode(): value.decode("latin-1") for name, value in passed_on(headers).items()}
        parent = self._context.extract(carrier)
        return self._tracer.start_span(f"infer {protocol}", context=parent, kind=self._kind)

    def end(self, span: Any, arm: str, version: str | None, code: int, rows: int) -> None:
        """End the span of an answered request."""
        from opentelemetry.trace import Status, StatusCode

        span.set_attribute("modelward.arm", arm)
        if version is not None:
            span.set_attribute("modelward.version", version)
        span.set_attribute("modelward.rows", rows)
        span.set_attribute("http.response.status_code", code)
        if code >= 500:
            span.set_status(Status(StatusCode.ERROR))
        span.end()

    def context(self, span: Any) -> dict[bytes, bytes]:
        """Return the headers that make the challenger's span a child of this one."""
        from opentelemetry.trace import set_span_in_context

        carrier: dict[str, str] = {}
        self._context.inject(carrier, set_span_in_context(span))
        return {name.encode(): value.encode("latin-1") for name, value in carrier.items()}

    def close(self) -> None:
        """Export the remaining spans."""
        self._provider.shutdown()


def from_environment(environ: Mapping[str, str], model: str, version: str, digest: str) -> Tracing | None:
    """Return tracing if the environment names a collector."""
    if any(environ.get(name) for name in WHERE):
        return Tracing(model, version, digest)
    return None
