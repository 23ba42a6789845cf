"""Waiting: always for a condition, always with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.support.cluster.errors import ClusterError


def wait_until(condition: Callable[[], bool], what: str, seconds: float, *, every: float = 0.05) -> None:
    """Return as soon as `condition()` holds; raise ClusterError naming `what` once `seconds` are over."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise ClusterError(f"{what}: not so after {seconds:g} s")
        time.sleep(every)
