"""The manifests as they are to be. `python -m tests.unit.operator.manifests.golden` writes them anew: look at the difference."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from modelward_api.resources.modelversion import Artifact, ModelVersionSpec
from modelward_api.resources.scorebatch import ScoreBatchSpec
from modelward_api.resources.trainingjob import TrainingJobSpec
from modelward_operator.domain.jobs.batch import Chosen
from modelward_operator.manifests import batch as scoring
from modelward_operator.manifests import serving, training
from modelward_operator.manifests.service import service
from modelward_operator.manifests.settings import Pods, Settings

FOLDER = Path(__file__).parent / "golden"
DIGEST = "sha256:" + "0123456789abcdef" * 4
ARTIFACT = Artifact(uri="store://models/mortality/1.0.0/0123456789abcdef.bentomodel", digest=DIGEST)
SETTINGS = Settings(
    serving_image="modelward/serving:1",
    training_image="modelward/training:1",
    store_claim="modelward-store",
    serving_service_account="modelward-serving",
    training_service_account="modelward-training",
)
TRACED = replace(SETTINGS, tracing_endpoint="http://collector.observability:4318", tracing_ratio="0.1")
OBJECT_STORE = Settings(
    serving_image="modelward/serving:1",
    training_image="modelward/training:1",
    image_pull_policy="Always",
    store_uri="s3://bucket/prefix",
    store_secret="credentials",
)
SPEC = ModelVersionSpec.model_validate(
    {"model": "mortality", "version": "1.0.0", "artifact": {"uri": ARTIFACT.uri, "digest": DIGEST}}
)
LARGE = ModelVersionSpec.model_validate(
    {
        **SPEC.to_json(),
        "serving": {
            "replicas": 3,
            "requestTimeout": "30s",
            "nodeSelector": {"disk": "fast"},
            "resources": {"requests": {"cpu": "2"}, "limits": {"memory": "1Gi"}},
        },
    }
)
SCALED = ModelVersionSpec.model_validate(
    {
        **SPEC.to_json(),
        "serving": {"autoscaling": {"minReplicas": 2, "maxReplicas": 8, "targetRequestsInFlight": 12}},
    }
)
SECURED = ModelVersionSpec.model_validate({**SPEC.to_json(), "serving": {"tls": {"secretName": "mortality-tls"}}})
MUTUAL = ModelVersionSpec.model_validate(
    {**SPEC.to_json(), "serving": {"tls": {"secretName": "mortality-tls", "clientAuthentication": "required"}}}
)
GUARDED = ModelVersionSpec.model_validate(
    {
        **SPEC.to_json(),
        "serving": {
            "authentication": {
                "issuer": "https://kubernetes.default.svc",
                "audiences": ["mortality"],
                "subjects": ["system:serviceaccount:clinic:ward"],
                "jwksConfigMap": "issuer-keys",
            }
        },
    }
)
JOB = TrainingJobSpec.model_validate(
    {
        "model": "mortality",
        "version": "2.0.0",
        "data": {
            "sources": [{"uri": "store://data/a.csv"}],
            "columns": [
                {"name": "age", "kind": "numeric", "unit": "a"},
                {"name": "year", "kind": "integer", "role": "time"},
                {"name": "outcome", "kind": "categorical", "role": "label", "allowedValues": ["dead", "live"]},
            ],
            "label": {"column": "outcome", "positive": "dead"},
        },
        "output": {"uri": "store://models"},
        "promote": {"template": {"rollout": {"keepWarm": "2h"}, "serving": {"replicas": 2}}},
        "resources": {"limits": {"memory": "2Gi"}},
    }
)
BATCH = ScoreBatchSpec.model_validate(
    {
        "model": "mortality",
        "input": {"uri": "store://data/2026/*.csv", "format": "csv"},
        "output": {"uri": "store://scores/2026"},
        "keepColumns": ["id", "$(PATH)"],
        "shards": 20,
        "parallelism": 4,
        "resources": {"limits": {"memory": "2Gi"}},
    }
)
PODS = Pods.model_validate(
    {
        "podDefaults": {
            "metadata": {"labels": {"team": "icu"}, "annotations": {"example.com/scan": "no"}},
            "tolerations": [{"key": "models", "operator": "Exists", "effect": "NoSchedule"}],
            "priorityClassName": "clinical",
            "env": [{"name": "HTTPS_PROXY", "value": "http://proxy.corp:3128"}],
            "envFrom": [{"configMapRef": {"name": "proxies"}}],
            "caBundle": {"configMap": {"name": "corporate", "key": "bundle.pem"}},
        },
        "serving": {
            "pod": {"securityContext": {"fsGroup": 65532, "fsGroupChangePolicy": "OnRootMismatch"}},
            "resources": {"limits": {"cpu": "1", "memory": "256Mi"}},
        },
        "training": {"pod": {"nodeSelector": {"pool": "batch"}}},
    }
)
PLACED = replace(SETTINGS, pods=PODS)
OWN_PODS = {
    "metadata": {"labels": {"team": "ward"}},
    "nodeSelector": {"disk": "fast"},
    "runtimeClassName": "gvisor",
    "affinity": {
        "nodeAffinity": {
            "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{"matchExpressions": [{"key": "gpu", "operator": "DoesNotExist"}]}]
            }
        }
    },
    "env": [{"name": "NO_PROXY", "valueFrom": {"configMapKeyRef": {"name": "proxies", "key": "none"}}}],
    "caBundle": {"secret": {"name": "own", "key": "ca.crt"}},
    "fetchResources": {"limits": {"memory": "1Gi"}},
}
OWN = ModelVersionSpec.model_validate({**SPEC.to_json(), "serving": {"pod": OWN_PODS}})
OWN_JOB = TrainingJobSpec.model_validate({**JOB.to_json(), "pod": OWN_PODS})
OWN_BATCH = ScoreBatchSpec.model_validate({**BATCH.to_json(), "pod": OWN_PODS})
CHOSEN = Chosen("v1", "1.0.0", ARTIFACT)


def manifests(SETTINGS: Settings = SETTINGS) -> Iterator[tuple[str, dict[str, Any]]]:  # noqa: N803
    """By the golden file's name."""
    yield "deployment", serving.deployment("clinic", "v1", "uid-1", SPEC, ARTIFACT, 1, SETTINGS)
    yield "deployment-large", serving.deployment("clinic", "v1", "uid-1", LARGE, ARTIFACT, 3, OBJECT_STORE)
    yield "deployment-autoscaled", serving.deployment("clinic", "v1", "uid-1", SCALED, ARTIFACT, None, SETTINGS)
    yield "deployment-tls", serving.deployment("clinic", "v1", "uid-1", SECURED, ARTIFACT, 1, SETTINGS)
    yield "deployment-mtls", serving.deployment("clinic", "v1", "uid-1", MUTUAL, ARTIFACT, 1, SETTINGS)
    assert SCALED.serving.autoscaling is not None
    yield "autoscaler", serving.autoscaler("clinic", "v1", SCALED, SCALED.serving.autoscaling)
    yield "disruption-budget", serving.disruption_budget("clinic", "v1", LARGE)
    yield "service", service("clinic", "mortality", "v1")
    yield "deployment-guarded", serving.deployment("clinic", "v1", "uid-1", GUARDED, ARTIFACT, 1, SETTINGS)
    yield "deployment-traced", serving.deployment("clinic", "v1", "uid-1", SPEC, ARTIFACT, 1, TRACED)
    yield "service-tls", service("clinic", "mortality", "v1", tls=True)
    yield "training-job", training.job("clinic", "train", "uid-2", JOB, SETTINGS)
    yield "training-document", training.config_map("clinic", "train", "uid-2", JOB)
    yield "scoring-job", scoring.job("clinic", "scores", "uid-3", BATCH, CHOSEN, SETTINGS)
    yield "deployment-placed", serving.deployment("clinic", "v1", "uid-1", OWN, ARTIFACT, 1, PLACED)
    yield "training-job-placed", training.job("clinic", "train", "uid-2", OWN_JOB, PLACED)
    yield "scoring-job-placed", scoring.job("clinic", "scores", "uid-3", OWN_BATCH, CHOSEN, PLACED)
    yield "model-version", training.model_version("clinic", "v2", JOB, "train", "store://models/b", DIGEST)


class _Plain(yaml.SafeDumper):
    """Without anchors: what is the same twice stands there twice."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def render(manifest: dict[str, Any]) -> str:
    """As it stands in its file."""
    return yaml.dump(manifest, Dumper=_Plain, sort_keys=False, width=120)


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, manifest in manifests():
        (FOLDER / f"{name}.yaml").write_text(render(manifest))
