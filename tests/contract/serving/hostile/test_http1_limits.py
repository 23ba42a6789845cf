"""Hostile and clumsy callers over HTTP/1.1: what each can have the server hold, spend, or make others wait for, is bounded."""

from __future__ import annotations

import contextlib
import json
import resource
import socket
import threading
import time

import httpx
import pytest

from tests.contract.serving.hostile.cost import measured
from tests.contract.serving.hostile.http1_attack import answered, connected, document, packed, post
from tests.support import bundles
from tests.support.servers import launching

MEGABYTES = 16 << 20


@pytest.fixture(scope="module")
def target(tmp_path_factory):
    with launching(tmp_path_factory.mktemp("target")) as start:
        yield start(explainer=bundles.explains())


@pytest.fixture
def server(target):
    yield target
    assert target.ask().status_code == 200, "the next caller is served as before"


def test_who_sends_requests_and_reads_no_answer_is_answered_no_further(server):
    attacker, request = connected(server.port, receives=4096, seconds=1), packed(document(10_000))
    with measured(server) as cost, contextlib.suppress(OSError):
        for _ in range(5_000):
            attacker.sendall(request)
    attacker.close()
    assert cost.memory < 24
    assert cost.cpu < 2
    assert cost.wait < 1


def test_requests_that_come_together_make_nobody_wait_for_all_of_them(server):
    caller, count = connected(server.port), 100
    with measured(server) as cost:
        threading.Thread(target=caller.sendall, args=(packed(document(10_000)) * count,)).start()
        assert [answered(caller)[0] for _ in range(count)] == [200] * count
    assert cost.wait < 2
    assert cost.memory < 32


def bomb(piece, between=b","):
    """A document of 16 MB made of the same piece."""
    head = b'{"inputs":[{"name":"age","shape":[1],"datatype":"FP32","data":['
    return head + between.join([piece] * ((MEGABYTES - 200) // (len(piece) + 1))) + b"]}]}"


BOMBS = {
    "empty lists": bomb(b"[]"),
    "numbers": bomb(b"1.5"),
    "texts": bomb(b'""'),
    "objects": bomb(b"{}"),
    "lists in lists": b'{"inputs":' + b"[" * (MEGABYTES - 100),
    "inputs": b'{"inputs":[' + b",".join([b'{"name":"a","shape":[1],"datatype":"F"}'] * 400_000) + b"]}",
    "outputs": b'{"inputs":[],"outputs":[' + b",".join([b'{"name":"a"}'] * 1_000_000) + b"]}",
    "a shape": b'{"inputs":[{"name":"a","shape":[' + b",".join([b"1"] * 8_000_000) + b"]}]}",
    "parameters": b'{"inputs":[],"parameters":{' + b",".join(b'"%d":1' % n for n in range(1_500_000)) + b"}}",
}


@pytest.mark.parametrize("content", BOMBS.values(), ids=BOMBS.keys())
def test_a_small_request_that_would_become_a_million_objects_is_refused_before_it_does(server, content):
    caller, request = connected(server.port), packed(content)
    with measured(server) as cost:
        caller.sendall(request)
        status, told = answered(caller)
    assert (status, json.loads(told)["reason"]) in ((413, "TooManyValues"), (413, "TooLarge"))
    assert len(request) < 4_000_000
    assert cost.memory < 64
    assert cost.cpu < 1
    assert cost.wait < 2


def test_refused_requests_leave_nothing_behind(server):
    request = packed(BOMBS["numbers"])
    with measured(server) as cost:
        for _ in range(12):
            caller = connected(server.port)
            caller.sendall(request)
            assert answered(caller)[0] == 413
    assert cost.memory < 64, "one body at a time, not twelve"


HEADS = {
    "many lines": b"".join(b"x%d: y\r\n" % n for n in range(100_000)),
    "the same line": b"ab:c\r\n" * 2_500_000,
    "a long line": b"x: " + b"y" * MEGABYTES + b"\r\n",
    "a long name": b"y" * MEGABYTES + b": x\r\n",
}


@pytest.mark.parametrize("port", ["port", "control"])
@pytest.mark.parametrize("lines", HEADS.values(), ids=HEADS.keys())
def test_a_head_has_a_largest_size(server, port, lines):
    caller = connected(getattr(server, port))
    with measured(server) as cost:
        caller.sendall(b"POST /v1/exchange HTTP/1.1\r\nhost: a\r\n" + lines)
        status, told = answered(caller)
    assert (status, json.loads(told)["reason"]) == (431, "HeadTooLarge")
    assert cost.memory < 8
    assert cost.cpu < 1


def test_a_target_and_trailers_have_a_largest_size_too(server):
    caller = connected(server.port)
    caller.sendall(b"GET /" + b"x" * MEGABYTES + b" HTTP/1.1\r\n\r\n")
    assert answered(caller)[0] == 431
    caller = connected(server.port)
    caller.sendall(post(b"", path=b"/a").replace(b"content-length: 0", b"transfer-encoding: chunked"))
    caller.sendall(b"0\r\n" + b"x: y\r\n" * 100_000)
    assert answered(caller)[0] == 431


@pytest.mark.parametrize("path", [b"/v2/models/mortality/infer", b"/v2/models/mortality/explain", b"/predict", b"/x"])
def test_who_sends_too_large_a_body_is_told_so_and_not_reset(server, path):
    for head, body in (
        (b"content-length: 18000000", b" " * 18_000_000),
        (b"transfer-encoding: chunked", (b"100000\r\n" + b" " * (1 << 20) + b"\r\n") * 18 + b"0\r\n\r\n"),
    ):
        caller = connected(server.port)
        caller.sendall(b"POST %b HTTP/1.1\r\nhost: a\r\n%b\r\n\r\n" % (path, head) + body)
        status, told = answered(caller)
        assert (status, json.loads(told)["reason"]) == (413, "TooLarge")


def test_who_asks_before_sending_is_told_whether_to_send(server):
    caller = connected(server.port)
    caller.sendall(post(b"", b"expect: 100-continue").replace(b"length: 0", b"length: 18000000"))
    assert answered(caller)[0] == 413, "and not 100 first"
    caller, body = connected(server.port), document()
    head = post(body, b"expect: 100-continue").removesuffix(body)
    caller.sendall(head)
    assert caller.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
    caller.sendall(body)
    assert answered(caller)[0] == 200
    caller = connected(server.port)
    caller.sendall(post(b"{}", b"expect: a-miracle"))
    assert answered(caller)[0] == 417


def held(port, count):
    """Connections, each with the begin of a body of 16 MB."""
    made = []
    for _ in range(count):
        one = connected(port, seconds=5)
        one.sendall(post(b"").replace(b"length: 0", b"length: %d" % MEGABYTES))
        made.append(one)
    return made


def test_bodies_on_all_connections_are_bounded_together(server):
    attackers, turned_away = held(server.port, 30), 0
    with measured(server) as cost:
        for one in attackers:
            with contextlib.suppress(OSError):
                one.sendall(b" " * (MEGABYTES - 1))
        for one in attackers:
            one.settimeout(0.2)
            with contextlib.suppress(TimeoutError, ConnectionError):
                found = one.recv(1000)
                assert b" 503 " in found
                assert b"retry-after: 1\r\n" in found
                turned_away += 1
        for one in attackers:
            one.close()
    assert turned_away >= 13
    assert cost.memory < 300
    assert cost.wait < 1


def ends(connection, seconds):
    """Whether the server ends it in time."""
    connection.settimeout(seconds)
    try:
        while connection.recv(1 << 16):
            pass
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


@pytest.mark.slow
def test_who_says_nothing_or_never_comes_to_the_end_or_does_not_read_is_let_go(server):
    silent = [connected(server.port), connected(server.control)]
    slow = [connected(server.port), connected(server.control)]
    for one in slow:
        one.sendall(b"POST /v1/exchange HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n")
    empty = connected(server.port)
    deaf = connected(server.port, receives=4096)
    deaf.sendall(packed(document(10_000)) * 4)
    stop = threading.Event()

    def drip():
        with contextlib.suppress(OSError):
            while not stop.wait(0.2):
                slow[0].sendall(b"x")
                empty.sendall(b"\r\n")

    dripping = threading.Thread(target=drip)
    dripping.start()
    began = time.monotonic()
    assert answered(slow[1])[0] == 408
    assert ends(slow[0], 15)
    assert all(ends(one, 15) for one in silent)
    assert ends(empty, 15), "empty lines are no sign of life"
    stop.set()
    dripping.join()
    wait = 25 - (time.monotonic() - began)
    time_of_reset = _reset(deaf, wait)
    assert time_of_reset < wait


def _reset(connection, seconds):
    """How long it takes until the peer has dropped a connection that is not read."""
    began = time.monotonic()
    while time.monotonic() - began < seconds:
        state = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
        if state != 1 or connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            return time.monotonic() - began
        with contextlib.suppress(BlockingIOError, ConnectionError):
            connection.send(b"x", socket.MSG_DONTWAIT)
        threading.Event().wait(0.1)
    return seconds


@pytest.fixture(scope="module")
def cramped(tmp_path_factory):
    """A server that may open 200 files."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with launching(tmp_path_factory.mktemp("cramped")) as start:
        server = start(as_users_do=True, files=200)
        yield server
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (soft, hard)


@pytest.mark.slow
@pytest.mark.parametrize("sends", [b"", b"POST /v2", post(b"{}").removesuffix(b"}")], ids=["nothing", "a line", "most"])
def test_when_others_have_taken_all_connections_health_keeps_its_way_in(cramped, sends):
    taken = []
    for port in (cramped.port, cramped.control):
        for _ in range(260):
            one = connected(port)
            with contextlib.suppress(OSError):
                one.sendall(sends)
            taken.append(one)
    for port in (cramped.port, cramped.control):
        for path in ("/readyz", "/livez"):
            assert httpx.get(f"http://127.0.0.1:{port}{path}", timeout=2).status_code == 200
    assert cramped.ask(patience=2).status_code == 200
    for one in taken:
        one.close()


H2C = (b"connection: Upgrade, HTTP2-Settings", b"upgrade: h2c", b"http2-settings: AAMAAABkAARAAAAAAAIAAAAA")
WEBSOCKET = (b"connection: Upgrade", b"upgrade: websocket", b"sec-websocket-key: AAAA", b"sec-websocket-version: 13")
WISHES = {"h2c": H2C, "websocket": WEBSOCKET, "anything": (b"Connection: keep-alive, upgrade", b"Upgrade: x/2")}


@pytest.mark.parametrize("lines", WISHES.values(), ids=WISHES.keys())
@pytest.mark.parametrize("sizes", [10_000, 1, 100], ids=["at once", "byte by byte", "in parts"])
def test_who_would_rather_speak_something_else_is_answered_over_http_1_1(server, lines, sizes):
    caller, request = connected(server.port), post(document(), *lines)
    everything = request + post(document(age=61)) + request
    caller.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for at in range(0, len(everything), sizes):
        caller.sendall(everything[at : at + sizes])
    scores = [json.loads(answered(caller)[1])["outputs"][0]["data"][0] for _ in range(3)]
    assert scores == pytest.approx([0.6225, 0.7503, 0.6225], abs=1e-3)


def test_the_body_behind_a_wish_to_upgrade_is_never_read_as_a_request(server):
    inner = post(document(age=61))
    caller = connected(server.port)
    caller.sendall(post(inner, *H2C) + post(document()))
    status, told = answered(caller)
    assert (status, json.loads(told)["reason"]) == (400, "NotJson")
    assert json.loads(answered(caller)[1])["outputs"][0]["data"][0] == pytest.approx(0.6225, abs=1e-3)


def test_a_thousand_wishes_to_upgrade_cost_no_more_than_a_thousand_requests(server):
    caller = connected(server.port)
    with measured(server) as cost:
        threading.Thread(target=caller.sendall, args=(post(b"", *H2C, path=b"/livez") * 4_000,)).start()
        for _ in range(4_000):
            assert answered(caller)[0] == 405
    assert cost.cpu < 4
    assert cost.wait < 2


def test_a_proxy_is_not_to_be_had_and_http_2_is_not_spoken_here(server):
    for request, status in (
        (b"CONNECT a:443 HTTP/1.1\r\nhost: a:443\r\n\r\n", 405),
        (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    ):
        caller = connected(server.port)
        caller.sendall(request)
        assert answered(caller)[0] == status


def test_a_refusal_waits_for_the_answers_before_it(server):
    caller = connected(server.port)
    caller.sendall(packed(document(10_000)) * 3 + post(b"").replace(b"length: 0", b"length: 18000000"))
    assert [answered(caller)[0] for _ in range(4)] == [200, 200, 200, 413]
