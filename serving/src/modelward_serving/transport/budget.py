"""The bytes that strangers may have this process hold at once, over all its ports: bodies that are being read, answers that wait.

A limit on each request or connection alone bounds nothing while there may be many of them.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

from modelward_serving.limits import MAX_BODY

UNLIMITED = 256 * 1024 * 1024
"""Where the container has no limit."""
MIN_BUDGET = 2 * MAX_BODY
"""However small the container is: one request at a time must go through."""
SHARE = 0.5
"""Of what the container may use and does not use yet; the rest is for what requests are made into, one at a time."""
LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))


class Budget:
    """A number of bytes, to be taken and given back."""

    __slots__ = ("left", "total")

    def __init__(self, total: int = UNLIMITED) -> None:
        self.total = self.left = total

    def take(self, count: int) -> bool:
        """Take so many bytes, if there are as many: if not, nothing is taken, and the caller is to be turned away."""
        if count > self.left:
            return False
        self.left -= count
        return True

    def give(self, count: int) -> None:
        """Give back what was taken."""
        self.left += count


def of_this_process(limits: tuple[Path, ...] = LIMITS, statm: Path = Path("/proc/self/statm")) -> Budget:
    """A budget below what the container may still use; to be asked once the model is loaded."""
    limit = min((found for path in limits if (found := _number(path)) is not None), default=None)
    used = _number(statm, 1)
    if limit is None or used is None:
        return Budget()
    return Budget(min(UNLIMITED, max(MIN_BUDGET, int(SHARE * (limit - used * 4096)))))


def _number(path: Path, word: int = 0) -> int | None:
    """A number in a file of the kernel's; None where there is none, or it says 'max'."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        return int(path.read_text().split()[word])
    return None
