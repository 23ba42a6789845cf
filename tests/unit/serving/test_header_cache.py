"""Repeated request headers are parsed once, and the response is the same as if they were parsed each time."""

from __future__ import annotations

import asyncio
import json
import re

import pytest
import uvicorn
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from uvicorn.server import ServerState

from modelward_serving.inference.dispatch import Inference
from modelward_serving.model import bundle
from modelward_serving.model.predictor import Predictor
from modelward_serving.observability.metrics import Metrics
from modelward_serving.rest.app import App
from modelward_serving.rest.http_protocol import InferenceHttpProtocol
from modelward_serving.routing.challenger_client import Challengers
from modelward_serving.routing.lease import LeaseHolder
from modelward_serving.routing.router import Router
from modelward_serving.transport.header_cache import MAX_REQUEST_HEADS, RequestHeaderCache
from tests.support import bundles

PLAIN = b"POST /v2/models/mortality/infer HTTP/1.1\r\nhost: m\r\ncontent-type: application/json\r\n"


def learnt(head: bytes, body: bytes = b"{1,2,3}", **more: bytes) -> RequestHeaderCache:
    heads = RequestHeaderCache()
    names = {b"host": b"m", b"content-length": b"%d" % len(body), **{k.encode(): v for k, v in more.items()}}
    heads.learn(head + body, names, body)
    return heads


HEAD = PLAIN + b"content-length: 7\r\n\r\n"


def test_the_same_head_with_another_body_of_its_length_is_known():
    headers, body = learnt(HEAD).split(HEAD + b"[4,5,6]")
    assert (headers[b"content-length"], body) == (b"7", b"[4,5,6]")


@pytest.mark.parametrize(
    "data",
    [HEAD + b"[4,5,]", HEAD + b"[4,5,6]P", HEAD, HEAD[:-2] + b"x: y\r\n\r\n[4,5,6]", b"\r\n" + HEAD + b"[4,5,6]", b""],
    ids=["too short", "more behind it", "no body", "another header", "a line before it", "nothing"],
)
def test_what_is_not_one_whole_request_with_that_head_is_parsed(data):
    assert learnt(HEAD).split(data) is None


def test_a_head_that_belongs_to_one_request_is_not_kept():
    head = PLAIN + b"content-length: 7\r\nx-encounter: 1234\r\n\r\n"
    assert learnt(head, **{"x-encounter": b"1234"}).split(head + b"[4,5,6]") is None


def test_no_more_heads_are_kept_than_a_bound():
    heads = learnt(HEAD)
    for port in range(MAX_REQUEST_HEADS):
        body = b"{}"
        headers = {b"host": b"m:%d" % port, b"content-length": b"2"}
        heads.learn(PLAIN + b"host: m:%d\r\ncontent-length: 2\r\n\r\n" % port + body, headers, body)
    assert heads.split(HEAD + b"[4,5,6]") is None


class Transport(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self):
        super().__init__()
        self.written = b""
        self.closed = False

    def write(self, data):
        self.written += data

    def is_closing(self):
        return self.closed

    def close(self):
        self.closed = True

    def pause_reading(self): ...

    def resume_reading(self): ...


def request(kind: str, number: int) -> bytes:
    """A request of a kind; its body has an id, but for those that are no JSON."""
    inputs = [
        {"name": "age", "shape": [1, 1], "datatype": "FP32", "data": [55]},
        {"name": "sex", "shape": [1, 1], "datatype": "BYTES", "data": ["f"]},
    ]
    body = json.dumps({"id": str(number), "inputs": inputs}).encode()
    length = b"content-length: %d\r\n" % len(body)
    if kind == "within":  # what looks like a request is its body
        body = request("plain", number)
        return PLAIN + b"content-length: %d\r\n\r\n" % len(body) + body
    if kind == "spoilt":
        return PLAIN + length + b"\r\n" + b"x" * len(body)
    if kind == "chunked":
        return PLAIN + b"transfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    more = {"plain": b"", "encounter": b"x-encounter: %d\r\n" % number, "closing": b"connection: close\r\n"}[kind]
    return PLAIN + more + length + b"\r\n" + body


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundle")
    return Predictor(bundle.load(folder, bundles.write(folder)))


async def answers(predictor: Predictor, parts: list[bytes], turn: float) -> list[list[tuple[int, str | None]]]:
    """The status and the id of each answer, on one connection and then on another that sends the same."""
    metrics = Metrics(predictor.model, predictor.version, predictor.bundle.digest)
    router = Router(LeaseHolder(predictor.model, predictor.bundle.digest), Challengers(), predictor.model)

    async def nowhere(*_: object) -> None: ...

    app = App(Inference(predictor, router, metrics), metrics, nowhere, 10.0)
    config = uvicorn.Config(
        app, http=InferenceHttpProtocol, ws="none", interface="asgi3", proxy_headers=False, log_config=None
    )
    config.load()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("modelward_serving.rest.http_protocol.TURN", turn)
        return [await told(config, parts) for _ in range(2)]


async def told(config: uvicorn.Config, parts: list[bytes]) -> list[tuple[int, str | None]]:
    protocol, transport = InferenceHttpProtocol(config=config, server_state=ServerState(), app_state={}), Transport()
    protocol.connection_made(transport)
    for part in parts:
        if not transport.closed:
            protocol.data_received(part)
        while protocol.tasks:
            await asyncio.wait(protocol.tasks)
    protocol.connection_lost(None)
    found, written = [], transport.written
    while written:
        head, _, rest = written.partition(b"\r\n\r\n")
        length = int(re.search(rb"content-length: (\d+)", head)[1])
        found.append((int(head.split()[1]), json.loads(rest[:length]).get("id")))
        written = rest[length:]
    return found


KINDS = st.sampled_from(["plain", "plain", "plain", "encounter", "spoilt", "chunked", "within", "closing"])
CUTS = st.sampled_from(["nowhere", "nowhere", "before the body", "within the body", "within the head"])


@pytest.mark.parametrize("turn", [60.0, -1.0], ids=["at once", "each in a task"])
@settings(deadline=None, suppress_health_check=list(HealthCheck), max_examples=200)
@example([("plain", "nowhere", False), ("within", "before the body", False)])
@example([("plain", "within the body", False), ("plain", "nowhere", False)])
@given(st.lists(st.tuples(KINDS, CUTS, st.booleans()), min_size=1, max_size=9))
def test_every_request_gets_its_own_answer_however_the_bytes_come(predictor, turn, asked):
    parts, expected = [], []
    for number, (kind, where, is_behind) in enumerate(asked):
        first, *others = cut(request(kind, number), where)
        parts += [parts.pop() + first] if is_behind and parts else [first]
        parts += others
        expected.append((200, str(number)) if kind not in ("spoilt", "within") else (400, None))
    kinds = [kind for kind, _, _ in asked]
    if "closing" in kinds:
        expected = expected[: kinds.index("closing") + 1]
    assert asyncio.run(answers(predictor, parts, turn)) == [expected, expected]


def cut(data: bytes, where: str) -> list[bytes]:
    """A request in one or two parts."""
    body = data.index(b"\r\n\r\n") + 4
    at = {"nowhere": 0, "before the body": body, "within the body": body + 9, "within the head": 9}[where]
    return [part for part in (data[:at], data[at:]) if part]
