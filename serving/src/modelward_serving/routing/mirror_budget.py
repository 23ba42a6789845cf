"""Rate limit of mirrored requests: pure, with the clock as an argument."""

from __future__ import annotations

from dataclasses import dataclass

A_SECOND = 1000.0
"""Requests per second. Thousands decide a rollout; more would only slow clients' requests."""
AT_ONCE = 64.0


@dataclass(slots=True)
class TokenBucket:
    """Token bucket that holds up to AT_ONCE; each mirrored request takes one token.

    Once it is empty, it fills up completely before it gives another token. Consecutive mirrored requests run from warm CPU caches
    and cost less than the same number spread out.
    """

    left: float = AT_ONCE
    since: float = 0.0
    is_filling: bool = False

    def try_take(self, now: float) -> bool:
        """Take a token; return whether there was one."""
        self.left = min(AT_ONCE, self.left + (now - self.since) * A_SECOND)
        self.since = now
        if self.left < (AT_ONCE if self.is_filling else 1):
            self.is_filling = True
            return False
        self.is_filling = False
        self.left -= 1
        return True
