"""Tests, benchmarks, and a cluster for them. What they import and start tells its makers nothing, either."""

from modelward_api.telemetry import turn_telemetry_off

turn_telemetry_off()
