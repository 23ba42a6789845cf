"""Write Deployments, their autoscalers and disruption budgets, and the model's Service."""

from __future__ import annotations

import json
from functools import partial

from modelward_api import names
from modelward_api.resources.modelversion import Artifact
from modelward_operator.domain.rollout.decision import Decision
from modelward_operator.domain.rollout.observation import Version
from modelward_operator.engine.kube import gateway as api
from modelward_operator.engine.kube.gateway import Manifest
from modelward_operator.engine.reconcile.attempts import RefusedError
from modelward_operator.engine.reconcile.context import Outcome, ReconcileContext
from modelward_operator.engine.reconcile.ownership import is_a_versions, is_ours, owns_replicas
from modelward_operator.engine.reconcile.writes import as_seen, delete, ensure, make
from modelward_operator.manifests import serving
from modelward_operator.manifests.service import service as desired_service


async def ensure_workload(
    context: ReconcileContext, outcome: Outcome, version: Version, replicas: int, autoscaled: bool
) -> None:
    """Apply the decision to one version's Deployment, autoscaler and disruption budget."""
    current = context.snapshot.deployments.get(version.name)
    if version.artifact is None or version.artifact_failure is not None:
        return
    try:
        await _ensure_deployment(context, version, version.artifact, replicas, current, autoscaled=autoscaled)
    except RefusedError as error:
        outcome.of([version.name], error)
        outcome.without_pods.add(version.name)
    scale, protect = (
        partial(_ensure_autoscaler, context, version, autoscaled),
        partial(_ensure_budget, context, version, replicas),
    )
    for ensured in (scale, protect):
        if current is None and version.name in outcome.without_pods:
            return  # nothing to scale, and nothing to disrupt
        try:
            await ensured()
        except RefusedError as error:
            outcome.of([version.name], error)


async def _ensure_deployment(
    context: ReconcileContext,
    version: Version,
    artifact: Artifact,
    replicas: int,
    current: Manifest | None,
    *,
    autoscaled: bool,
) -> None:
    if not autoscaled:
        await delete(context, api.AUTOSCALERS, context.snapshot.autoscalers.get(version.name))
    left = await _left_to_the_autoscaler(context, version.name, replicas, current) if autoscaled else None
    applied_replicas = replicas if left is None else None
    wanted = serving.deployment(
        context.namespace, version.name, version.uid, version.spec, artifact, applied_replicas, context.settings
    )
    await ensure(context, api.DEPLOYMENTS, wanted, left or current)


async def _ensure_autoscaler(context: ReconcileContext, version: Version, autoscaled: bool) -> None:
    scaling = version.spec.serving.autoscaling
    if autoscaled and scaling is not None:
        scaler = serving.autoscaler(context.namespace, version.name, version.spec, scaling)
        await ensure(context, api.AUTOSCALERS, scaler, context.snapshot.autoscalers.get(version.name))


async def _ensure_budget(context: ReconcileContext, version: Version, replicas: int) -> None:
    """Apply a disruption budget if there is more than one pod. Nobody else changes it, so once per process is enough."""
    key = (api.DISRUPTION_BUDGETS.kind, version.name)
    content = "" if replicas > 1 else "none"
    if context.memory.applied.get(key) == (content, version.uid):
        return
    if replicas > 1:
        wanted = serving.disruption_budget(context.namespace, version.name, version.spec)
        write = partial(context.gateway.apply, api.DISRUPTION_BUDGETS, wanted)
        await make(context, (api.DISRUPTION_BUDGETS.kind, version.name), json.dumps(wanted, sort_keys=True), write)
    else:
        await _drop_budget(context, version.name)
    context.memory.applied[key] = (content, version.uid)


async def _left_to_the_autoscaler(
    context: ReconcileContext, name: str, replicas: int, current: Manifest | None
) -> Manifest | None:
    """Hand spec.replicas over to the autoscaler; return the Deployment once that is done.

    A field that an apply leaves out, and that nobody else owns, falls back to its default: one pod. So the number is first
    applied by another field manager, from which the autoscaler takes it with its first change. For a Deployment that does not
    exist yet, or has no pods (an autoscaler ignores those), the operator still sets the number itself.
    """
    if current is None or not current["spec"].get("replicas", 1):
        return None
    if not owns_replicas(current):
        return current
    handed = serving.replicas_only(context.namespace, name, replicas)
    write = partial(context.gateway.apply, api.DEPLOYMENTS, as_seen(handed, current), names.SCALE_MANAGER)
    return await make(context, ("Deployment/replicas", name), str(replicas), write)


async def select_version(context: ReconcileContext, outcome: Outcome, version: str) -> None:
    """Have the Service select that version, or note in the outcome that it does not."""
    service = context.snapshot.service_manifest
    if service is not None and not is_ours(service):
        return
    selects = context.snapshot.service.selects if context.snapshot.service else None
    tls = any(v.tls for v in context.snapshot.versions if v.name == version)
    try:
        await ensure(
            context, api.SERVICES, desired_service(context.namespace, context.model, version, tls=tls), service
        )
    except RefusedError as error:
        outcome.serves = selects == version
        concerned = {v.name for v in context.snapshot.versions if v.status.phase == "Champion"} | {version}
        outcome.of(concerned, error)


async def drop_workloads(context: ReconcileContext, decision: Decision, outcome: Outcome) -> None:
    """Delete the Deployments that are no longer wanted, and the Service with the model's last version."""
    for name, manifest in context.snapshot.deployments.items():
        wanted = name in decision.workloads or name in decision.keep
        if wanted or "deletionTimestamp" in manifest["metadata"] or not is_a_versions(manifest):
            continue
        try:
            await delete(context, api.AUTOSCALERS, context.snapshot.autoscalers.get(name))
            await _drop_budget(context, name)
            await delete(context, api.DEPLOYMENTS, manifest)
        except RefusedError as error:
            outcome.of([name], error)
    service = context.snapshot.service_manifest
    if decision.drop_service and service is not None and is_ours(service):
        try:
            await delete(context, api.SERVICES, service)
        except RefusedError as error:
            outcome.serves = False
            outcome.of(context.snapshot.manifests, error)


async def _drop_budget(context: ReconcileContext, name: str) -> None:
    budget = await context.gateway.get(api.DISRUPTION_BUDGETS, context.namespace, name)
    await delete(context, api.DISRUPTION_BUDGETS, budget if budget and is_ours(budget) else None)
