"""Turn off the telemetry of libraries: they run near patients' data, and clinics' networks block it."""

from __future__ import annotations

import os

VARIABLES = {
    "ORT_DISABLE_TELEMETRY": "1",
    "BENTOML_DO_NOT_TRACK": "True",
    "DO_NOT_TRACK": "1",
}
"""Variables that turn it off: of ONNX Runtime (which resolves its collector's name nine seconds after its import), of BentoML,
and of all that follow https://consoledonottrack.com. The images set the same."""


def turn_telemetry_off() -> None:
    """Override the environment. Call this before the first import of such a library."""
    os.environ.update(VARIABLES)
