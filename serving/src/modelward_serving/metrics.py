"""What Prometheus may ask of a serving pod: counts and durations, no values."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """The metrics of one server."""

    def __init__(self, model: str, version: str, digest: str) -> None:
        self._registry = CollectorRegistry()
        labels = {"model": model, "version": version, "digest": digest.removeprefix("sha256:")[:16]}
        info = Gauge("modelward_serving_info", "The model that is served.", list(labels), registry=self._registry)
        info.labels(**labels).set(1)
        self._requests = Counter("modelward_requests", "Inference requests.", ["arm", "code"], registry=self._registry)
        self._seconds = Histogram(
            "modelward_request_seconds", "Duration of inference requests.", buckets=BUCKETS, registry=self._registry
        )
        self._rows = Counter("modelward_rows", "Rows scored.", registry=self._registry)
        self._explanations = Counter(
            "modelward_explanations", "Requests for explanations.", ["code"], registry=self._registry
        )
        self.failures = 0
        self.requests = 0

    def saw(self, arm: str, code: int, seconds: float, rows: int) -> None:
        """One inference request was answered."""
        self.requests += 1
        self.failures += code >= 500
        self._requests.labels(arm, str(code)).inc()
        self._seconds.observe(seconds)
        self._rows.inc(rows)

    def explained(self, code: int) -> None:
        """One request for an explanation was answered; it is no inference request, and says nothing of a rollout."""
        self._explanations.labels(str(code)).inc()

    def text(self) -> bytes:
        """All metrics in Prometheus's text format."""
        return generate_latest(self._registry)
