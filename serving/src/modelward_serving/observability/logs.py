"""What the process writes: never what a library says in an exception, because that may repeat a patient's value."""

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
    """An exception's type, and where it came from, without its message."""

    def formatException(self, ei: Any) -> str:  # noqa: N802
        """The frames and the type of each exception of the chain, the innermost first."""
        said: list[str] = []
        error: BaseException | None = ei[1]
        while error is not None:
            said.insert(0, f"{''.join(traceback.format_tb(error.__traceback__))}{type(error).__name__}")
            error = error.__cause__ or error.__context__
        return "\n".join(said)


class _Quiet(logging.Filter):
    """Of libraries' records only the place and the type of the exception are kept: their arguments may be values."""

    def filter(self, record: logging.LogRecord) -> bool:
        if not record.name.startswith(LIBRARIES):
            return True
        what = f", {record.exc_info[0].__name__}" if record.exc_info and record.exc_info[0] else ""
        record.msg = f"{record.name}: a {record.levelname.lower()} at {record.module}:{record.lineno}{what}"
        record.args = ()
        record.exc_info = record.exc_text = None
        return True


def begin() -> None:
    """Write to the standard output."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(Formatter("%(asctime)s %(levelname)s %(message)s"))
    handler.addFilter(_Quiet())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    for name in LIBRARIES:
        logging.getLogger(name).setLevel(logging.WARNING)


def adopt() -> None:
    """Take libraries' own handlers away, so that all they say comes through ours."""
    for name in list(logging.root.manager.loggerDict):
        if name.startswith(LIBRARIES):
            found = logging.getLogger(name)
            found.handlers.clear()
            found.propagate = True


def of_loop(_: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
    """The event loop's exception handler: its own would write the callback's arguments, which are what a caller sent."""
    error = context.get("exception")
    log.error("an error in the event loop: %s", type(error).__name__ if error is not None else "no exception")
