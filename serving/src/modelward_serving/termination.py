"""The termination message of a container."""

from __future__ import annotations

import json
import logging
from pathlib import Path

log = logging.getLogger("modelward.serving")


def tell(termination_log: Path, document: dict[str, object]) -> None:
    """Write the termination message, for the operator."""
    try:
        termination_log.write_text(json.dumps(document))
    except OSError:
        log.warning("cannot write the outcome to %s", termination_log)
