"""Requests to challenger pods over kept connections: a tenth of what a general HTTP client takes from the champion's core."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import httptools
import msgspec

from modelward_serving.tensors import Forward
from modelward_serving.tls import Certificates

POOLED_SECONDS = 15.0
"""Idle connections are kept for less long than the challengers keep theirs: neither finds them closed."""
MOST_POOLED = 32
"""Idle connections to one pod."""
LARGEST_ANSWER = 16 * 1024 * 1024


class Response(msgspec.Struct, frozen=True):
    """What a challenger answered."""

    status: int
    headers: dict[str, str]
    """Lower-case names."""
    content: bytes


class _Connection(asyncio.Protocol):
    """One connection, for one request at a time."""

    def __init__(self) -> None:
        self.transport: Any = None
        self.is_open = False
        self.idle_since = 0.0
        self._waiting: asyncio.Future[Response] | None = None
        self._parser: Any = None
        self._headers: dict[str, str] = {}
        self._content = bytearray()

    def ask(self, request: bytes) -> asyncio.Future[Response]:
        """Send a request; its response, or ConnectionError."""
        self._waiting = asyncio.get_running_loop().create_future()
        self._parser = httptools.HttpResponseParser(self)
        self._headers, self._content = {}, bytearray()
        self.transport.write(request)
        return self._waiting

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.is_open = True

    def data_received(self, data: bytes) -> None:
        if self._waiting is None:
            self.transport.abort()  # nothing was asked
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._fail()

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_open = False
        self._fail()

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._content += body
        if len(self._content) > LARGEST_ANSWER:
            self._fail()

    def on_message_complete(self) -> None:
        waiting, self._waiting = self._waiting, None
        self.is_open = self.is_open and self._parser.should_keep_alive()
        if waiting is not None and not waiting.done():
            waiting.set_result(Response(self._parser.get_status_code(), self._headers, bytes(self._content)))

    def _fail(self) -> None:
        self.is_open = False
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.done():
            waiting.set_exception(ConnectionError("the challenger ended the connection"))
        self.transport.abort()


class Challengers:
    """The connections to all challenger pods."""

    def __init__(self, certificates: Certificates | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._certificates = certificates
        self._clock = clock
        self._pools: dict[str, list[_Connection]] = {}

    async def ask(
        self, endpoint: str, path: str, forward: Forward, headers: dict[str, str], patience: float
    ) -> Response:
        """POST a request to ``ip:port``; never tried again.

        Raises:
            TimeoutError: no whole answer within ``patience`` seconds.
            OSError: no connection, or one that ended.
        """
        lines = [f"POST {path} HTTP/1.1", f"host: {endpoint}", f"content-length: {len(forward.body)}"]
        lines += [f"{name}: {value}" for name, value in (forward.headers | headers).items()]
        request = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + forward.body
        connection: _Connection | None = None
        try:
            async with asyncio.timeout(patience):
                connection = self._pooled(endpoint) or await self._connect(endpoint)
                return await connection.ask(request)
        except BaseException:
            if connection is not None:
                connection.is_open = False
                connection.transport.abort()
            raise
        finally:
            if connection is not None:
                self._give_back(endpoint, connection)

    def close(self) -> None:
        """End all that is idle."""
        for pool in self._pools.values():
            for connection in pool:
                connection.transport.abort()
        self._pools.clear()

    def _pooled(self, endpoint: str) -> _Connection | None:
        pool = self._pools.get(endpoint, [])
        while pool:
            connection = pool.pop()
            if connection.is_open and self._clock() - connection.idle_since < POOLED_SECONDS:
                return connection
            connection.transport.abort()
        return None

    def _give_back(self, endpoint: str, connection: _Connection) -> None:
        if endpoint not in self._pools:
            self._forget_old()
        pool = self._pools.setdefault(endpoint, [])
        if connection.is_open and len(pool) < MOST_POOLED:
            connection.idle_since = self._clock()
            pool.append(connection)
        else:
            connection.transport.close()

    def _forget_old(self) -> None:
        """A pod that was not there before came: others may be gone."""
        now = self._clock()
        for endpoint, pool in list(self._pools.items()):
            if all(now - connection.idle_since >= POOLED_SECONDS for connection in pool):
                for connection in pool:
                    connection.transport.abort()
                del self._pools[endpoint]

    async def _connect(self, endpoint: str) -> _Connection:
        host, _, port = endpoint.rpartition(":")
        secured = self._certificates.outgoing() if self._certificates else {}
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(_Connection, host.strip("[]"), int(port), **secured)
        return connection
