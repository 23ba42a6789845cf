"""Heads of HTTP requests that were read before, and what they say: a caller sends the same ones again and again.

To parse a head takes a tenth of the time of a request with one row. Only a head with nothing but what belongs to the caller is
remembered: what belongs to one request, such as the header of an encounter, or a token, is gone with it.
"""

from __future__ import annotations

from collections.abc import Mapping

from modelward_api.names import ROUTED_HEADER
from modelward_serving.rest import JSON_LENGTH

END = b"\r\n\r\n"
LENGTH = b"content-length"
OF_CALLERS = frozenset(
    {b"host", b"user-agent", b"accept", b"accept-encoding", b"connection", b"content-type", LENGTH, JSON_LENGTH}
    | {ROUTED_HEADER.encode()}
)
"""Headers that say nothing of one request alone but how long it is."""
LONGEST, MOST = 1024, 1024
"""Bytes of a head, and heads: callers send bodies of few lengths."""


class Heads:
    """What is known, bounded: when it is full, it begins anew."""

    def __init__(self) -> None:
        self._known: dict[bytes, tuple[Mapping[bytes, bytes], int]] = {}

    def learn(self, data: bytes, headers: Mapping[bytes, bytes], length: int) -> None:
        """Remember the head of a request that was parsed, and leaves its connection open.

        Args:
            data: What came; it began where a request may begin, and one that it holds is complete.
            headers: Those of that request, with lower-case names.
            length: Of that request's body.
        """
        end = data.find(END, 0, LONGEST) + len(END)
        is_alone = len(data) == end + length and headers.get(LENGTH) == b"%d" % length
        if is_alone and OF_CALLERS.issuperset(headers):
            if len(self._known) >= MOST:
                self._known.clear()
            self._known[data[:end]] = headers, length

    def split(self, data: bytes) -> tuple[Mapping[bytes, bytes], bytes] | None:
        """The headers and the body, if the data is one whole request with a head that is known."""
        end = data.find(END, 0, LONGEST) + len(END)
        found = self._known.get(data[:end])
        if found is None or len(data) != end + found[1]:
            return None
        return found[0], data[end:]
