"""Conditions of an object that the operator cannot work on: stalled until a person acts, or waiting."""

from __future__ import annotations

from datetime import datetime
from typing import TypeVar

from modelward_api.resources.conditions import find
from modelward_api.resources.driftmonitor import DriftMonitorStatus
from modelward_api.resources.modelversion import ModelVersionStatus
from modelward_api.resources.reasons import ConditionType
from modelward_api.resources.scorebatch import ScoreBatchStatus
from modelward_api.resources.trainingjob import TrainingJobStatus
from modelward_operator.domain.core.conditions import State, Summary, conclude
from modelward_operator.domain.core.failure import Failure

Status = TypeVar("Status", ModelVersionStatus, DriftMonitorStatus, TrainingJobStatus, ScoreBatchStatus)


def stalled(status: Status, generation: int, failure: Failure, now: datetime, ready: State = "False") -> Status:
    """Return the status with the failure; nothing else changes."""
    return _said(status, generation, now, Summary(ready, failure.reason, failure.message, stalled=True))


def waiting(status: Status, generation: int, failure: Failure, now: datetime) -> Status:
    """Return the status with an obstacle that resolves itself."""
    return _said(status, generation, now, Summary("False", failure.reason, failure.message, reconciling=True))


def is_new(status: Status, failure: Failure) -> bool:
    """Whether the status does not say so yet."""
    ready = find(status.conditions, ConditionType.READY)
    return ready is None or ready.reason != failure.reason


def _said(status: Status, generation: int, now: datetime, summary: Summary) -> Status:
    return status.model_copy(
        update={
            "observed_generation": generation,
            "message": summary.message,
            "conditions": conclude(status.conditions, generation, now, summary),
        }
    )
