"""Why something cannot go on."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Failure:
    """Why something cannot go on: a CamelCase reason for programs and a sentence for people."""

    reason: str
    message: str
