"""The number of pods of a version, where the operator sets it."""

from __future__ import annotations

import math

from modelward_operator.domain.rollout.observation import Version


def pods(version: Version, at_least: int = 0) -> int:
    """Return the pods of a version that serves, takes over or stands by.

    With autoscaling, it keeps its current pods and has at least ``at_least``, within its bounds: a version that takes over
    starts with its predecessor's load, and a standby can take the load back.
    """
    scaling = version.spec.serving.autoscaling
    if scaling is None:
        return version.spec.serving.replicas
    grown = version.workload.replicas if version.workload else 0
    return min(max(scaling.min_replicas, at_least, grown), scaling.max_replicas)


def beside(champion: Version, challenger: Version, weight: float) -> int:
    """Return the pods of a challenger that answers ``weight`` percent of requests, with the champion's load per pod.

    At least one, and never more than the challenger may have when it serves all traffic.
    """
    scaling = challenger.spec.serving.autoscaling
    most = scaling.max_replicas if scaling else challenger.spec.serving.replicas
    return max(1, min(math.ceil(_present(champion) * weight / 100), most))


def mirrored(champion: Version, pods: int, weight: float, wanted: float) -> float:
    """Return the fraction of the champion's other requests that the challenger's pods can also score, at most ``wanted``.

    A challenger pod gets no more requests than a champion pod: with its weight and its mirrored requests, the challenger scores
    the fraction pods / champion pods of all requests. More would make it late, which would count against it.
    """
    share = weight / 100
    left = min(1.0, pods / max(1, _present(champion))) - share
    return min(wanted, left / (1 - share)) if left > 0 else 0.0


def so_far(weight: float, ready: int, pods: int) -> float:
    """Return the percentage that a challenger can answer while some of its pods start; the whole weight if none is ready."""
    return weight * min(1.0, ready / pods) if ready and pods else weight


def _present(version: Version) -> int:
    """Return its pods, including those that are about to be ready again."""
    return max(version.ready_pods, version.workload.replicas if version.workload else 0)
