"""The operator's own health endpoint: alive means that the watchers watch and the workers work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from aiohttp import web

WATCHER = "watcher for"
STUCK = 120.0
"""Seconds on one key, after which its worker counts as stuck."""


class Watchdog:
    """Remembers the watchers that were seen: one that is missing later is dead."""

    def __init__(self) -> None:
        self._seen: dict[str, asyncio.Task[object]] = {}

    def failed(self) -> list[str]:
        """Names of the watchers that have ended and were not replaced."""
        for task in asyncio.all_tasks():
            if task.get_name().startswith(WATCHER):
                self._seen[task.get_name()] = task
        return [name for name, task in self._seen.items() if task.done()]

    @property
    def watching(self) -> int:
        """How many watchers were seen."""
        return len(self._seen)


async def serve(port: int, alive: Callable[[], str | None], ready: Callable[[], str | None]) -> web.AppRunner:
    """Answer /livez and /readyz; each function says what is wrong, or None."""

    def handler(check: Callable[[], str | None]) -> Callable[[web.Request], object]:
        async def answer(_: web.Request) -> web.Response:
            wrong = check()
            return web.Response(text=wrong or "ok", status=503 if wrong else 200)

        return answer

    app = web.Application()
    app.router.add_get("/livez", handler(alive))  # type: ignore[arg-type]
    app.router.add_get("/readyz", handler(ready))  # type: ignore[arg-type]
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "0.0.0.0", port).start()  # noqa: S104
    return runner
