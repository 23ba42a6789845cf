"""A DriftMonitor as observed."""

from __future__ import annotations

from dataclasses import dataclass

from modelward_api.resources.driftmonitor import DriftMonitorSpec, DriftMonitorStatus


@dataclass(frozen=True, slots=True)
class Monitor:
    """One DriftMonitor on the model."""

    name: str
    generation: int
    spec: DriftMonitorSpec
    status: DriftMonitorStatus
