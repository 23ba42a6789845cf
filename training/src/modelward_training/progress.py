"""Progress of the training: a log line for each step, and GET /v1/progress."""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from modelward_api.names import PROGRESS_PATH
from modelward_api.wire.exchange import Step, TrainingProgress

log = logging.getLogger("modelward.training")

STEPS: tuple[Step, ...] = ("load", "check", "split", "fit", "calibrate", "evaluate", "export", "bundle", "done")


class Progress:
    """The current step."""

    def __init__(self) -> None:
        self.current = TrainingProgress(step="load")

    @contextmanager
    def step(self, name: Step, message: str = "") -> Iterator[None]:
        """Start a step, and log its duration when it ends."""
        self.current = TrainingProgress(step=name, message=message, fraction=STEPS.index(name) / (len(STEPS) - 1))
        started = time.monotonic()
        yield
        log.info("%s done in %.2f s%s", name, time.monotonic() - started, f": {message}" if message else "")

    def serve(self, port: int) -> ThreadingHTTPServer:
        """Serve GET /v1/progress in a background thread."""
        progress = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                is_progress = self.path == PROGRESS_PATH
                body = json.dumps(progress.current.to_json() if is_progress else {"error": "not found"}).encode()
                self.send_response(200 if is_progress else 404)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def send_error(self, code: int, *_: object) -> None:
                """Send no page: Python's own repeats the request."""
                self.send_response_only(code)
                self.send_header("content-length", "0")
                self.end_headers()
                self.close_connection = True

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                """Write no access log."""

        server = ThreadingHTTPServer(("", port), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server
