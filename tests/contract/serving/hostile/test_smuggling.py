"""A caller's headers on their way to the challenger: nothing in them becomes a request of its own."""

from __future__ import annotations

import socket

import pytest

from modelward_serving.grpc.framing import framed
from modelward_serving.transport import http2
from modelward_serving.transport.http2 import END_STREAM, HEADERS
from tests.contract.serving.hostile.attack import Attacker, call, head, request
from tests.support.cases import cases
from tests.support.servers import launching

NAMES = [b"tracestate", b"traceparent", b"authorization"]
SECOND = (
    b"a=1\r\ncontent-length: 0\r\n\r\nPOST /v2/models/mortality/infer HTTP/1.1\r\nhost: x\r\n"
    b"content-type: application/json\r\ncontent-length: 400\r\n\r\n{"
)
VALUES = {
    "a second request": SECOND,
    "a line": b"a\r\nx-modelward-routed: 1",
    "LF": b"a\nb",
    "CR": b"a\rb",
    "NUL": b"a\0b",
    "folded": b"a\r\n b",
    "space behind": b"a ",
    "DEL": b"a\x7fb",
}


@pytest.fixture(scope="module")
def pods(tmp_path_factory):
    """A champion whose challenger answers every caller; the two give the same patient different scores."""
    with launching(tmp_path_factory.mktemp("pods")) as start:
        champion, challenger = start(), start("2.0.0", shift=-5.5)
        champion.exchange(lease=champion.lease_to(challenger, weight=100, deadline=30_000.0))
        yield champion, challenger


def indexed(name, value):
    """A header that goes into the table, and a block's reference to it."""
    return b"\x40" + http2.literal(name, value)[1:], b"\xbe"


def ends(kind, flags, stream, _payload):
    return kind in (http2.RST_STREAM, http2.GOAWAY) or (kind == HEADERS and bool(flags & END_STREAM))


def score(server, age):
    return server.ask(age=age).json()["outputs"][0]["data"]


def next_callers_are_safe(pods):
    champion, challenger = pods
    truth = score(challenger, 100.0)
    found = [champion.ask(age=100.0) for _ in range(3)]
    assert [answer.headers["x-modelward-version"] for answer in found] == ["2.0.0"] * 3
    assert [answer.json()["outputs"][0]["data"] for answer in found] == [truth] * 3
    return champion.evidence().counts.errors_challenger == 0


@pytest.mark.parametrize("value", cases(VALUES, ("a second request", "LF", "NUL")))
@pytest.mark.parametrize("name", NAMES, ids=bytes.decode)
def test_a_field_that_http_does_not_allow_ends_the_call_and_reaches_no_challenger(pods, name, value):
    attacker = Attacker(pods[0])
    attacker.send(call(1, framed(request()), head() + http2.literal(name, value)))
    assert attacker.frames(ends)[-1][0] == http2.RST_STREAM
    into, reference = indexed(name, value)
    attacker.send(call(3, framed(request()), head() + into))
    assert attacker.frames(ends)[-1][0] == http2.RST_STREAM
    attacker.send(call(5, framed(request()), head() + reference))
    assert attacker.frames(ends)[-1][0] == http2.RST_STREAM
    attacker.send(call(7, framed(request())))
    assert attacker.frames(ends)[-1][0] == HEADERS, "the connection is as good as before"
    assert next_callers_are_safe(pods)


@pytest.mark.parametrize("name", NAMES, ids=bytes.decode)
def test_a_field_of_bytes_beyond_ascii_is_not_passed_on_and_its_caller_is_answered(pods, name):
    attacker = Attacker(pods[0])
    attacker.send(call(1, framed(request()), head() + http2.literal(name, b"a\x80\xff")))
    assert b"grpc-status\x010" in attacker.frames(ends)[-1][3]
    assert next_callers_are_safe(pods)


REST = {
    "beyond ASCII": b"a\x80\xff",
    "folded": b"a\r\n b",
    "LF": b"a\nx-modelward-routed: 1",
    "CR": b"a\rb",
    "NUL": b"a\0b",
}


@pytest.mark.parametrize("value", REST.values(), ids=REST.keys())
@pytest.mark.parametrize("name", NAMES, ids=bytes.decode)
def test_over_rest_neither(pods, name, value):
    body = (
        b'{"inputs":[{"name":"age","shape":[1],"datatype":"FP32","data":[55]},'
        b'{"name":"sex","shape":[1],"datatype":"BYTES","data":["f"]}]}'
    )
    start = b"POST /v2/models/mortality/infer HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n" % len(body)
    with socket.create_connection(("127.0.0.1", pods[0].port)) as caller:
        caller.settimeout(10)
        caller.sendall(start + name + b": " + value + b"\r\n\r\n" + body)
        assert caller.recv(1 << 16).startswith((b"HTTP/1.1 200", b"HTTP/1.1 400"))
    assert next_callers_are_safe(pods)
