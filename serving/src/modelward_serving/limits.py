"""What a stranger may send: limits that REST, gRPC and the model share."""

from __future__ import annotations

MOST_ROWS = 10_000
LARGEST_BODY = 16 * 1024 * 1024
"""Bytes of a request's body, also after it is decompressed."""
LARGEST_HEAD = 64 * 1024
"""Bytes of an HTTP/1.1 request's head."""
SLOWEST_REQUEST = 10.0
"""Seconds from a request's first byte to its last, and from a connection's beginning to its first byte."""
