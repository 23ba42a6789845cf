"""How much evidence a champion may gather beside its own work: pure, with the clock as an argument."""

from __future__ import annotations

from dataclasses import dataclass

A_SECOND = 1000.0
"""Requests. A rollout is decided by thousands, so that more would only take from what the callers are owed."""
AT_ONCE = 64.0


@dataclass(slots=True)
class TokenBucket:
    """Fills with time, up to AT_ONCE; each request takes one.

    Once it is empty, it is left to fill up again: requests that are asked about one after another find what they run in the
    core's caches, and cost less than as many that come one by one between others; each is a pair of its own either way.
    """

    left: float = AT_ONCE
    since: float = 0.0
    is_filling: bool = False

    def try_take(self, now: float) -> bool:
        """Whether one more may be asked for evidence alone now."""
        self.left = min(AT_ONCE, self.left + (now - self.since) * A_SECOND)
        self.since = now
        if self.left < (AT_ONCE if self.is_filling else 1):
            self.is_filling = True
            return False
        self.is_filling = False
        self.left -= 1
        return True
