"""What one run found."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Result:
    """One version, rolled back or not. Seconds count from the first bad answer that the new version gave."""

    system: str
    settings: str
    scenario: str
    """What was wrong with the new version."""
    until_unused: float | None
    """Seconds until the last request that the new version got; None: it was not rolled back in the time that there was."""
    until_told: float | None
    """Seconds until the status said so."""
    requests: int
    """What callers asked in all, from the first bad answer (soft: from the first of the new version) until the end."""
    failed: int
    """How many callers got a failure, or nothing, from the new version."""
    waited: float = 0.0
    """How long the run was watched for at most, in seconds."""
    said: str = ""
    """What the system said."""
