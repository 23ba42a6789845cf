"""Single writes: skipped if already done, each with its own back-off."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

from modelward_operator.engine.kube.gateway import Manifest, Resource
from modelward_operator.engine.reconcile.attempts import What
from modelward_operator.engine.reconcile.context import ReconcileContext

Made = TypeVar("Made")


async def make(context: ReconcileContext, what: What, content: str, write: Callable[[], Awaitable[Made]]) -> Made:
    """Write, unless the same write was refused a moment ago: see :meth:`Attempts.make`."""
    return await context.memory.attempts.make(what, content, context.clock, write)


async def ensure(context: ReconcileContext, resource: Resource, wanted: Manifest, current: Manifest | None) -> None:
    """Apply, unless the same was applied before and the object has not changed since."""
    key = (resource.kind, wanted["metadata"]["name"])
    digest = hashlib.sha256(json.dumps(wanted, sort_keys=True).encode()).hexdigest()
    if current is not None and context.memory.applied.get(key) == (digest, _state(current)):
        return
    made = await make(context, key, digest, partial(context.gateway.apply, resource, as_seen(wanted, current)))
    context.memory.applied[key] = (digest, _state(made))


def as_seen(wanted: Manifest, seen: Manifest | None) -> Manifest:
    """Return the manifest with the uid and resourceVersion that the decision is based on: a stale write is refused."""
    if seen is None:
        return wanted
    condition = {name: seen["metadata"][name] for name in ("uid", "resourceVersion")}
    return {**wanted, "metadata": {**wanted["metadata"], **condition}}


def _state(manifest: Manifest) -> str:
    """Return a value that changes with an object's desired state: its generation, else its spec."""
    metadata = manifest["metadata"]
    spec: Any = metadata.get("generation") or json.dumps(manifest.get("spec"), sort_keys=True)
    return f"{metadata.get('uid')} {spec} {sorted((metadata.get('labels') or {}).items())}"


async def delete(context: ReconcileContext, resource: Resource, manifest: Manifest | None) -> None:
    """Delete the object with its uid, if there is one."""
    if manifest is None:
        return
    name, uid = manifest["metadata"]["name"], manifest["metadata"]["uid"]
    context.memory.applied.pop((resource.kind, name), None)
    write = partial(context.gateway.delete, resource, context.namespace, name, uid)
    await make(context, (f"{resource.kind}/deletion", name), uid, write)
