"""What the watches have told, by model, in little memory. It may be behind the cluster: see docs/adr/0031."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from modelward_api import names
from modelward_operator.engine.kube import gateway as api
from modelward_operator.engine.kube.gateway import Manifest, Resource
from modelward_operator.engine.kube.kinds import BY_RESOURCE, CACHED


@dataclass(frozen=True, slots=True)
class CachedObject:
    """One object as it was last seen."""

    uid: str
    version: int
    model: str
    packed: bytes
    """As JSON: a tenth of what the decoded object takes."""
    order: int
    """When it came, in the order of all that came."""
    from_watch: bool
    """Whether a watch has told of it, as it is or newer."""


@dataclass(slots=True)
class Sweep:
    """A listing under way: what it does not name, and was there before it began, is gone."""

    resource: Resource
    namespace: str | None
    began: int
    named: set[tuple[str, str]] = field(default_factory=set)


class WatchCache:
    """Objects by kind, namespace and name, and by model. Of two states of one object the newer is kept, whoever brings it."""

    def __init__(self) -> None:
        self.filled = asyncio.Event()
        """Set once everything was listed: before that, what is not here may well exist."""
        self._kept: defaultdict[Resource, dict[tuple[str, str], CachedObject]] = defaultdict(dict)
        self._of_model: defaultdict[tuple[Resource, str, str], set[str]] = defaultdict(set)
        self._revisions: dict[tuple[str, str], int] = {}
        self._gone: dict[str, int] = {}
        """By uid, which does not come again: when its end was told. A listing may still name it."""
        self._order = 0

    def __len__(self) -> int:
        return sum(len(kept) for kept in self._kept.values())

    def of_model(self, resource: Resource, namespace: str, model: str) -> list[Manifest]:
        """The objects of a model, by name."""
        found = self._of_model.get((resource, namespace, model), ())
        return [json.loads(self._kept[resource][namespace, name].packed) for name in sorted(found)]

    def revision(self, namespace: str, model: str) -> int:
        """A number that grows whenever something of that model changes."""
        return self._revisions.get((namespace, model), 0)

    def get(self, resource: Resource, namespace: str, name: str) -> Manifest | None:
        """One object, if it is known."""
        kept = self._kept[resource].get((namespace, name))
        return json.loads(kept.packed) if kept is not None else None

    def put(self, resource: Resource, manifest: Manifest, *, from_watch: bool = False) -> bool:
        """Take a state of an object, which a watch has told or not; False if it is not kept, or not newer than what is known."""
        model, metadata = _model(resource, manifest), manifest["metadata"]
        if model is None or metadata["uid"] in self._gone:
            return False
        key, version = (metadata["namespace"], metadata["name"]), int(metadata["resourceVersion"])
        before = self._kept[resource].get(key)
        if before is not None and before.version >= version:
            if from_watch and before.version == version:
                self._kept[resource][key] = replace(before, from_watch=True)
            return False
        self._order += 1
        self._forget(resource, key)
        packed = _pack(resource, manifest)
        self._kept[resource][key] = CachedObject(metadata["uid"], version, model, packed, self._order, from_watch)
        self._of_model[resource, key[0], model].add(key[1])
        self._revisions[key[0], model] = self._order
        return True

    def unconfirmed(self, until: int) -> list[str]:
        """Kinds of which something came before ``until`` by a listing or as we wrote it, and no watch has told of it yet."""
        return sorted(
            resource.plural
            for resource, kept in self._kept.items()
            if any(not entry.from_watch and entry.order <= until for entry in kept.values())
        )

    def drop(self, resource: Resource, namespace: str, name: str, uid: str) -> None:
        """An object is gone."""
        self._order += 1
        self._gone[uid] = self._order
        kept = self._kept[resource].get((namespace, name))
        if kept is not None and kept.uid == uid:
            self._forget(resource, (namespace, name))

    def begin(self, resource: Resource, namespace: str | None) -> Sweep:
        """A listing of a kind begins."""
        return Sweep(resource, namespace, self._order)

    def take(self, sweep: Sweep, page: Iterable[Manifest]) -> list[Manifest]:
        """A part of it; returns what was not known, or not so: no watch has told."""
        sweep.named |= {(m["metadata"]["namespace"], m["metadata"]["name"]) for m in page}
        return [m for m in page if self.put(sweep.resource, m)]

    def end(self, sweep: Sweep) -> list[tuple[str, str]]:
        """The listing is complete; returns namespaces and models of what is gone, which no watch has told."""
        kept = self._kept[sweep.resource]
        lost = [
            (key, entry)
            for key, entry in kept.items()
            if key not in sweep.named and sweep.namespace in (None, key[0]) and entry.order <= sweep.began
        ]
        for (namespace, name), entry in lost:
            self.drop(sweep.resource, namespace, name, entry.uid)
        return [(key[0], entry.model) for key, entry in lost]

    def forget_gone(self, until: int) -> None:
        """Ends that were told before ``until``: no listing that began later names what they ended."""
        self._gone = {uid: order for uid, order in self._gone.items() if order > until}

    @property
    def order(self) -> int:
        """How much has come so far."""
        return self._order

    def _forget(self, resource: Resource, key: tuple[str, str]) -> None:
        before = self._kept[resource].pop(key, None)
        if before is None:
            return
        self._revisions[key[0], before.model] = self._order
        same = self._of_model[resource, key[0], before.model]
        same.discard(key[1])
        if not same:
            del self._of_model[resource, key[0], before.model]


def _model(resource: Resource, manifest: Manifest) -> str | None:
    """The model that it belongs to; None if it is not to be kept."""
    labels = manifest["metadata"].get("labels") or {}
    if resource not in CACHED or (BY_RESOURCE[resource].ours and labels.get(names.MANAGED_BY) != names.MANAGER):
        return None
    return BY_RESOURCE[resource].model_of(manifest)


def _pack(resource: Resource, manifest: Manifest) -> bytes:
    """Without what nobody reads: who owns which field matters of Deployments alone."""
    if resource != api.DEPLOYMENTS:
        metadata = {key: value for key, value in manifest["metadata"].items() if key != "managedFields"}
        manifest = {**manifest, "metadata": metadata}
    return json.dumps(manifest, separators=(",", ":")).encode()
