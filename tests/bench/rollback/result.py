"""The result of one run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Result:
    """One version, rolled back or not. Seconds count from the first bad answer that the new version gave."""

    system: str
    settings: str
    scenario: str
    """The new version's fault."""
    until_unused: float | None
    """Seconds until the last request that the new version got; None: it was not rolled back in the time that there was."""
    until_told: float | None
    """Seconds until the status reported it."""
    requests: int
    """Requests of all clients, from the first failure (soft: from the new version's first answer) until the end."""
    failed: int
    """Requests that got a failure, or no answer, from the new version."""
    waited: float = 0.0
    """How long the run was watched for at most, in seconds."""
    said: str = ""
    """The system's message."""
