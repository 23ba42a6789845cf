"""Modelward's model server: BentoML and ONNX Runtime behind the Open Inference Protocol."""

from modelward_api.telemetry import turn_telemetry_off

turn_telemetry_off()
