"""The last words of a container, in its termination log."""

from __future__ import annotations

import json
import logging
from pathlib import Path

log = logging.getLogger("modelward.serving")


def tell(termination_log: Path, document: dict[str, object]) -> None:
    """Last words, for the operator to read."""
    try:
        termination_log.write_text(json.dumps(document))
    except OSError:
        log.warning("the outcome could not be written to %s", termination_log)
