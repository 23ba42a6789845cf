"""Leader election: decisions on the Lease as an operator has observed it.

Times are seconds of the observer's own monotonic clock. The times in the Lease come from another machine and are only for
people to read.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

EPOCHS_BEGIN = datetime(2020, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Terms:
    """Durations in seconds. ``deadline < duration``: a leader has stopped before another may begin."""

    duration: float = 6.0
    """Age after which an unchanged Lease may be taken."""
    deadline: float = 4.5
    """Age of its last renewal after which a leader stops writing and exits."""
    period: float = 1.0
    """Pause between two renewals of a leader."""
    look: float = 0.5
    """Pause between two looks of a standby."""


@dataclass(frozen=True, slots=True)
class LeaseRecord:
    """The content of the Lease."""

    holder: str | None
    """None if it was released."""
    epoch: int
    """Grows each time that it is taken; pods refuse requests of an older epoch."""
    version: str
    """Its resourceVersion, which changes with each renewal."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """An observer's knowledge after its last look."""

    record: LeaseRecord | None
    """None if there is no Lease."""
    since: float
    """The time at which it was first seen in this state."""
    highest: int
    """The highest epoch seen, including in a Lease that is gone."""


@dataclass(frozen=True, slots=True)
class Claim:
    """The decision to take the Lease now."""

    epoch: int
    version: str | None
    """The resourceVersion that it must still have; None to create it."""


@dataclass(frozen=True, slots=True)
class StandBy:
    """The decision to look again later."""

    seconds: float


def sighted(before: Sighting | None, record: LeaseRecord | None, now: float) -> Sighting:
    """Return the knowledge after one more look. A Lease that vanished may have just been renewed: that is a change, too."""
    unchanged = before is not None and before.record == record
    return Sighting(
        record=record,
        since=before.since if before is not None and unchanged else now,
        highest=max(before.highest if before is not None else 0, record.epoch if record is not None else 0),
    )


def decide(me: str, seen: Sighting, now: float, today: datetime, terms: Terms) -> Claim | StandBy:
    """Claim a Lease that is free, that this pod held before its container restarted, or that has expired.

    Without a Lease, wait the full duration, too: it may have been deleted under a leader, which will restore it.
    """
    record = seen.record
    if record is not None and record.holder in (None, me):
        return Claim(_next_epoch(seen, today), record.version)
    left = seen.since + terms.duration - now
    if left > 0:
        return StandBy(min(left, terms.look))
    return Claim(_next_epoch(seen, today), record.version if record is not None else None)


def may_write(renewed: float, now: float, terms: Terms) -> bool:
    """Whether a leader with that last renewal certainly still leads."""
    return now < renewed + terms.deadline


def is_ours(record: LeaseRecord, me: str, epoch: int) -> bool:
    """Whether a Lease that changed unexpectedly still names this leader (it was labelled, or a response was lost)."""
    return (record.holder, record.epoch) == (me, epoch)


def _next_epoch(seen: Sighting, today: datetime) -> int:
    """Return a higher epoch than any that was seen. Without a Lease, use the calendar, because pods remember earlier epochs.

    Seconds since 2020 outrun takeovers, which take longer than a second each, and fit 31 bits until 2088.
    """
    if seen.record is not None and seen.record.epoch > 0:
        return seen.highest + 1
    return max(seen.highest + 1, int((today - EPOCHS_BEGIN).total_seconds()))
