"""The roles of a model's versions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from modelward_api.base import Digest
from modelward_operator.domain.core.record import Quarantine
from modelward_operator.domain.rollout.observation import Observation, Version
from modelward_operator.domain.rollout.plan import ENDED, UNDER_WAY
from modelward_operator.domain.rollout.withheld import is_refused


@dataclass(frozen=True, slots=True)
class Roles:
    """The roles of a model's versions before this reconcile."""

    champion: Version | None
    standby: Version | None
    """The previous champion, still warm."""
    candidate: Version | None
    """The version whose rollout is under way or next."""
    superseded: Mapping[str, str] = field(default_factory=dict)
    """By name of a version whose rollout ends: the newer version that supersedes it."""
    predecessor: Version | None = None
    """The previous champion, if the champion is withdrawn and no version is warm."""


def assign_roles(observation: Observation) -> Roles:
    """Assign a role to each version, from the statuses and the Service."""
    champion = _champion(observation)
    others = [v for v in observation.versions if v is not champion and not v.deleting]
    standby = _newest(v for v in others if v.status.phase == "Standby" and not v.spec.rollout.withdrawn)
    undecided = [v for v in others if v.status.phase in (None, "Pending", *UNDER_WAY)]
    undecided = [v for v in undecided if not quarantined(observation, v.digest)]
    superseded = _superseded(undecided) if champion is not None else {}
    candidate = _candidate([v for v in undecided if v.name not in superseded])
    return Roles(champion, standby, candidate, superseded, _predecessor(observation, champion, standby, others))


def quarantined(observation: Observation, digest: Digest | None) -> Quarantine | None:
    """Return the quarantine entry of that digest, if there is one."""
    return next((q for q in observation.record.quarantined if q.digest == digest), None)


def selected(observation: Observation, version: Version) -> bool:
    """Whether the Service selects this version's pods."""
    service = observation.service
    return service is not None and service.ours and service.selects == version.name


def age(version: Version) -> tuple[float, tuple[int, ...], str]:
    """Return a key that sorts versions oldest first: by creation, then by SemVer."""
    numbers = version.spec.version.split("-")[0].split("+")[0].split(".")
    return version.created.timestamp(), tuple(int(n) for n in numbers), version.name


def _champion(observation: Observation) -> Version | None:
    """Return the champion. If a crash left two versions in phase Champion, the Service decides."""
    crowned = [v for v in observation.versions if v.status.phase == "Champion"]
    crowned = [v for v in crowned if not quarantined(observation, v.digest)] or crowned
    chosen = next((v for v in crowned if selected(observation, v)), None) or _newest(crowned)
    if chosen is not None:
        return chosen
    return next((v for v in observation.versions if selected(observation, v) and v.status.phase not in ENDED), None)


def _newest(versions: Iterable[Version]) -> Version | None:
    return max(versions, key=lambda v: (v.status.phase_since or "", age(v)), default=None)


def _candidate(undecided: Sequence[Version]) -> Version | None:
    """Return the version furthest in its rollout, else the oldest one that waits and has its artifact.

    A version that the API server refused to deploy comes last: it is retried when no other one waits.
    """
    waiting = sorted((v for v in undecided if _waits(v)), key=lambda v: (is_refused(v.status, v.generation), age(v)))
    under_way = [v for v in undecided if v.status.phase in UNDER_WAY]
    if waiting:  # a shadow never ends by itself
        under_way = [v for v in under_way if v.spec.rollout.strategy != "shadow"]
    if under_way:
        return min(under_way, key=lambda v: (-UNDER_WAY.index(v.status.phase or "Verifying"), age(v)))
    return waiting[0] if waiting else None


def _waits(version: Version) -> bool:
    ready = version.artifact is not None and version.artifact_failure is None
    return ready and version.status.phase in (None, "Pending") and not version.spec.rollout.withdrawn


def _superseded(undecided: Sequence[Version]) -> dict[str, str]:
    """Return the superseded versions, each with its successor. A newer version does not undo a promotion: it comes next."""
    newest_first = sorted(undecided, key=age, reverse=True)
    found = {}
    for position, version in enumerate(newest_first):
        if version.artifact is None or version.status.phase == "Promoting" or version.spec.rollout.withdrawn:
            continue
        newer = next((v for v in newest_first[:position] if _takes_the_place_of(v, version)), None)
        if newer is not None:
            found[version.name] = newer.name
    return found


def _takes_the_place_of(newer: Version, version: Version) -> bool:
    is_apt = newer.spec.rollout.strategy != "shadow" or version.spec.rollout.strategy == "shadow"
    able = newer.artifact is not None and newer.artifact_failure is None and not newer.spec.rollout.withdrawn
    return able and is_apt and newer.spec.rollout.supersedes


def _predecessor(
    observation: Observation, champion: Version | None, standby: Version | None, others: Iterable[Version]
) -> Version | None:
    if champion is None or not champion.spec.rollout.withdrawn or standby is not None:
        return None
    return _newest(
        v
        for v in others
        if v.status.phase == "Retired"
        and v.artifact is not None
        and not v.spec.rollout.withdrawn
        and not quarantined(observation, v.digest)
        and any(step.to_phase == "Champion" for step in v.status.history)
    )
