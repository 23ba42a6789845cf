"""How many pods a version has while nobody but us says so."""

from __future__ import annotations

from modelward_operator.domain.observation import Version


def pods(version: Version, at_least: int = 0) -> int:
    """The pods of a version that answers, takes over or stands by.

    With autoscaling it keeps what it has grown to, and has no fewer than ``at_least``, within its bounds: whoever takes over
    begins with the load that its predecessor had, and whoever stands by can take it back.
    """
    scaling = version.spec.serving.autoscaling
    if scaling is None:
        return version.spec.serving.replicas
    grown = version.workload.replicas if version.workload else 0
    return min(max(scaling.min_replicas, at_least, grown), scaling.max_replicas)
