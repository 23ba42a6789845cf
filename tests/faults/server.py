"""An API server in memory: versions, generations, conflicts, finalizers, field owners, and every state that ever was."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from pydantic import ValidationError

from modelward_api import names
from modelward_api.resources.modelversion import ModelVersionSpec
from modelward_operator.domain.core.clock import stamp
from modelward_operator.engine.kube import gateway as api
from modelward_operator.engine.kube.gateway import ConflictError, GatewayError, InvalidObjectError, Manifest, Resource
from tests.faults import fields

Name = tuple[str, str]
"""Namespace and name."""
GENERATED = frozenset(
    {"ModelVersion", "TrainingJob", "DriftMonitor", "ScoreBatch", "Deployment", "PodDisruptionBudget", "Job"}
)
"""Kinds whose generation counts the changes of what is wanted."""
IMMUTABLE = ("model", "version", "artifact", "trainingJobRef")
KEPT_STATES = 64
UPDATE = names.FIELD_MANAGER


@dataclass(frozen=True)
class Stored:
    """One object as it is. Nobody may change it."""

    manifest: Manifest
    owners: fields.Owners


@dataclass(frozen=True)
class Change:
    """What a watch tells."""

    verb: Literal["ADDED", "MODIFIED", "DELETED"]
    resource: Resource
    manifest: Manifest
    """As it is now, or as it was last."""


@dataclass
class Shelf:
    """All objects of one kind, now and before."""

    states: list[dict[Name, Stored]] = field(default_factory=lambda: [{}])

    @property
    def now(self) -> dict[Name, Stored]:
        """As it is."""
        return self.states[-1]

    def at(self, lag: int) -> dict[Name, Stored]:
        """As it was that many changes ago."""
        return self.states[max(0, len(self.states) - 1 - lag)]

    def put(self, name: Name, stored: Stored | None) -> None:
        """A new state with that object, or without it."""
        state = {key: value for key, value in self.states[-1].items() if key != name}
        self.states.append(state if stored is None else state | {name: stored})
        del self.states[:-KEPT_STATES]


class ApiServer:
    """What the engine depends on of an API server; what it has no part in (admission, quotas, defaults) is left out."""

    def __init__(self, now: Callable[[], datetime]) -> None:
        self._now = now
        self._numbers = itertools.count(1)
        self._shelves: dict[Resource, Shelf] = {}
        self.version = 0
        self.changes = 0
        """How many there were, but for Leases, which are renewed whatever there is to do."""
        self.listeners: list[Callable[[Change], None]] = []

    def list(
        self, resource: Resource, namespace: str | None, selector: str = "", model: str = "", lag: int = 0
    ) -> list[Manifest]:
        """The objects with those labels, and with that field (``spec.model=NAME``)."""
        wanted = dict(part.split("=") for part in selector.split(",") if part).items()
        found = [stored.manifest for stored in self._shelf(resource).at(lag).values()]
        return [
            m
            for m in sorted(found, key=lambda m: (m["metadata"]["namespace"], m["metadata"]["name"]))
            if namespace in (None, m["metadata"]["namespace"])
            and wanted <= (m["metadata"].get("labels") or {}).items()
            and model in ("", f"spec.model={(m.get('spec') or {}).get('model')}")
        ]

    def get(self, resource: Resource, namespace: str, name: str, lag: int = 0) -> Manifest | None:
        stored = self._shelf(resource).at(lag).get((namespace, name))
        return None if stored is None else stored.manifest

    def create(self, resource: Resource, manifest: Manifest, manager: str = UPDATE) -> Manifest:
        given = copy.deepcopy(manifest)
        metadata = given["metadata"]
        if "generateName" in metadata:
            metadata["name"] = f"{metadata['generateName']}{next(self._numbers):05}"
        if self._stored(resource, metadata) is not None:
            raise ConflictError(409, f"{resource.plural} {metadata['name']} exists")
        given.pop("status", None)
        return self._add(resource, given, fields.updated({}, given, manager, {}))

    def apply(self, resource: Resource, manifest: Manifest, manager: str = UPDATE) -> Manifest:
        stored = self._stored(resource, manifest["metadata"])
        if stored is None:
            if manifest["metadata"].get("resourceVersion") or manifest["metadata"].get("uid"):
                raise ConflictError(409, f"{resource.plural} {manifest['metadata']['name']} is gone")
            given, owners = fields.applied({}, manifest, manager, {})
            return self._add(resource, _with_identity(given, manifest), owners)
        _expect(resource, manifest, stored)
        new, owners = fields.applied(stored.manifest, manifest, manager, stored.owners)
        return self._change(resource, stored, new, owners)

    def replace(
        self, resource: Resource, manifest: Manifest, manager: str = UPDATE, *, validated: bool = True
    ) -> Manifest:
        stored = self._expected(resource, manifest)
        new = copy.deepcopy(manifest)
        new["status"] = stored.manifest.get("status")
        owners = fields.updated(stored.manifest, new, manager, stored.owners)
        return self._change(resource, stored, new, owners, validated=validated)

    def replace_status(self, resource: Resource, manifest: Manifest) -> Manifest:
        stored = self._expected(resource, manifest)
        new = {**stored.manifest, "status": copy.deepcopy(manifest.get("status"))}
        return self._change(resource, stored, new, stored.owners)

    def patch(
        self, resource: Resource, namespace: str, name: str, patch: Manifest, manager: str = UPDATE
    ) -> Manifest | None:
        stored = self._shelf(resource).now.get((namespace, name))
        if stored is None:
            return None
        _expect(resource, {"metadata": {"name": name, **(patch.get("metadata") or {})}}, stored)
        new = fields.merged(stored.manifest, patch)
        new["status"] = stored.manifest.get("status")
        owners = fields.updated(stored.manifest, new, manager, stored.owners)
        return self._change(resource, stored, new, owners)

    def patch_status(self, resource: Resource, namespace: str, name: str, status: Manifest) -> None:
        """As controllers and kubelets do."""
        stored = self._shelf(resource).now[namespace, name]
        new = {**stored.manifest, "status": fields.merged(stored.manifest.get("status"), status)}
        self._change(resource, stored, new, stored.owners)

    def delete(self, resource: Resource, namespace: str, name: str, uid: str | None = None) -> None:
        stored = self._shelf(resource).now.get((namespace, name))
        if stored is None:
            return
        metadata = stored.manifest["metadata"]
        if uid not in (None, metadata["uid"]):
            raise ConflictError(409, f"{resource.plural} {name} has another uid")
        if not metadata.get("finalizers"):
            self._remove(resource, stored)
        elif "deletionTimestamp" not in metadata:
            marked = {**metadata, "deletionTimestamp": stamp(self._now())}
            if "generation" in metadata:
                marked["generation"] += 1
            self._store("MODIFIED", resource, {**stored.manifest, "metadata": marked}, stored.owners)

    def collect_garbage(self) -> None:
        """Remove what belonged to objects that are gone."""
        while orphans := self._orphans():
            for resource, stored in orphans:
                self._remove(resource, stored)

    def _orphans(self) -> list[tuple[Resource, Stored]]:
        objects = [(resource, stored) for resource, shelf in self._shelves.items() for stored in shelf.now.values()]
        uids = {stored.manifest["metadata"]["uid"] for _, stored in objects}
        return [(r, s) for r, s in objects if (owners := _owners(s.manifest)) and not owners & uids]

    def _shelf(self, resource: Resource) -> Shelf:
        return self._shelves.setdefault(resource, Shelf())

    def _stored(self, resource: Resource, metadata: Manifest) -> Stored | None:
        return self._shelf(resource).now.get((metadata["namespace"], metadata["name"]))

    def _expected(self, resource: Resource, manifest: Manifest) -> Stored:
        stored = self._stored(resource, manifest["metadata"])
        if stored is None:
            raise GatewayError(404, f"{resource.plural} {manifest['metadata']['name']} is gone")
        _expect(resource, manifest, stored)
        return stored

    def _add(self, resource: Resource, manifest: Manifest, owners: fields.Owners) -> Manifest:
        _validate(resource, manifest, None)
        metadata = manifest["metadata"]
        metadata |= {"uid": f"uid-{next(self._numbers)}", "creationTimestamp": stamp(self._now())}
        if resource.kind in GENERATED:
            metadata["generation"] = 1
        return self._store("ADDED", resource, _defaulted(resource, manifest), owners)

    def _change(
        self, resource: Resource, stored: Stored, new: Manifest, owners: fields.Owners, *, validated: bool = True
    ) -> Manifest:
        if validated:
            _validate(resource, new, stored.manifest)
        old = stored.manifest["metadata"]
        kept = {name: old[name] for name in ("uid", "creationTimestamp", "deletionTimestamp") if name in old}
        new = _defaulted(resource, {**new, "metadata": {**new["metadata"], **kept}})
        if resource.kind in GENERATED:
            new["metadata"]["generation"] = old["generation"] + (_wanted(new) != _wanted(stored.manifest))
        if _content(new) == _content(stored.manifest) and owners == stored.owners:
            return stored.manifest
        if "deletionTimestamp" in new["metadata"] and not new["metadata"].get("finalizers"):
            self._remove(resource, stored)
            return new
        return self._store("MODIFIED", resource, new, owners)

    def _store(
        self, verb: Literal["ADDED", "MODIFIED"], resource: Resource, manifest: Manifest, owners: fields.Owners
    ) -> Manifest:
        self.version += 1
        metadata = {
            **manifest["metadata"],
            "resourceVersion": str(self.version),
            "managedFields": fields.managed_fields(owners),
        }
        status = {"status": manifest["status"]} if manifest.get("status") is not None else {}
        new = {name: value for name, value in manifest.items() if name != "status"} | {"metadata": metadata} | status
        self._shelf(resource).put((metadata["namespace"], metadata["name"]), Stored(new, owners))
        self._tell(Change(verb, resource, new))
        return new

    def _remove(self, resource: Resource, stored: Stored) -> None:
        metadata = stored.manifest["metadata"]
        self.version += 1
        self._shelf(resource).put((metadata["namespace"], metadata["name"]), None)
        self._tell(Change("DELETED", resource, stored.manifest))

    def _tell(self, change: Change) -> None:
        self.changes += change.resource != api.LEASES
        for listener in list(self.listeners):
            listener(change)


def _owners(manifest: Manifest) -> set[str]:
    return {owner["uid"] for owner in manifest["metadata"].get("ownerReferences", ())}


def _expect(resource: Resource, manifest: Manifest, stored: Stored) -> None:
    """The version and the uid that the writer has seen, if it says so."""
    said, now = manifest["metadata"], stored.manifest["metadata"]
    if any(said.get(name) not in (None, now[name]) for name in ("resourceVersion", "uid")):
        raise ConflictError(409, f"{resource.plural} {said['name']} has changed meanwhile")


def _validate(resource: Resource, new: Manifest, old: Manifest | None) -> None:
    if resource != api.MODEL_VERSIONS or (old is not None and new["spec"] == old["spec"]):
        return
    try:
        ModelVersionSpec.model_validate(new["spec"])
    except ValidationError as error:
        raise InvalidObjectError(422, f"spec: {error.error_count()} problems") from error
    if old is not None and any(new["spec"].get(name) != old["spec"].get(name) for name in IMMUTABLE):
        raise InvalidObjectError(422, "spec: a version is what it is")


def _defaulted(resource: Resource, manifest: Manifest) -> Manifest:
    if resource != api.DEPLOYMENTS or "replicas" in manifest["spec"]:
        return manifest
    return {**manifest, "spec": {**manifest["spec"], "replicas": 1}}


def _with_identity(given: Manifest, manifest: Manifest) -> Manifest:
    identity = {name: manifest["metadata"][name] for name in ("name", "namespace")}
    top = {"apiVersion": manifest["apiVersion"], "kind": manifest["kind"]}
    return {**top, **given, "metadata": {**identity, **given.get("metadata", {})}}


def _wanted(manifest: Manifest) -> Manifest:
    return {name: value for name, value in manifest.items() if name not in ("metadata", "status")}


def _content(manifest: Manifest) -> Manifest:
    """All that a writer can change."""
    hidden = ("resourceVersion", "managedFields")
    metadata = {name: value for name, value in manifest["metadata"].items() if name not in hidden}
    return {**manifest, "metadata": metadata, "status": manifest.get("status")}
