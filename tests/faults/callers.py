"""The callers: whom the Service sends them to, who answers, and what the champion's pods count meanwhile."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from modelward_api import names
from modelward_api.wire.exchange import TrafficLease
from modelward_operator.engine.kube import gateway as api
from modelward_serving.counting.pairs import PairedResult
from tests.faults.cluster import NAMESPACE, Cluster
from tests.faults.pods import Quality, ServingPod
from tests.faults.server import ApiServer
from tests.support.builders import MODEL

GOLDEN = 0.6180339887498949
"""Its multiples are spread evenly over [0, 1): chance without luck."""


class Callers:
    """Ask at a steady rate. The routing is modelward_serving/routing/router.py's, without a network."""

    def __init__(self, server: ApiServer, cluster: Cluster, clock: Callable[[], float]) -> None:
        self._server = server
        self._cluster = cluster
        self._clock = clock
        self._number = 0
        self.rate = 0.0
        """Requests a second."""
        self.quality: dict[str, Quality] = {}
        """By digest; good unless it says otherwise."""
        self.answered: Counter[str] = Counter()
        """By the ModelVersion whose answer the callers got."""
        self.unanswered = 0

    def ask(self, seconds: float) -> None:
        """What comes in that many seconds."""
        service = self._server.get(api.SERVICES, NAMESPACE, MODEL)
        if service is None:
            return
        pods = self._cluster.ready(service["spec"]["selector"].get(names.MODEL_VERSION, ""))
        for _ in range(round(self.rate * seconds)):
            self._number += 1
            if not pods:
                self.unanswered += 1
                continue
            self.answered[self._route(pods[self._number % len(pods)])] += 1

    def _route(self, pod: ServingPod) -> str:
        lease = pod.holder.active(self._clock())
        if lease is None:
            return pod.version
        digest = lease.challenger.digest
        pod.holder.counts_of(digest)["requests"] += 1
        asked = self._number * GOLDEN % 1 < lease.weight / 100
        if not lease.challenger.endpoints or (not asked and lease.mirror == 0):
            return pod.version
        challenger = self._challenger(lease)
        pair = self._pair(challenger)
        pod.holder.record_pair(digest, pair)
        good = challenger is not None and not pair.error_challenger
        if asked:
            pod.holder.record_response(digest, fallback=not good)
        return challenger.version if asked and good and challenger is not None else pod.version

    def _challenger(self, lease: TrafficLease) -> ServingPod | None:
        endpoints = lease.challenger.endpoints
        pod = self._cluster.at(endpoints[self._number % len(endpoints)].split(":")[0])
        return pod if pod is not None and pod.digest == lease.challenger.digest else None

    def _pair(self, challenger: ServingPod | None) -> PairedResult:
        quality = self.quality.get(challenger.digest, "good") if challenger is not None else "failing"
        if quality == "invalid" and self._number % 7 == 0:
            return PairedResult(error_challenger=True, invalid=True)
        if challenger is None or (quality == "failing" and self._number % 2):
            return PairedResult(error_challenger=True)
        return PairedResult(flip=False)
