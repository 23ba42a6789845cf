"""A proxy between an operator and its API server, which can do to the traffic what networks and servers do."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from aiohttp import web

from tests.support.control_plane import ControlPlane
from tests.support.ports import free_port

HOP_BY_HOP = {"connection", "transfer-encoding", "content-length", "host", "keep-alive"}


class Proxy:
    """Forwards everything unchanged, until a test breaks it. Runs on its own thread."""

    def __init__(self, plane: ControlPlane) -> None:
        document = yaml.safe_load(plane.kubeconfig.read_text())
        self._upstream = document["clusters"][0]["cluster"]["server"]
        self._port = free_port()
        document["clusters"][0]["cluster"] = {"server": f"http://127.0.0.1:{self._port}"}
        self._document = document
        self._loop = asyncio.new_event_loop()
        self._away = False
        self._silent: set[str] = set()
        self._watches: list[tuple[str, web.StreamResponse]] = []
        self.writes: list[str] = []
        """Methods and paths of all that was not a read."""

    def kubeconfig(self, directory: Path) -> str:
        """One that leads here."""
        path = directory / "through-the-proxy"
        path.write_text(yaml.safe_dump(self._document))
        return str(path)

    def go_away(self) -> None:
        """Every connection breaks, and new ones do."""
        self._away = True
        self._on_loop(self._break_watches())

    def come_back(self) -> None:
        """Forward again."""
        self._away = False

    def silence(self, plural: str) -> None:
        """Watches of that kind stay open, and no byte comes any more."""
        self._silent.add(plural)

    def watches(self, plural: str) -> int:
        """How many are open."""
        return sum(plural == watched for watched, _ in self._watches)

    def say(self, plural: str, event: dict[str, Any]) -> None:
        """An event on every open watch of that kind."""
        self._on_loop(self._say(plural, event))

    def _on_loop(self, coroutine: Any) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout=10)

    async def _say(self, plural: str, event: dict[str, Any]) -> None:
        for watched, stream in self._watches:
            if watched == plural:
                await stream.write(json.dumps(event).encode() + b"\n")

    async def _break_watches(self) -> None:
        for _, stream in self._watches:
            _break(stream._req)

    async def _hand_on(self, request: web.Request) -> web.StreamResponse:
        if self._away:
            _break(request)
            raise ConnectionResetError
        if request.method != "GET":
            self.writes.append(f"{request.method} {request.path}")
        headers = {k: v for k, v in request.headers.items() if k.lower() not in HOP_BY_HOP}
        url, body = self._upstream + request.raw_path, await request.read() or None
        async with self._session.request(request.method, url, data=body, headers=headers) as answer:
            kept = {k: v for k, v in answer.headers.items() if k.lower() not in HOP_BY_HOP}
            stream = web.StreamResponse(status=answer.status, headers=kept)
            await stream.prepare(request)
            plural = request.path.rpartition("/")[2] if "watch" in request.query else ""
            with self._watched(plural, stream):
                async for chunk in answer.content.iter_any():
                    if plural not in self._silent:
                        await stream.write(chunk)
            await stream.write_eof()
            return stream

    @contextmanager
    def _watched(self, plural: str, stream: web.StreamResponse) -> Iterator[None]:
        if not plural:
            yield
            return
        self._watches.append((plural, stream))
        try:
            yield
        except ConnectionResetError:
            pass  # the operator has gone
        finally:
            self._watches.remove((plural, stream))

    async def _serve(self, ready: threading.Event, end: asyncio.Event) -> None:
        timeout = aiohttp.ClientTimeout(total=None)
        connector = aiohttp.TCPConnector(ssl=False, limit=0)
        async with aiohttp.ClientSession(connector=connector, timeout=timeout, auto_decompress=False) as self._session:
            app = web.Application(client_max_size=2**26)
            app.router.add_route("*", "/{path:.*}", self._hand_on)
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=0, handler_cancellation=True)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", self._port).start()
            ready.set()
            await end.wait()
            await runner.cleanup()

    @contextmanager
    def running(self) -> Iterator[Proxy]:
        """Serve until the end of the block."""
        ready, end = threading.Event(), asyncio.Event()
        thread = threading.Thread(target=self._loop.run_until_complete, args=(self._serve(ready, end),), daemon=True)
        thread.start()
        assert ready.wait(10)
        try:
            yield self
        finally:
            self._loop.call_soon_threadsafe(end.set)
            thread.join(10)


def _break(request: web.BaseRequest) -> None:
    with contextlib.suppress(AttributeError):
        request.transport.abort()  # type: ignore[union-attr]
