"""Names of HTTP headers that more than one module reads or writes."""

from __future__ import annotations

AUTHORIZATION = b"authorization"
"""Carries the client's token."""
ENCODING = b"content-encoding"
JSON_HEAD = b"content-type: application/json\r\n"
JSON_LENGTH = b"inference-header-content-length"
"""Length of the JSON part, if binary tensors follow it."""
INVALID_HEADER = "x-modelward-invalid"
"""Set on a 500 of a model that returned no probability."""
