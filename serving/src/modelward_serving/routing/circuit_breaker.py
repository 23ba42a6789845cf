"""Circuit breaker for a failing challenger: pure, with the clock as an argument."""

from __future__ import annotations

from dataclasses import dataclass

IN_A_ROW = 20
"""Consecutive failures that open the breaker: as many as the rule for hard failures looks at."""
COOL_DOWN = 1.0
"""Seconds until one request may try again."""


@dataclass(slots=True)
class Breaker:
    """Consecutive failures of one challenger; reset for a new challenger."""

    digest: str = ""
    failures: int = 0
    until: float = 0.0

    def lets_through(self, digest: str, now: float) -> bool:
        """Return whether a request may be sent now; one at a time until the challenger answers again."""
        if digest != self.digest or self.failures < IN_A_ROW:
            return True
        if now < self.until:
            return False
        self.until = now + COOL_DOWN
        return True

    def record(self, digest: str, answered: bool, now: float) -> None:
        """Record whether a request was answered."""
        if digest != self.digest:
            self.digest, self.failures = digest, 0
        self.failures = 0 if answered else self.failures + 1
        if self.failures == IN_A_ROW:
            self.until = now + COOL_DOWN
