"""Who owns which field, as the API server keeps it for server-side apply. Lists are taken as one value.

Source: https://kubernetes.io/docs/reference/using-api/server-side-apply/
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from modelward_operator.engine.kube.gateway import Manifest

Path = tuple[str, ...]
Owners = Mapping[tuple[str, str], frozenset[Path]]
"""By manager and operation (Apply or Update): the paths of its fields."""

UNOWNED = frozenset(
    {
        ("apiVersion",),
        ("kind",),
        ("status",),
        *(
            ("metadata", name)
            for name in (
                "name",
                "namespace",
                "generateName",
                "uid",
                "resourceVersion",
                "generation",
                "creationTimestamp",
                "deletionTimestamp",
                "managedFields",
            )
        ),
    }
)

ATOMIC = frozenset({("spec", "selector"), ("spec", "template", "spec", "nodeSelector")})
"""Maps that are one value, as their schema says (x-kubernetes-map-type: atomic)."""


def applied(live: Manifest, config: Manifest, manager: str, owners: Owners) -> tuple[Manifest, Owners]:
    """What comes of applying a configuration by force, and who owns what then."""
    own, wanted, before = (manager, "Apply"), leaves(config), leaves(live)
    merged = copy.deepcopy(live)
    of_others = frozenset().union(*(paths for key, paths in owners.items() if key != own))
    for path in owners.get(own, frozenset()) - wanted.keys() - of_others:
        _remove(merged, path)
    for path, value in wanted.items():
        _put(merged, path, value)
    taken = {path for path, value in wanted.items() if before.get(path) != value}
    kept = {key: paths - taken for key, paths in owners.items() if key != own}
    return merged, {key: paths for key, paths in (kept | {own: frozenset(wanted)}).items() if paths}


def updated(live: Manifest, new: Manifest, manager: str, owners: Owners) -> Owners:
    """Who owns what after somebody has written a whole object or a patch."""
    before, after, own = leaves(live), leaves(new), (manager, "Update")
    changed = frozenset(path for path, value in after.items() if before.get(path) != value)
    touched = changed | (before.keys() - after.keys())
    kept = {key: paths - touched for key, paths in owners.items()}
    kept[own] = kept.get(own, frozenset()) | changed
    return {key: paths for key, paths in kept.items() if paths}


def merged(live: Any, patch: Any) -> Any:
    """A JSON merge patch (RFC 7386)."""
    if not isinstance(patch, dict):
        return patch
    found = dict(live) if isinstance(live, dict) else {}
    for name, value in patch.items():
        if value is None:
            found.pop(name, None)
        else:
            found[name] = merged(found.get(name), value)
    return found


def managed_fields(owners: Owners) -> list[Manifest]:
    """As they stand in an object's metadata."""
    return [
        {"manager": manager, "operation": operation, "fieldsV1": _nested(paths)}
        for (manager, operation), paths in owners.items()
    ]


def leaves(value: Any, at: Path = ()) -> dict[Path, Any]:
    """The fields that have owners, by path."""
    if at in UNOWNED:
        return {}
    if isinstance(value, dict) and value and at not in ATOMIC:
        return {path: leaf for name, part in value.items() for path, leaf in leaves(part, (*at, name)).items()}
    return {at: value}


def _nested(paths: frozenset[Path]) -> Manifest:
    found: Manifest = {}
    for path in sorted(paths):
        inside = found
        for name in path:
            inside = inside.setdefault(f"f:{name}", {})
    return found


def _put(manifest: Manifest, path: Path, value: Any) -> None:
    for name in path[:-1]:
        if not isinstance(manifest.get(name), dict):
            manifest[name] = {}
        manifest = manifest[name]
    manifest[path[-1]] = copy.deepcopy(value)


def _remove(manifest: Manifest, path: Path) -> None:
    """The field, and what is empty without it."""
    name, rest = path[0], path[1:]
    if name not in manifest:
        return
    if rest and isinstance(manifest[name], dict):
        _remove(manifest[name], rest)
    if not rest or manifest[name] == {}:
        del manifest[name]
