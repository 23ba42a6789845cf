"""The actions of a DriftMonitor that calls drift. A new action is one entry in :data:`ACTIONS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from modelward_api.resources.driftmonitor import DriftMonitorStatus
from modelward_api.resources.reasons import Reason
from modelward_operator.domain.core import chain
from modelward_operator.domain.core.note import Note
from modelward_operator.domain.drift.monitoring import Judgement, with_outcome
from modelward_operator.domain.drift.observation import Monitor


@dataclass(frozen=True, slots=True)
class Alarm:
    """One monitor's judgement, and the champions before and after the same reconcile."""

    monitor: Monitor
    judgement: Judgement
    champion_before: str | None
    champion: str | None
    """The ModelVersion that serves from now on."""

    def asks_for(self, do: str) -> bool:
        """Whether the monitor's spec has that action."""
        return any(action.do == do for action in self.monitor.spec.actions)


@dataclass(frozen=True, slots=True)
class Taken:
    """An action that was taken."""

    do: str
    feature: str
    """The feature that raised the alarm."""
    outcome: str
    event: tuple[str, str] | None = None
    """Reason and message of an Event about it."""


Act = Callable[[Alarm], Taken | None]


def roll_back(alarm: Alarm) -> Taken | None:
    """Report the rollback that the judgement has asked for: the rollout hands traffic back, if it can."""
    if not alarm.judgement.rollback:
        return None
    feature = alarm.judgement.status.worst_feature
    gone = alarm.champion != alarm.champion_before
    outcome = (
        f"{alarm.champion} serves all traffic again" if gone else "no earlier version is warm: nothing was rolled back"
    )
    return Taken("rollback", feature or "", outcome, (Reason.ROLLBACK, f"Drift in {feature}: {outcome}"))


def alert(alarm: Alarm) -> Taken | None:
    """Record the alert, once, when drift is called first: the condition, the Event and the metric carry it."""
    feature = alarm.judgement.alarm
    if not feature or not alarm.asks_for("alert"):
        return None
    return Taken("alert", feature, "condition, Event and metric")


ACTIONS: Mapping[str, Act] = {"rollback": roll_back, "alert": alert}
"""By ``spec.actions[].do``; the first that applies is taken."""


def act(alarm: Alarm, now: datetime) -> tuple[DriftMonitorStatus, tuple[Note, ...]]:
    """Return the monitor's next status and its Events."""
    name, status, notes = alarm.monitor.name, alarm.judgement.status, []
    if alarm.judgement.alarm:
        notes.append(Note("DriftMonitor", name, "Warning", Reason.DRIFT_DETECTED, status.message or ""))
    taken = chain.first(ACTIONS.values(), alarm)
    if taken is not None:
        status = with_outcome(status, taken.do, taken.feature, taken.outcome, now)
    if taken is not None and taken.event is not None:
        notes.append(Note("DriftMonitor", name, "Warning", *taken.event))
    return status, tuple(notes)
