"""Prometheus metrics of a serving pod: counts and durations, no values."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from modelward_api import names

CONTENT_TYPE = b"text/plain; version=0.0.4; charset=utf-8"
BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Metrics:
    """Metrics of one server: plain numbers while serving, metric families on scrape."""

    def __init__(self, model: str, version: str, digest: str) -> None:
        self.requests = 0
        self.failures = 0
        self.in_flight = 0
        self._labels = {"model": model, "version": version, "digest": digest.removeprefix("sha256:")[:16]}
        self._answers: Counter[tuple[str, str, int]] = Counter()
        self._buckets = [0] * (len(BUCKETS) + 1)
        self._seconds = 0.0
        self._rows = 0
        self._explanations: Counter[int] = Counter()
        self._registry = CollectorRegistry()
        self._registry.register(self)

    def record(self, protocol: str, arm: str, code: int, seconds: float, rows: int) -> None:
        """Record an answered inference request."""
        self.requests += 1
        self.failures += code >= 500
        self._answers[protocol, arm, code] += 1
        self._buckets[bisect_left(BUCKETS, seconds)] += 1
        self._seconds += seconds
        self._rows += rows

    def collect(self) -> Iterator[Metric]:
        """Yield the metric families."""
        info = GaugeMetricFamily("modelward_serving_info", "The model that is served.", labels=list(self._labels))
        info.add_metric(list(self._labels.values()), 1)
        yield info
        answers = CounterMetricFamily("modelward_requests", "Inference requests.", labels=["protocol", "arm", "code"])
        for (protocol, arm, code), count in self._answers.items():
            answers.add_metric([protocol, arm, str(code)], count)
        yield answers
        seconds = HistogramMetricFamily("modelward_request_seconds", "Duration of inference requests.")
        total, buckets = 0, []
        for bound, count in zip((*BUCKETS, float("inf")), self._buckets, strict=True):
            total += count
            buckets.append(("+Inf" if bound == float("inf") else str(bound), total))
        seconds.add_metric([], buckets, self._seconds)
        yield seconds
        explained = CounterMetricFamily("modelward_explanations", "Requests for explanations.", labels=["code"])
        for code, count in self._explanations.items():
            explained.add_metric([str(code)], count)
        yield explained
        yield CounterMetricFamily("modelward_rows", "Rows scored.", self._rows)
        yield GaugeMetricFamily(names.IN_FLIGHT_METRIC, "Inference requests that are not answered yet.", self.in_flight)

    def explained(self, code: int) -> None:
        """Record an answered explanation. It does not count as an inference request or as evidence."""
        self._explanations[code] += 1

    def text(self) -> bytes:
        """Return all metrics in Prometheus's text format."""
        return generate_latest(self._registry)
