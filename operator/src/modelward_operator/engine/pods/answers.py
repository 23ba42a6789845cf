"""Read the answers of pods, which may be compromised: their size, encoding and redirects are not trusted."""

from __future__ import annotations

from typing import Any

import aiohttp

MAX_ANSWER = 8 * 1024 * 1024
"""Bytes of an answer: the counts of 512 columns in 32 strata take less than half."""
CAREFUL: dict[str, Any] = {"allow_redirects": False, "auto_decompress": False}
"""Options of a request to a pod: a redirect would send the operator elsewhere, and a compressed answer may grow without bound."""


class AnswerTooLargeError(aiohttp.ClientError):
    """A pod sends more than any answer has."""


async def content_of(answer: aiohttp.ClientResponse, largest: int = MAX_ANSWER) -> bytes:
    """Return the answer's body.

    Raises:
        AnswerTooLargeError: it is too large; the connection is closed.
    """
    content = bytearray()
    async for part in answer.content.iter_any():
        content += part
        if len(content) > largest:
            answer.close()
            raise AnswerTooLargeError(f"an answer has more than {largest} bytes")
    return bytes(content)
