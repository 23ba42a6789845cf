"""What people may write, and what the network may lose word of."""

from __future__ import annotations

from modelward_operator.engine.kube import gateway as api
from tests.faults.cluster import NOWHERE
from tests.faults.world import QUICK

ROLLOUTS = (
    QUICK,
    {**QUICK, "paused": True},
    {"strategy": "direct"},
    {"strategy": "shadow"},
    {**QUICK, "keepWarm": "10s"},
    {**QUICK, "deadline": "20s"},
    {**QUICK, "supersedes": False},
    {**QUICK, "withdrawn": True},
)

SERVINGS = (
    {"replicas": 1},
    {"replicas": 2},
    {"replicas": 1, "nodeSelector": NOWHERE},
    {"replicas": 3, "stickyHeader": "X-Encounter-Id"},
    {"replicas": 1, "autoscaling": {"minReplicas": 2, "maxReplicas": 4}},
)

UNREADABLE = {"steps": []}
"""What the schema of a newer release lets through, and this operator cannot read."""

KINDS = (api.MODEL_VERSIONS, api.DEPLOYMENTS, api.PODS, api.SERVICES, api.CONFIG_MAPS)
