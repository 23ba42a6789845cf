"""Logging. Text of library exceptions is never logged, because it may contain a patient's value."""

from __future__ import annotations

import asyncio
import logging
import sys
import traceback
from collections.abc import Mapping
from typing import Any

log = logging.getLogger("modelward.serving")
LIBRARIES = ("bentoml", "_bentoml_sdk", "_bentoml_impl", "uvicorn", "asyncio", "aiohttp", "opentelemetry", "multipart")


class Formatter(logging.Formatter):
    """Formats exceptions without their messages."""

    def formatException(self, ei: Any) -> str:  # noqa: N802
        """Return frames and type of each exception in the chain, innermost first."""
        lines: list[str] = []
        error: BaseException | None = ei[1]
        while error is not None:
            lines.insert(0, f"{''.join(traceback.format_tb(error.__traceback__))}{type(error).__name__}")
            error = error.__cause__ or error.__context__
        return "\n".join(lines)


class _Quiet(logging.Filter):
    """Reduces library records to the place and the exception's type: their arguments may be values."""

    def filter(self, record: logging.LogRecord) -> bool:
        if not record.name.startswith(LIBRARIES):
            return True
        error_type = f", {record.exc_info[0].__name__}" if record.exc_info and record.exc_info[0] else ""
        record.msg = f"{record.name}: a {record.levelname.lower()} at {record.module}:{record.lineno}{error_type}"
        record.args = ()
        record.exc_info = record.exc_text = None
        return True


def begin() -> None:
    """Configure logging to standard output."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(Formatter("%(asctime)s %(levelname)s %(message)s"))
    handler.addFilter(_Quiet())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    for name in LIBRARIES:
        logging.getLogger(name).setLevel(logging.WARNING)


def adopt() -> None:
    """Remove the handlers of libraries, so that their records pass ours."""
    for name in list(logging.root.manager.loggerDict):
        if name.startswith(LIBRARIES):
            found = logging.getLogger(name)
            found.handlers.clear()
            found.propagate = True


def of_loop(_: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
    """Log an event-loop error. The default handler would log callback arguments, which may hold a request."""
    error = context.get("exception")
    log.error("an error in the event loop: %s", type(error).__name__ if error is not None else "no exception")
