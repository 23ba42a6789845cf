"""DriftMonitors: windows of counts against the champion's frozen reference."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from math import inf, log

from modelward_api.base import seconds
from modelward_api.bundle import FeatureReference, ReferenceProfile
from modelward_api.driftmonitor import ActionTaken, DriftMonitorStatus, FeatureDrift
from modelward_api.wire import ProfileCounts
from modelward_operator.domain import statistics
from modelward_operator.domain.clock import elapsed, stamp
from modelward_operator.domain.conditions import Summary, conclude
from modelward_operator.domain.evidence import significant
from modelward_operator.domain.ledger import since
from modelward_operator.domain.observation import Monitor

KEPT_ACTIONS = 16


@dataclass(frozen=True, slots=True)
class Watched:
    """The champion as a monitor sees it."""

    name: str
    reference: ReferenceProfile | None
    """None while its pods could not be asked yet."""
    total: ProfileCounts
    """All rows that its pods have counted."""


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a monitor says now."""

    status: DriftMonitorStatus
    window: ProfileCounts | None
    """The champion's totals at the start of the window under way."""
    alarm: str | None = None
    """The feature with the most evidence, at the moment that drift is called for the first time."""
    rollback: bool = False
    """Whether its actions ask for a rollback now."""


def judge(monitor: Monitor, watched: Watched | None, window: ProfileCounts | None, now: datetime) -> Judgement:
    """Look at the counts: open a window, wait for more rows, or judge the window and open the next."""
    if watched is None:
        message = f"No version of model {monitor.spec.model!r} serves; spec.model names none, or none is ready yet"
        return Judgement(_unknown(monitor, "ModelNotFound", message, now), None)
    if watched.reference is None:
        message = f"Waiting for the counts of {watched.name}"
        return Judgement(_unknown(monitor, "WaitingForCounts", message, now), window)
    known = _references(watched.reference)
    chosen = _chosen(monitor, known)
    fresh = since(watched.total, window) if window is not None else None
    if fresh is None or monitor.status.champion != watched.name:
        return Judgement(_opened(monitor, watched, known, now), watched.total)
    enough = fresh.rows >= monitor.spec.tests.minimum_rows
    if not enough or elapsed(monitor.status.window_since, now) < seconds(monitor.spec.interval):
        return Judgement(_concluded(monitor, monitor.status, known, now), window)
    return _judged(monitor, watched, [known[name] for name in chosen], known, fresh, now)


def is_due(monitor: Monitor, opened: bool, champions: Collection[str], now: datetime) -> bool:
    """Whether it needs the counts now: its window has lasted, or none is open on who answers. Else they need not be asked for."""
    status = monitor.status
    is_open = opened and status.champion in champions and status.window_since is not None
    return not is_open or elapsed(status.window_since, now) >= seconds(monitor.spec.interval)


def with_outcome(status: DriftMonitorStatus, do: str, feature: str, outcome: str, now: datetime) -> DriftMonitorStatus:
    """The status with one more action taken."""
    taken = ActionTaken(time=stamp(now), do=do, feature=feature, outcome=outcome)
    return status.model_copy(update={"actions_taken": (*status.actions_taken, taken)[-KEPT_ACTIONS:]})


def _references(profile: ReferenceProfile) -> dict[str, FeatureReference]:
    return {feature.name: feature for feature in (*profile.features, profile.score)}


def _chosen(monitor: Monitor, known: dict[str, FeatureReference]) -> list[str]:
    wanted = monitor.spec.features or tuple(known)
    return list(dict.fromkeys(name for name in (*wanted, "score") if name in known))


def _judged(
    monitor: Monitor,
    watched: Watched,
    features: list[FeatureReference],
    known: dict[str, FeatureReference],
    fresh: ProfileCounts,
    now: datetime,
) -> Judgement:
    threshold = log(len(features) / monitor.spec.tests.alpha)
    before = {feature.name: feature.log_evidence for feature in monitor.status.features}
    shown = tuple(
        _feature(reference, fresh, before.get(reference.name, -inf), threshold, monitor.spec.tests.minimum_effect)
        for reference in features
    )
    worst = max(shown, key=lambda feature: (feature.drifting, feature.log_evidence - threshold, feature.psi))
    was_drifting = monitor.status.state == "Drifting"
    is_drifting = worst.drifting
    status = monitor.status.model_copy(
        update={
            "state": "Drifting" if is_drifting else "Quiet",
            "window_since": stamp(now),
            "rows": (monitor.status.rows or 0) + fresh.rows,
            "worst_feature": worst.name,
            "evidence": f"e^{worst.log_evidence:.3g} of e^{threshold:.3g}, PSI {worst.psi:.2g}",
            "features": shown,
            "last_alarm": stamp(now) if is_drifting and not was_drifting else monitor.status.last_alarm,
        }
    )
    return Judgement(
        _concluded(monitor, status, known, now),
        watched.total,
        alarm=worst.name if is_drifting and not was_drifting else None,
        rollback=is_drifting and _rollback_due(monitor, now),
    )


def _feature(
    reference: FeatureReference, fresh: ProfileCounts, before: float, threshold: float, minimum_effect: float
) -> FeatureDrift:
    counts = fresh.features.get(reference.name, (0,) * len(reference.counts))
    evidence = statistics.accumulate(before, statistics.log_drift_evidence(reference.counts, counts))
    psi = statistics.population_stability_index(reference.counts, counts)
    return FeatureDrift(
        name=reference.name,
        rows=sum(counts),
        log_evidence=significant(evidence),
        threshold=significant(threshold),
        psi=significant(psi),
        jensen_shannon=significant(statistics.jensen_shannon(reference.counts, counts)),
        drifting=evidence > threshold and psi >= minimum_effect,
    )


def _rollback_due(monitor: Monitor, now: datetime) -> bool:
    for action in monitor.spec.actions:
        if action.do != "rollback":
            continue
        last = max((taken.time for taken in monitor.status.actions_taken if taken.do == "rollback"), default=None)
        return last is None or elapsed(last, now) >= seconds(action.cooldown)
    return False


def _opened(
    monitor: Monitor, watched: Watched, known: dict[str, FeatureReference], now: datetime
) -> DriftMonitorStatus:
    """The first window against this champion; what was seen of another says nothing about this one."""
    status = monitor.status.model_copy(
        update={
            "state": "InsufficientData",
            "champion": watched.name,
            "window_since": stamp(now),
            "rows": 0,
            "worst_feature": None,
            "evidence": None,
            "features": (),
        }
    )
    return _concluded(monitor, status, known, now)


def _concluded(
    monitor: Monitor, status: DriftMonitorStatus, known: dict[str, FeatureReference], now: datetime
) -> DriftMonitorStatus:
    missing = [name for name in monitor.spec.features if name not in known]
    message = _message(monitor, status)
    summary = Summary("True", "Watching", message)
    if missing:
        index = monitor.spec.features.index(missing[0])
        message = (
            f"spec.features[{index}]: the model has no feature {', '.join(map(repr, missing))}; "
            f"it has {', '.join(sorted(known))}. The others are watched. {message}"
        )
        summary = Summary("False", "FeatureNotFound", message, stalled=True)
    drifting = ("Drifting", "True" if status.state == "Drifting" else "False", status.state or "Unknown", message)
    summary = Summary(
        summary.ready,
        summary.reason,
        summary.message,
        stalled=summary.stalled,
        others=(drifting,),  # type: ignore[arg-type]
    )
    return status.model_copy(
        update={
            "observed_generation": monitor.generation,
            "message": message,
            "conditions": conclude(status.conditions, monitor.generation, now, summary),
        }
    )


def _message(monitor: Monitor, status: DriftMonitorStatus) -> str:
    if status.state == "Drifting":
        drifting = [feature.name for feature in status.features if feature.drifting]
        return f"Drift in {', '.join(drifting)}: {status.worst_feature} at {status.evidence}"
    if status.state == "Quiet":
        return f"Quiet after {status.rows} rows; most evidence in {status.worst_feature}: {status.evidence}"
    tests = monitor.spec.tests
    return f"Too little data yet: a window needs {tests.minimum_rows} rows and {monitor.spec.interval}"


def _unknown(monitor: Monitor, reason: str, message: str, now: datetime) -> DriftMonitorStatus:
    old = monitor.status
    stalled = reason == "ModelNotFound"
    summary = Summary("False", reason, message, reconciling=not stalled, stalled=stalled)
    return old.model_copy(
        update={
            "observed_generation": monitor.generation,
            "state": old.state if old.state == "Drifting" and not stalled else "Unknown",
            "message": message,
            "conditions": conclude(old.conditions, monitor.generation, now, summary),
        }
    )
