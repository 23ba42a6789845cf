"""The kinds that the operator watches, each once: watches, resync, cache, queue and permissions follow from this list.

A new kind of Modelward's API is one entry here, and one in ``Reconciler.by_kind`` if it is reconciled by keys of its own.
``tests/unit/operator/test_kinds.py`` fails for whatever is forgotten.
"""

from __future__ import annotations

from dataclasses import dataclass

from modelward_api import names
from modelward_operator.engine.kube import gateway as api
from modelward_operator.engine.kube.gateway import OURS, Manifest, Resource

MODEL = "Model"
"""The kind of the keys that stand for a model with all its versions. There is no such object."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of object, and how the operator handles its changes."""

    resource: Resource
    ours: bool = False
    """Whether the operator creates these objects, and watches only those with its label. Otherwise people create them."""
    concerns_model: bool = False
    """Whether a change concerns the model in ``spec.model``."""
    label: str | None = None
    """If such an object is reconciled by a key of its own: the label, on all that is made for it, that holds its name."""
    is_cached: bool = False
    """Whether the watch cache keeps these objects, by model: a look at a model reads them."""
    is_listed: bool = True
    """Whether a resync lists them, too."""

    @property
    def selector(self) -> str:
        """The label selector of those that are watched."""
        return OURS if self.ours else ""

    def model_of(self, manifest: Manifest) -> str | None:
        """Return the model that such an object belongs to, if it says so."""
        if not self.ours:
            return ((manifest.get("spec") or {}).get("model") if self.concerns_model else None) or None
        return (manifest["metadata"].get("labels") or {}).get(names.MODEL)


KINDS: tuple[Kind, ...] = (
    Kind(api.MODEL_VERSIONS, concerns_model=True, is_cached=True),
    Kind(api.DRIFT_MONITORS, concerns_model=True, is_cached=True),
    Kind(api.TRAINING_JOBS, concerns_model=True, label=names.TRAINING_JOB),
    Kind(api.SCORE_BATCHES, label=names.SCORE_BATCH),
    Kind(api.SERVICES, ours=True, is_cached=True),
    Kind(api.DEPLOYMENTS, ours=True, is_cached=True),
    Kind(api.AUTOSCALERS, ours=True, is_cached=True),
    Kind(api.PODS, ours=True, is_cached=True),
    Kind(api.JOBS, ours=True, is_listed=False),
)

BY_RESOURCE = {kind.resource: kind for kind in KINDS}
CACHED = frozenset(kind.resource for kind in KINDS if kind.is_cached)
RECONCILED = (MODEL, *(kind.resource.kind for kind in KINDS if kind.label is not None))
"""The kinds of keys."""
