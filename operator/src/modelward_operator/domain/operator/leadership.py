"""Who leads: what an operator makes of the Lease as it has seen it.

Times are seconds of the observer's own monotonic clock: the Lease's times are another machine's, and only for people to read.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

EPOCHS_BEGIN = datetime(2020, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Terms:
    """Seconds. ``deadline < duration``: a leader has stopped before another one may begin."""

    duration: float = 6.0
    """A Lease that has not changed for so long may be taken."""
    deadline: float = 4.5
    """A leader whose last renewal was asked for so long ago writes nothing more, and ends."""
    period: float = 1.0
    """Between two renewals of a leader."""
    look: float = 0.5
    """Between two looks of a standby."""


@dataclass(frozen=True, slots=True)
class LeaseRecord:
    """What the Lease says."""

    holder: str | None
    """None: it was handed back."""
    epoch: int
    """Grows each time that it is taken; a pod refuses what an older epoch asks."""
    version: str
    """Its resourceVersion, which changes with each renewal."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """What an observer knows after its last look."""

    record: LeaseRecord | None
    """None: there is no Lease."""
    since: float
    """When it was first seen as it is."""
    highest: int
    """Of all epochs that were seen, also in a Lease that is gone."""


@dataclass(frozen=True, slots=True)
class Claim:
    """Take the Lease now."""

    epoch: int
    version: str | None
    """The resourceVersion at which it must still be; None: create it."""


@dataclass(frozen=True, slots=True)
class StandBy:
    """Look again later."""

    seconds: float


def sighted(before: Sighting | None, record: LeaseRecord | None, now: float) -> Sighting:
    """What is known after one more look. A Lease that vanished may have been renewed just before: that is a change, too."""
    unchanged = before is not None and before.record == record
    return Sighting(
        record=record,
        since=before.since if before is not None and unchanged else now,
        highest=max(before.highest if before is not None else 0, record.epoch if record is not None else 0),
    )


def decide(me: str, seen: Sighting, now: float, today: datetime, terms: Terms) -> Claim | StandBy:
    """Claim a Lease that is free, one that was this pod's before its container began anew, or one that has run out.

    Without a Lease the full duration is waited for, too: somebody may have deleted it under a leader, who will put it back.
    """
    record = seen.record
    if record is not None and record.holder in (None, me):
        return Claim(_next_epoch(seen, today), record.version)
    left = seen.since + terms.duration - now
    if left > 0:
        return StandBy(min(left, terms.look))
    return Claim(_next_epoch(seen, today), record.version if record is not None else None)


def may_write(renewed: float, now: float, terms: Terms) -> bool:
    """Whether a leader that asked for its last renewal then still leads for certain."""
    return now < renewed + terms.deadline


def is_ours(record: LeaseRecord, me: str, epoch: int) -> bool:
    """Whether a Lease that changed unexpectedly still names this leader (somebody labelled it, or an answer was lost)."""
    return (record.holder, record.epoch) == (me, epoch)


def _next_epoch(seen: Sighting, today: datetime) -> int:
    """One more than any that was seen; where the Lease knows none, the calendar does: pods remember those before.

    Seconds since 2020 outrun takeovers, which take longer than a second each, and fit 31 bits until 2088.
    """
    if seen.record is not None and seen.record.epoch > 0:
        return seen.highest + 1
    return max(seen.highest + 1, int((today - EPOCHS_BEGIN).total_seconds()))
