"""Connections during their TLS handshake, counted and limited like those after it.

A TLS server of asyncio shows a connection to its protocol only after the handshake. So these ports listen without TLS, and
a protocol of their own admits the connection, performs the handshake and hands over.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Callable
from typing import Any

from modelward_serving.limits import MAX_REQUEST_SECONDS
from modelward_serving.transport.connections import Connections

Connect = Callable[[], asyncio.Protocol]


def over_tls(connect: Connect, context: ssl.SSLContext | None, connections: Connections) -> Connect:
    """Return a factory of protocols that perform a TLS handshake first; ``connect`` itself without a context."""
    return connect if context is None else lambda: Handshake(connect, context, connections)


class Handshake(asyncio.Protocol):
    """One connection until its handshake is complete.

    It costs little until the client sends something: only then is there TLS state.
    """

    def __init__(self, connect: Connect, context: ssl.SSLContext, connections: Connections) -> None:
        self._connect = connect
        self._context = context
        self._connections = connections
        self._loop = asyncio.get_running_loop()
        self._transport: Any = None
        self._began = time.monotonic()
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None
        self._first = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Handle a new connection."""
        self._transport = transport
        peer = transport.get_extra_info("peername")
        if self._connections.admit(self, str(peer[0]) if peer else ""):
            self._timer = self._loop.call_later(MAX_REQUEST_SECONDS, self.evict)
        else:
            self.evict()

    def data_received(self, data: bytes) -> None:
        """Start the handshake with the first bytes."""
        self._transport.pause_reading()
        self._first = data
        self._task = self._loop.create_task(self._perform())

    def connection_lost(self, exc: Exception | None) -> None:
        """Handle a connection that is closed before its first byte."""
        self._end()

    def idle_since(self) -> float:
        """Return since when the connection is open: nobody waits for a response yet."""
        return self._began

    def evict(self) -> None:
        """Close the connection at once."""
        self._transport.abort()

    def look(self, now: float) -> None:
        """Do nothing: a timer ends a slow handshake."""

    async def _perform(self) -> None:
        try:
            if self._transport.is_closing():
                return
            self._loop.call_soon(self._feed)  # before start_tls() reads on
            limit = MAX_REQUEST_SECONDS
            secured: Any = await self._loop.start_tls(
                self._transport, self, self._context, server_side=True, ssl_handshake_timeout=limit
            )
        except OSError:
            return  # a failed handshake; the error's text is the client's
        finally:
            self._end()
        if not secured.is_closing():
            protocol = self._connect()
            secured.set_protocol(protocol)
            protocol.connection_made(secured)

    def _feed(self) -> None:
        """Pass bytes that came before start_tls() to its protocol."""
        data, self._first = self._first, b""
        protocol = self._transport.get_protocol()
        while data:
            buffer = protocol.get_buffer(len(data))
            count = min(len(data), len(buffer))
            buffer[:count] = data[:count]
            protocol.buffer_updated(count)
            data = data[count:]

    def _end(self) -> None:
        self._connections.leave(self)
        if self._timer is not None:
            self._timer.cancel()
