"""Telemetry of the operator: metrics, logs, health."""
