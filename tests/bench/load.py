"""A load generator that costs little: the same request over and over on kept connections, each answer waited for.

`python -m tests.bench.load http URL BODY-FILE` and `... grpc ADDRESS METHOD BODY-FILE` print one line of JSON. It is a process of
its own, so that it can be kept on a core of its own and its garbage is nobody else's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import uvloop
from hpack import Decoder, Encoder, NeverIndexedHeaderTuple


class _Caller(asyncio.Protocol):
    """One connection: asks, waits for the whole answer, asks again."""

    def __init__(self, request: bytes, until: float, latencies: list[float], ended: asyncio.Future[None]) -> None:
        self._request, self._until, self._latencies, self._ended = request, until, latencies, ended
        self._answer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: Any = transport
        self._ask()

    def _ask(self) -> None:
        self._started = time.perf_counter()
        self._transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._answer = self._answer + data if self._answer else data
        if not _is_complete(self._answer):
            return
        if b" 200 " not in self._answer[:20]:
            self._end(RuntimeError(self._answer[:300].decode(errors="replace")))
            return
        self._answer = b""
        now = time.perf_counter()
        self._latencies.append(now - self._started)
        if now < self._until:
            self._ask()
        else:
            self._end(None)

    def connection_lost(self, error: Exception | None) -> None:
        self._end(error or ConnectionError("the server closed the connection"))

    def _end(self, error: Exception | None) -> None:
        if self._ended.done():
            return
        if error is None:
            self._ended.set_result(None)
        else:
            self._ended.set_exception(error)
        self._transport.close()


def _is_complete(answer: bytes) -> bool:
    head_end = answer.find(b"\r\n\r\n")
    if head_end < 0:
        return False
    head = answer[:head_end].lower()
    at = head.find(b"content-length:")
    if at < 0:  # chunked
        return answer.endswith(b"0\r\n\r\n")
    end = head.find(b"\r\n", at)
    return len(answer) >= head_end + 4 + int(head[at + 15 : end if end > 0 else len(head)])


DATA, HEADERS, RESET, SETTINGS, PING, GOAWAY, WINDOW = 0, 1, 3, 4, 6, 7, 8
END_STREAM, ACKNOWLEDGED, END_HEADERS = 1, 1, 4
WHOLE_WINDOW, FIRST_WINDOW = 2**31 - 1, 2**16 - 1
NO_TABLE = b"\0\1\0\0\0\0"
"""SETTINGS: the server shall refer to no field that it sent before, so that each of its blocks can be read alone."""


def _frame(kind: int, flags: int, stream: int, content: bytes) -> bytes:
    return len(content).to_bytes(3) + bytes((kind, flags)) + stream.to_bytes(4) + content


class _GrpcCaller(_Caller):
    """The same over HTTP/2, with frames that are made once except for the stream's number.

    A gRPC library would be slower than servers.
    """

    def __init__(self, fields: bytes, message: bytes, *rest: Any) -> None:
        super().__init__(b"", *rest)
        self._fields, self._message = fields, message
        self._stream, self._window, self._waits = -1, FIRST_WINDOW, False
        self._good: bytes | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        larger = (WHOLE_WINDOW - FIRST_WINDOW).to_bytes(4)
        hello = _frame(SETTINGS, 0, 0, NO_TABLE) + _frame(WINDOW, 0, 0, larger)
        self._transport.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + hello)
        self._ask()

    def _ask(self) -> None:
        self._waits = self._window < len(self._message)
        if self._waits:
            return
        self._window -= len(self._message)
        self._stream += 2
        self._started = time.perf_counter()
        head = _frame(HEADERS, END_HEADERS, self._stream, self._fields)
        self._transport.write(head + _frame(DATA, END_STREAM, self._stream, self._message))

    def data_received(self, data: bytes) -> None:
        data = self._answer + data if self._answer else data
        at = 0
        while len(data) - at >= 9:
            end = at + 9 + int.from_bytes(data[at : at + 3])
            if len(data) < end:
                break
            self._take(data[at + 3], data[at + 4], int.from_bytes(data[at + 5 : at + 9]), data[at + 9 : end])
            at = end
        self._answer = data[at:]

    def _take(self, kind: int, flags: int, stream: int, content: bytes) -> None:
        if kind == HEADERS and flags & END_STREAM:
            self._answered(content)
        elif kind == SETTINGS and not flags & ACKNOWLEDGED:
            self._transport.write(_frame(SETTINGS, ACKNOWLEDGED, 0, b""))
        elif kind == PING and not flags & ACKNOWLEDGED:
            self._transport.write(_frame(PING, ACKNOWLEDGED, 0, content))
        elif kind == WINDOW and not stream:
            self._window += int.from_bytes(content)
            if self._waits:
                self._ask()
        elif kind in (RESET, GOAWAY):
            self._end(ConnectionError(f"the server ended it: frame {kind}"))

    def _answered(self, trailers: bytes) -> None:
        now = time.perf_counter()
        if trailers != self._good:
            if dict(Decoder().decode(trailers)).get("grpc-status") != "0":
                self._end(RuntimeError(repr(trailers)))
                return
            self._good = trailers
        self._latencies.append(now - self._started)
        if now < self._until:
            self._ask()
        else:
            self._end(None)


async def over_http(url: str, body: bytes, headers: dict[str, str], connections: int, seconds: float) -> list[float]:
    """The seconds that each answer took. Raises for any that is not 200."""
    parts = urlsplit(url)
    lines = [f"POST {parts.path} HTTP/1.1", f"host: {parts.netloc}", f"content-length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in ({"content-type": "application/json"} | headers).items()]
    request = "\r\n".join(lines).encode() + b"\r\n\r\n" + body
    return await _until(parts.hostname, parts.port, connections, seconds, partial(_Caller, request))


async def over_grpc(address: str, method: str, body: bytes, connections: int, seconds: float) -> list[float]:
    """The seconds that each answer took. Raises for any whose status is not OK."""
    host, _, port = address.rpartition(":")
    head = [(":method", "POST"), (":scheme", "http"), (":path", method), (":authority", address)]
    head += [("te", "trailers"), ("content-type", "application/grpc")]
    fields = Encoder().encode([NeverIndexedHeaderTuple(*pair) for pair in head], huffman=False)
    message = b"\0" + len(body).to_bytes(4) + body
    return await _until(host, int(port), connections, seconds, partial(_GrpcCaller, fields, message))


async def _until(
    host: str | None, port: int | None, connections: int, seconds: float, caller: Callable[..., _Caller]
) -> list[float]:
    """Let this many clients send requests for that time, each on its own connection."""
    loop, latencies, ended = asyncio.get_running_loop(), [], []
    until = time.perf_counter() + seconds
    for _ in range(connections):
        ended.append(loop.create_future())
        await loop.create_connection(partial(caller, until, latencies, ended[-1]), host, port)
    await asyncio.gather(*ended)
    return latencies


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("protocol", choices=("http", "grpc"))
    parser.add_argument("target")
    parser.add_argument("--method", default="/inference.GRPCInferenceService/ModelInfer")
    parser.add_argument("--body", type=Path, required=True)
    parser.add_argument("--headers", default="{}")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument("--seconds", type=float, default=3.0)
    options = parser.parse_args()
    body = options.body.read_bytes()
    started = time.perf_counter()
    if options.protocol == "http":
        headers = json.loads(options.headers)
        latencies = uvloop.run(over_http(options.target, body, headers, options.connections, options.seconds))
    else:
        latencies = uvloop.run(over_grpc(options.target, options.method, body, options.connections, options.seconds))
    elapsed = time.perf_counter() - started
    ordered = sorted(latencies)
    figures = {
        "answers": len(ordered),
        "rate": len(ordered) / elapsed,
        "p50_ms": ordered[len(ordered) // 2] * 1000,
        "p99_ms": ordered[int(len(ordered) * 0.99)] * 1000,
        "busy": time.process_time() / elapsed,
    }
    json.dump(figures, sys.stdout)


if __name__ == "__main__":
    main()
