"""How many values a JSON document may have, counted before it is parsed."""

from __future__ import annotations

from modelward_serving.errors import RefusedError
from modelward_serving.limits import MAX_ROWS

SMALL = 64 * 1024
"""Bytes of a document that can become no more than a few megabytes."""


def max_values(columns: int) -> int:
    """How many values the document of a model with so many columns may have, with room for what is said beside them."""
    return MAX_ROWS * max(columns, 1) + 4096


def check_values(content: bytes | bytearray | memoryview, most: int) -> None:
    """Refuse what would become more objects than any request has, before it does: each takes up to 30 times its bytes.

    A category may hold a comma, so twice as many of them are let through as there are values.

    Raises:
        RefusedError: 413 TooManyValues.
    """
    if len(content) <= SMALL:
        return
    if isinstance(content, memoryview):
        content = bytes(content)
    if content.count(b",") > 2 * most or content.count(b"[") + content.count(b"{") > most:
        rule = f"a request may have {MAX_ROWS} rows at most, and has more values than fit in those"
        raise RefusedError(413, "TooManyValues", "inputs", rule)
