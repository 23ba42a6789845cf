"""The client for challenger pods, against a scripted server."""

from __future__ import annotations

import asyncio
import time

import pytest

from modelward_serving.routing.challenger_client import Ask, Challengers, Response
from modelward_serving.routing.forward import Forward

FORWARD = Forward(b"{}", {})


def answer(content: bytes, *lines: bytes, status: bytes = b"200 OK") -> bytes:
    head = [b"HTTP/1.1 " + status, b"content-length: %d" % len(content), *lines]
    return b"\r\n".join(head) + b"\r\n\r\n" + content


class Pod:
    """Sends one script per request, part by part; None means silence."""

    def __init__(self, *scripts: list[bytes] | None) -> None:
        self._scripts = list(scripts)
        self.connections = 0
        self.requests: list[bytes] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.requests.append(head + await reader.readexactly(2))
                script = self._scripts.pop(0)
                for part in script if script is not None else ():
                    writer.write(part)
                    await writer.drain()
                    await asyncio.sleep(0.005)  # so that the parts come apart
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()


class Heard(Ask):
    """Keeps what it hears."""

    def __init__(self) -> None:
        super().__init__(time.monotonic())
        self.outcome: asyncio.Future[Response | OSError] = asyncio.get_running_loop().create_future()

    def on_response(self, outcome: Response | OSError) -> None:
        self.outcome.set_result(outcome)


class Client:
    """Asks one pod."""

    def __init__(self, port: int) -> None:
        self.challengers = Challengers()
        self.endpoint = f"127.0.0.1:{port}"

    def ask(self, patience: float = 5.0) -> asyncio.Future[Response | OSError]:
        heard = Heard()
        self.challengers.ask(self.endpoint, "/infer", FORWARD, patience, heard)
        return heard.outcome


@pytest.fixture
async def serve():
    servers, clients = [], []

    async def start(pod: Pod) -> Client:
        servers.append(await asyncio.start_server(pod, "127.0.0.1", 0))
        clients.append(Client(servers[-1].sockets[0].getsockname()[1]))
        return clients[-1]

    yield start
    for server, client in zip(servers, clients, strict=True):
        server.close()
        client.challengers.close()


async def test_a_request_says_that_it_is_routed_and_whatever_else_it_is_to_say(serve):
    pod = Pod([answer(b"1")])
    assert (await (await serve(pod)).ask()).content == b"1"
    head, _, body = pod.requests[0].partition(b"\r\n\r\n")
    assert head.startswith(b"POST /infer HTTP/1.1\r\nhost: 127.0.0.1:")
    assert {b"x-modelward-routed: 1", b"content-type: application/json", b"content-length: 2"} <= {*head.split(b"\r\n")}
    assert body == b"{}"


async def test_answers_are_the_same_whole_and_in_pieces_and_whether_their_head_came_before_or_not(serve):
    whole = answer(b"abc", b"X-Name: value")
    pod = Pod([whole], [whole], [whole[:10], whole[10:-1], whole[-1:]], [answer(b"wxyz", b"X-Name: value")], [whole])
    client = await serve(pod)
    outcomes = [await client.ask() for _ in range(5)]
    assert [outcome.content for outcome in outcomes] == [b"abc", b"abc", b"abc", b"wxyz", b"abc"]
    assert {(outcome.status, outcome.headers["x-name"]) for outcome in outcomes} == {(200, "value")}
    assert pod.connections == 1


async def test_an_answer_in_chunks_is_read(serve):
    head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
    client = await serve(Pod([head + b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"], [head, b"1\r\nd\r\n0\r\n\r\n"]))
    assert [(await client.ask()).content for _ in range(2)] == [b"abc", b"d"]


async def test_a_connection_that_the_pod_wants_to_end_is_not_used_again(serve):
    pod = Pod([answer(b"1", b"connection: close")], [answer(b"2", b"connection: close")])
    client = await serve(pod)
    assert [(await client.ask()).content for _ in range(2)] == [b"1", b"2"]
    assert pod.connections == 2


@pytest.mark.parametrize("more", [b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\n\r\n9", b"9", b"\r\n9"])
async def test_what_nobody_asked_for_is_nobodys_answer(serve, more):
    pod = Pod([answer(b"1")], [answer(b"2") + more], [answer(b"3")])
    client = await serve(pod)
    outcomes = [await client.ask() for _ in range(3)]
    heard = [outcome.content if isinstance(outcome, Response) else None for outcome in outcomes]
    assert (heard[0], heard[2]) == (b"1", b"3")
    assert heard[1] in (b"2", None)
    assert pod.connections == 2


@pytest.mark.parametrize("said", [b"nonsense\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n"])
async def test_what_is_no_http_is_an_error_at_once(serve, said):
    assert isinstance(await (await serve(Pod([said]))).ask(), ConnectionError)


@pytest.mark.parametrize("status", [b"100 Continue", b"100 ", b"103 Early Hints"])
async def test_an_answer_behind_an_announcement_is_nobodys(serve, status):
    pod = Pod([b"HTTP/1.1 " + status + b"\r\n\r\n", answer(b"1")], [answer(b"2")])
    client = await serve(pod)
    assert isinstance(await client.ask(), ConnectionError)
    assert (await client.ask()).content == b"2"
    assert pod.connections == 2


async def test_an_answer_whose_head_never_ends_is_bounded(serve):
    pod = Pod([b"HTTP/1.1 200 OK\r\n", *[b"x: y\r\n" * 500_000] * 6])
    assert isinstance(await (await serve(pod)).ask(patience=60.0), ConnectionError)


@pytest.mark.parametrize("value", [b"a\r\nx: y", b"a\0", b" a", b"\x80"])
async def test_a_request_that_would_write_more_than_it_is_reaches_no_pod(serve, value):
    pod = Pod([answer(b"1")])
    client = await serve(pod)
    heard = Heard()
    client.challengers.ask(client.endpoint, "/infer", Forward(b"{}", {b"tracestate": value}), 5.0, heard)
    assert isinstance(await heard.outcome, ConnectionError)
    assert pod.requests == []


async def test_an_answer_that_comes_late_is_not_that_of_the_next_request(serve):
    pod = Pod(None, [answer(b"2")])
    client = await serve(pod)
    started = time.monotonic()
    assert isinstance(await client.ask(patience=0.1), TimeoutError)
    assert 0.1 <= time.monotonic() - started < 2
    assert (await client.ask()).content == b"2"
    assert pod.connections == 2


async def test_each_is_waited_for_as_long_as_it_is_to_be_and_heard_once(serve):
    client = await serve(Pod(*[None] * 6))
    asked = [client.ask(patience) for patience in (60.0, 0.1, 60.0, 0.1)]
    assert [type(await asked[which]) for which in (1, 3)] == [TimeoutError] * 2
    assert not asked[0].done()
    assert not asked[2].done()
    assert isinstance(await client.ask(patience=0.1), TimeoutError), "a time that was waited for before"


async def test_a_pod_that_is_gone_is_an_error_and_never_asked_again_for_the_same_request(serve):
    pod = Pod([answer(b"1")])
    client = await serve(pod)
    assert (await client.ask()).content == b"1"
    client.endpoint = "127.0.0.1:1"
    assert isinstance(await client.ask(), OSError)
    assert len(pod.requests) == 1


async def test_a_pod_that_hangs_up_is_an_error_at_once(serve):
    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    client = await serve(hang_up)
    assert [isinstance(await client.ask(), ConnectionError) for _ in range(3)] == [True] * 3
