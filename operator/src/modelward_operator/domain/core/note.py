"""An Event to write."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Note:
    """An Event to write on a transition."""

    kind: Literal["ModelVersion", "DriftMonitor", "TrainingJob", "ScoreBatch"]
    name: str
    type: Literal["Normal", "Warning"]
    reason: str
    message: str
