"""Refusals by the API server, and Jobs that get no pods: shown in a status and retried with growing pauses."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from modelward_api.resources.conditions import Condition, find
from modelward_api.resources.reasons import ConditionType, Reason
from modelward_operator.domain.core.failure import Failure

MIN_RETRY, MAX_RETRY = 2.0, 300.0
"""Seconds until the next try: at least and at most."""
MAX_QUOTE_LENGTH = 700
_ABOVE_DEFAULT = "must be less than or equal to"

QUOTA, FORBIDDEN, REFUSED, NO_PODS = Reason.QUOTA_EXCEEDED, Reason.FORBIDDEN, Reason.OBJECT_REFUSED, Reason.PODS_REFUSED
REASONS = frozenset({QUOTA, FORBIDDEN, REFUSED, NO_PODS})


def refused(what: str, status: int, message: str) -> Failure:
    """Return the failure for an object that the API server refused, with its message."""
    if "exceeded quota" in message or "failed quota" in message:
        reason, remedy = QUOTA, "request less, set limits in resources, or raise the quota"
    elif status == 403:
        reason, remedy = FORBIDDEN, "change what the policy objects to, or the policy"
    else:
        reason, remedy = REFUSED, "correct what it names"
    quote = " ".join(message.split())[:MAX_QUOTE_LENGTH]
    return Failure(reason, f"The API server refuses {what} ({status}): {quote}. It is retried; {remedy}")


def without_pods(message: str) -> Failure:
    """Return the failure for a Job whose controller cannot create pods."""
    quote = " ".join(message.split())[:MAX_QUOTE_LENGTH]
    reason = QUOTA if "quota" in quote else NO_PODS
    remedy = "request less, set limits in resources, or change the rule"
    if _ABOVE_DEFAULT in quote:  # a request is never above a limit of ours
        remedy = (
            "that limit is the default of the namespace's LimitRange: set limits in resources, or raise the default"
        )
    return Failure(reason, f"No pod can be created: {quote}. It is retried; {remedy}")


def remembered(conditions: Sequence[Condition]) -> Failure | None:
    """Return the refusal that a status shows."""
    ready = find(conditions, ConditionType.READY)
    return Failure(ready.reason, ready.message) if ready is not None and ready.reason in REASONS else None


def again(conditions: Sequence[Condition], now: datetime) -> float:
    """Return the seconds until the next try: as long as the refusal has lasted."""
    ready = find(conditions, ConditionType.READY)
    if ready is None:
        return MIN_RETRY
    since = datetime.fromisoformat(ready.last_transition_time)
    return min(MAX_RETRY, max(MIN_RETRY, (now - since).total_seconds()))
