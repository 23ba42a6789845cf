"""The operator's health endpoint: alive means that the watchers run and no worker hangs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

WATCHER = "watcher for"
STUCK = 120.0
"""Seconds on one key, after which its worker counts as stuck."""


@dataclass(frozen=True, slots=True)
class Health:
    """The answer to a probe."""

    ok: bool
    text: str = "ok"


class Watchdog:
    """Remembers the watchers it has seen: one that is missing later has died."""

    def __init__(self) -> None:
        self._seen: dict[str, asyncio.Task[object]] = {}

    def failed(self) -> list[str]:
        """Return the names of watchers that have ended and were not replaced."""
        for task in asyncio.all_tasks():
            if task.get_name().startswith(WATCHER):
                self._seen[task.get_name()] = task
        return [name for name, task in self._seen.items() if task.done()]

    @property
    def watching(self) -> int:
        """The number of watchers seen."""
        return len(self._seen)


async def serve(port: int, alive: Callable[[], Health], ready: Callable[[], Health]) -> web.AppRunner:
    """Serve /livez and /readyz."""

    def handler(check: Callable[[], Health]) -> Callable[[web.Request], object]:
        async def answer(_: web.Request) -> web.Response:
            health = check()
            return web.Response(text=health.text, status=200 if health.ok else 503)

        return answer

    app = web.Application()
    app.router.add_get("/livez", handler(alive))  # type: ignore[arg-type]
    app.router.add_get("/readyz", handler(ready))  # type: ignore[arg-type]
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "0.0.0.0", port).start()  # noqa: S104
    return runner
