"""Writes that the API server refuses, and what a version's status may say meanwhile."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from modelward_api.resources.conditions import Condition, find, without
from modelward_api.resources.modelversion import ModelVersionStatus
from modelward_api.resources.reasons import ConditionType, Reason
from modelward_operator.domain.core.clock import stamp
from modelward_operator.domain.core.conditions import Conditions

APPLIED = ConditionType.APPLIED
"""The condition that exists only while a write is refused."""
MAX_MESSAGE_LENGTH = 500
"""Characters of the API server's message that are quoted."""
_LASTING = {
    400: Reason.INVALID,
    403: Reason.FORBIDDEN,
    404: Reason.NOT_FOUND,
    405: Reason.NOT_ALLOWED,
    413: Reason.TOO_LARGE,
    422: Reason.INVALID,
}
_PASSING = {0: Reason.API_SERVER_UNREACHABLE, 409: Reason.CONFLICT, 429: Reason.TOO_MANY_REQUESTS}


@dataclass(frozen=True, slots=True)
class Refusal:
    """One refused write."""

    what: str
    """Kind and name of the object, such as Deployment mortality-v3."""
    status: int
    """The HTTP status; 0 without a response."""
    reply: str
    """The API server's message: about a manifest, never about a patient."""
    times: int = 1
    """Refusals in a row."""

    @property
    def lasts(self) -> bool:
        """Whether a person must act, judging by the status."""
        return self.status in _LASTING

    @property
    def is_worth_telling(self) -> bool:
        """Whether to show it: one that the next try resolves is not shown."""
        return self.lasts or self.times > 1

    @property
    def reason(self) -> str:
        """The reason in CamelCase."""
        if self.status == 403 and "exceeded quota" in self.reply:
            return Reason.QUOTA_EXCEEDED
        return _LASTING.get(self.status) or _PASSING.get(self.status) or Reason.API_SERVER_ERROR

    @property
    def message(self) -> str:
        """The message. It is the same for each try, so that the status is not rewritten."""
        reply = self.reply if len(self.reply) <= MAX_MESSAGE_LENGTH else self.reply[: MAX_MESSAGE_LENGTH - 3] + "..."
        mend = "correct the spec, the quota or the permissions. It is retried" if self.lasts else "it is retried"
        return f"{self.what} is refused: {reply.rstrip('.')}. What depends on it waits; {mend}"


@dataclass(frozen=True, slots=True)
class Attempted:
    """The result of the writes for one version in this reconcile."""

    refusals: Sequence[Refusal] = ()
    withheld: bool = False
    """Whether its next status depends on a refused write, and is withheld."""
    tried: bool = True
    """Whether there was anything to write for it; else the message of an earlier try stays."""
    unreachable: bool = False
    """Whether no traffic reaches it, though its status says that it serves."""


def status_to_write(
    old: ModelVersionStatus, wanted: ModelVersionStatus, attempted: Attempted, generation: int, now: datetime
) -> ModelVersionStatus:
    """Return the status to write: the wanted one, or the old one if it is withheld, each with the refusal."""
    refusal = _worst(attempted.refusals)
    if attempted.withheld:
        return _as_it_was(old, refusal, attempted, generation, now)
    if refusal is None:
        if not attempted.tried and is_refused(old, generation):
            return wanted
        return wanted.model_copy(update={"conditions": without(wanted.conditions, APPLIED)})
    conditions = _with(wanted, refusal, generation, now, keeps_ready=not attempted.unreachable)
    return wanted.model_copy(update={"conditions": conditions})


def is_refused(status: ModelVersionStatus, generation: int) -> bool:
    """Whether the last try to deploy the version was refused, and its spec has not changed since."""
    applied = find(status.conditions, APPLIED)
    told_of = applied is not None and applied.status == "False" and applied.observed_generation == generation
    return told_of and find(status.conditions, ConditionType.STALLED) is not None and status.phase in (None, "Pending")


def is_new(old: ModelVersionStatus, refusal: Refusal) -> bool:
    """Whether the status does not show it yet."""
    applied = find(old.conditions, APPLIED)
    return applied is None or applied.reason != refusal.reason


def _worst(refusals: Sequence[Refusal]) -> Refusal | None:
    """Return the refusal to show: a lasting one first."""
    worth = [refusal for refusal in refusals if refusal.is_worth_telling]
    return min(worth, key=lambda refusal: not refusal.lasts, default=None)


def _as_it_was(
    old: ModelVersionStatus, refusal: Refusal | None, attempted: Attempted, generation: int, now: datetime
) -> ModelVersionStatus:
    if refusal is None:
        return old
    keeps_ready = _answers(old) and not attempted.unreachable
    return old.model_copy(
        update={
            "observed_generation": generation,
            "phase": old.phase or "Pending",
            "phase_since": old.phase_since or stamp(now),
            "message": refusal.message,
            "conditions": _with(old, refusal, generation, now, keeps_ready=keeps_ready),
        }
    )


def _answers(status: ModelVersionStatus) -> bool:
    ready = find(status.conditions, ConditionType.READY)
    return ready is not None and ready.status == "True" and status.phase in ("Champion", "Standby", "Shadow")


def _with(
    status: ModelVersionStatus, refusal: Refusal, generation: int, now: datetime, *, keeps_ready: bool
) -> tuple[Condition, ...]:
    """Return the conditions with the refusal. A version that serves stays Ready and is Stalled as well."""
    found = Conditions(tuple(status.conditions), generation, now)
    if not keeps_ready:
        found = found.set(ConditionType.READY, "False", refusal.reason, refusal.message)
    holds, other = (
        (ConditionType.STALLED, ConditionType.RECONCILING)
        if refusal.lasts
        else (ConditionType.RECONCILING, ConditionType.STALLED)
    )
    for type_, state in ((APPLIED, "False"), (holds, "True")):
        found = found.set(type_, state, refusal.reason, refusal.message)  # type: ignore[arg-type]
    return found.drop(other).all
