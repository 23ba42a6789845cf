"""Limits on requests that REST, gRPC and the model share."""

from __future__ import annotations

MAX_ROWS = 10_000
MAX_BODY = 16 * 1024 * 1024
"""Bytes of a request's body, before and after decompression."""
MAX_HEAD = 64 * 1024
"""Bytes of an HTTP/1.1 request's head."""
MAX_REQUEST_SECONDS = 10.0
"""Seconds from a request's first byte to its last, and from a connection's beginning to its first byte."""
