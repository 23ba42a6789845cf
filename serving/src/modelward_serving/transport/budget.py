"""Memory budget for clients' data over all ports: bodies being read and responses waiting to be sent.

Limits per request or connection are not enough, because there may be many of them.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from modelward_serving.limits import MAX_BODY

UNLIMITED = 256 * 1024 * 1024
"""Budget of a container without a memory limit."""
MIN_BUDGET = 2 * MAX_BODY
"""Minimum of a small container: enough for one request at a time."""
SHARE = 0.5
"""Share of the container's free memory; the rest is for parsing requests, one at a time."""
LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


class Budget:
    """A number of bytes to take and give back."""

    __slots__ = ("left", "total")

    def __init__(self, total: int = UNLIMITED) -> None:
        self.total = self.left = total

    def take(self, count: int) -> bool:
        """Take bytes; return False, and take none, if there are too few."""
        if count > self.left:
            return False
        self.left -= count
        return True

    def give(self, count: int) -> None:
        """Give bytes back."""
        self.left += count


def free_memory(limits: tuple[Path, ...] = LIMITS, statm: Path = Path("/proc/self/statm")) -> int | None:
    """Return the bytes that this process may still take; None without a limit. Call it once the model is loaded."""
    limit = min((found for path in limits if (found := _number(path)) is not None), default=None)
    used = _number(statm, 1)
    return None if limit is None or used is None else limit - used * 4096


def within(free: int | None) -> Budget:
    """Return a budget within the free memory."""
    return Budget() if free is None else Budget(min(UNLIMITED, max(MIN_BUDGET, int(SHARE * free))))


def _number(path: Path, word: int = 0) -> int | None:
    """Read a number from a kernel file; None if there is no file or no number."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int(path.read_text().split()[word])
    return None
