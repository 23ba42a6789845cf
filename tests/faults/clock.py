"""An event loop whose clock jumps to the next timer: hours of operation in milliseconds, the same in each run."""

from __future__ import annotations

import asyncio
import selectors
from typing import Any


class _Jump(selectors.SelectSelector):
    """Waits for nobody: what it should wait for is added to the time."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[Any]:
        if timeout is None:
            raise RuntimeError("nothing is due any more: somebody waits for what nobody will do")
        self.now += timeout
        return []


class VirtualTime(asyncio.SelectorEventLoop):
    """All that runs in it sees only its time. Nothing outside can be waited for."""

    def __init__(self) -> None:
        self._jump = _Jump()
        super().__init__(self._jump)

    def time(self) -> float:
        return self._jump.now
