"""Conditions the way kstatus reads them: Ready always, Reconciling and Stalled only while True."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, NamedTuple

from modelward_api.resources.conditions import Condition, upsert, without
from modelward_api.resources.reasons import ConditionType
from modelward_operator.domain.core.clock import stamp

State = Literal["True", "False", "Unknown"]
MAX_MESSAGE_LENGTH = 1024


@dataclass(frozen=True, slots=True)
class Conditions:
    """The conditions of one object while its next status is built."""

    all: tuple[Condition, ...]
    generation: int
    now: datetime

    def set(self, type_: str, status: State, reason: str, message: str = "") -> Conditions:
        """Add or replace a condition; its transition time changes only if its status does."""
        new = Condition(
            type=type_,
            status=status,
            observed_generation=self.generation,
            last_transition_time=stamp(self.now),
            reason=reason,
            message=message[:MAX_MESSAGE_LENGTH],
        )
        return Conditions(upsert(self.all, new), self.generation, self.now)

    def drop(self, type_: str) -> Conditions:
        """Remove a condition."""
        return Conditions(without(self.all, type_), self.generation, self.now)


class Detail(NamedTuple):
    """A condition of an object, or the absence of its type."""

    type: str
    state: State | None
    """None: the condition is absent."""
    reason: str = ""
    message: str = ""


def absent(type_: str) -> Detail:
    """Return a detail that removes the condition of that type."""
    return Detail(type_, None)


@dataclass(frozen=True, slots=True)
class Summary:
    """The conditions that kstatus expects of every object."""

    ready: State
    reason: str
    message: str
    reconciling: bool = False
    stalled: bool = False
    others: Sequence[tuple[str, State | None, str, str]] = ()
    """More conditions: see :class:`Detail`."""


def conclude(old: Sequence[Condition], generation: int, now: datetime, summary: Summary) -> tuple[Condition, ...]:
    """Return the next conditions of an object."""
    conditions = Conditions(tuple(old), generation, now).set(
        ConditionType.READY, summary.ready, summary.reason, summary.message
    )
    for type_, holds in ((ConditionType.RECONCILING, summary.reconciling), (ConditionType.STALLED, summary.stalled)):
        conditions = conditions.set(type_, "True", summary.reason, summary.message) if holds else conditions.drop(type_)
    for other, state, reason, message in summary.others:
        conditions = conditions.drop(other) if state is None else conditions.set(other, state, reason, message)
    return conditions.all
