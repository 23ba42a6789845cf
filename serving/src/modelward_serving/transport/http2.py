"""HTTP/2 (RFC 9113) for a gRPC server: frames, streams and flow control of one connection.

It exists because no Python server can ask a client to reconnect without losing a call, and none answers a call in the step that
delivers its last byte: see ADR 0022. hpack decodes headers; responses are sent without compression.
"""

from __future__ import annotations

import asyncio
import math
import re
import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import hpack

from modelward_serving.protocol.fields import are_of_names, are_of_values, are_visible
from modelward_serving.transport.budget import Budget

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, PRIORITY, RST_STREAM, SETTINGS, PUSH_PROMISE, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = range(10)
END_STREAM = ACK = 0x1
END_HEADERS, PADDED, PRIORITISED = 0x4, 0x8, 0x20
NO_ERROR, PROTOCOL_ERROR, INTERNAL_ERROR, FLOW_CONTROL_ERROR = 0x0, 0x1, 0x2, 0x3
STREAM_CLOSED, FRAME_SIZE_ERROR, REFUSED_STREAM, CANCEL, COMPRESSION_ERROR = 0x5, 0x6, 0x7, 0x8, 0x9
CALM_DOWN = 0xB

MAX_FRAME = 64 * 1024
MAX_HEAD = 16 * 1024
"""Bytes of a header block, encoded and decoded."""
MAX_STREAMS = 100
STREAM_WINDOW = 1024 * 1024
CONNECTION_WINDOW = 16 * 1024 * 1024
MAX_HELD = 32 * 1024 * 1024
"""Bytes of requests and responses per connection; the budget limits all connections together."""
MAX_UNREAD = 256 * 1024
"""Bytes of responses blocked by flow control, above which further requests wait."""
MAX_WRITE = 64 * 1024
TURN = 0.002
"""Seconds after which a busy connection lets others continue."""
LOOKS = 8
"""Frames between two checks of the clock."""
MAX_WAIT_SECONDS = 10.0
"""Seconds for a client to send its first frame, and to read a response."""
MAX_CUT = 256
"""Streams ended by us, whose remaining frames are ignored."""
MAX_IDLE_FRAMES = 10_000
"""Frames without effect between two requests; more are an attack."""
MAX_RESETS = 200
"""Cancelled streams beyond the answered ones; more are a 'rapid reset' attack."""
MAX_BY_INDICES, MAX_WITH_TEXT, MAX_TEXT_BLOCK = 64, 8, 512
"""Cached header blocks per connection: of indices only, and with text, which take more memory."""
MAX_WINDOW = 2**31 - 1
LAST_STREAM = 2**31 - 1

_HEAD = struct.Struct(">HBBBI")
_SETTING = struct.Struct(">HI")
_ONE_BYTE_INDICES = bytes(range(0x81, 0xFF))
_OWN = b"going"
"""Payload of the PING that confirms receipt of GOAWAY."""
OPEN, LEAVING, DRAINING, ENDING, CLOSING = range(5)
"""Phases of a connection: GOAWAY is sent; the client has heard it, so that no further call comes; the last response is sent, and
the client closes; we close."""


class ConnectionFault(Exception):  # noqa: N818
    """A connection error: the client broke the protocol."""

    def __init__(self, code: int) -> None:
        super().__init__(code)
        self.code = code


class StreamFault(Exception):  # noqa: N818
    """A stream error: the client broke the protocol."""

    def __init__(self, stream: int, code: int) -> None:
        super().__init__(stream, code)
        self.stream = stream
        self.code = code


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """Return a frame."""
    size = len(payload)
    return _HEAD.pack(size >> 8, size & 0xFF, kind, flags, stream) + payload


def literal(name: bytes, value: bytes) -> bytes:
    """Return a header field as literal without indexing and with a new name (RFC 7541 section 6.2.2)."""
    return b"\x00" + _prefixed(name) + _prefixed(value)


def _prefixed(text: bytes) -> bytes:
    size = len(text)
    if size < 127:
        return bytes((size,)) + text
    size -= 127
    digits = bytearray((127,))
    while size >= 128:
        digits.append(size % 128 + 128)
        size //= 128
    digits.append(size)
    return bytes(digits) + text


class Memory:
    """Memory held for clients, over all connections of a server."""

    def __init__(self, budget: Budget | None = None) -> None:
        self.budget = budget or Budget()
        self.connections: set[Connection] = set()

    def greediest(self) -> Connection:
        """Return the connection that holds most."""
        return max(self.connections, key=lambda connection: connection.held)


@dataclass(slots=True)
class Head:
    """Headers of a request."""

    method: bytes
    path: bytes
    headers: dict[bytes, bytes]
    """By lower-case name; the last value wins."""
    length: int | None = None
    """Value of content-length."""


@dataclass(slots=True, eq=False)
class Stream:
    """One request and its response."""

    id: int
    connection: Connection
    head: Head
    window: int
    """Flow-control window for sending."""
    begun: float
    body: bytearray = field(default_factory=bytearray)
    received: int = 0
    credit: int = STREAM_WINDOW
    is_complete: bool = False
    """Whether the client ended the stream."""
    has_begun: bool = False
    """Whether the response headers are sent."""
    pending: bytearray | None = None
    trailers: bytes | None = None
    method: Any = None
    """The method that the application calls, and sets."""
    asked: int = 0
    """Answered messages of a streaming call."""
    is_over: bool = False
    held: int = 0
    """Bytes held for the stream."""
    waits_since: float = 0.0
    """Since when flow control blocks the pending bytes."""

    def respond(self, head: bytes, content: bytes, trailers: bytes) -> None:
        """Send a whole response: headers, content, trailers."""
        if not self.is_over:
            self.connection.respond(self, head, content, trailers)

    def begin(self, head: bytes) -> None:
        """Send the headers of a response in parts."""
        if not self.is_over and not self.has_begun:
            self.has_begun = True
            self.connection.write(frame(HEADERS, END_HEADERS, self.id, head))

    def send(self, content: bytes) -> None:
        """Send a part of a response."""
        if not self.is_over:
            self.connection.send(self, content)

    def end(self, trailers: bytes) -> None:
        """End the response; before any headers, as a trailers-only response."""
        if not self.is_over:
            self.connection.end(self, trailers)


class Application(Protocol):
    """The server that handles the requests."""

    largest: int
    """Maximum bytes of a request's body."""

    def connected(self, connection: Connection) -> None:
        """Handle a new connection."""

    def disconnected(self, connection: Connection) -> None:
        """Handle a closed connection."""

    def begun(self, stream: Stream) -> None:
        """Handle the headers of a request."""

    def came(self, stream: Stream) -> None:
        """Handle a part of a request's body."""

    def completed(self, stream: Stream) -> None:
        """Handle a complete request."""

    def drained(self, stream: Stream) -> None:
        """Continue a response: the client has read what was pending."""

    def too_large(self, stream: Stream) -> None:
        """Refuse a request whose body is too large."""

    def too_much(self, stream: Stream) -> None:
        """Refuse the request that holds most memory, because the budget is exhausted."""

    def dropped(self, stream: Stream) -> None:
        """Handle a cancelled request."""


class Connection(asyncio.Protocol):
    """One connection.

    Frames are processed in turns: a connection yields to others after a few milliseconds. It is not read while its client does
    not read.
    """

    def __init__(self, application: Application, clock: Callable[[], float], memory: Memory | None = None) -> None:
        self.streams: dict[int, Stream] = {}
        self.began = self._idle_since = clock()
        self.last_stream = 0
        self.held = 0
        """Bytes of requests and responses held for this client."""
        self.unread = 0
        """Bytes of responses blocked by flow control."""
        self._memory = memory or Memory()
        self._application = application
        self._clock = clock
        self._transport: Any = None
        self._unparsed = b""
        self._out: list[bytes] | None = None
        self._out_size = 0
        self._turn_ends = math.inf
        self._is_behind = self._is_paused = self._is_scheduled = False
        """Frames wait for the next turn; reading is paused; the next turn is scheduled."""
        self._congested_since: float | None = None
        """Since when the client does not read,"""
        self._closing_since: float | None = None
        """and since when closing waits for it."""
        self._waiting: deque[Stream] = deque()
        """Complete requests that wait until the client has read more."""
        self._cut: dict[int, None] = {}
        self._is_greeted = self._is_set = False
        self._decoder = hpack.Decoder(max_header_list_size=MAX_HEAD)
        self._heads: dict[bytes, Head] = {}
        self._block: tuple[int, int, bytearray] | None = None
        """Stream, flags and start of a header block that continues in the next frame."""
        self._window = 65_535
        self._stream_window = 65_535
        self._largest_frame = 16_384
        self._credit = CONNECTION_WINDOW
        self._idle_frames = self._resets = self._answered = 0
        self._phase = OPEN
        self._handlers = (
            self._on_data,
            self._on_headers,
            self._on_priority,
            self._on_reset,
            self._on_settings,
            self._on_push,
            self._on_ping,
            self._on_go_away,
            self._on_window,
            self._on_continuation,
        )

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Handle a new connection."""
        self._transport = transport
        settings = {0x3: MAX_STREAMS, 0x4: STREAM_WINDOW, 0x5: MAX_FRAME, 0x6: MAX_HEAD}
        content = b"".join(_SETTING.pack(name, value) for name, value in settings.items())
        more = (CONNECTION_WINDOW - 65_535).to_bytes(4)
        self._transport.write(frame(SETTINGS, 0, 0, content) + frame(WINDOW_UPDATE, 0, 0, more))
        self._memory.connections.add(self)
        self._application.connected(self)

    def connection_lost(self, error: Exception | None) -> None:
        """Handle a closed connection."""
        self._phase = CLOSING
        for stream in list(self.streams.values()):
            self._drop(stream)
        self._memory.connections.discard(self)
        self._application.disconnected(self)

    def data_received(self, data: bytes) -> None:
        """Parse bytes; send the responses in one write."""
        if self._phase >= ENDING:
            return
        if self._unparsed:
            data = self._unparsed + data
        if self._is_paused:
            self._unparsed = data
        else:
            self._work(data)

    def pause_writing(self) -> None:
        """Stop reading from a client that does not read."""
        self._congested_since = self._clock()
        self._pause()

    def resume_writing(self) -> None:
        """Continue with a client that reads again."""
        self._congested_since = None
        self._schedule()

    def _work(self, data: bytes) -> None:
        """Process frames for one turn."""
        self._out, self._is_behind = [], False
        self._turn_ends = self._clock() + TURN
        at = 0
        try:
            if self._waiting:
                self._take_waiting()
            at = self._greet(data) if not self._is_greeted else 0
            at = self._frames(data, at)
        except ConnectionFault as fault:
            self._fail(fault.code)
            at = len(data)
        self._unparsed = data[at:]
        self._push()
        self._out = None
        if self._phase >= ENDING:
            self._end()
        elif self._congested_since is not None:
            return
        elif self._is_behind:
            self._pause()
            self._schedule()
        elif self._is_paused:
            self._is_paused = False
            self._transport.resume_reading()

    def _is_turn_over(self) -> bool:
        self._is_behind = self._congested_since is not None or self._clock() > self._turn_ends
        return self._is_behind

    def _pause(self) -> None:
        if not self._is_paused and self._phase < ENDING:
            self._is_paused = True
            self._transport.pause_reading()

    def _schedule(self) -> None:
        if not self._is_scheduled:
            self._is_scheduled = True
            asyncio.get_running_loop().call_soon(self._go_on)

    def _go_on(self) -> None:
        self._is_scheduled = False
        if self._phase < ENDING and self._congested_since is None:
            self._work(self._unparsed)

    def write(self, content: bytes) -> None:
        """Send frames; those of one turn go out together."""
        if self._out is not None:
            self._out.append(content)
            self._out_size += len(content)
            if self._out_size > MAX_WRITE:
                self._push()
        elif self._phase < ENDING:
            self._transport.write(content)

    def _push(self) -> None:
        if self._out:
            self._transport.write(self._out[0] if len(self._out) == 1 else b"".join(self._out))
            self._out.clear()
            self._out_size = 0

    def look(self, now: float) -> None:
        """Close the connection or its calls if a limit on time is exceeded."""
        if self._phase >= ENDING:
            self._closing_since = self._closing_since or now
        since = self._closing_since or self._congested_since or (now if self._is_set else self.began)
        if now - since > MAX_WAIT_SECONDS:
            self.abort()
            return
        for stream in [each for each in self.streams.values() if each.pending]:
            if now - stream.waits_since > MAX_WAIT_SECONDS:
                self._drop(stream)
                self.write(frame(RST_STREAM, 0, stream.id, CANCEL.to_bytes(4)))
                self._forget(stream)
        if self._waiting:
            self._schedule()

    def peer(self) -> str:
        """Return the client's address."""
        return str((self._transport.get_extra_info("peername") or ("",))[0])

    def idle_since(self) -> float | None:
        """Return since when the connection is idle; None while a call is open."""
        return None if self.streams else self._idle_since

    def evict(self) -> None:
        """Close the connection at once, for a new one."""
        self.abort()

    def abort(self) -> None:
        """Close the connection at once; drop unsent data."""
        self._phase = CLOSING
        for stream in list(self.streams.values()):
            self._drop(stream)
        self._transport.abort()

    def go_away(self) -> None:
        """Send GOAWAY: ask the client to reconnect. Calls that it starts before it sees that are served."""
        if self._phase == OPEN:
            self._phase = LEAVING
            self.write(frame(GOAWAY, 0, 0, _goodbye(LAST_STREAM, NO_ERROR)) + frame(PING, 0, 0, _OWN.ljust(8, b"\0")))

    def farewell(self) -> None:
        """Close once idle, though the client may not have seen GOAWAY."""
        if self._phase == LEAVING:
            self._announce_last_stream()

    def close(self) -> None:
        """Close the connection at once."""
        self._fail(NO_ERROR)
        self._phase = CLOSING
        if self._out is None:
            self._transport.close()

    def respond(self, stream: Stream, head: bytes, content: bytes, trailers: bytes) -> None:
        """Send a whole response, in one write if flow control allows it."""
        size = len(content)
        if size > self._window or size > stream.window or size > self._largest_frame:
            stream.begin(head)
            self.send(stream, content)
            self.end(stream, trailers)
            return
        self._window -= size
        number, pack = stream.id, _HEAD.pack
        self.write(
            b"".join(
                (
                    pack(len(head) >> 8, len(head) & 0xFF, HEADERS, END_HEADERS, number),
                    head,
                    pack(size >> 8, size & 0xFF, DATA, 0, number),
                    content,
                    pack(len(trailers) >> 8, len(trailers) & 0xFF, HEADERS, END_HEADERS | END_STREAM, number),
                    trailers,
                )
            )
        )
        self._ended(stream)

    def send(self, stream: Stream, content: bytes) -> None:
        """Send a part of a response."""
        if not stream.pending:
            stream.pending = bytearray()
            stream.waits_since = self._clock()
        stream.pending += content
        self.unread += len(content)
        if self._keep(stream, len(content)):
            self._flush(stream)
        else:
            self.abort()

    def end(self, stream: Stream, trailers: bytes) -> None:
        """End a response, after its pending bytes."""
        stream.trailers = trailers
        self._flush(stream)

    def _flush(self, stream: Stream) -> None:
        while stream.pending:
            size = min(len(stream.pending), self._window, stream.window, self._largest_frame)
            if size <= 0:
                return
            self.write(frame(DATA, 0, stream.id, bytes(stream.pending[:size])))
            del stream.pending[:size]
            self.unread -= size
            self._give_back(stream, size)
            self._window -= size
            stream.window -= size
        if stream.trailers is not None:
            last = (HEADERS, END_HEADERS | END_STREAM) if stream.trailers else (DATA, END_STREAM)
            self.write(frame(*last, stream.id, stream.trailers))
            self._ended(stream)

    def _ended(self, stream: Stream) -> None:
        """Finish a stream whose response is complete."""
        stream.is_over = True
        self._answered += 1
        if not stream.is_complete:
            self._cut_off(stream.id)
            self.write(frame(RST_STREAM, 0, stream.id, NO_ERROR.to_bytes(4)))
        self._forget(stream)

    def _keep(self, stream: Stream, size: int) -> bool:
        """Account for bytes held for a stream; return False, and hold none, if there is no room."""
        if size == 0:
            return True
        if self.held + size > MAX_HELD or not self._memory.budget.take(size):
            return False
        stream.held += size
        self.held += size
        return True

    def _give_back(self, stream: Stream, size: int) -> None:
        stream.held -= size
        self.held -= size
        self._memory.budget.give(size)

    def _keep_part(self, stream: Stream, size: int) -> None:
        """Hold a part of a request; if there is no room, refuse the request that holds most."""
        while not self._keep(stream, size):
            connection = self if self.held + size > MAX_HELD else self._memory.greediest()
            parts = [each for each in connection.streams.values() if each.held and not each.is_complete]
            if connection is not self and connection.unread > MAX_UNREAD:
                connection.abort()
                continue
            largest = max(parts, key=lambda each: each.held, default=stream)
            connection._application.too_much(largest)
            if largest is stream:
                return

    def _cut_off(self, number: int) -> None:
        """Remember a stream that we ended: frames that the client sent before it knew are ignored."""
        if len(self._cut) >= MAX_CUT:
            del self._cut[next(iter(self._cut))]
        self._cut[number] = None

    def _forget(self, stream: Stream) -> None:
        self.streams.pop(stream.id, None)
        self._idle_since = self._clock()
        if stream.held or stream.pending:
            self._let_go(stream)
        if self._phase == DRAINING and not self.streams:
            self._leave()

    def _announce_last_stream(self) -> None:
        """Send the final GOAWAY: the client knows that no further call is served."""
        self._phase = DRAINING
        self.write(frame(GOAWAY, 0, 0, _goodbye(self.last_stream, NO_ERROR)))
        if not self.streams:
            self._leave()

    def _leave(self) -> None:
        """End the connection after its last response."""
        self._phase = ENDING
        if self._out is None:
            self._end()

    def _end(self) -> None:
        """Close, or let the client close if it has not failed.

        It may still send WINDOW_UPDATE while it reads. A closed socket would answer that with a reset, and the kernel would
        discard what the client has not received yet. (uvloop's TLS waits for the client's end itself.)
        """
        if self._phase == CLOSING or not self._transport.can_write_eof():
            self._transport.close()
            return
        self._transport.write_eof()
        if self._is_paused:
            self._is_paused = False
            self._transport.resume_reading()

    def _let_go(self, stream: Stream) -> None:
        if stream.held:
            self._give_back(stream, stream.held)
        if stream.pending:
            self.unread -= len(stream.pending)
            stream.pending = None

    def _drop(self, stream: Stream) -> None:
        stream.is_over = True
        self.streams.pop(stream.id, None)
        self._let_go(stream)
        self._application.dropped(stream)

    def _fail(self, code: int) -> None:
        if self._phase < ENDING:
            self.write(frame(GOAWAY, 0, 0, _goodbye(self.last_stream, code)))
            self._phase = CLOSING

    def _greet(self, data: bytes) -> int:
        if not data.startswith(PREFACE[: len(data)]):
            raise ConnectionFault(PROTOCOL_ERROR)
        if len(data) < len(PREFACE):
            return 0
        self._is_greeted = True
        return len(PREFACE)

    def _frames(self, data: bytes, at: int) -> int:
        """Process complete frames; return where the first incomplete one begins."""
        end, count = len(data), 0
        while self._is_greeted and end - at >= 9 and self._phase < ENDING:
            high, low, kind, flags, stream = _HEAD.unpack_from(data, at)
            size = high << 8 | low
            if size > MAX_FRAME:
                raise ConnectionFault(FRAME_SIZE_ERROR)
            if end - at - 9 < size:
                break
            payload = data[at + 9 : at + 9 + size]
            at += 9 + size
            if (self._block is not None) != (kind == CONTINUATION) or (not self._is_set and kind != SETTINGS):
                raise ConnectionFault(PROTOCOL_ERROR)
            if kind < len(self._handlers):
                try:
                    self._handlers[kind](flags, stream & LAST_STREAM, payload)
                except StreamFault as fault:
                    self._reset(fault.stream, fault.code)
            else:
                self._idle()
            if self._waiting:
                self._take_waiting()
            count += 1
            if (flags & END_STREAM or count % LOOKS == 0) and end - at >= 9 and self._is_turn_over():
                break
        return at

    def _take_waiting(self) -> None:
        """Answer waiting requests, while the client reads."""
        while self._waiting and self.unread <= MAX_UNREAD and not self._is_turn_over():
            self._finish(self._waiting.popleft())

    def _reset(self, number: int, code: int) -> None:
        known = self.streams.get(number)
        if number <= self.last_stream and (known is None or not known.is_complete):
            self._cut_off(number)
        if known is not None:
            self._drop(known)
        self._resets += 1
        self._check_resets()
        self.write(frame(RST_STREAM, 0, number, code.to_bytes(4)))

    def _check_resets(self) -> None:
        if self._resets > MAX_RESETS + self._answered:
            raise ConnectionFault(CALM_DOWN)

    def _idle(self, count: int = 1) -> None:
        """Count frames without effect."""
        self._idle_frames += count
        if self._idle_frames > MAX_IDLE_FRAMES:
            raise ConnectionFault(CALM_DOWN)

    def _on_headers(self, flags: int, number: int, payload: bytes) -> None:
        if number % 2 == 0:
            raise ConnectionFault(PROTOCOL_ERROR)
        if flags & (PADDED | PRIORITISED):
            payload = _stripped(flags, number, payload)
        if not flags & END_HEADERS:
            self._block = number, flags, bytearray(payload)
            return
        self._head(flags, number, payload)

    def _on_continuation(self, flags: int, number: int, payload: bytes) -> None:
        if self._block is None or self._block[0] != number:
            raise ConnectionFault(PROTOCOL_ERROR)
        self._idle()
        _, first, block = self._block
        block += payload
        if len(block) > MAX_HEAD:
            raise ConnectionFault(CALM_DOWN)
        if flags & END_HEADERS:
            self._block = None
            self._head(first, number, bytes(block))

    def _head(self, flags: int, number: int, block: bytes) -> None:
        if len(block) > MAX_HEAD:
            raise ConnectionFault(CALM_DOWN)
        known = self.streams.get(number)
        if number in self._cut:
            self._fields(block)
            self._ignore(flags, number)
            return
        if known is None and number <= self.last_stream:
            raise ConnectionFault(STREAM_CLOSED)
        if known is not None:
            self._trailers(known, flags, block)
            return
        self.last_stream = number
        head = self._heads.get(block) or self._decoded(number, block)
        if len(self.streams) >= MAX_STREAMS:
            raise StreamFault(number, REFUSED_STREAM)
        self._idle_frames = 0
        stream = Stream(number, self, head, self._stream_window, self._clock())
        stream.is_complete = bool(flags & END_STREAM)
        self.streams[number] = stream
        self._application.begun(stream)
        if stream.is_complete:
            self._complete(stream)

    def _ignore(self, flags: int, number: int) -> None:
        """Ignore a frame to a stream that we ended."""
        self._idle()
        if flags & END_STREAM:
            del self._cut[number]

    def _trailers(self, stream: Stream, flags: int, block: bytes) -> None:
        if stream.is_complete:
            raise ConnectionFault(STREAM_CLOSED)
        fields = self._fields(block)
        _check_fields(stream.id, fields)
        if not flags & END_STREAM or any(_is_wrong(name, value) for name, value in fields):
            raise StreamFault(stream.id, PROTOCOL_ERROR)
        self._complete(stream)

    def _decoded(self, number: int, block: bytes) -> Head:
        """Decode headers; cache them if the same bytes will always mean the same."""
        head = _checked(number, self._fields(block))
        known = len(self._heads)
        if not block.translate(None, _ONE_BYTE_INDICES):
            is_kept = known < MAX_BY_INDICES
        else:
            fits = known < MAX_WITH_TEXT and len(block) <= MAX_TEXT_BLOCK
            is_kept = fits and _OF_CALLERS.issuperset(head.headers) and _is_of_itself(block)
        if is_kept:
            self._heads[block] = head
        return head

    def _fields(self, block: bytes) -> list[tuple[bytes, bytes]]:
        """Decode a header block. If it changes the table, clear the cache, whose blocks may now mean something else."""
        entries = self._decoder.header_table.dynamic_entries
        before = (entries[0] if entries else None, len(entries))
        try:
            found = [(bytes(name), bytes(value)) for name, value in self._decoder.decode(block, raw=True)]
        except hpack.OversizedHeaderListError as error:
            raise ConnectionFault(CALM_DOWN) from error
        except (hpack.HPACKError, ValueError, IndexError) as error:
            raise ConnectionFault(COMPRESSION_ERROR) from error
        entries = self._decoder.header_table.dynamic_entries
        if (entries[0] if entries else None) is not before[0] or len(entries) != before[1]:
            self._heads.clear()
        return found

    def _on_data(self, flags: int, number: int, payload: bytes) -> None:
        size = len(payload)
        self._credit -= size
        if number == 0 or number > self.last_stream:
            raise ConnectionFault(PROTOCOL_ERROR)
        if self._credit < 0:
            raise ConnectionFault(FLOW_CONTROL_ERROR)
        if self._credit < CONNECTION_WINDOW // 2:
            self.write(frame(WINDOW_UPDATE, 0, 0, (CONNECTION_WINDOW - self._credit).to_bytes(4)))
            self._credit = CONNECTION_WINDOW
        if number in self._cut:
            self._ignore(flags, number)
            return
        stream = self.streams.get(number)
        if stream is None or stream.is_complete:
            raise StreamFault(number, STREAM_CLOSED)
        if flags & PADDED:
            payload = _stripped(flags & PADDED, number, payload)
        if not payload and not flags & END_STREAM:
            self._idle()
        self._take(stream, payload, size)
        if stream.is_over:
            return
        if flags & END_STREAM:
            self._complete(stream)
        else:
            self._keep_part(stream, len(payload))

    def _take(self, stream: Stream, payload: bytes, size: int) -> None:
        stream.received += len(payload)
        stream.credit -= size
        if stream.credit < 0:
            raise StreamFault(stream.id, FLOW_CONTROL_ERROR)
        if stream.head.length is not None and stream.received > stream.head.length:
            raise StreamFault(stream.id, PROTOCOL_ERROR)
        stream.body += payload
        if len(stream.body) > self._application.largest:
            self._application.too_large(stream)
            return
        if stream.credit < STREAM_WINDOW // 2:
            self.write(frame(WINDOW_UPDATE, 0, stream.id, (STREAM_WINDOW - stream.credit).to_bytes(4)))
            stream.credit = STREAM_WINDOW
        self._application.came(stream)

    def _complete(self, stream: Stream) -> None:
        if stream.head.length is not None and stream.received != stream.head.length:
            raise StreamFault(stream.id, PROTOCOL_ERROR)
        stream.is_complete = True
        if self.unread > MAX_UNREAD:
            self._waiting.append(stream)
            self._keep_whole(stream)
        elif not stream.is_over:
            self._application.completed(stream)
            if not stream.is_over:
                self._keep_whole(stream)

    def _finish(self, stream: Stream) -> None:
        """Answer a request."""
        if not stream.is_over:
            self._application.completed(stream)
            self._keep_whole(stream)

    def _keep_whole(self, stream: Stream) -> None:
        """Account for a request until it is answered."""
        if not stream.is_over and not self._keep(stream, max(stream.received - stream.held, 0)):
            self._application.too_much(stream)

    def _on_priority(self, _flags: int, number: int, payload: bytes) -> None:
        self._idle()
        if number == 0:
            raise ConnectionFault(PROTOCOL_ERROR)
        if len(payload) != 5:
            raise StreamFault(number, FRAME_SIZE_ERROR)
        if int.from_bytes(payload[:4]) & LAST_STREAM == number:
            raise StreamFault(number, PROTOCOL_ERROR)

    def _on_reset(self, _flags: int, number: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ConnectionFault(FRAME_SIZE_ERROR)
        if number == 0 or number > self.last_stream:
            raise ConnectionFault(PROTOCOL_ERROR)
        self._cut.pop(number, None)
        stream = self.streams.get(number)
        if stream is not None:
            self._drop(stream)
            self._resets += 1
            self._check_resets()
            self._forget(stream)
        else:
            self._idle()

    def _on_settings(self, flags: int, number: int, payload: bytes) -> None:
        self._idle(1 + len(payload) // 6)
        if number != 0:
            raise ConnectionFault(PROTOCOL_ERROR)
        if len(payload) % 6 or (flags & ACK and payload):
            raise ConnectionFault(FRAME_SIZE_ERROR)
        self._is_set = True
        if flags & ACK:
            return
        for name, value in _SETTING.iter_unpack(payload):
            self._set(name, value)
        self.write(frame(SETTINGS, ACK, 0))

    def _set(self, name: int, value: int) -> None:
        if name == 0x2 and value > 1:
            raise ConnectionFault(PROTOCOL_ERROR)
        if name == 0x4:
            if value > MAX_WINDOW:
                raise ConnectionFault(FLOW_CONTROL_ERROR)
            for stream in list(self.streams.values()):
                stream.window += value - self._stream_window
                self._flush_if_waiting(stream)
            self._stream_window = value
        if name == 0x5:
            if not 16_384 <= value < 2**24:
                raise ConnectionFault(PROTOCOL_ERROR)
            self._largest_frame = value

    def _on_push(self, _flags: int, _number: int, _payload: bytes) -> None:
        raise ConnectionFault(PROTOCOL_ERROR)

    def _on_ping(self, flags: int, number: int, payload: bytes) -> None:
        self._idle()
        if number != 0:
            raise ConnectionFault(PROTOCOL_ERROR)
        if len(payload) != 8:
            raise ConnectionFault(FRAME_SIZE_ERROR)
        if not flags & ACK:
            self.write(frame(PING, ACK, 0, payload))
        elif self._phase == LEAVING and payload.startswith(_OWN):
            self._announce_last_stream()

    def _on_go_away(self, _flags: int, number: int, payload: bytes) -> None:
        if number != 0:
            raise ConnectionFault(PROTOCOL_ERROR)
        if len(payload) < 8:
            raise ConnectionFault(FRAME_SIZE_ERROR)
        self._phase = max(self._phase, DRAINING)
        if not self.streams:
            self._leave()

    def _on_window(self, _flags: int, number: int, payload: bytes) -> None:
        if len(payload) != 4:
            raise ConnectionFault(FRAME_SIZE_ERROR)
        more = int.from_bytes(payload) & LAST_STREAM
        if number == 0:
            if not self.unread:
                self._idle()
            self._window += more
            if not more or self._window > MAX_WINDOW:
                raise ConnectionFault(FLOW_CONTROL_ERROR if more else PROTOCOL_ERROR)
            for stream in list(self.streams.values()):
                self._flush_if_waiting(stream)
            return
        if number > self.last_stream:
            raise ConnectionFault(PROTOCOL_ERROR)
        found = self.streams.get(number)
        if found is None:
            self._idle()
            return
        if not found.pending:
            self._idle()
        found.window += more
        if not more or found.window > MAX_WINDOW:
            raise StreamFault(number, FLOW_CONTROL_ERROR if more else PROTOCOL_ERROR)
        self._flush_if_waiting(found)

    def _flush_if_waiting(self, stream: Stream) -> None:
        if stream.pending:
            self._flush(stream)
            if not stream.pending and not stream.is_over:
                self._application.drained(stream)


def _goodbye(last: int, code: int) -> bytes:
    return last.to_bytes(4) + code.to_bytes(4)


def _stripped(flags: int, number: int, payload: bytes) -> bytes:
    """Return a payload without padding and priority.

    Raises:
        ConnectionFault: the padding is longer than the frame.
        StreamFault: the stream depends on itself.
    """
    padding, start = 0, 0
    if flags & PADDED:
        if not payload:
            raise ConnectionFault(FRAME_SIZE_ERROR)
        padding, start = payload[0], 1
    if flags & PRIORITISED:
        if len(payload) < start + 5:
            raise ConnectionFault(FRAME_SIZE_ERROR)
        if int.from_bytes(payload[start : start + 4]) & LAST_STREAM == number:
            raise ConnectionFault(PROTOCOL_ERROR)
        start += 5
    if start + padding > len(payload):
        raise ConnectionFault(PROTOCOL_ERROR)
    return payload[start : len(payload) - padding]


_OF_CONNECTIONS = frozenset((b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade"))
_LENGTH = re.compile(rb"[0-9]{1,18}")
_COLON = ord(":")
_PSEUDO = frozenset((b":method", b":scheme", b":path", b":authority"))


_OF_CALLERS = frozenset(b"te content-type user-agent accept-encoding grpc-accept-encoding grpc-encoding".split())
"""Headers that may be cached: no token, timeout or trace."""
_OF_STATIC_TABLE = 61


def _is_of_itself(block: bytes) -> bool:
    """Return whether a decoded block neither reads nor changes the dynamic table (RFC 7541 section 6).

    Also False if a text has 127 bytes or more, whose length has another encoding.
    """
    at, end = 0, len(block)
    while at < end:
        first = block[at]
        at += 1
        if first & 0x80:
            if first & 0x7F > _OF_STATIC_TABLE:
                return False
            continue
        if first & 0x60:  # changes the table or its size
            return False
        index = first & 0x0F
        if index == 0x0F:
            index += block[at]
            at += 1
        if index > _OF_STATIC_TABLE:
            return False
        for _ in range(1 if index else 2):
            size = block[at] & 0x7F
            if size == 0x7F:
                return False
            at += 1 + size
    return True


def _check_fields(number: int, fields: list[tuple[bytes, bytes]]) -> None:
    """Check the characters of fields (RFC 9113 section 8.2.1).

    Raises:
        StreamFault: a field has other characters.
    """
    names, values = zip(*fields, strict=True) if fields else ((), ())
    if not are_of_names(names) or not are_of_values(values):
        raise StreamFault(number, PROTOCOL_ERROR)


def _is_wrong(name: bytes, value: bytes) -> bool:
    """Return whether a request may not have a field; its characters are checked elsewhere."""
    return (
        not name
        or _COLON in name
        or name in _OF_CONNECTIONS
        or value.strip() != value
        or (name == b"te" and value != b"trailers")
    )


def _checked(number: int, fields: list[tuple[bytes, bytes]]) -> Head:
    """Check the fields of a request (RFC 9113 sections 8.2 and 8.3); return its headers.

    Raises:
        StreamFault: a field is invalid.
    """
    _check_fields(number, fields)
    pseudo: dict[bytes, bytes] = {}
    headers: dict[bytes, bytes] = {}
    for name, value in fields:
        if name[:1] == b":":
            if headers or name in pseudo or name not in _PSEUDO:
                raise StreamFault(number, PROTOCOL_ERROR)
            pseudo[name] = value
            continue
        if _is_wrong(name, value):
            raise StreamFault(number, PROTOCOL_ERROR)
        if name == b"content-length" and not (_LENGTH.fullmatch(value) and headers.get(name, value) == value):
            raise StreamFault(number, PROTOCOL_ERROR)
        headers[name] = value
    if (
        not pseudo.get(b":path")
        or b":method" not in pseudo
        or b":scheme" not in pseudo
        or not are_visible(pseudo.values())
    ):
        raise StreamFault(number, PROTOCOL_ERROR)
    length = headers.get(b"content-length")
    return Head(pseudo[b":method"], pseudo[b":path"], headers, None if length is None else int(length))
