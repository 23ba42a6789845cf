"""A ScoreBatch's Job: one index a shard, with the serving image; the bundle is verified first, as for serving."""

from __future__ import annotations

from modelward_api import API_VERSION, names
from modelward_api.base import seconds
from modelward_api.resources.pods import PodSettings, merged
from modelward_api.resources.scorebatch import ScoreBatchSpec
from modelward_api.wire.exchange import INVALID_INPUT_EXIT_CODE
from modelward_operator.domain.jobs.batch import Chosen
from modelward_operator.manifests.pod import (
    Manifest,
    environment,
    job_pod,
    metadata,
    owner,
    resources,
    store_environment,
)
from modelward_operator.manifests.serving import BUNDLE, fetch, short
from modelward_operator.manifests.settings import Settings

DEFAULT_REQUESTS = {"cpu": "500m", "memory": "512Mi"}
CONTAINER = "batch"
MODEL_VERSION = "modelward.io/scores-with"
VERSION = "modelward.io/scores-version"
BUNDLE_URI = "modelward.io/scores-bundle"
BUNDLE_DIGEST = "modelward.io/scores-digest"
"""Annotations of the Job: the version that it was created with."""


def job_name(name: str) -> str:
    """Return the name of a ScoreBatch's Job."""
    return f"{name}-scores"


def job(namespace: str, name: str, uid: str, spec: ScoreBatchSpec, chosen: Chosen, settings: Settings) -> Manifest:
    """Return the Job. Invalid input or a wrong bundle fails it at once; anything else is retried.

    There is no backoffLimitPerIndex: Kubernetes then keeps a failed pod until its successor exists, and a namespace that is
    deleted has no successors and would never end.
    """
    pod = merged(settings.pods.pod_defaults, settings.pods.batch.pod, spec.pod)
    rules = [
        # Any container: the fetch exits so for a wrong bundle, the scoring for wrong input.
        {"action": "FailJob", "onExitCodes": {"operator": "In", "values": [INVALID_INPUT_EXIT_CODE]}},
        # A drained node is not a failure of the scoring.
        {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
    ]
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": job_name(name),
            "namespace": namespace,
            "labels": _labels(name, spec, chosen),
            "annotations": {
                MODEL_VERSION: chosen.model_version,
                VERSION: chosen.version,
                BUNDLE_URI: chosen.artifact.uri,
                BUNDLE_DIGEST: chosen.artifact.digest,
            },
            "ownerReferences": [owner("ScoreBatch", API_VERSION, name, uid)],
        },
        "spec": {
            "completionMode": "Indexed",
            "completions": spec.shards,
            "parallelism": min(spec.parallelism, spec.shards),
            "backoffLimit": spec.backoff_limit * min(spec.parallelism, spec.shards),
            "activeDeadlineSeconds": max(1, int(seconds(spec.active_deadline))),
            "suspend": spec.suspend,
            "podFailurePolicy": {"rules": rules},
            "template": {
                "metadata": metadata(pod, _labels(name, spec, chosen)),
                "spec": _pod(spec, chosen, settings, pod),
            },
        },
    }


def _labels(name: str, spec: ScoreBatchSpec, chosen: Chosen) -> dict[str, str]:
    return {
        names.MANAGED_BY: names.MANAGER,
        names.COMPONENT: "batch",
        names.SCORE_BATCH: name,
        names.DIGEST: short(chosen.artifact.digest),
        "modelward.io/scores": spec.model,
    }


def _pod(spec: ScoreBatchSpec, chosen: Chosen, settings: Settings, pod: PodSettings) -> Manifest:
    container: Manifest = {
        "name": CONTAINER,
        "image": settings.serving_image,
        "imagePullPolicy": settings.image_pull_policy,
        "command": ["python", "-m", "modelward_serving", "batch", *_words(spec, chosen)],
        **environment(pod, store_environment(settings)),
    }
    needs = resources(DEFAULT_REQUESTS, settings.pods.batch.resources, spec.resources)
    before = [fetch(chosen.artifact, settings, pod, needs, (spec.model, chosen.version))]
    bundle = {"name": "bundle", "emptyDir": {}}
    return job_pod(container, needs, bundle, BUNDLE, settings.serving_service_account, settings, pod, before)


def _words(spec: ScoreBatchSpec, chosen: Chosen) -> list[str]:
    """Return the command's options. The shard's number is in the environment of every pod of an indexed Job."""
    given = {
        "bundle": BUNDLE,
        "digest": chosen.artifact.digest,
        "input": spec.input.uri,
        "format": spec.input.format,
        "output": spec.output.uri,
        "on-invalid-row": spec.on_invalid_row,
        "shards": str(spec.shards),
    }
    words = [f"--{name}={value}" for name, value in given.items()]
    # The kubelet would replace $(NAME).
    return [word.replace("$(", "$$(") for word in [*words, *(f"--keep={name}" for name in spec.keep_columns)]]
