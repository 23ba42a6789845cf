"""What the API server refuses, and what keeps a Job from getting pods: told in a status, and tried again more and more seldom."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from modelward_api.resources.conditions import Condition, find
from modelward_operator.domain.core.failure import Failure

MIN_RETRY, MAX_RETRY = 2.0, 300.0
"""Seconds until the next try."""
MAX_QUOTE_LENGTH = 700

QUOTA, FORBIDDEN, REFUSED, NO_PODS = "QuotaExceeded", "Forbidden", "ObjectRefused", "PodsRefused"
REASONS = frozenset({QUOTA, FORBIDDEN, REFUSED, NO_PODS})


def refused(what: str, status: int, message: str) -> Failure:
    """Of an object that the API server did not take, with what it said of it."""
    if "exceeded quota" in message or "failed quota" in message:
        reason, remedy = QUOTA, "request less, set limits in resources, or raise the quota"
    elif status == 403:
        reason, remedy = FORBIDDEN, "change what the policy objects to, or the policy"
    else:
        reason, remedy = REFUSED, "correct what it names"
    said = " ".join(message.split())[:MAX_QUOTE_LENGTH]
    return Failure(reason, f"The API server refuses {what} ({status}): {said}. It is retried; {remedy}")


def without_pods(message: str) -> Failure:
    """Of a Job whose controller is refused its pods."""
    said = " ".join(message.split())[:MAX_QUOTE_LENGTH]
    reason = QUOTA if "quota" in said else NO_PODS
    remedy = "request less, set limits in resources, or change the rule"
    return Failure(reason, f"No pod can be created: {said}. It is retried; {remedy}")


def remembered(conditions: Sequence[Condition]) -> Failure | None:
    """The refusal that a status tells of."""
    ready = find(conditions, "Ready")
    return Failure(ready.reason, ready.message) if ready is not None and ready.reason in REASONS else None


def again(conditions: Sequence[Condition], now: datetime) -> float:
    """Seconds until the next try: as long as it has been going on already."""
    ready = find(conditions, "Ready")
    if ready is None:
        return MIN_RETRY
    since = datetime.fromisoformat(ready.last_transition_time)
    return min(MAX_RETRY, max(MIN_RETRY, (now - since).total_seconds()))
