"""The HTTP server: uvicorn's protocol, which answers inference itself and passes other requests to the application.

A request that needs neither a challenger nor a thread is answered in the call that delivers its last byte, without a task, ASGI
messages or a queue, which are most of a Python server's cost. Repeated request headers are parsed once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from modelward_serving.rest.app import App
from modelward_serving.rest.call import RestCall
from modelward_serving.transport.http1 import LimitedHttpProtocol
from modelward_serving.transport.reply import Reply

TURN = 0.002
"""Seconds that one connection may use for pipelined requests before others get a turn."""


class _Answering:
    """Takes the place of uvicorn's cycle while a request is answered, so that pipelined requests wait."""

    response_complete = False
    keep_alive = True
    disconnected = False
    more_body = False
    message_event = asyncio.Event()
    """Set when the connection is lost; nobody waits for it."""


class InferenceHttpProtocol(LimitedHttpProtocol):
    """One connection."""

    app: App

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._heads = self.app.heads
        self._codec = self.app.codec
        self._read: tuple[Mapping[bytes, bytes], bytes | bytearray] | None = None
        """While parsing: headers and body of the last inference request on a kept connection."""
        self._standing: Any = None
        """The _Answering of a request that is answered later."""

    def data_received(self, data: bytes) -> None:
        """Parse bytes; answer the requests that they complete."""
        is_first = not self._partial
        if is_first and self._may_answer() and (known := self._heads.split(data)) is not None:
            self._is_new = False
            self._infer(*known, keep=True)
            return
        super().data_received(data)
        if is_first and self._read is not None:
            self._heads.learn(data, *self._read)
        self._read = None

    def _completed(self, body: bytes | bytearray) -> None:
        """Answer inference at once, unless other connections had to wait for it."""
        is_inference = self.url in self.app.infer_paths and self.parser.get_method() == b"POST"
        if not is_inference or not self._may_answer() or self.loop.time() - self._came > TURN:
            super()._completed(body)
            return
        headers, keep = dict(self.headers), self.parser.should_keep_alive()
        self._read = (headers, body) if keep else None
        self._infer(headers, body, keep=keep)

    def _infer(self, headers: Mapping[bytes, bytes], body: bytes | bytearray, *, keep: bool) -> None:
        call = RestCall(self._codec, headers, body, self._respond, keep=keep and not self.app.draining())
        self.app.infer(call)
        if not call.is_answered:
            self._standing = _Answering()
            self.cycle = self._standing
            if not self._holds:
                self._holds.append(len(body) if self._port.budget.take(len(body)) else 0)

    def _may_answer(self) -> bool:
        """Return whether a request may be answered now. Inlines _is_idle() and _is_shut(), because it runs on each request."""
        return (
            (self.cycle is None or self.cycle.response_complete)
            and not self.flow.write_paused
            and self._leaving is None
            and self._doomed is None
        )

    def _respond(self, call: RestCall, reply: Reply) -> None:
        keep, standing = call.keep, self._standing
        if standing is not None:
            self._standing = None
            standing.response_complete = True
            keep = keep and standing.keep_alive
        if self.transport.is_closing():
            return
        self._write(reply, keep)
        if not keep:
            self.transport.close()
        self.server_state.total_requests += 1
        self._settle()
