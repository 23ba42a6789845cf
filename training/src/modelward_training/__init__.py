"""Modelward's training pipeline: from declared data to a verified ONNX bundle."""

import os

from modelward_api import given_environment
from modelward_api.telemetry import turn_telemetry_off

given_environment.adopt(os.environ)
turn_telemetry_off()
