"""A clinical service that replays events as live requests, and counts what it gets back.

Runs in a pod, on the serving image. Prints one line of counts (JSON) a second and never a value. A request that is not
answered with 200 within its time is a failure.

Nothing is tried again, unless --retry is given: then a request whose connection breaks, cannot be made, or is silent for
too long is sent again, as it changes nothing to ask twice; these are counted apart. An answer is final, whatever it says.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import csv
import itertools
import json
import random
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import aiohttp

NUMERIC = {"age"}
NOT_INPUTS = {"outcome", "yronset"}
MISSING = {"nk", "", "nan"}
TIME = 10.0
"""Seconds for a request, all tries together."""
SILENCE, CONNECTING, PAUSE = 4.0, 0.5, 0.05
"""With --retry: seconds without an answer until a try is given up, to connect, and between two tries."""
UNANSWERED = (
    "DEADLINE_EXCEEDED: Deadline Exceeded",
    "UNAVAILABLE: failed to connect",
    "UNAVAILABLE: recvmsg:",
    "UNAVAILABLE: sendmsg:",
    "UNAVAILABLE: Stream removed (recvmsg:",
    "UNAVAILABLE: Stream removed (sendmsg:",
    "UNAVAILABLE: Stream removed (Socket closed",
    "UNAVAILABLE: Socket closed",
    "UNAVAILABLE: keepalive",
    "UNAVAILABLE: ping timeout",
)
"""Texts of gRPC for connection errors. Only the text distinguishes them from a status that a server sent."""


def request_body(row: dict[str, str]) -> bytes:
    """One row as an inference request of the Open Inference Protocol."""
    inputs = []
    for name, text in row.items():
        if name in NOT_INPUTS:
            continue
        missing = text in MISSING
        value = None if missing else float(text) if name in NUMERIC else text
        datatype = "FP32" if name in NUMERIC else "BYTES"
        inputs.append({"name": name, "shape": [1, 1], "datatype": datatype, "data": [value]})
    return json.dumps({"inputs": inputs}).encode()


def shifted(row: dict[str, str], draw: random.Random) -> dict[str, str]:
    """Another population, and a laboratory interface that has stopped sending: older, and cholesterol mostly unknown."""
    older = {**row, "age": str(min(69, int(float(row["age"])) + draw.randint(5, 20)))}
    return {**older, "hichol": "nk"} if draw.random() < 0.7 else older


class UnansweredError(Exception):
    """The connection broke, was never established, or stayed silent: there was no answer."""


class RefusedError(Exception):
    """An answer, but not the requested one."""


class Counts:
    """Counts of responses."""

    def __init__(self) -> None:
        self.sent = self.ok = self.failed = self.retried = 0
        self.reasons: Counter[str] = Counter()
        self.retries: Counter[str] = Counter()
        self.versions: Counter[str] = Counter()
        self.first: dict[str, float] = {}
        self.last: dict[str, float] = {}
        self.slowest = self.slowest_lately = 0.0

    def answered(self, version: str, seconds: float) -> None:
        now = time.time()
        self.ok += 1
        self.versions[version] += 1
        self.first.setdefault(version, now)
        self.last[version] = now
        self.slowest = max(self.slowest, seconds)
        self.slowest_lately = max(self.slowest_lately, seconds)

    def missed(self, reason: str) -> None:
        self.failed += 1
        self.reasons[reason] += 1

    def tried_again(self, reason: str) -> None:
        self.retried += 1
        self.retries[reason] += 1

    def line(self) -> str:
        text = json.dumps({"time": round(time.time(), 3), **vars(self)})
        self.slowest_lately = 0.0  # since the line before
        return text


class OverGrpc:
    """The same requests as gRPC calls, on one connection that is kept as long as the server allows."""

    def __init__(self, address: str, model: str, retry: bool) -> None:
        import grpc

        from modelward_serving._generated import open_inference_pb2 as pb

        self._pb, self._failure, self._model, self._retry = pb, grpc.RpcError, model, retry
        options = {
            "grpc.keepalive_time_ms": 1000,  # a connection that has died in silence is noticed
            "grpc.keepalive_timeout_ms": 1000,
            "grpc.min_reconnect_backoff_ms": int(1000 * CONNECTING),
            "grpc.initial_reconnect_backoff_ms": int(1000 * PAUSE),
            "grpc.max_reconnect_backoff_ms": int(1000 * CONNECTING),
        }
        self._channel = grpc.aio.insecure_channel(address, options=list(options.items()) if retry else None)
        self._infer = self._channel.unary_unary(
            "/inference.GRPCInferenceService/ModelInfer",
            request_serializer=pb.ModelInferRequest.SerializeToString,
            response_deserializer=pb.ModelInferResponse.FromString,
        )

    async def ask(self, body: bytes, seconds: float, silence: float) -> str:
        """The version that answered."""
        timeout = min(seconds, silence)
        try:
            answer = await self._infer(self._message(body), timeout=timeout, wait_for_ready=self._retry)
        except self._failure as error:
            said = f"{error.code().name}: {error.details()}"
            raise UnansweredError(said) if said.startswith(UNANSWERED) else RefusedError(said) from error
        return str(answer.model_version)

    async def close(self) -> None:
        await self._channel.close()

    def _message(self, body: bytes) -> Any:
        message = self._pb.ModelInferRequest(model_name=self._model)
        for tensor in json.loads(body)["inputs"]:
            made = message.inputs.add(name=tensor["name"], datatype=tensor["datatype"], shape=tensor["shape"])
            (value,) = tensor["data"]
            if tensor["datatype"] == "FP32":
                made.contents.fp32_contents.append(float("nan") if value is None else value)
            else:
                made.contents.bytes_contents.append((value or "").encode())
        return message


class OverRest:
    """Requests over HTTP on kept connections."""

    def __init__(self, url: str, model: str, connections: int, retry: bool) -> None:
        self._url = f"{url}/v2/models/{model}/infer"
        self._connecting = CONNECTING if retry else None
        self._session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=connections))

    async def ask(self, body: bytes, seconds: float, silence: float) -> str:
        """The version that answered."""
        timeout = aiohttp.ClientTimeout(total=seconds, sock_connect=self._connecting, sock_read=silence)
        headers = {"content-type": "application/json"}
        try:
            async with self._session.post(self._url, data=body, headers=headers, timeout=timeout) as answer:
                await answer.read()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise UnansweredError(type(error).__name__) from error
        if answer.status != 200:
            raise RefusedError(f"HTTP {answer.status}")
        return answer.headers.get("x-modelward-version", "unknown")

    async def close(self) -> None:
        await self._session.close()


async def ask(caller: OverGrpc | OverRest, body: bytes, counts: Counts, retry: bool) -> None:
    """One request, to its end."""
    counts.sent += 1
    started = time.monotonic()
    while True:
        left = TIME - (time.monotonic() - started)
        try:
            version = await caller.ask(body, left, SILENCE if retry else left)
            return counts.answered(version, time.monotonic() - started)
        except RefusedError as error:
            return counts.missed(str(error))
        except UnansweredError as error:
            if not retry or time.monotonic() - started + PAUSE >= TIME:
                return counts.missed(str(error))
            counts.tried_again(str(error))
        await asyncio.sleep(PAUSE)


async def replay(options: argparse.Namespace, rows: list[dict[str, str]]) -> Counts:
    draw = random.Random(options.seed)
    stop, counts = asyncio.Event(), Counts()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    if options.grpc:
        caller: OverGrpc | OverRest = OverGrpc(options.url, options.model, options.retry)
    else:
        caller = OverRest(options.url, options.model, options.connections, options.retry)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(caller.close)
        tasks: set[asyncio.Task[None]] = set()
        begin, told = time.monotonic(), 0.0
        for number, row in enumerate(itertools.cycle(rows)):
            due = number / options.rate
            if stop.is_set() or due >= options.seconds:
                break
            await asyncio.sleep(max(0.0, begin + due - time.monotonic()))
            body = request_body(shifted(row, draw) if options.shifted else row)
            task = asyncio.create_task(ask(caller, body, counts, options.retry))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            if time.monotonic() - told >= 1:
                told = time.monotonic()
                print(counts.line(), flush=True)
        await asyncio.gather(*tasks)
    return counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--url", required=True, help="the model's Service, such as http://mortality:8080, or mortality:9000 for gRPC"
    )
    parser.add_argument("--grpc", action="store_true", help="call over gRPC")
    parser.add_argument("--model", required=True)
    parser.add_argument("--rows", required=True, help="a CSV file with a header")
    parser.add_argument("--rate", type=float, default=40.0, help="requests a second")
    parser.add_argument("--seconds", type=float, default=3600.0, help="stop by itself after this long")
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--retry", action="store_true", help="send a request again that nobody has answered")
    parser.add_argument("--shifted", action="store_true", help="send another population")
    options = parser.parse_args()
    with Path(options.rows).open(newline="") as file:
        rows = list(csv.DictReader(file))
    counts = asyncio.run(replay(options, rows))
    print(counts.line(), flush=True)


if __name__ == "__main__":
    main()
