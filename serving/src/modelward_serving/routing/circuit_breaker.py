"""When to leave a challenger that does not answer alone for a while: pure, with the clock as an argument."""

from __future__ import annotations

from dataclasses import dataclass

IN_A_ROW = 20
"""Failures in a row after which it is left alone: as many as the rule for hard failures looks at."""
COOL_DOWN = 1.0
"""Seconds; then one request tries again."""


@dataclass(slots=True)
class Breaker:
    """One challenger's recent failures. A new challenger starts afresh."""

    digest: str = ""
    failures: int = 0
    until: float = 0.0

    def lets_through(self, digest: str, now: float) -> bool:
        """Whether a request may go there now; one at a time while it has not answered again."""
        if digest != self.digest or self.failures < IN_A_ROW:
            return True
        if now < self.until:
            return False
        self.until = now + COOL_DOWN
        return True

    def record(self, digest: str, answered: bool, now: float) -> None:
        """An answer, or none, came of a request."""
        if digest != self.digest:
            self.digest, self.failures = digest, 0
        self.failures = 0 if answered else self.failures + 1
        if self.failures == IN_A_ROW:
            self.until = now + COOL_DOWN
