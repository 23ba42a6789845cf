"""DriftMonitors: windows of counts against the champion's frozen reference."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import partial
from math import log

from modelward_api.base import Digest, seconds
from modelward_api.bundle.documents import FeatureReference, ReferenceProfile
from modelward_api.resources.driftmonitor import ActionTaken, DriftMonitorSpec, DriftMonitorStatus, FeatureDrift
from modelward_api.resources.reasons import ConditionType, Reason
from modelward_api.wire.exchange import ProfileCounts
from modelward_operator.domain.core.clock import elapsed, stamp
from modelward_operator.domain.core.conditions import Summary, conclude
from modelward_operator.domain.core.failure import Failure
from modelward_operator.domain.drift.detector import Cells, Detector, look, max_stretches, pack, read, unpack
from modelward_operator.domain.drift.observation import Monitor
from modelward_operator.domain.evidence import publication
from modelward_operator.domain.evidence.ledger import since
from modelward_operator.domain.evidence.signals import significant
from modelward_operator.domain.evidence.statistics import MIN_REFERENCE_ROWS

MAX_ACTIONS = 16


@dataclass(frozen=True, slots=True)
class Watched:
    """The champion as a monitor sees it."""

    name: str
    reference: ReferenceProfile | None
    """None until its pods have answered."""
    total: ProfileCounts
    """All rows that its pods have counted."""
    digest: Digest = ""
    monitors: int = 1
    """Number of monitors that watch it; they share the space in its record."""
    copies: int = 1
    """How often one observation may have been counted: each pod remembers encounters of its own."""
    columns: tuple[tuple[str, ...], ...] = ()
    """The declared strata of each column, which are published together."""


@dataclass(frozen=True, slots=True)
class Window:
    """The counts of a window, and the reference for them."""

    features: list[FeatureReference]
    """Of all rows."""
    strata: dict[str, dict[str, FeatureReference]]
    """By stratum and feature."""
    judged: set[str]
    """The strata with enough rows; the windows of the others go on."""
    told: set[str]
    """Those whose figures are told: whoever counts all rows exactly would get at the rows of the others of their column."""
    start: ProfileCounts
    fresh: ProfileCounts

    def next(self, total: ProfileCounts) -> ProfileCounts:
        """The start of the next window."""
        waiting = {
            name: own for name, own in self.start.strata.items() if name in self.strata and name not in self.judged
        }
        return total.model_copy(update={"strata": {**total.strata, **waiting}})


@dataclass(frozen=True, slots=True)
class Bar:
    """The thresholds that evidence and effect must both exceed, and whether they do."""

    evidence: float
    effect: float
    called: bool


@dataclass(frozen=True, slots=True)
class Judgement:
    """A monitor's state after a round."""

    status: DriftMonitorStatus
    window: ProfileCounts | None
    """The champion's totals at the start of the window under way."""
    detectors: str | None = None
    """The memory of earlier windows, packed."""
    alarm: str | None = None
    """The feature with the most evidence, at the moment that drift is called for the first time."""
    rollback: bool = False
    """Whether its actions ask for a rollback now."""


def judge(
    monitor: Monitor, watched: Watched | None, window: ProfileCounts | None, now: datetime, detectors: str | None = None
) -> Judgement:
    """Look at the counts: open a window, wait for more rows, or judge the window and open the next."""
    if watched is None:
        message = f"No version of model {monitor.spec.model!r} serves; spec.model names none, or none is ready yet"
        return Judgement(_unknown(monitor, Reason.MODEL_NOT_FOUND, message, now), None)
    if watched.reference is None:
        message = f"Waiting for the counts of {watched.name}"
        return Judgement(_unknown(monitor, Reason.WAITING_FOR_COUNTS, message, now), window, detectors)
    known = _references(watched.reference)
    chosen = [known[name] for name in _chosen(monitor, known)]
    usable = [reference for reference in chosen if _is_large(reference)]
    if not usable:
        message = (
            f"{watched.name} was trained on {publication.requests(watched.reference.rows)} rows; a reference needs "
            f"{MIN_REFERENCE_ROWS} before anything can be called a shift from it. Train the next version on more rows"
        )
        return Judgement(_unknown(monitor, Reason.REFERENCE_TOO_SMALL, message, now), None)
    if monitor.status.champion != watched.name:
        return Judgement(_opened(monitor, watched, now), watched.total)
    fresh = since(watched.total, window) if window is not None else None
    if window is None or fresh is None:
        return Judgement(_reopened(monitor, watched, now), watched.total, detectors)
    enough = fresh.rows >= monitor.spec.tests.minimum_rows
    if not enough or elapsed(monitor.status.window_since, now) < seconds(monitor.spec.interval):
        return Judgement(_concluded(monitor, monitor.status, watched, now), window, detectors)
    strata = _strata(monitor, watched.reference)
    judged = {stratum for stratum in strata if _rows(fresh, stratum) >= monitor.spec.tests.minimum_rows}
    told = _told(watched, watched.reference, judged)
    return _judged(monitor, watched, Window(usable, strata, judged, told, window, fresh), detectors, now)


def with_outcome(status: DriftMonitorStatus, do: str, feature: str, outcome: str, now: datetime) -> DriftMonitorStatus:
    """The status with one more action taken."""
    taken = ActionTaken(time=stamp(now), do=do, feature=feature, outcome=outcome)
    return status.model_copy(update={"actions_taken": (*status.actions_taken, taken)[-MAX_ACTIONS:]})


def _references(profile: ReferenceProfile) -> dict[str, FeatureReference]:
    return {feature.name: feature for feature in (*profile.features, profile.score)}


def _chosen(monitor: Monitor, known: dict[str, FeatureReference]) -> list[str]:
    wanted = monitor.spec.features or tuple(known)
    return list(dict.fromkeys(name for name in (*wanted, "score") if name in known))


def _strata(monitor: Monitor, profile: ReferenceProfile) -> dict[str, dict[str, FeatureReference]]:
    found: dict[str, dict[str, FeatureReference]] = {}
    for stratum in profile.strata:
        references = {name: profile.of_stratum(stratum, name) for name in monitor.spec.subgroups}
        found[stratum] = {name: ref for name, ref in references.items() if ref is not None and _is_large(ref)}
    return {stratum: references for stratum, references in found.items() if references}


def _rows(counts: ProfileCounts, stratum: str) -> int:
    return max((sum(cells) for cells in counts.strata.get(stratum, {}).values()), default=0)


def _is_large(reference: FeatureReference) -> bool:
    return sum(reference.counts) >= MIN_REFERENCE_ROWS


def _judged(
    monitor: Monitor,
    watched: Watched,
    window: Window,
    detectors: str | None,
    now: datetime,
) -> Judgement:
    fresh, tests = window.fresh, monitor.spec.tests
    references = [*window.features, *(r for own in window.strata.values() for r in own.values())]
    threshold = log(len(references) / tests.alpha)
    memory = f"{watched.digest} {threshold}"
    remembered = unpack(detectors, memory)
    most = max_stretches(sum(len(reference.counts) for reference in references), watched.monitors)
    before = {feature.name: feature for feature in monitor.status.features}
    kept = {reference.name: _detector(reference, remembered, before) for reference in references}

    def judged(reference: FeatureReference, found: Cells | None, *, told: bool = True) -> FeatureDrift:
        counts = found or (0,) * len(reference.counts)
        name, room = reference.name, (threshold, tests.minimum_effect, most)
        was_drifting = kept[name].drifting
        view = partial(publication.nearest, reference.counts)
        kept[name], _ = look(kept[name], reference.counts, counts, *room, view, watched.copies)
        called = kept[name].drifting and not was_drifting
        if not told:
            return _withheld(name, publication.requests(tests.minimum_rows), threshold, drifting=kept[name].drifting)
        return _shown(reference, counts, kept[name], Bar(threshold, tests.minimum_effect, called=called))

    shown = [judged(reference, fresh.features.get(reference.name)) for reference in window.features]
    for stratum, own in window.strata.items():
        if stratum in window.judged:
            told = stratum in window.told
            shown += [judged(ref, fresh.strata[stratum].get(name), told=told) for name, ref in own.items()]
        else:
            shown += [before[reference.name] for reference in own.values() if reference.name in before]
    worst = max(shown, key=lambda f: (f.drifting, (f.log_evidence or 0.0) - threshold, f.psi or 0.0))
    was_drifting = monitor.status.state == "Drifting"
    is_drifting = worst.drifting
    status = monitor.status.model_copy(
        update={
            "state": "Drifting" if is_drifting else "Quiet",
            "window_since": stamp(now),
            "rows": (monitor.status.rows or 0) + publication.requests(fresh.rows),
            "worst_feature": worst.name,
            "evidence": _evidence(worst, threshold),
            "features": tuple(shown),
            "last_alarm": stamp(now) if is_drifting and not was_drifting else monitor.status.last_alarm,
        }
    )
    return Judgement(
        _concluded(monitor, status, watched, now),
        window.next(watched.total),
        pack(memory, kept),
        alarm=worst.name if is_drifting and not was_drifting else None,
        rollback=is_drifting and _rollback_due(monitor, now),
    )


def _detector(
    reference: FeatureReference, remembered: dict[str, Detector], before: dict[str, FeatureDrift]
) -> Detector:
    """Return the memory of a feature. If the record was lost, an episode in the status continues."""
    name = reference.name
    return remembered.get(name) or Detector(drifting=name in before and before[name].drifting)


def _shown(reference: FeatureReference, counts: Cells, detector: Detector, bar: Bar) -> FeatureDrift:
    """Return the published figures: from rough counts, and on the same side of the threshold as the exact ones."""
    told = read(reference.counts, detector.stretches, partial(publication.nearest, reference.counts))
    evidence, effect = publication.power(told.log_evidence, bar.evidence, above=bar.called), told.effect
    if not bar.called and (detector.drifting or effect < bar.effect):  # one of the two may be above
        evidence = float(round(told.log_evidence))
    return FeatureDrift(
        name=reference.name,
        rows=publication.requests(sum(counts)),
        log_evidence=evidence,
        threshold=significant(bar.evidence),
        psi=significant(max(effect, bar.effect) if bar.called else effect, 2),
        jensen_shannon=significant(told.jensen_shannon, 2),
        drifting=detector.drifting,
    )


def _withheld(name: str, rows: int, threshold: float, *, drifting: bool) -> FeatureDrift:
    """Return what people may read of a stratum beside one with few rows."""
    return FeatureDrift(name=name, rows=rows, threshold=significant(threshold), drifting=drifting)


def _evidence(feature: FeatureDrift, threshold: float) -> str:
    if feature.log_evidence is None or feature.psi is None:
        return f"log-evidence above {threshold:.3g}"
    return f"log-evidence {feature.log_evidence:g}, threshold {threshold:.3g}, PSI {feature.psi:.2g}"


def _told(watched: Watched, reference: ReferenceProfile, judged: set[str]) -> set[str]:
    declared = {stratum for column in watched.columns for stratum in column}
    columns = [*watched.columns, tuple(stratum for stratum in reference.strata if stratum not in declared)]
    return {stratum for column in columns if judged.issuperset(column) for stratum in column}


def _rollback_due(monitor: Monitor, now: datetime) -> bool:
    for action in monitor.spec.actions:
        if action.do != "rollback":
            continue
        last = max((taken.time for taken in monitor.status.actions_taken if taken.do == "rollback"), default=None)
        return last is None or elapsed(last, now) >= seconds(action.cooldown)
    return False


def _opened(monitor: Monitor, watched: Watched, now: datetime) -> DriftMonitorStatus:
    """Begin the first window against this champion. Counts against another champion do not apply to it."""
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
    return _concluded(monitor, status, watched, now)


def _reopened(monitor: Monitor, watched: Watched, now: datetime) -> DriftMonitorStatus:
    """Begin the next window. The current one is lost, with the counters or the record; earlier windows stay."""
    status = monitor.status.model_copy(update={"window_since": stamp(now)})
    return _concluded(monitor, status, watched, now)


def _concluded(monitor: Monitor, status: DriftMonitorStatus, watched: Watched, now: datetime) -> DriftMonitorStatus:
    message = _message(monitor, status)
    summary = Summary("True", Reason.WATCHING, message)
    if (lacks := _lacks(monitor, watched)) is not None:
        summary = Summary("False", lacks.reason, f"{lacks.message}. {message}", stalled=True)
        message = summary.message
    drifting = (
        ConditionType.DRIFTING,
        "True" if status.state == "Drifting" else "False",
        status.state or "Unknown",
        message,
    )
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


def _lacks(monitor: Monitor, watched: Watched) -> Failure | None:
    """Return which of the features or subgroups that it names the model does not have."""
    profile, subgroups = watched.reference, monitor.spec.subgroups
    known = _references(profile) if profile else {}
    for field, wanted in (("subgroups", subgroups), ("features", monitor.spec.features)):
        if missing := [name for name in wanted if name not in known]:
            message = (
                f"spec.{field}[{wanted.index(missing[0])}]: the model has no feature {', '.join(map(repr, missing))}; "
                f"it has {', '.join(sorted(known))}. The others are watched"
            )
            return Failure(Reason.FEATURE_NOT_FOUND, message)
    if subgroups not in ((), DriftMonitorSpec.model_fields["subgroups"].default) and not watched.columns:
        message = (
            f"spec.subgroups: the bundle of {watched.name} declares no subgroups, so only all rows together are watched. Train "
            "the next version with spec.evaluation.subgroups, or set subgroups: []"
        )
        return Failure(Reason.NO_SUBGROUPS, message)
    return None


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
    stalled = reason == Reason.REFERENCE_TOO_SMALL  # all else mends itself, once a version serves and its pods answer
    summary = Summary("False", reason, message, reconciling=not stalled, stalled=stalled)
    return old.model_copy(
        update={
            "observed_generation": monitor.generation,
            "state": old.state if old.state == "Drifting" and reason != Reason.MODEL_NOT_FOUND else "Unknown",
            "message": message,
            "conditions": conclude(old.conditions, monitor.generation, now, summary),
        }
    )
