"""HTTP/2 with the h2 library as the client, byte for byte in memory."""

from __future__ import annotations

import asyncio
import socket

import h2.config
import h2.connection
import h2.events
import hpack
import pytest
from h2.errors import ErrorCodes
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward_serving.grpc.framing import HEAD, WELL
from modelward_serving.transport import http2
from modelward_serving.transport.budget import Budget

HEARD = http2.frame(http2.PING, http2.ACK, 0, b"going".ljust(8, b"\0"))
HEADERS = [(":method", "POST"), (":scheme", "http"), (":path", "/x"), (":authority", "a"), ("te", "trailers")]


class Transport:
    """Keeps what is written."""

    def __init__(self):
        self.written, self.is_closed, self.is_aborted, self.is_read, self.has_ended = b"", False, False, True, False

    def write(self, content):
        self.written += content

    def close(self):
        self.is_closed = True

    def can_write_eof(self):
        return True

    def write_eof(self):
        self.has_ended = True

    def abort(self):
        self.is_aborted = True

    def pause_reading(self):
        self.is_read = False

    def resume_reading(self):
        self.is_read = True


class Echo:
    """Answers each request with its body."""

    largest = 3_000_000

    def __init__(self):
        self.begun_streams, self.dropped_streams, self.too_much_streams = [], [], []
        self.holds = False

    def connected(self, connection): ...
    def disconnected(self, connection): ...
    def came(self, stream): ...

    def begun(self, stream):
        self.begun_streams.append(stream)

    def completed(self, stream):
        if not self.holds:
            stream.respond(HEAD, bytes(stream.body), WELL)

    def drained(self, stream): ...

    def too_large(self, stream):
        stream.end(HEAD + WELL)

    def too_much(self, stream):
        self.too_much_streams.append(stream)
        stream.end(HEAD + WELL)

    def dropped(self, stream):
        self.dropped_streams.append(stream)


class Caller:
    """An h2 client that talks to one of our connections."""

    def __init__(self, memory=None):
        self.echo, self.transport, self.now = Echo(), Transport(), 0.0
        self.ours = http2.Connection(self.echo, lambda: self.now, memory)
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
    assert not caller.transport.has_ended
    assert len(caller.echo.begun_streams) == 2
    for stream in caller.echo.begun_streams:
        stream.respond(HEAD, b"behind", WELL)
    assert first == 1
    assert caller.transport.written.count(b"behind") == 2
    assert caller.transport.has_ended


def test_a_connection_with_nothing_under_way_closes_once_the_caller_has_heard(caller):
    caller.ask(b"a")
    caller.ours.go_away()
    assert not caller.transport.has_ended
    caller.ours.data_received(HEARD)
    assert caller.transport.has_ended


def test_a_client_that_was_asked_to_go_and_does_not_close_is_cut_off(caller):
    caller.ask(b"a")
    caller.ours.go_away()
    caller.ours.data_received(HEARD)
    caller.now = 1.0
    caller.ours.look(caller.now)
    caller.now += http2.MAX_WAIT_SECONDS
    caller.ours.look(caller.now)
    assert not caller.transport.is_aborted
    caller.now += 1
    caller.ours.look(caller.now)
    assert caller.transport.is_aborted


async def test_a_large_response_arrives_whole_though_its_client_reads_slowly_and_is_asked_to_go():
    class Leaving(Echo):
        def completed(self, stream):
            stream.respond(HEAD, bytes(1_000_000), WELL)
            stream.connection.go_away()

    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: http2.Connection(Leaving(), loop.time), "127.0.0.1", 0)
    wide = http2.frame(http2.SETTINGS, 0, 0, (4).to_bytes(2) + (2**30).to_bytes(4))
    update = http2.frame(http2.WINDOW_UPDATE, 0, 0, (2**20).to_bytes(4))
    small = http2.frame(http2.WINDOW_UPDATE, 0, 0, (1024).to_bytes(4))
    head = b"".join(http2.literal(name.encode(), value.encode()) for name, value in HEADERS)
    call = http2.frame(http2.HEADERS, http2.END_HEADERS | http2.END_STREAM, 1, head)
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.setblocking(False)
        await loop.sock_connect(client, server.sockets[0].getsockname())
        await loop.sock_sendall(client, http2.PREFACE + wide + update + call + HEARD)
        received = b""
        while part := await asyncio.wait_for(loop.sock_recv(client, 4096), 10):
            received += part
            await loop.sock_sendall(client, small)  # as clients do while they read
    server.close()
    assert received.count(WELL) == 1
    assert received.endswith(http2.frame(http2.GOAWAY, 0, 0, (1).to_bytes(4) + bytes(4)))


def test_a_request_that_is_taken_back_is_dropped(caller):
    caller.echo.holds = True
    stream = caller.ask(b"a")
    caller.theirs.reset_stream(stream)
    caller.exchange()
    assert [dropped.id for dropped in caller.echo.dropped_streams] == [stream]
    caller.echo.begun_streams[0].respond(HEAD, b"behind", WELL)
    assert caller.transport.written == b""


def test_rapid_reset_ends_the_connection(caller):
    caller.echo.holds = True
    for _ in range(http2.MAX_RESETS + 1):
        caller.theirs.reset_stream(caller.ask(b"a"))
        caller.exchange()
        if caller.transport.is_closed:
            break
    assert caller.ended_with() == [ErrorCodes.ENHANCE_YOUR_CALM]


@pytest.mark.parametrize("frames", [http2.frame(http2.PING, 0, 0, bytes(8)), http2.frame(http2.SETTINGS, 0, 0)])
def test_frames_that_ask_for_nothing_end_the_connection_when_they_are_too_many(caller, frames):
    for _ in range(http2.MAX_IDLE_FRAMES // 100 + 1):
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
    for n in range(http2.MAX_STREAMS + 1):
        caller.ours.data_received(http2.frame(http2.HEADERS, 0x5, 2 * n + 1, block))
    refused = http2.frame(http2.RST_STREAM, 0, 2 * http2.MAX_STREAMS + 1, http2.REFUSED_STREAM.to_bytes(4))
    assert caller.transport.written.endswith(refused)
    assert len(caller.echo.begun_streams) == http2.MAX_STREAMS


MALFORMED = {
    "no path": [(":method", "POST"), (":scheme", "http")],
    "upper case": [*HEADERS, ("X-A", "b")],
    "of the connection": [*HEADERS, ("connection", "close")],
    "te other than trailers": [*HEADERS[:4], ("te", "gzip")],
    "a pseudo-header twice": [*HEADERS[:4], (":path", "/y")],
    "a pseudo-header behind others": [*HEADERS, (":path", "/y")],
    "a length that is none": [*HEADERS, ("content-length", "x")],
    "a length that no integer has": [*HEADERS, ("content-length", "9" * 5_000)],
    "two lengths": [*HEADERS, ("content-length", "1"), ("content-length", "2")],
    "an empty name": [*HEADERS, ("", "a")],
    "a name with a space": [*HEADERS, ("x a", "b")],
    "a name with a colon": [*HEADERS, ("x:a", "b")],
    "NUL in a value": [*HEADERS, ("x", "a\0b")],
    "CR in a value": [*HEADERS, ("x", "a\rb")],
    "LF in a value": [*HEADERS, ("x", "a\nb")],
    "space before a value": [*HEADERS, ("x", " a")],
    "tab behind a value": [*HEADERS, ("x", "a\t")],
    "a path with a space": [*HEADERS[:2], (":path", "/a b"), HEADERS[3]],
    "CR in the authority": [*HEADERS[:3], (":authority", "a\rb")],
    "a method that is none": [(":method", "PO ST"), *HEADERS[1:4]],
}


@pytest.mark.parametrize("headers", MALFORMED.values(), ids=MALFORMED.keys())
def test_a_malformed_head_ends_its_stream_alone(caller, headers):
    block = caller.theirs.encoder.encode(headers)
    caller.ours.data_received(http2.frame(http2.HEADERS, 0x5, 1, block))
    reset = http2.frame(http2.RST_STREAM, 0, 1, http2.PROTOCOL_ERROR.to_bytes(4))
    assert caller.transport.written == reset
    assert not caller.transport.is_closed


@pytest.mark.parametrize("headers", [*list(MALFORMED.values())[9:15], [("connection", "close")], [("te", "gzip")]])
def test_malformed_trailers_end_their_stream_alone(caller, headers):
    caller.theirs.send_headers(1, HEADERS)
    caller.exchange()
    trailers = [header for header in headers if header not in HEADERS]
    caller.send(http2.frame(http2.HEADERS, 0x5, 1, caller.theirs.encoder.encode(trailers)))
    assert [event.error_code for event in caller.found(h2.events.StreamReset)] == [ErrorCodes.PROTOCOL_ERROR]
    assert not caller.transport.is_closed


def test_trailers_that_change_the_table_change_what_known_heads_mean(caller):
    """The table's newest entry is 62: a head of references that came before the trailers means something else behind them."""
    static = b"".join(
        http2.literal(*field) for field in ((b":scheme", b"http"), (b":path", b"/x"), (b":authority", b"a"))
    )
    newest = b"\x40" + http2.literal(b":method", b"FIRST")[1:]
    references = b"\xbe\x86\x84"  # the newest entry, http, /
    caller.ours.data_received(http2.frame(http2.HEADERS, 0x5, 1, newest + static))
    caller.ours.data_received(http2.frame(http2.HEADERS, 0x5, 3, references))
    caller.ours.data_received(http2.frame(http2.HEADERS, 0x4, 5, references))
    other = b"\x40" + http2.literal(b"x-other", b"OTHER")[1:]
    caller.ours.data_received(http2.frame(http2.HEADERS, 0x5, 5, other))
    caller.transport.written = b""
    caller.ours.data_received(http2.frame(http2.HEADERS, 0x5, 7, references))
    assert [stream.head.method for stream in caller.echo.begun_streams] == [b"FIRST"] * 3
    assert caller.transport.written == http2.frame(http2.RST_STREAM, 0, 7, http2.PROTOCOL_ERROR.to_bytes(4))


def in_full(*fields):
    return b"".join(http2.literal(name.encode(), value.encode()) for name, value in fields)


def test_a_head_that_needs_no_table_is_decoded_once(caller, monkeypatch):
    caller.ask(b"x", [*HEADERS, ("x-first", "in the table")])
    decoded = []
    decode = caller.ours._decoder.decode
    monkeypatch.setattr(
        caller.ours._decoder, "decode", lambda block, raw: decoded.append(block) or decode(block, raw=raw)
    )
    for number in range(3, 13, 2):
        caller.ours.data_received(http2.frame(http2.HEADERS, 0x5, number, in_full(*HEADERS)))
    assert len(decoded) == 1
    assert [stream.head.path for stream in caller.echo.begun_streams] == [b"/x"] * 6


@pytest.mark.parametrize(
    "block",
    [
        in_full(*HEADERS, ("authorization", "Bearer x")),
        in_full(*HEADERS, ("grpc-timeout", "1S")),
        in_full(*HEADERS, ("traceparent", "00")),
        in_full(*HEADERS, ("user-agent", "a" * 130)),
        in_full(*HEADERS, *[("user-agent", "a" * 100)] * 5),
        in_full(*HEADERS) + b"\x40" + in_full(("user-agent", "into the table"))[1:],
        b"\x20" + in_full(*HEADERS),
        in_full(*HEADERS) + b"\x0f\x2f\x01a",
    ],
    ids=["token", "timeout", "trace", "long", "much", "into the table", "size of the table", "name from the table"],
)
def test_a_head_is_not_kept_with(caller, block):
    caller.ask(b"x", [*HEADERS, ("user-agent", "in the table")])
    caller.ours._heads.clear()
    caller.ours.data_received(http2.frame(http2.HEADERS, 0x5, 3, block))
    assert len(caller.echo.begun_streams) == 2, "it is a good request"
    assert not caller.ours._heads


def test_a_head_with_text_is_kept_by_few(caller):
    for number in range(1, 99, 2):
        caller.ours.data_received(
            http2.frame(http2.HEADERS, 0x5, number, in_full(*HEADERS, ("user-agent", str(number))))
        )
    assert len(caller.ours._heads) == http2.MAX_WITH_TEXT
    assert [stream.head.headers[b"user-agent"] for stream in caller.echo.begun_streams] == [
        str(number).encode() for number in range(1, 99, 2)
    ]


FIELDS = st.one_of(
    st.integers(0x81, 0xC0).map(lambda first: bytes((first,))),
    st.builds(
        lambda kind, index, text: http2_integer(kind, index) + (b"" if index else b"\1n") + bytes((len(text),)) + text,
        st.sampled_from((0x00, 0x10, 0x40)),
        st.integers(0, 70),
        st.binary(max_size=8),
    ),
    st.binary(max_size=6),
)


def http2_integer(kind, index):
    """An index behind four bits, or six: RFC 7541 section 5.1."""
    most = 0x3F if kind == 0x40 else 0x0F
    return bytes((kind | index,)) if index < most else bytes((kind | most, index - most))


@settings(deadline=None)
@given(st.lists(FIELDS, min_size=1, max_size=6).map(b"".join))
def test_what_counts_as_needing_no_table_means_the_same_with_any_and_leaves_it(block):
    empty, full = hpack.Decoder(), hpack.Decoder()
    for number in range(9):
        full.decode(b"\x40\1n\1" + str(number).encode())
    before = list(full.header_table.dynamic_entries)
    try:
        found = full.decode(block, raw=True)
    except (hpack.HPACKError, ValueError, IndexError):
        return
    if http2._is_of_itself(block):
        assert empty.decode(block, raw=True) == found
        assert list(full.header_table.dynamic_entries) == before
        assert not empty.header_table.dynamic_entries


def test_what_was_sent_before_a_reset_was_heard_of_is_no_attack(caller):
    caller.ours.data_received(http2.frame(http2.HEADERS, 0x4, 1, caller.theirs.encoder.encode(HEADERS)))
    caller.echo.begun_streams[0].end(HEAD + WELL)
    for _ in range(2 * http2.MAX_RESETS):
        caller.ours.data_received(http2.frame(http2.DATA, 0, 1, b"in flight"))
    caller.transport.written = b""
    trailers = caller.theirs.encoder.encode([("x-late", "trailer")])
    caller.ours.data_received(http2.frame(http2.HEADERS, 0x5, 1, trailers))
    assert caller.transport.written == b""
    later = caller.theirs.encoder.encode([*HEADERS, ("x-late", "trailer")])
    caller.ours.data_received(http2.frame(http2.HEADERS, 0x5, 3, later))
    assert caller.echo.begun_streams[1].head.headers[b"x-late"] == b"trailer", (
        "the table is what the caller thinks it is"
    )
    caller.ours.data_received(http2.frame(http2.DATA, 0, 1, b"after its end"))
    assert caller.transport.written.endswith(http2.frame(http2.RST_STREAM, 0, 1, http2.STREAM_CLOSED.to_bytes(4)))


def test_who_says_nothing_is_left_after_a_while():
    transport = Transport()
    connection = http2.Connection(Echo(), lambda: 0.0)
    connection.connection_made(transport)
    connection.data_received(http2.PREFACE[:5])
    connection.look(http2.MAX_WAIT_SECONDS)
    assert not transport.is_aborted
    connection.look(http2.MAX_WAIT_SECONDS + 0.1)
    assert transport.is_aborted


def test_who_has_spoken_may_be_silent_for_longer(caller):
    caller.ours.look(http2.MAX_WAIT_SECONDS + 0.1)
    assert not caller.transport.is_aborted


def test_an_answer_that_its_caller_does_not_take_is_taken_back_after_a_while(caller):
    caller.ours.data_received(http2.frame(http2.SETTINGS, 0, 0, b"\0\4" + bytes(4)))
    stream = caller.ask(b"hello")
    caller.ours.look(http2.MAX_WAIT_SECONDS)
    assert caller.ours.unread == 5
    caller.ours.look(http2.MAX_WAIT_SECONDS + 0.1)
    assert caller.transport.written.endswith(http2.frame(http2.RST_STREAM, 0, stream, http2.CANCEL.to_bytes(4)))
    assert (caller.ours.unread, caller.ours.held, caller.ours.streams) == (0, 0, {})


async def test_a_connection_whose_caller_does_not_read_is_not_read_and_ends_after_a_while(caller):
    caller.ours.pause_writing()
    assert not caller.transport.is_read
    caller.ours.data_received(http2.frame(http2.PING, 0, 0, bytes(8)))
    assert caller.transport.written == b""
    caller.ours.resume_writing()
    await asyncio.sleep(0)
    assert caller.transport.is_read
    assert caller.transport.written == http2.frame(http2.PING, http2.ACK, 0, bytes(8))
    caller.now = 5.0
    caller.ours.pause_writing()
    caller.ours.look(5.0 + http2.MAX_WAIT_SECONDS + 0.1)
    assert caller.transport.is_aborted


async def test_a_connection_with_much_to_do_lets_others_have_their_turn_and_loses_nothing(caller):
    block = caller.theirs.encoder.encode(HEADERS)
    caller.echo.completed = lambda stream: (setattr(caller, "now", caller.now + 0.01), stream.respond(HEAD, b"", WELL))
    caller.ours.data_received(b"".join(http2.frame(http2.HEADERS, 0x5, 2 * n + 1, block) for n in range(10)))
    assert len(caller.echo.begun_streams) == 1
    assert not caller.transport.is_read
    for turn in range(2, 11):
        await asyncio.sleep(0)
        assert len(caller.echo.begun_streams) == turn
    await asyncio.sleep(0)
    assert caller.transport.is_read


def test_requests_wait_while_answers_are_unread_and_are_answered_once_they_are_read(caller):
    caller.ours.data_received(http2.frame(http2.SETTINGS, 0, 0, b"\0\4" + bytes(4)))
    caller.echo.completed = lambda stream: stream.respond(HEAD, bytes(http2.MAX_UNREAD), WELL)
    block = caller.theirs.encoder.encode(HEADERS)
    for n in range(5):
        caller.ours.data_received(http2.frame(http2.HEADERS, 0x5, 2 * n + 1, block))
    assert [stream.has_begun for stream in caller.echo.begun_streams] == [True, True, False, False, False]
    more = http2.frame(http2.WINDOW_UPDATE, 0, 0, (2_000_000).to_bytes(4))
    for n in range(5):
        more += http2.frame(http2.WINDOW_UPDATE, 0, 2 * n + 1, (1_000_000).to_bytes(4))
    caller.ours.data_received(more)
    assert all(stream.is_over for stream in caller.echo.begun_streams)
    assert (caller.ours.unread, caller.ours.held) == (0, 0)


def test_who_keeps_most_pays_when_there_is_no_room():
    memory = http2.Memory(Budget(100_000))
    greedy, modest = Caller(memory), Caller(memory)
    for caller, size in ((greedy, 60_000), (modest, 100)):
        caller.ours.data_received(http2.frame(http2.HEADERS, 0x4, 1, caller.theirs.encoder.encode(HEADERS)))
        caller.ours.data_received(http2.frame(http2.DATA, 0, 1, bytes(size)))
    modest.ours.data_received(http2.frame(http2.DATA, 0, 1, bytes(60_000)))
    assert [stream.id for stream in greedy.echo.too_much_streams] == [1]
    assert modest.echo.too_much_streams == []
    assert (greedy.ours.held, modest.ours.held, memory.budget.left) == (0, 60_100, 39_900)
    modest.ours.connection_lost(None)
    assert memory.budget.left == 100_000


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
