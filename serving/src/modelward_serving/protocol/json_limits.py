"""Limit on the number of values in a JSON document, checked before it is parsed."""

from __future__ import annotations

from modelward_api.resources.reasons import Reason
from modelward_serving.errors import RefusedError
from modelward_serving.limits import MAX_ROWS

SMALL = 64 * 1024
"""Bytes of a document that stays within a few megabytes when parsed."""


def max_values(columns: int) -> int:
    """Return the limit of values in a document for a model with so many columns, with room for names and parameters."""
    return MAX_ROWS * max(columns, 1) + 4096


def check_values(content: bytes | bytearray | memoryview, most: int) -> None:
    """Refuse a document with more values than any valid request: each takes up to 30 times its bytes in memory.

    A category may contain a comma, so twice as many commas as values are allowed.

    Raises:
        RefusedError: 413 TooManyValues.
    """
    if len(content) <= SMALL:
        return
    if isinstance(content, memoryview):
        content = bytes(content)
    if content.count(b",") > 2 * most or content.count(b"[") + content.count(b"{") > most:
        rule = f"a request may have at most {MAX_ROWS} rows; this one has more values than fit in them"
        raise RefusedError(413, Reason.TOO_MANY_VALUES, "inputs", rule)
