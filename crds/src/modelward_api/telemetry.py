"""No library tells its makers anything: patients' data are near, and clinics' networks let nothing out."""

from __future__ import annotations

import os

VARIABLES = {
    "ORT_DISABLE_TELEMETRY": "1",
    "BENTOML_DO_NOT_TRACK": "True",
    "DO_NOT_TRACK": "1",
}
"""What turns it off: ONNX Runtime (which asks for the name of its maker's collector nine seconds after its import), BentoML, and
others that keep to https://consoledonottrack.com. The images set the same."""


def turn_telemetry_off() -> None:
    """Before the first import of such a library, whatever the environment says."""
    os.environ.update(VARIABLES)
