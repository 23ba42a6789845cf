"""A compact cache of watched objects, by model. It may be stale: see docs/adr/0031."""

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
    """One object as last seen."""

    uid: str
    version: int
    model: str
    packed: bytes
    """The object as JSON: a tenth of its size in memory when decoded."""
    order: int
    """Its position in the order of all updates."""
    from_watch: bool
    """Whether a watch has delivered it, in this or a newer version."""


@dataclass(slots=True)
class Sweep:
    """A listing under way: an object that was cached before it began and that it does not return is gone."""

    resource: Resource
    namespace: str | None
    began: int
    named: set[tuple[str, str]] = field(default_factory=set)


class WatchCache:
    """Objects by kind, namespace and name, and by model. The newer version of an object wins, whatever its source."""

    def __init__(self) -> None:
        self.filled = asyncio.Event()
        """Set once everything was listed: before that, an object that is missing here may exist."""
        self._kept: defaultdict[Resource, dict[tuple[str, str], CachedObject]] = defaultdict(dict)
        self._of_model: defaultdict[tuple[Resource, str, str], set[str]] = defaultdict(set)
        self._revisions: dict[tuple[str, str], int] = {}
        self._gone: dict[str, int] = {}
        """By uid of a deleted object: the position of its deletion. A listing may still return it."""
        self._order = 0

    def __len__(self) -> int:
        return sum(len(kept) for kept in self._kept.values())

    def of_model(self, resource: Resource, namespace: str, model: str) -> list[Manifest]:
        """Return the objects of a model, by name."""
        found = self._of_model.get((resource, namespace, model), ())
        return [json.loads(self._kept[resource][namespace, name].packed) for name in sorted(found)]

    def revision(self, namespace: str, model: str) -> int:
        """Return a number that grows whenever an object of that model changes."""
        return self._revisions.get((namespace, model), 0)

    def get(self, resource: Resource, namespace: str, name: str) -> Manifest | None:
        """Return one object, if it is cached."""
        kept = self._kept[resource].get((namespace, name))
        return json.loads(kept.packed) if kept is not None else None

    def put(self, resource: Resource, manifest: Manifest, *, from_watch: bool = False) -> bool:
        """Store a version of an object, from a watch or not; return False if it is not cached or not newer."""
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
        """Return the kinds with an object that was listed or written before ``until`` and that no watch has confirmed."""
        return sorted(
            resource.plural
            for resource, kept in self._kept.items()
            if any(not entry.from_watch and entry.order <= until for entry in kept.values())
        )

    def drop(self, resource: Resource, namespace: str, name: str, uid: str) -> None:
        """Remove a deleted object."""
        self._order += 1
        self._gone[uid] = self._order
        kept = self._kept[resource].get((namespace, name))
        if kept is not None and kept.uid == uid:
            self._forget(resource, (namespace, name))

    def begin(self, resource: Resource, namespace: str | None) -> Sweep:
        """Begin a listing of a kind."""
        return Sweep(resource, namespace, self._order)

    def take(self, sweep: Sweep, page: Iterable[Manifest]) -> list[Manifest]:
        """Store one page of it; return the objects that were new: no watch has delivered them."""
        sweep.named |= {(m["metadata"]["namespace"], m["metadata"]["name"]) for m in page}
        return [m for m in page if self.put(sweep.resource, m)]

    def end(self, sweep: Sweep) -> list[tuple[str, str]]:
        """Complete the listing; return namespaces and models of objects that are gone without a watch event."""
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
        """Forget deletions before ``until``: no later listing returns those objects."""
        self._gone = {uid: order for uid, order in self._gone.items() if order > until}

    @property
    def order(self) -> int:
        """The position of the newest update."""
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
    """Return the model that an object belongs to; None if it is not cached."""
    labels = manifest["metadata"].get("labels") or {}
    if resource not in CACHED or (BY_RESOURCE[resource].ours and labels.get(names.MANAGED_BY) != names.MANAGER):
        return None
    return BY_RESOURCE[resource].model_of(manifest)


def _pack(resource: Resource, manifest: Manifest) -> bytes:
    """Return the object as JSON, without managedFields unless they are needed."""
    if resource != api.DEPLOYMENTS:
        metadata = {key: value for key, value in manifest["metadata"].items() if key != "managedFields"}
        manifest = {**manifest, "metadata": metadata}
    return json.dumps(manifest, separators=(",", ":")).encode()
