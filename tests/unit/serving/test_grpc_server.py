"""The gRPC server's connections, on loopback."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from modelward_serving.grpc.server import GrpcServer
from modelward_serving.transport import http2
from modelward_serving.transport.connections import Connections
from modelward_serving.transport.http2 import frame, literal

LIVE = b"".join(
    literal(*field)
    for field in (
        (b":method", b"POST"),
        (b":scheme", b"http"),
        (b":path", b"/grpc.health.v1.Health/Check"),
        (b":authority", b"a"),
        (b"content-type", b"application/grpc"),
    )
)
ASKS = (
    http2.PREFACE
    + frame(http2.SETTINGS, 0, 0)
    + frame(http2.HEADERS, http2.END_HEADERS, 1, LIVE)
    + frame(http2.DATA, http2.END_STREAM, 1, bytes(5))
)
WATCHES = ASKS.replace(b"Check", b"Watch")


@pytest.fixture
async def address():
    """The address of a server for at most three connections, which end after a second."""
    inference = SimpleNamespace(predictor=SimpleNamespace(bundle=SimpleNamespace(signature=None)))
    server = GrpcServer(inference, timeout=0.0, oldest_connection=1.0)
    server.connections = Connections(3)
    await server.start("127.0.0.1", 0)
    yield server._server.sockets[0].getsockname()
    await server.stop()


async def asked(address, content):
    """Connect and send this; return the connection."""
    reader, writer = await asyncio.open_connection(*address[:2])
    writer.write(content)
    return reader, writer


async def test_when_there_is_no_room_the_connection_that_was_idle_for_longest_makes_it(address):
    silent = [await asked(address, b"") for _ in range(3)]
    reader, writer = await asked(address, ASKS)
    assert b"grpc-status\x010" in await asyncio.wait_for(reader.readuntil(b"grpc-status\x010"), 5)
    await asyncio.wait_for(silent[0][0].read(), 5)
    assert silent[0][0].at_eof()
    assert not any(each.at_eof() for each, _ in silent[1:])
    for _, each in (*silent, (reader, writer)):
        each.close()


async def test_an_old_connection_ends_though_its_caller_watches_and_never_hears_that_it_should_go(address):
    reader, writer = await asked(address, WATCHES)
    said = await asyncio.wait_for(reader.read(), 10)
    assert frame(http2.DATA, 0, 1, b"\0\0\0\0\2\x08\1") in said
    assert b"grpc-status\x010" in said
    writer.close()


async def test_a_call_that_is_not_grpc_may_end_before_its_client_reads_the_refusal(address):
    head = LIVE.replace(b"application/grpc", b"application/json")
    closed = frame(http2.SETTINGS, 0, 0, (4).to_bytes(2) + (0).to_bytes(4))
    call = frame(http2.HEADERS, http2.END_HEADERS, 1, head) + frame(http2.DATA, http2.END_STREAM, 1)
    reader, writer = await asked(address, http2.PREFACE + closed + call)
    writer.write(frame(http2.WINDOW_UPDATE, 0, 1, (100).to_bytes(4)))
    assert await asyncio.wait_for(reader.readuntil(b"application/grpc only\n"), 10)
    writer.close()
