"""An HTTP server's handler that answers every GET with the same bytes."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler


def publishing(content: bytes) -> type[BaseHTTPRequestHandler]:
    """Return a handler that publishes the content at every path."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_): ...

    return Handler
