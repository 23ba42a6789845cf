"""Modelward's model server: BentoML and ONNX Runtime behind the Open Inference Protocol."""

import os

from modelward_api import given_environment
from modelward_api.telemetry import turn_telemetry_off

given_environment.adopt(os.environ)
turn_telemetry_off()
