"""HTTP/1.1 connections with limits: uvicorn's protocol has none on sizes, slow clients, or clients that do not read.

A request reaches the application complete, so the application never waits for a client. A sweep over all connections enforces
time limits twice a second; a timer per request would cost more than all other limits together.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import Any

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from modelward_api.resources.reasons import Reason
from modelward_serving.errors import RefusedError
from modelward_serving.limits import MAX_HEAD, MAX_REQUEST_SECONDS
from modelward_serving.transport.connections import Port
from modelward_serving.transport.reply import Reply, refused

MAX_HEADERS = 100
MAX_READ_SECONDS = 15.0
"""Seconds in which a client must read enough of a response for the rest to fit the transport's buffer."""
LINGER = 3.0
"""Seconds for a refused client to stop sending: a reset would keep it from reading the refusal."""
PERIOD = 0.5
KEEP_ALIVE = 75.0
"""Seconds that a connection may be idle between two requests."""
_UPGRADING = frozenset((b"upgrade", b"http2-settings"))


class LimitedHttpProtocol(HttpToolsProtocol):
    """One connection."""

    app: Any
    """An ASGI application that has a ``port``: its limits."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._port: Port = self.app.port
        self._partial = False
        """Whether a request is partly received."""
        self._in_head = False
        self._head = 0
        """Bytes of the headers so far, without the first read."""
        self._is_fresh = False
        """Whether the headers began in the last read."""
        self._lines = 0
        """Lines of the headers, then of the trailers."""
        self._came = 0.0
        """Time of the last read."""
        self._began = 0.0
        """Start of the partly received request."""
        self._body: bytes | bytearray = b""
        self._upgrades = False
        self._refusal: RefusedError | None = None
        """Error that stopped the parser."""
        self._doomed: Reply | None = None
        """The final response, sent after those before it."""
        self._leaving: float | None = None
        """Since when the connection is closing and reads nothing."""
        self._is_new = True
        self._last = 0.0
        """Time of the last response, or of opening."""
        self._holds: deque[int] = deque()
        """Budget taken by each unanswered request, in order."""
        self._taken = 0
        """Budget taken by the partly received request."""
        self._waiting = 0
        """Budget taken by responses that the client does not read."""
        self._paused = 0.0
        """Since when the client does not read."""

    def connection_made(self, transport: Any) -> None:
        """Handle a new connection."""
        super().connection_made(transport)
        self._last = self.loop.time()
        if not self._port.connections.admit(self, self.client[0] if self.client else ""):
            self._leaving = self._last
            self._write(refused(RefusedError(503, Reason.BUSY, "", "all connections are in use")), keep=False)
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Handle a closed connection."""
        self._port.connections.leave(self)
        super().connection_lost(exc)
        self._port.budget.give(sum(self._holds) + self._taken + self._waiting)
        self._holds.clear()
        self._taken = self._waiting = 0
        self.pipeline.clear()

    def data_received(self, data: bytes) -> None:
        """Parse bytes."""
        if self._is_shut():
            return
        self._came = self.loop.time()
        if not self._partial:
            self._began = self._came
        rest: bytes | memoryview | None = data
        while rest is not None:
            rest = self._feed(rest)
        if self._in_head and not self._is_fresh:
            self._head += len(data)
            if self._head > MAX_HEAD:
                self._refuse(refused(_head_too_large()))
        self._is_fresh = False

    def _feed(self, data: bytes | memoryview) -> memoryview | None:
        """Parse bytes; return the rest, if the parser must be replaced first."""
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as found:
            return self._ignore_upgrade(memoryview(data)[found.args[0] :])
        except httptools.HttpParserError:
            error, self._refusal = self._refusal, None
            self._refuse(refused(error or RefusedError(400, Reason.NOT_HTTP, "", "the request is not valid HTTP/1.1")))
        return None

    def _ignore_upgrade(self, rest: memoryview) -> memoryview | None:
        """Ignore a request to upgrade the protocol (RFC 9110, 7.8).

        The parser stops after such headers and does not parse the body as HTTP. So a new parser gets the same headers
        without the upgrade.
        """
        method = self.parser.get_method()
        if method == b"CONNECT":
            self._refuse(refused(RefusedError(405, Reason.WRONG_METHOD, "", "CONNECT is not supported")))
            return None
        lines = [b"%b %b HTTP/%b" % (method, self.url, self.parser.get_http_version().encode())]
        lines += [b"%b: %b" % header for header in _without_upgrade(self.headers)]
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._feed(b"\r\n".join((*lines, b"", b"")))
        return rest if rest and not self._is_shut() else None

    def on_message_begin(self) -> None:
        """Start a request."""
        self.url = b""
        self.expect_100_continue = False
        self.headers = []
        self._body = b""
        self._partial = self._in_head = self._is_fresh = True
        self._upgrades = False
        self._head = self._lines = 0

    def on_url(self, url: bytes) -> None:
        """Collect the request's target."""
        self.url += url
        if len(self.url) > MAX_HEAD:
            self._stop(_head_too_large())

    def on_header(self, name: bytes, value: bytes) -> None:
        """Collect a header; ignore trailers."""
        self._lines += 1
        if self._lines > MAX_HEADERS:
            self._stop(_head_too_large())
        if self._in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Check the complete headers."""
        self._in_head = False
        self._upgrades = self.parser.should_upgrade()
        if self._upgrades:
            return
        largest = self._port.largest_body
        for name, value in self.headers:
            if name == b"content-length" and int(value) > largest:
                self._stop(too_large(largest))
            if name == b"expect" and value.lower() != b"100-continue":
                self._stop(RefusedError(417, Reason.UNKNOWN_EXPECTATION, "Expect", "must be 100-continue"))
        if self.expect_100_continue and self._is_idle():
            self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        """Collect the body."""
        if len(self._body) + len(body) > self._port.largest_body:
            self._stop(too_large(self._port.largest_body))
        if not self._port.budget.take(len(body)):
            self._stop(no_room())
        self._taken += len(body)
        if not self._body:
            self._body = body
            return
        if isinstance(self._body, bytes):
            self._body = bytearray(self._body)
        self._body += body

    def on_message_complete(self) -> None:
        """Handle a complete request."""
        if self._upgrades:
            return
        self._partial = self._is_new = False
        if self.transport.is_closing():
            return
        body, self._body = self._body, b""
        self._holds.append(self._taken)
        self._taken = 0
        self._completed(body)

    def _completed(self, body: bytes | bytearray) -> None:
        """Pass the request to the application, after earlier ones on the connection."""
        url, headers = self.url, self.headers
        super().on_message_begin()
        self.url, self.expect_100_continue = url, False
        self.headers += headers
        super().on_headers_complete()
        self.cycle.body = body if isinstance(body, bytearray) else bytearray(body)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Handle the application's response."""
        self.server_state.total_requests += 1
        self._settle()

    def _settle(self) -> None:
        """Continue after a response: with the next pipelined request, or by reading."""
        self._last = self.loop.time()
        if self._holds and (held := self._holds.popleft()):
            self._port.budget.give(held)
        if self.transport.is_closing():
            return
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self._doomed is not None:
            self._end(self._doomed)
        elif self.flow.read_paused and not self.flow.write_paused:
            self.flow.resume_reading()

    def pause_writing(self) -> None:
        """Stop reading requests, because the client does not read responses."""
        super().pause_writing()
        self.flow.pause_reading()
        self._paused = self.loop.time()
        waiting = self.transport.get_write_buffer_size()
        if self._port.budget.take(waiting):
            self._waiting += waiting
        else:
            self.transport.abort()

    def resume_writing(self) -> None:
        """Read requests again."""
        super().resume_writing()
        self._port.budget.give(self._waiting)
        self._waiting = 0
        if not self.pipeline:
            self.flow.resume_reading()

    def shutdown(self) -> None:
        """Shut down; a partly received request is answered first."""
        if not self._partial:
            super().shutdown()

    def idle_since(self) -> float | None:
        """Return since when the connection is idle; None while a request is in flight."""
        if self._partial:
            return self._began
        return self._last if self._is_idle() else None

    def evict(self) -> None:
        """Close the connection at once."""
        self.transport.abort()

    def look(self, now: float) -> None:
        """Close the connection if a limit on time is exceeded."""
        if self._leaving is not None or self.transport.is_closing():
            self._leaving = self._leaving or now
            if now - self._leaving > LINGER:
                self.transport.abort()
        elif self.flow.write_paused:
            if now - self._paused > MAX_READ_SECONDS:
                self.transport.abort()
        elif not self._is_idle():
            return
        elif self._partial:
            if now - self._began > MAX_REQUEST_SECONDS:
                rule = f"a request must be complete within {MAX_REQUEST_SECONDS:g} s"
                self._end(refused(RefusedError(408, Reason.TOO_SLOW, "", rule)))
        elif now - self._last > (MAX_REQUEST_SECONDS if self._is_new else KEEP_ALIVE):
            self.transport.close()

    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _is_shut(self) -> bool:
        return self._leaving is not None or self._doomed is not None

    def _stop(self, error: RefusedError) -> None:
        """Stop the parser in an invalid request."""
        self._refusal = error
        raise error

    def _refuse(self, reply: Reply) -> None:
        """Send a final response, after those of earlier requests."""
        self._partial = self._in_head = False
        self._body = b""
        if self._is_idle():
            self._end(reply)
        else:
            self._doomed = reply
            self.flow.pause_reading()

    def _end(self, reply: Reply) -> None:
        """Send the final response, then discard input for a while: a reset would destroy the response."""
        self._leaving = self.loop.time()
        if self.transport.is_closing():
            return
        self._write(reply, keep=False)
        if self.transport.can_write_eof():
            self.transport.write_eof()
            self.flow.resume_reading()
        else:
            self.transport.close()

    def _write(self, reply: Reply, keep: bool) -> None:
        close = b"" if keep else b"connection: close\r\n"
        length = b"content-length: %d\r\n\r\n" % len(reply.content)
        self.transport.write(b"".join((STATUS_LINE[reply.status], reply.head, close, length, reply.content)))


async def sweep(ports: Iterable[Port]) -> None:
    """Enforce time limits on all connections, until cancelled."""
    clock = asyncio.get_running_loop().time
    while True:
        await asyncio.sleep(PERIOD)
        for port in ports:
            for connection in port.connections:
                connection.look(clock())


def too_large(largest: int) -> RefusedError:
    """Return the error of a body over the limit."""
    return RefusedError(413, Reason.TOO_LARGE, "", f"a body may have at most {largest} bytes")


def no_room() -> RefusedError:
    """Return the error of an exhausted memory budget."""
    return RefusedError(503, Reason.BUSY, "", "too many bytes are in flight; retry later")


def _head_too_large() -> RefusedError:
    return RefusedError(
        431, Reason.HEAD_TOO_LARGE, "", f"the headers may have at most {MAX_HEAD} bytes and {MAX_HEADERS} lines"
    )


def _without_upgrade(headers: Iterable[tuple[bytes, bytes]]) -> Iterable[tuple[bytes, bytes]]:
    for name, value in headers:
        if name in _UPGRADING:
            continue
        if name == b"connection":
            kept = [token.strip() for token in value.split(b",") if token.strip().lower() not in _UPGRADING]
            yield name, b", ".join(kept) or b"keep-alive"
        else:
            yield name, value
