"""HTTP/2 against the h2 library as the caller, byte for byte in memory."""

from __future__ import annotations

import h2.config
import h2.connection
import h2.events
import pytest
from h2.errors import ErrorCodes

from modelward_serving import http2
from modelward_serving.grpc_wire import HEAD, WELL

HEARD = http2.frame(http2.PING, http2.ACK, 0, b"going".ljust(8, b"\0"))
HEADERS = [(":method", "POST"), (":scheme", "http"), (":path", "/x"), (":authority", "a"), ("te", "trailers")]


class Transport:
    """Keeps what is written."""

    def __init__(self):
        self.written, self.is_closed = b"", False

    def write(self, content):
        self.written += content

    def close(self):
        self.is_closed = True


class Echo:
    """Answers each request with its body."""

    largest = 3_000_000

    def __init__(self):
        self.begun_streams, self.dropped_streams = [], []
        self.holds = False

    def connected(self, connection): ...
    def disconnected(self, connection): ...
    def came(self, stream): ...

    def begun(self, stream):
        self.begun_streams.append(stream)

    def completed(self, stream):
        if not self.holds:
            stream.answer(HEAD, bytes(stream.body), WELL)

    def too_large(self, stream):
        stream.end(HEAD + WELL)

    def dropped(self, stream):
        self.dropped_streams.append(stream)


class Caller:
    """An h2 client that talks to one of our connections."""

    def __init__(self):
        self.echo, self.transport = Echo(), Transport()
        self.ours = http2.Connection(self.echo, lambda: 0.0)
        self.theirs = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
        self.events = []
        self.theirs.initiate_connection()
        self.ours.connection_made(self.transport)
        self.exchange()

    def exchange(self):
        """Let both read what the other wrote, until neither has anything to say."""
        while True:
            sent = self.theirs.data_to_send()
            if sent:
                self.ours.data_received(sent)
            answer, self.transport.written = self.transport.written, b""
            if not sent and not answer:
                return
            if answer:
                self.events += self.theirs.receive_data(answer)

    def send(self, frames):
        """Raw frames; what comes back."""
        self.ours.data_received(frames)
        answer, self.transport.written = self.transport.written, b""
        self.events += self.theirs.receive_data(answer)

    def ask(self, content=b"", headers=HEADERS):
        stream = self.theirs.get_next_available_stream_id()
        self.theirs.send_headers(stream, headers, end_stream=not content)
        while content:
            size = min(self.theirs.local_flow_control_window(stream), self.theirs.max_outbound_frame_size, len(content))
            if size == 0:
                self.exchange()
                continue
            part, content = content[:size], content[size:]
            self.theirs.send_data(stream, part, end_stream=not content)
        self.exchange()
        return stream

    def body(self, stream):
        return b"".join(e.data for e in self.found(h2.events.DataReceived) if e.stream_id == stream)

    def found(self, kind):
        return [event for event in self.events if isinstance(event, kind)]

    def ended_with(self):
        return [event.error_code for event in self.found(h2.events.ConnectionTerminated)]


@pytest.fixture
def caller():
    return Caller()


def test_a_request_is_answered_with_headers_content_and_trailers(caller):
    stream = caller.ask(b"hello")
    assert caller.body(stream) == b"hello"
    (head,) = caller.found(h2.events.ResponseReceived)
    (end,) = caller.found(h2.events.TrailersReceived)
    assert dict(head.headers)[b"content-type"] == b"application/grpc"
    assert dict(end.headers) == {b"grpc-status": b"0"}


def test_many_requests_with_the_same_headers_are_understood_from_what_was_kept(caller):
    streams = [caller.ask(bytes([n])) for n in range(50)]
    assert [caller.body(stream) for stream in streams] == [bytes([n]) for n in range(50)]


def test_headers_that_change_the_table_are_understood_after_others(caller):
    for n in range(30):
        caller.ask(b"x", [*HEADERS, ("x-n", str(n % 3)), (f"x-{n}", "y")])
    heads = [stream.head.headers for stream in caller.echo.begun_streams]
    assert [head[b"x-n"] for head in heads] == [str(n % 3).encode() for n in range(30)]
    assert all(f"x-{n}".encode() in head for n, head in enumerate(heads))


def test_a_long_body_goes_both_ways_as_fast_as_both_windows_allow(caller):
    content = bytes(range(256)) * 8_000
    stream = caller.theirs.get_next_available_stream_id()
    caller.theirs.send_headers(stream, HEADERS)
    rest = content
    while rest:
        size = min(caller.theirs.local_flow_control_window(stream), caller.theirs.max_outbound_frame_size, len(rest))
        if size:
            part, rest = rest[:size], rest[size:]
            caller.theirs.send_data(stream, part, end_stream=not rest)
        caller.exchange()
    while len(caller.body(stream)) < len(content):
        before = len(caller.body(stream))
        for event in caller.found(h2.events.DataReceived):
            caller.theirs.acknowledge_received_data(event.flow_controlled_length, stream)
        received = caller.body(stream)
        caller.events = [h2.events.DataReceived(stream_id=stream, data=received, flow_controlled_length=0)]
        caller.exchange()
        assert len(caller.body(stream)) > before
    assert caller.body(stream) == content


def test_a_body_beyond_the_limit_is_ended_before_it_is_whole(caller):
    stream = caller.theirs.get_next_available_stream_id()
    caller.theirs.send_headers(stream, HEADERS)
    sent = 0
    while not caller.found(h2.events.StreamReset):
        size = min(caller.theirs.local_flow_control_window(stream), caller.theirs.max_outbound_frame_size)
        caller.theirs.send_data(stream, bytes(size))
        sent += size
        caller.exchange()
        assert sent < 4_000_000
    assert caller.found(h2.events.ResponseReceived)


def test_who_is_asked_to_go_is_answered_first_and_may_ask_until_it_has_heard(caller):
    caller.echo.holds = True
    first = caller.ask(b"a")
    caller.ours.go_away()
    caller.theirs.send_headers(3, HEADERS, end_stream=True)  # sent before GOAWAY came
    caller.ours.data_received(caller.theirs.data_to_send())
    caller.ours.data_received(HEARD)
    assert not caller.transport.is_closed
    assert len(caller.echo.begun_streams) == 2
    for stream in caller.echo.begun_streams:
        stream.answer(HEAD, b"behind", WELL)
    assert first == 1
    assert caller.transport.written.count(b"behind") == 2
    assert caller.transport.is_closed


def test_a_connection_with_nothing_under_way_closes_once_the_caller_has_heard(caller):
    caller.ask(b"a")
    caller.ours.go_away()
    assert not caller.transport.is_closed
    caller.ours.data_received(HEARD)
    assert caller.transport.is_closed


def test_a_request_that_is_taken_back_is_dropped(caller):
    caller.echo.holds = True
    stream = caller.ask(b"a")
    caller.theirs.reset_stream(stream)
    caller.exchange()
    assert [dropped.id for dropped in caller.echo.dropped_streams] == [stream]
    caller.echo.begun_streams[0].answer(HEAD, b"behind", WELL)
    assert caller.transport.written == b""


def test_rapid_reset_ends_the_connection(caller):
    caller.echo.holds = True
    for _ in range(http2.MOST_RESETS + 1):
        caller.theirs.reset_stream(caller.ask(b"a"))
        caller.exchange()
        if caller.transport.is_closed:
            break
    assert caller.ended_with() == [ErrorCodes.ENHANCE_YOUR_CALM]


@pytest.mark.parametrize("frames", [http2.frame(http2.PING, 0, 0, bytes(8)), http2.frame(http2.SETTINGS, 0, 0)])
def test_frames_that_ask_for_nothing_end_the_connection_when_they_are_too_many(caller, frames):
    for _ in range(http2.MOST_IDLE_FRAMES // 100 + 1):
        caller.ours.data_received(frames * 100)
    assert caller.transport.is_closed


def test_a_head_that_never_ends_ends_the_connection(caller):
    caller.ours.data_received(http2.frame(http2.HEADERS, 0, 1, b""))
    for _ in range(20):
        caller.ours.data_received(http2.frame(http2.CONTINUATION, 0, 1, bytes(10_000)))
    assert caller.transport.is_closed


def test_more_requests_at_once_than_allowed_are_refused_alone(caller):
    caller.echo.holds = True
    block = caller.theirs.encoder.encode(HEADERS)
    for n in range(http2.MOST_STREAMS + 1):
        caller.ours.data_received(http2.frame(http2.HEADERS, 0x5, 2 * n + 1, block))
    refused = http2.frame(http2.RST_STREAM, 0, 2 * http2.MOST_STREAMS + 1, http2.REFUSED_STREAM.to_bytes(4))
    assert caller.transport.written.endswith(refused)
    assert len(caller.echo.begun_streams) == http2.MOST_STREAMS


MALFORMED = {
    "no path": [(":method", "POST"), (":scheme", "http")],
    "upper case": [*HEADERS, ("X-A", "b")],
    "of the connection": [*HEADERS, ("connection", "close")],
    "te other than trailers": [*HEADERS[:4], ("te", "gzip")],
    "a pseudo-header twice": [*HEADERS[:4], (":path", "/y")],
    "a pseudo-header behind others": [*HEADERS, (":path", "/y")],
    "a length that is none": [*HEADERS, ("content-length", "x")],
}


@pytest.mark.parametrize("headers", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_head_ends_its_stream_alone(caller, headers):
    block = caller.theirs.encoder.encode(headers)
    caller.ours.data_received(http2.frame(http2.HEADERS, 0x5, 1, block))
    reset = http2.frame(http2.RST_STREAM, 0, 1, http2.PROTOCOL_ERROR.to_bytes(4))
    assert caller.transport.written == reset
    assert not caller.transport.is_closed


WRONG = {
    "no preface": b"GET / HTTP/1.1\r\n\r\n",
    "no settings first": http2.PREFACE + http2.frame(http2.PING, 0, 0, bytes(8)),
    "a frame too large": http2.PREFACE + b"\x7f\xff\xff\x04\x00\x00\x00\x00\x00",
}


@pytest.mark.parametrize("content", WRONG.values(), ids=WRONG.keys())
def test_what_is_no_http2_is_told_so_and_left(content):
    transport = Transport()
    connection = http2.Connection(Echo(), lambda: 0.0)
    connection.connection_made(transport)
    connection.data_received(content)
    assert transport.is_closed


def test_frames_come_in_any_pieces():
    whole, pieces = Caller(), Caller()
    sent = []
    for caller in (whole, pieces):
        caller.theirs.send_headers(1, HEADERS)
        caller.theirs.send_data(1, b"hello", end_stream=True)
        sent.append(caller.theirs.data_to_send())
    whole.ours.data_received(sent[0])
    for byte in sent[1]:
        pieces.ours.data_received(bytes([byte]))
    assert whole.transport.written == pieces.transport.written != b""
