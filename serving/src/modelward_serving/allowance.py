"""How much evidence a champion may gather beside its own work: pure, with the clock as an argument."""

from __future__ import annotations

from dataclasses import dataclass

A_SECOND = 1000.0
"""Requests. A rollout is decided by thousands, so that more would only take from what the callers are owed: each costs the
champion almost as much as answering one."""
AT_ONCE = 64.0


@dataclass(slots=True)
class Allowance:
    """Fills with time, up to AT_ONCE; each request takes one."""

    left: float = AT_ONCE
    since: float = 0.0

    def takes(self, now: float) -> bool:
        """Whether one more may be asked for evidence alone now."""
        self.left = min(AT_ONCE, self.left + (now - self.since) * A_SECOND)
        self.since = now
        if self.left < 1:
            return False
        self.left -= 1
        return True
