"""Time as statuses hold it. The clock itself is always an argument."""

from __future__ import annotations

from datetime import UTC, datetime

from modelward_api.base import Timestamp


def stamp(moment: datetime) -> Timestamp:
    """Format a time as RFC 3339 in UTC, to the second."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def elapsed(since: Timestamp | None, now: datetime) -> float:
    """Return the seconds since then; 0 if there is no such time or the clock went backwards."""
    if since is None:
        return 0.0
    return max(0.0, (now - datetime.fromisoformat(since)).total_seconds())
