"""Modelward's training pipeline: from declared data to a verified ONNX bundle."""

from modelward_api.telemetry import turn_telemetry_off

turn_telemetry_off()
