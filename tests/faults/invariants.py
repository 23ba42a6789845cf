"""What must hold after every single write and every lease, said of the world and not of statuses alone."""

from __future__ import annotations

from modelward_api import names
from modelward_operator.engine.kube import gateway as api
from modelward_operator.engine.kube.gateway import Manifest
from modelward_operator.manifests import record as records
from tests.faults.cluster import NAMESPACE, Cluster
from tests.faults.pods import ServingPod
from tests.faults.server import ApiServer, Change
from tests.support.builders import MODEL


class Invariants:
    """Looks on, and writes down what must not be."""

    def __init__(self, server: ApiServer, cluster: Cluster) -> None:
        self._server = server
        self._cluster = cluster
        self._answered = self._crowned = False
        """Whether callers were answered, and there was a champion, and people still want that."""
        self.hurt: set[str | None] = set()
        """Versions whose pods the test has taken away, until one is ready again."""
        self.violations: list[str] = []
        self._epoch = 0
        """The newest that a pod was told."""
        server.listeners.append(self.heard)

    def heard(self, change: Change) -> None:
        """After each write."""
        if change.resource == api.LEASES:
            return
        gone = change.verb == "DELETED" or _is_deleting(change.manifest)
        if gone and change.resource == api.DEPLOYMENTS:
            self._nobody_needs(change.manifest["metadata"]["name"])
        if change.verb == "DELETED" and change.resource == api.MODEL_VERSIONS:
            self._crowned &= (change.manifest.get("status") or {}).get("phase") != "Champion"  # its pods answer on
        self.look()

    def told(self, pod: ServingPod) -> None:
        """After each exchange with a pod."""
        self._epoch = max(self._epoch, pod.holder._newest[0])
        state = pod.state()
        if state is not None and state.weight and state.challenger in self._quarantined():
            self._wrong(f"callers of {pod.version} get answers of a digest that was rolled back")
        self.look()

    def begins(self, epoch: int) -> None:
        """Before each write and each exchange: its operator takes itself for the leader."""
        if epoch < self._epoch:
            self._wrong(f"epoch {epoch} goes on though a pod knows of epoch {self._epoch}")

    def look(self) -> None:
        """All that can be seen at any time."""
        versions = self._server.list(api.MODEL_VERSIONS, NAMESPACE)
        if all(_is_deleting(m) for m in versions):
            self._answered = self._crowned = False  # people want nothing of this model any more
            return
        self._somebody_answers(next((m for m in versions if m["metadata"]["name"] == self._selected()), None))
        self._somebody_is_champion(versions)
        self._weights_are_shares()
        self._one_challenger()

    def _somebody_answers(self, selected: Manifest | None) -> None:
        name = self._selected()
        if name is not None and self._cluster.ready(name):
            self._answered |= selected is not None and not _is_deleting(selected)
            self.hurt.discard(name)
        elif self._answered and name not in self.hurt:
            self._wrong(f"callers come to {name}, which has no ready pod")

    def _somebody_is_champion(self, versions: list[Manifest]) -> None:
        crowned = [m for m in versions if (m.get("status") or {}).get("phase") == "Champion"]
        if self._crowned and not crowned:
            self._wrong("there was a champion, and there is none")
        self._crowned |= any(not _is_deleting(m) for m in crowned)

    def _weights_are_shares(self) -> None:
        for pod in self._cluster.pods.values():
            state = pod.state()
            if state is not None and not 0 <= state.weight <= 100:
                self._wrong(f"a weight of {state.weight}")

    def _one_challenger(self) -> None:
        pods = [pod for pod in self._cluster.ready(self._selected() or "") if pod.told]
        live = {state.challenger for pod in pods if (state := pod.state()) is not None}
        if len(live) > 1:
            self._wrong(f"{len(live)} challengers at once")

    def _nobody_needs(self, name: str) -> None:
        if name == self._selected() and self._answered and name not in self.hurt:
            self._wrong(f"Deployment {name} was deleted, and callers come to it")

    def _selected(self) -> str | None:
        service = self._server.get(api.SERVICES, NAMESPACE, MODEL)
        return None if service is None else service["spec"]["selector"].get(names.MODEL_VERSION)

    def _quarantined(self) -> set[str]:
        written = self._server.get(api.CONFIG_MAPS, NAMESPACE, records.record_name(MODEL))
        return {entry.digest for entry in records.read(written, NAMESPACE, MODEL, None).record.quarantined}

    def _wrong(self, what: str) -> None:
        if what not in self.violations:
            self.violations.append(what)


def _is_deleting(manifest: Manifest) -> bool:
    return "deletionTimestamp" in manifest["metadata"]
