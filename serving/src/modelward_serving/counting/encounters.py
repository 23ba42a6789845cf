"""Recently counted encounters: repeated rows of one patient are not independent observations.

Nothing of it leaves the pod. An encounter is stored as a hash under a key that the process draws at startup.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from hashlib import blake2b

REMEMBERED = 32_768
"""Encounters per generation; two generations take about 7 MB."""
LASTS = 7 * 24 * 3600.0
"""Seconds of a generation. An encounter is remembered for one to two generations, or until there are too many."""


class Encounters:
    """Encounters named by one header, in bounded memory."""

    def __init__(self, header: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.header = header.lower().encode()
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._now: set[bytes] = set()
        self._before: set[bytes] = set()
        self._since = clock()

    def __len__(self) -> int:
        return len(self._now) + len(self._before)

    def is_new(self, headers: Mapping[bytes, bytes]) -> bool:
        """Return whether the request's encounter is new, and remember it. A request without the header is always new."""
        value = headers.get(self.header)
        if value is None:
            return True
        if len(self._now) >= REMEMBERED or self._clock() - self._since >= LASTS:
            self._now, self._before, self._since = set(), self._now, self._clock()
        hashed = blake2b(value, digest_size=8, key=self._key).digest()
        if hashed in self._now:
            return False
        self._now.add(hashed)
        return hashed not in self._before
