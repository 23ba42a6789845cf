"""The work queue: each key is processed by one worker at a time; failures back off."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

log = logging.getLogger(__name__)

FIRST_BACKOFF, MAX_BACKOFF = 0.5, 60.0


@dataclass(frozen=True, slots=True)
class Key:
    """The subject of one reconcile: a model with all its versions, a TrainingJob, or a ScoreBatch."""

    kind: str
    """One of ``kinds.RECONCILED``."""
    namespace: str
    name: str


Handler = Callable[[Key], Awaitable[float | None]]
"""A function that processes a key and returns the seconds until it is due again without an event, or None."""


class WorkQueue:
    """A queue that deduplicates and delays keys, and gives each key to one worker at a time."""

    def __init__(self, workers: int = 8) -> None:
        self._workers = workers
        self._ready: asyncio.Queue[Key] = asyncio.Queue()
        self._queued: set[Key] = set()
        self._busy: dict[Key, float] = {}
        self._again: set[Key] = set()
        self._due: dict[Key, asyncio.TimerHandle] = {}
        self._failures: dict[Key, int] = {}

    def __len__(self) -> int:
        return len(self._queued)

    def stuck(self, limit: float) -> list[Key]:
        """Return the keys that a worker has had for more than that many seconds. Every call has a timeout, so it hangs."""
        now = asyncio.get_running_loop().time()
        return [key for key, began in self._busy.items() if now - began > limit]

    def add(self, key: Key, delay: float = 0.0) -> None:
        """Add a key, for now or later; the earlier of two times counts."""
        loop = asyncio.get_running_loop()
        if delay > 0:
            when, waiting = loop.time() + delay, self._due.get(key)
            if waiting is not None and waiting.when() <= when:
                return
            if waiting is not None:
                waiting.cancel()
            self._due[key] = loop.call_at(when, self._fire, key)
            return
        if (waiting := self._due.pop(key, None)) is not None:
            waiting.cancel()
        if key in self._busy:
            self._again.add(key)
        elif key not in self._queued:
            self._queued.add(key)
            self._ready.put_nowait(key)

    def sort(self, rank: Callable[[Key], float]) -> None:
        """Sort the waiting keys, the lowest rank first."""
        waiting = [self._ready.get_nowait() for _ in range(self._ready.qsize())]
        for key in sorted(waiting, key=rank):
            self._ready.put_nowait(key)

    async def run(self, handler: Handler) -> None:
        """Process keys until cancelled. Before that, keys wait."""
        async with asyncio.TaskGroup() as group:
            for number in range(self._workers):
                group.create_task(self._work(handler), name=f"worker {number}")

    def _fire(self, key: Key) -> None:
        self._due.pop(key, None)
        self.add(key)

    async def _work(self, handler: Handler) -> None:
        while True:
            key = await self._ready.get()
            self._queued.discard(key)
            self._busy[key] = asyncio.get_running_loop().time()
            delay = await self._attempt(handler, key)
            del self._busy[key]
            if key in self._again:
                self._again.discard(key)
                self.add(key, 0.0 if key not in self._failures else delay or 0.0)
            elif delay is not None:
                self.add(key, max(delay, 0.01))

    async def _attempt(self, handler: Handler, key: Key) -> float | None:
        try:
            delay = await handler(key)
        except Exception as error:
            count = self._failures[key] = self._failures.get(key, 0) + 1
            backoff = min(MAX_BACKOFF, FIRST_BACKOFF * 2.0 ** (count - 1)) * random.uniform(0.8, 1.2)
            log.warning("%s %s/%s: %s; retrying in %.1f s", key.kind, key.namespace, key.name, error, backoff)
            log.debug("traceback", exc_info=True)
            return backoff
        self._failures.pop(key, None)
        return delay
