"""The HTTP server: uvicorn, with inference requests answered in its protocol and everything else passed to the application.

A request that needs neither a challenger nor a thread is answered in the call that delivered its last byte: no task, no ASGI
message, no queue. That is most of what a Python server costs. Repeated heads are not even parsed.
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
"""Seconds that one connection may answer requests that came together, before others are looked at."""


class _Answering:
    """Stands for a request that is being answered, where uvicorn has its cycle: what comes behind it on the connection waits."""

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
        """While bytes are parsed: headers and body of the last request, if it is inference and leaves the connection open."""
        self._standing: Any = None
        """While a request is answered later: the _Answering that stands for it."""

    def data_received(self, data: bytes) -> None:
        """Bytes came; answers what they complete."""
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
        """Answer inference at once, unless that would be at the expense of others."""
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
        """Asked for each request, so what it is made of is written out: see _is_idle() and _is_shut()."""
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
