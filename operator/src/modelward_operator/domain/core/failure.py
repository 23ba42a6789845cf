"""The reason that something fails or waits."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Failure:
    """The reason that something fails or waits: in CamelCase for programs, and a sentence for people."""

    reason: str
    message: str
