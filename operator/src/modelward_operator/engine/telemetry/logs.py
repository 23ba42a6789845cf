"""Log lines of key=value pairs, one a record."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime


class KeyValues(logging.Formatter):
    """time, level, logger, message; a traceback becomes one more pair on the same line."""

    def format(self, record: logging.LogRecord) -> str:
        """Format one record as a line."""
        time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        pairs = {"time": time, "level": record.levelname.lower(), "logger": record.name}
        line = " ".join(f"{key}={value}" for key, value in pairs.items())
        line += f" message={json.dumps(record.getMessage())}"
        if record.exc_info:
            line += f" traceback={json.dumps(self.formatException(record.exc_info))}"
        return line


def begin(level: str) -> None:
    """Log to stderr from now on; kopf from WARNING."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(KeyValues())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)
    logging.getLogger("kopf").setLevel(logging.WARNING)
