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
from modelward_operator.domain.evidence import rounded, significant
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
class Window:
    """What was counted in a window, and against what it is judged."""

    features: list[FeatureReference]
    """Of all rows."""
    strata: dict[str, dict[str, FeatureReference]]
    """By stratum and feature."""
    judged: set[str]
    """The strata with enough rows; the windows of the others go on."""
    start: ProfileCounts
    fresh: ProfileCounts

    def next(self, total: ProfileCounts) -> ProfileCounts:
        """The start of the next window."""
        waiting = {
            name: own for name, own in self.start.strata.items() if name in self.strata and name not in self.judged
        }
        return total.model_copy(update={"strata": {**total.strata, **waiting}})


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
    fresh = since(watched.total, window) if window is not None else None
    if window is None or fresh is None or monitor.status.champion != watched.name:
        return Judgement(_opened(monitor, watched, known, now), watched.total)
    enough = fresh.rows >= monitor.spec.tests.minimum_rows
    if not enough or elapsed(monitor.status.window_since, now) < seconds(monitor.spec.interval):
        return Judgement(_concluded(monitor, monitor.status, known, now), window)
    strata = _strata(monitor, watched.reference)
    judged = {stratum for stratum in strata if _rows(fresh, stratum) >= monitor.spec.tests.minimum_rows}
    chosen = [known[name] for name in _chosen(monitor, known)]
    return _judged(monitor, watched, Window(chosen, strata, judged, window, fresh), known, now)


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


def _strata(monitor: Monitor, profile: ReferenceProfile) -> dict[str, dict[str, FeatureReference]]:
    found: dict[str, dict[str, FeatureReference]] = {}
    for stratum in profile.strata:
        references = {name: profile.of_stratum(stratum, name) for name in monitor.spec.subgroups}
        found[stratum] = {name: reference for name, reference in references.items() if reference is not None}
    return {stratum: references for stratum, references in found.items() if references}


def _rows(counts: ProfileCounts, stratum: str) -> int:
    return max((sum(cells) for cells in counts.strata.get(stratum, {}).values()), default=0)


def _judged(
    monitor: Monitor, watched: Watched, window: Window, known: dict[str, FeatureReference], now: datetime
) -> Judgement:
    fresh = window.fresh
    tests = len(window.features) + sum(map(len, window.strata.values()))
    threshold = log(tests / monitor.spec.tests.alpha)
    before = {feature.name: feature for feature in monitor.status.features}

    def look(reference: FeatureReference, counts: tuple[int, ...] | None) -> FeatureDrift:
        evidence = before[reference.name].log_evidence if reference.name in before else -inf
        return _feature(reference, counts, evidence, threshold, monitor.spec.tests.minimum_effect)

    shown = [look(reference, fresh.features.get(reference.name)) for reference in window.features]
    for stratum, references in window.strata.items():
        if stratum in window.judged:
            own = [look(reference, fresh.strata[stratum].get(name)) for name, reference in references.items()]
            shown += [feature.model_copy(update={"rows": rounded(feature.rows)}) for feature in own]
        else:
            shown += [before[reference.name] for reference in references.values() if reference.name in before]
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
            "features": tuple(shown),
            "last_alarm": stamp(now) if is_drifting and not was_drifting else monitor.status.last_alarm,
        }
    )
    return Judgement(
        _concluded(monitor, status, known, now),
        window.next(watched.total),
        alarm=worst.name if is_drifting and not was_drifting else None,
        rollback=is_drifting and _rollback_due(monitor, now),
    )


def _feature(
    reference: FeatureReference, found: tuple[int, ...] | None, before: float, threshold: float, minimum_effect: float
) -> FeatureDrift:
    counts = found or (0,) * len(reference.counts)
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
    message = _message(monitor, status)
    summary = Summary("True", "Watching", message)
    for field, wanted in (("features", monitor.spec.features), ("subgroups", monitor.spec.subgroups)):
        missing = [name for name in wanted if name not in known]
        if not missing:
            continue
        message = (
            f"spec.{field}[{wanted.index(missing[0])}]: the model has no feature {', '.join(map(repr, missing))}; "
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
    summary = Summary("False", reason, message, reconciling=True)  # it mends itself once a version serves
    return old.model_copy(
        update={
            "observed_generation": monitor.generation,
            "state": old.state if old.state == "Drifting" and reason != "ModelNotFound" else "Unknown",
            "message": message,
            "conditions": conclude(old.conditions, monitor.generation, now, summary),
        }
    )
