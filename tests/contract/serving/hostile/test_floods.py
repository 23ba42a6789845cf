"""Floods of HTTP/2 frames: each known attack ends its connection, and costs the server and its other callers next to nothing."""

from __future__ import annotations

import pytest

from modelward_serving.transport import http2
from modelward_serving.transport.http2 import END_HEADERS, END_STREAM, HEADERS, frame
from tests.contract.serving.hostile.attack import INFER, Attacker, call, head, request
from tests.contract.serving.hostile.cost import measured
from tests.support.cases import cases

BEGUN = frame(HEADERS, END_HEADERS, 1, head())
UNREAD = frame(HEADERS, END_HEADERS, 1, head())


def rapid_reset(n):
    """Requests that are taken back at once (CVE-2023-44487)."""
    stream = 2 * n + 1
    return frame(HEADERS, END_HEADERS, stream, head()) + frame(http2.RST_STREAM, 0, stream, bytes(4))


def made_you_reset(n):
    """Requests whose caller makes the server take them back (CVE-2025-8671)."""
    stream = 2 * n + 1
    return frame(HEADERS, END_HEADERS, stream, head()) + frame(http2.WINDOW_UPDATE, 0, stream, bytes(4))


def priorities_of_themselves(n):
    return frame(http2.PRIORITY, 0, 2 * n + 1, (2 * n + 1).to_bytes(4) + b"\0")


FLOODS = {
    "rapid reset": (b"", rapid_reset),
    "MadeYouReset": (b"", made_you_reset),
    "priorities that are wrong": (b"", priorities_of_themselves),
    "CONTINUATION, empty": (frame(HEADERS, 0, 1, b""), lambda n: frame(http2.CONTINUATION, 0, 1)),
    "CONTINUATION, full": (frame(HEADERS, 0, 1, b""), lambda n: frame(http2.CONTINUATION, 0, 1, bytes(16_000))),
    "SETTINGS": (b"", lambda n: frame(http2.SETTINGS, 0, 0, b"\0\4" + (65_535 + n % 2).to_bytes(4))),
    "SETTINGS that are full": (b"", lambda n: frame(http2.SETTINGS, 0, 0, (b"\0\4" + bytes(4)) * 2_000)),
    "PING": (b"", lambda n: frame(http2.PING, 0, 0, bytes(8))),
    "PRIORITY": (b"", lambda n: frame(http2.PRIORITY, 0, 1, bytes(5))),
    "WINDOW_UPDATE of the connection": (b"", lambda n: frame(http2.WINDOW_UPDATE, 0, 0, (1).to_bytes(4))),
    "WINDOW_UPDATE of a stream": (BEGUN, lambda n: frame(http2.WINDOW_UPDATE, 0, 1, (1).to_bytes(4))),
    "DATA, empty": (BEGUN, lambda n: frame(http2.DATA, 0, 1)),
    "DATA, padding alone": (BEGUN, lambda n: frame(http2.DATA, http2.PADDED, 1, b"\x09" + bytes(9))),
    "DATA after the answer": (
        frame(HEADERS, END_HEADERS, 1, head(b"/nothing")),
        lambda n: frame(http2.DATA, 0, 1, b"a"),
    ),
    "frames of no kind": (b"", lambda n: frame(0x77, 0, 0)),
}


@pytest.mark.parametrize(
    ("before", "flood"), cases(FLOODS, ("rapid reset", "MadeYouReset", "CONTINUATION, full", "SETTINGS", "DATA, empty"))
)
def test_a_flood_ends_its_connection_and_costs_little(server, before, flood):
    attacker = Attacker(server)
    content = before + b"".join(map(flood, range(min(60_000, 8_000_000 // len(flood(0))))))
    with measured(server) as cost:
        attacker.send(content)
        said = attacker.frames(lambda *found: found[0] == http2.GOAWAY)
        attacker.close()
    # What the server said last is lost when TCP resets a connection with bytes that nobody read.
    assert attacker.ended or said[-1][0] == http2.GOAWAY
    assert cost.memory < 24
    assert cost.cpu < 2
    assert cost.wait < 3


def test_a_bomb_of_references_to_one_large_header_ends_its_connection(server):
    large = b"\x40" + http2.literal(b"x-large", bytes(4_000).replace(b"\0", b"a"))[1:]  # goes into the table
    attacker = Attacker(server)
    with measured(server) as cost:
        blocks = [frame(HEADERS, END_HEADERS | END_STREAM, 1, head(INFER) + large)]
        blocks += [frame(HEADERS, END_HEADERS | END_STREAM, n, head(INFER) + b"\xbe" * 15_000) for n in range(3, 99, 2)]
        attacker.send(b"".join(blocks))
        said = attacker.frames(lambda *found: found[0] == http2.GOAWAY)
        attacker.close()
    assert said == [] or int.from_bytes(said[-1][3][4:]) == http2.CALM_DOWN
    assert cost.memory < 8
    assert cost.cpu < 1


def test_a_table_larger_than_was_offered_ends_its_connection(server):
    attacker = Attacker(server)
    larger = b"\x3f" + b"\xe1\xff\x03"  # the table's size: 65,536
    attacker.send(frame(HEADERS, END_HEADERS | END_STREAM, 1, larger + head()))
    assert attacker.frames(lambda *found: found[0] == http2.GOAWAY)[-1][0] == http2.GOAWAY


@pytest.mark.parametrize("count", [64, 2_000])
def test_many_headers_are_bounded_by_what_they_become(server, count):
    attacker = Attacker(server)
    block = head() + b"".join(http2.literal(b"x-%d" % n, b"y") for n in range(count))
    attacker.send(call(1, b"\0" + len(request()).to_bytes(4) + request(), block[:60_000]))
    last = attacker.frames(lambda kind, flags, *_: kind == http2.GOAWAY or (kind == HEADERS and flags & END_STREAM))[-1]
    assert last[0] == (HEADERS if count == 64 else http2.GOAWAY)
