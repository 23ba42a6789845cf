"""A load generator that costs little: the same request over and over on kept connections, each answer waited for.

`python -m tests.bench.load http URL BODY-FILE` and `... grpc ADDRESS METHOD BODY-FILE` print one line of JSON. It is a process of
its own, so that it can be kept on a core of its own and its garbage is nobody else's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import threading
import time
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import grpc
import uvloop


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


async def over_http(url: str, body: bytes, headers: dict[str, str], connections: int, seconds: float) -> list[float]:
    """The seconds that each answer took. Raises for any that is not 200."""
    parts = urlsplit(url)
    lines = [f"POST {parts.path} HTTP/1.1", f"host: {parts.netloc}", f"content-length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in ({"content-type": "application/json"} | headers).items()]
    request = "\r\n".join(lines).encode() + b"\r\n\r\n" + body
    loop, latencies = asyncio.get_running_loop(), []
    until, ended = time.perf_counter() + seconds, []
    for _ in range(connections):
        future = loop.create_future()
        ended.append(future)
        await loop.create_connection(
            lambda future=future: _Caller(request, until, latencies, future), parts.hostname, parts.port
        )
    await asyncio.gather(*ended)
    return latencies


def over_grpc(address: str, method: str, body: bytes, connections: int, seconds: float) -> list[float]:
    """The seconds that each answer took. Raises for any that fails."""
    latencies: list[float] = []
    errors: list[BaseException] = []
    until = time.perf_counter() + seconds
    left = threading.Semaphore(0)
    options = [("grpc.use_local_subchannel_pool", 1)]
    channels = [grpc.insecure_channel(address, options=options) for _ in range(connections)]

    def ask(stub: grpc.UnaryUnaryMultiCallable) -> None:
        started = time.perf_counter()
        if started >= until or errors:
            left.release()
            return
        future = stub.future(body)

        def answered(future: grpc.Future) -> None:
            latencies.append(time.perf_counter() - started)
            if error := future.exception():
                errors.append(error)
            ask(stub)

        future.add_done_callback(answered)

    for channel in channels:
        ask(channel.unary_unary(method))
    for _ in channels:
        left.acquire()
    for channel in channels:
        channel.close()
    if errors:
        raise errors[0]
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
        latencies = over_grpc(options.target, options.method, body, options.connections, options.seconds)
    elapsed = time.perf_counter() - started
    ordered = sorted(latencies)
    figures = {
        "rate": len(ordered) / elapsed,
        "p50_ms": ordered[len(ordered) // 2] * 1000,
        "p99_ms": ordered[int(len(ordered) * 0.99)] * 1000,
        "busy": time.process_time() / elapsed,
    }
    json.dump(figures, sys.stdout)


if __name__ == "__main__":
    main()
