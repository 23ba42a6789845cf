"""Objects as people and controllers write them."""

from __future__ import annotations

import json

import yaml

from tests.support.cluster.layout import REPOSITORY

FOREIGN_JOB = {"template": {"spec": {"restartPolicy": "Never", "containers": [{"name": "c", "image": "i"}]}}}
"""The spec of somebody else's Job."""


def training(change=lambda spec: None):
    job = yaml.safe_load((REPOSITORY / "examples/mortality/trainingjob-v2.yaml").read_text())
    job["metadata"]["namespace"] = "default"
    job = json.loads(json.dumps(job))
    change(job["spec"])
    return job


def verdict(type_, **more):
    now = "2026-01-01T00:00:00Z"
    before = {"Complete": "SuccessCriteriaMet", "Failed": "FailureTarget"}[type_]
    times = {"lastProbeTime": now, "lastTransitionTime": now}
    conditions = [{"type": kind, "status": "True", **times, **more} for kind in (before, type_)]
    return {"startTime": now, "conditions": conditions, **({"completionTime": now} if type_ == "Complete" else {})}
