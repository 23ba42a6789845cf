"""A small HTTP service that fails for the rows that it is told to fail for, and counts what it answers, as our server does.

For controllers that roll out any service: one file, nothing beside Python, a tenth of a model server's start.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PORT = 8080
FAULT = json.loads(os.environ["FAULT"])
VERSION = os.environ["VERSION"]
CODES: Counter[int] = Counter({200: 0, 422: 0, 500: 0})


def code(row: dict[str, float]) -> int:
    """Return the HTTP status for a row."""
    for name, limits in FAULT["limits"].items():
        if not limits.get("minimum", row[name]) <= row[name] <= limits.get("maximum", row[name]):
            return 422
    if FAULT["nonsense"] is None:
        return 200
    column, comparison, cut = FAULT["nonsense"]
    is_nonsense = row[column] > cut if comparison == "Greater" else row[column] < cut
    return 500 if is_nonsense else 200


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        lines = [f'modelward_requests_total{{code="{number}"}} {count}' for number, count in CODES.items()]
        self._answer(200, "\n".join(lines) + "\n" if self.path == "/metrics" else "ok")

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        number = code({tensor["name"]: tensor["data"][0] for tensor in request["inputs"]})
        CODES[number] += 1
        self._answer(number, "{}")

    def _answer(self, number: int, text: str) -> None:
        self.send_response(number)
        self.send_header("x-modelward-version", VERSION)
        self.send_header("content-length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_: object) -> None:
        """Nothing is logged."""


if __name__ == "__main__":
    ThreadingHTTPServer(("", PORT), Handler).serve_forever()
