"""HTTP client for challenger pods: pooled connections, at a fraction of the CPU of a general client.

The callback runs in the call that delivers the response's last byte, without a task or a future, and one timer serves all
requests with the same timeout. Repeated response headers are parsed once: those of a pod differ in the length only.
"""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import Any

import httptools
import msgspec

from modelward_api import names
from modelward_serving.protocol.fields import UnsendableError, beginning, lines
from modelward_serving.routing.forward import Forward
from modelward_serving.security.tls import Certificates
from modelward_serving.transport.header_cache import HeaderCache

POOLED_SECONDS = 15.0
"""Seconds that idle connections are kept; less than challengers keep theirs, so that none is found closed."""
MAX_POOLED = 128
"""Idle connections per pod: as many as there are concurrent requests."""
MAX_RESPONSE = 16 * 1024 * 1024
MAX_HEADS = 256
"""Cached response headers, and cached request heads."""
_ALWAYS = {b"content-type": b"application/json"}
"""Headers of every request."""
_ResponseHeaderCache = HeaderCache[tuple[int, dict[str, str]]]
"""Status and headers of responses."""


class Response(msgspec.Struct, frozen=True):
    """A challenger's response."""

    status: int
    headers: dict[str, str]
    """Lower-case names. Shared by all responses with the same head."""
    content: bytes


class Ask(ABC):
    """One pending request; subclass it to handle the response."""

    __slots__ = ("connection", "is_over", "started", "until")

    def __init__(self, started: float) -> None:
        self.started = self.until = started
        self.connection: _Connection | None = None
        self.is_over = False

    @abstractmethod
    def on_response(self, outcome: Response | OSError) -> None:
        """Handle the outcome, once: the response, TimeoutError, or an OSError without a connection."""

    def tell(self, outcome: Response | OSError) -> None:
        """Report the outcome, unless one was reported."""
        if not self.is_over:
            self.is_over, self.connection = True, None
            self.on_response(outcome)

    def expire(self) -> None:
        """Give up waiting."""
        if self.connection is not None:
            self.connection.abandon()
        self.tell(TimeoutError())


class _Waiting:
    """Pending requests with the same timeout, in order of their deadlines."""

    def __init__(self, timeout: float, clock: Callable[[], float], emptied: Callable[[float], object]) -> None:
        self._timeout = timeout
        self._clock = clock
        self._emptied = emptied
        self._asks: deque[Ask] = deque()
        self._rearm(timeout)

    def add(self, ask: Ask) -> None:
        asks = self._asks
        while asks and asks[0].is_over:
            asks.popleft()
        ask.until = ask.started + self._timeout
        asks.append(ask)

    def _rearm(self, seconds: float) -> None:
        asyncio.get_running_loop().call_later(seconds, self._look)

    def _look(self) -> None:
        now = self._clock()
        while self._asks and (self._asks[0].is_over or self._asks[0].until <= now):
            ask = self._asks.popleft()
            if not ask.is_over:
                ask.expire()
        if self._asks:
            self._rearm(self._asks[0].until - now)
        else:
            self._emptied(self._timeout)


class _Connection(asyncio.Protocol):
    """One connection, for one request at a time."""

    def __init__(self, heads: _ResponseHeaderCache, freed: Callable[[_Connection], None]) -> None:
        self.transport: Any = None
        self.is_open = False
        self.idle_since = 0.0
        self._heads = heads
        self._freed = freed
        self._ask: Ask | None = None
        self._parser: Any = None
        self._messages = self._received = 0
        self._is_strange = False
        """Whether the response breaks the rules of our own server."""
        self._response: Response | None = None
        self._headers: dict[str, str] = {}
        self._content = bytearray()

    def send(self, request: bytes, ask: Ask) -> None:
        self._ask, ask.connection = ask, self
        self.transport.write(request)

    def abandon(self) -> None:
        """Drop the connection: a late response would be taken for the next one."""
        self.is_open, self._ask = False, None
        self.transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.is_open = True

    def data_received(self, data: bytes) -> None:
        if self._ask is None:
            self.abandon()  # no request is pending
            return
        if self._parser is not None:
            self._parse(data)
            return
        if (known := self._heads.split(data)) is not None:
            (status, headers), content = known
            self._complete(Response(status, headers, content))
            return
        self._parser = httptools.HttpResponseParser(self)
        self._messages, self._response, self._headers, self._content = 0, None, {}, bytearray()
        self._received, self._is_strange = 0, False
        response = self._parse(data)
        if response is not None and self.is_open:
            self._heads.learn(data, (response.status, response.headers), response.content)

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail()

    def on_message_begin(self) -> None:
        self._messages += 1

    def on_headers_complete(self) -> None:
        """Reject 1xx statuses: the final response would be taken for that of the next request."""
        self._is_strange = self._is_strange or self._parser.get_status_code() < 200

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_body(self, body: bytes) -> None:
        self._content += body

    def on_message_complete(self) -> None:
        if self._response is None and not self._is_strange:
            self._response = Response(self._parser.get_status_code(), self._headers, bytes(self._content))
            self.is_open = self.is_open and self._parser.should_keep_alive()

    def _parse(self, data: bytes) -> Response | None:
        """Parse bytes; return the response if it is complete."""
        self._received += len(data)
        try:
            self._parser.feed_data(data)
            self._is_strange = self._is_strange or self._received > MAX_RESPONSE
        except httptools.HttpParserError:
            self._is_strange = True
        if self._is_strange:
            self._fail()
            return None
        response = self._response
        if response is not None:
            self._parser = self._response = None
            self.is_open = self.is_open and self._messages == 1  # more than one response
            self._complete(response)
        return response

    def _complete(self, response: Response) -> None:
        ask, self._ask = self._ask, None
        self._freed(self)
        if ask is not None:
            ask.tell(response)

    def _fail(self) -> None:
        ask = self._ask
        self.abandon()
        if ask is not None:
            ask.tell(ConnectionError("the challenger ended the connection"))


class Challengers:
    """The connections to all challenger pods."""

    def __init__(self, certificates: Certificates | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._certificates = certificates
        self._clock = clock
        self._pools: dict[str, list[_Connection]] = {}
        self._waiting: dict[float, _Waiting] = {}
        """Requests by timeout."""
        self._connecting: set[asyncio.Task[None]] = set()
        self._heads: _ResponseHeaderCache = HeaderCache(MAX_HEADS)
        self._beginnings: dict[tuple[str, str, str], bytes] = {}
        """First lines of requests, by endpoint, path and proof."""

    def ask(self, endpoint: str, path: str, forward: Forward, timeout: float, ask: Ask, proof: str = "1") -> None:
        """POST a request to ``ip:port``, without retry; report the outcome to ``ask`` within ``timeout`` seconds."""
        try:
            head = self._beginnings.get((endpoint, path, proof)) or self._begin(endpoint, path, proof)
            more = lines(forward.headers) if forward.headers else b""
        except UnsendableError as error:
            ask.tell(ConnectionError(str(error)))
            return
        request = b"%b%bcontent-length: %d\r\n\r\n%b" % (head, more, len(forward.body), forward.body)
        waiting = self._waiting.get(timeout)
        if waiting is None:
            waiting = self._waiting[timeout] = _Waiting(timeout, self._clock, self._waiting.pop)
        waiting.add(ask)
        connection = self._pooled(endpoint)
        if connection is not None:
            connection.send(request, ask)
            return
        task = asyncio.get_running_loop().create_task(self._connect(endpoint, request, ask, timeout))
        self._connecting.add(task)
        task.add_done_callback(self._connecting.discard)

    def close(self) -> None:
        """Close idle connections."""
        for pool in self._pools.values():
            for connection in pool:
                connection.transport.abort()
        self._pools.clear()

    def _begin(self, endpoint: str, path: str, proof: str) -> bytes:
        if len(self._beginnings) >= MAX_HEADS:
            self._beginnings.clear()
        head = beginning(path, endpoint) + lines({names.ROUTED_HEADER.encode(): proof.encode(), **_ALWAYS})
        self._beginnings[endpoint, path, proof] = head
        return head

    def _pooled(self, endpoint: str) -> _Connection | None:
        pool = self._pools.get(endpoint)
        while pool:
            connection = pool.pop()
            if connection.is_open and self._clock() - connection.idle_since < POOLED_SECONDS:
                return connection
            connection.transport.abort()
        return None

    def _give_back(self, endpoint: str, connection: _Connection) -> None:
        pool = self._pools.get(endpoint)
        if pool is None:
            self._forget_old()
            pool = self._pools[endpoint] = []
        if connection.is_open and len(pool) < MAX_POOLED:
            connection.idle_since = self._clock()
            pool.append(connection)
        else:
            connection.transport.close()

    def _forget_old(self) -> None:
        """Close expired pools; called when a new pod appears."""
        now = self._clock()
        for endpoint, pool in list(self._pools.items()):
            if all(now - connection.idle_since >= POOLED_SECONDS for connection in pool):
                for connection in pool:
                    connection.transport.abort()
                del self._pools[endpoint]

    async def _connect(self, endpoint: str, request: bytes, ask: Ask, limit: float) -> None:
        """Send a request over a new connection."""
        host, _, port = endpoint.rpartition(":")
        secured = self._certificates.outgoing() if self._certificates else {}

        def made() -> _Connection:
            return _Connection(self._heads, partial(self._give_back, endpoint))

        try:
            async with asyncio.timeout(limit):
                loop = asyncio.get_running_loop()
                _, connection = await loop.create_connection(made, host.strip("[]"), int(port), **secured)
        except OSError as error:
            ask.tell(error)
            return
        if ask.is_over:
            self._give_back(endpoint, connection)
        elif connection.is_open:
            connection.send(request, ask)
        else:
            ask.tell(ConnectionError("the challenger ended the connection"))
