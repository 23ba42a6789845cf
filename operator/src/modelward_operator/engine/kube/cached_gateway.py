"""A gateway that reads watched objects from the watch cache, and everything else from the API server."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

from modelward_api import names
from modelward_operator.engine.kube.gateway import Gateway, Manifest, Page, Resource, model_of
from modelward_operator.engine.kube.kinds import CACHED
from modelward_operator.engine.kube.watch_cache import WatchCache


@dataclass(frozen=True, slots=True)
class CachedGateway:
    """Reads of cached objects cost no call and may be stale; its own writes are visible at once."""

    direct: Gateway
    cache: WatchCache

    async def list(
        self, resource: Resource, namespace: str | None, selector: str = "", fields: str = ""
    ) -> list[Manifest]:
        """Return the cached objects of a model; any other selection is read from the API server."""
        model = model_of(selector, fields)
        if model is None or namespace is None or resource not in CACHED:
            return await self.direct.list(resource, namespace, selector, fields)
        await self.cache.filled.wait()
        return self.cache.of_model(resource, namespace, model)

    def pages(self, resource: Resource, namespace: str | None, selector: str = "") -> AsyncIterator[Page]:
        """List from the API server."""
        return self.direct.pages(resource, namespace, selector)

    async def get(self, resource: Resource, namespace: str, name: str) -> Manifest | None:
        """Return the cached object; else read it, as it may be new or not the operator's."""
        known = self.cache.get(resource, namespace, name) if resource in CACHED else None
        return known if known is not None else await self.direct.get(resource, namespace, name)

    async def apply(self, resource: Resource, manifest: Manifest, manager: str = names.FIELD_MANAGER) -> Manifest:
        """Apply server-side."""
        return self._seen(resource, await self.direct.apply(resource, manifest, manager))

    async def create(self, resource: Resource, manifest: Manifest) -> Manifest:
        """Create; ConflictError if it exists."""
        return self._seen(resource, await self.direct.create(resource, manifest))

    async def replace_status(self, resource: Resource, manifest: Manifest) -> Manifest:
        """Replace the status at the observed resourceVersion."""
        return self._seen(resource, await self.direct.replace_status(resource, manifest))

    async def replace(self, resource: Resource, manifest: Manifest) -> Manifest:
        """Replace at the observed resourceVersion."""
        return self._seen(resource, await self.direct.replace(resource, manifest))

    async def patch(self, resource: Resource, namespace: str, name: str, patch: Manifest) -> Manifest | None:
        """Apply a merge patch; return None if the object is gone."""
        found = await self.direct.patch(resource, namespace, name, patch)
        return self._seen(resource, found) if found is not None else None

    async def delete(self, resource: Resource, namespace: str, name: str, uid: str) -> None:
        """Delete the object with that uid, then read it again: a finalizer may hold it."""
        await self.direct.delete(resource, namespace, name, uid)
        if resource not in CACHED:
            return
        left = await self.direct.get(resource, namespace, name)
        if left is None or left["metadata"]["uid"] != uid:
            self.cache.drop(resource, namespace, name, uid)
        if left is not None:
            self._seen(resource, left)

    def _seen(self, resource: Resource, manifest: Manifest) -> Manifest:
        if resource in CACHED:
            self.cache.put(resource, manifest)
        return manifest
