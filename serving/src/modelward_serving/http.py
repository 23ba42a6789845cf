"""The HTTP server: uvicorn, with inference requests answered in its protocol and everything else passed to the application.

A request that needs neither a challenger nor a thread is answered in the call that delivered its last byte: no task, no ASGI
message, no queue. That is most of what a Python server costs. One with a head that is known is not even parsed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from modelward_serving.app import App, Reply, RestCall, refused
from modelward_serving.tensors import LARGEST_BODY, RefusedError

LARGEST_HEAD = 64 * 1024
SLOWEST_REQUEST = 10.0
"""Seconds from a request's first byte to its last; an idle connection has the keep-alive time instead."""


class _Answering:
    """Stands for a request that is being answered, where uvicorn has its cycle: what comes behind it on the connection waits."""

    response_complete = False
    keep_alive = True
    disconnected = False
    more_body = False
    message_event = asyncio.Event()
    """Set when the connection is lost; nobody waits for it."""


class Protocol(HttpToolsProtocol):
    """One connection."""

    app: App

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._hot: bytes | bytearray | None = None
        self._read: tuple[Mapping[bytes, bytes], bytes | bytearray] | None = None
        """While bytes are parsed: headers and body of the last request, if it is inference and leaves the connection open."""
        self._partial = False
        self._received = 0
        self._patience: asyncio.TimerHandle | None = None
        self._last = 0.0
        self._keeping: asyncio.TimerHandle | None = None
        self._standing: Any = None
        """While a request is answered later: the _Answering that stands for it."""

    def data_received(self, data: bytes) -> None:
        """Bytes came; answers what they complete."""
        self._last = self.loop.time()
        is_first = not self._partial
        if is_first and self._is_idle() and (known := self.app.heads.split(data)) is not None:
            self._unset_keepalive_if_required()
            self._infer(*known, keep=True)
            return
        super().data_received(data)
        if is_first and self._read is not None:
            self.app.heads.learn(data, *self._read)
        self._read = None
        if not self._partial:
            if self._patience is not None:
                self._patience.cancel()
                self._patience = None
            return
        self._received += len(data)
        if self._patience is None:
            self._patience = self.loop.call_later(SLOWEST_REQUEST, self._too_slow)
        if self._received > LARGEST_BODY + LARGEST_HEAD:
            self._end(refused(RefusedError(413, "TooLarge", "", f"a body may have {LARGEST_BODY} bytes at most")))

    def connection_lost(self, exc: Exception | None) -> None:
        """The caller went away."""
        for timer in (self._patience, self._keeping):
            if timer is not None:
                timer.cancel()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """A request begins; what it is shows in its head."""
        self.url = b""
        self.expect_100_continue = False
        self.headers = []
        self._hot = None
        self._partial, self._received = True, 0

    def on_headers_complete(self) -> None:
        """The request's head is there: is it inference?"""
        if self.url in self.app.infer_paths and self._is_idle() and self.parser.get_method() == b"POST":
            self._hot = b""
            if self.expect_100_continue:
                self.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            return
        url, headers, expect = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expect
        self.headers += headers
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A part of the body."""
        if self._hot is None:
            super().on_body(body)
        elif not self._hot:
            self._hot = body
        elif len(self._hot) <= LARGEST_BODY:
            if isinstance(self._hot, bytes):
                self._hot = bytearray(self._hot)
            self._hot += body

    def on_message_complete(self) -> None:
        """The request is complete: answer it."""
        self._partial = False
        if self._hot is None:
            super().on_message_complete()
            return
        body, self._hot = self._hot, None
        headers, keep = dict(self.headers), self.parser.should_keep_alive()
        self._read = (headers, body) if keep else None
        self._infer(headers, body, keep=keep)

    def _infer(self, headers: Mapping[bytes, bytes], body: bytes | bytearray, *, keep: bool) -> None:
        call = RestCall(self.app, headers, body, self._respond, keep=keep and not self.app.turns_away())
        self.app.infer(call)
        if not call.is_answered:
            self._standing = _Answering()
            self.cycle = self._standing

    def shutdown(self) -> None:
        """The server ends: what has begun is answered first."""
        if self._hot is None:
            super().shutdown()

    def _keep(self) -> None:
        """Close the connection once it was idle for long enough: one timer for all its requests, as each costs."""
        rest = self._last + self.timeout_keep_alive - self.loop.time()
        if rest > 0 or self._partial or not self._is_idle():
            self._keeping = self.loop.call_later(max(rest, 1.0), self._keep)
        else:
            self.timeout_keep_alive_handler()

    def _is_idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _respond(self, call: RestCall, reply: Reply) -> None:
        keep, standing = call.keep, self._standing
        if standing is not None:
            self._standing = None
            standing.response_complete = True
            keep = keep and standing.keep_alive
        if self.transport.is_closing():
            return
        self._write(reply, keep)
        if self.pipeline:
            self.on_response_complete()
            return
        self.server_state.total_requests += 1
        if self._keeping is None:
            self._keep()

    def _write(self, reply: Reply, keep: bool) -> None:
        close = b"" if keep else b"connection: close\r\n"
        length = b"content-length: %d\r\n\r\n" % len(reply.content)
        self.transport.write(b"".join((STATUS_LINE[reply.status], reply.head, close, length, reply.content)))
        if not keep:
            self.transport.close()

    def _too_slow(self) -> None:
        self._end(refused(RefusedError(408, "TooSlow", "", f"a request must be complete within {SLOWEST_REQUEST:g} s")))

    def _end(self, reply: Reply) -> None:
        if self._is_idle() and not self.transport.is_closing():
            self._write(reply, keep=False)
        self.transport.close()
