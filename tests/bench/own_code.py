"""Own code against the library that could stand in its place: ``python -m tests.bench.own_code``. The figures are in docs/adr.

All times are processor time, of the server alone where there are two processes: only the ratios mean anything elsewhere.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import grpc
import h2.config
import h2.connection
import h2.events
import hpack
import uvloop

from modelward_serving.grpc.framing import HEAD, WELL
from modelward_serving.transport import http2

PATH = "/inference.GRPCInferenceService/ModelInfer"
FIELDS = [
    (":method", "POST"), (":scheme", "http"), (":path", PATH), (":authority", "mortality.clinic:9000"), ("te", "trailers"),
    ("content-type", "application/grpc"), ("user-agent", "grpc-python"),
]  # fmt: skip
CALLS, ROUNDS, BODY = 2000, 5, bytes(200)
LISTENS = "listens"
START = http2.PREFACE + http2.frame(4, 0, 0) + http2.frame(8, 0, 0, (2**30).to_bytes(4, "big"))


class Echo:
    """Answers each call with its own bytes, as our server's application."""

    largest = 10**6

    def __getattr__(self, name):
        return lambda *_: None

    def completed(self, stream):
        stream.respond(HEAD, bytes(stream.body), WELL)


class Sink:
    """A transport that writes nowhere."""

    def __getattr__(self, name):
        return lambda *_: None


def median(measure: Callable[[], float]) -> float:
    return statistics.median(measure() for _ in range(ROUNDS))


def requests(changing: bool) -> list[bytes]:
    encoder = hpack.Encoder()
    found = []
    for i in range(CALLS):
        fields = [*FIELDS, ("traceparent", f"00-{i:032x}-{i:016x}-01")] if changing else FIELDS
        found.append(http2.frame(1, 4, 2 * i + 1, encoder.encode(fields)) + http2.frame(0, 1, 2 * i + 1, BODY))
    return found


def our_framing(calls: list[bytes]) -> float:
    connection = http2.Connection(Echo(), lambda: 0.0)
    connection.connection_made(Sink())
    connection.data_received(START)
    began = time.process_time()
    for call in calls:
        connection.data_received(call)
    return (time.process_time() - began) / len(calls)


def h2_framing(calls: list[bytes]) -> float:
    connection = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding=None))
    connection.initiate_connection()
    connection.receive_data(START)
    began = time.process_time()
    for call in calls:
        for event in connection.receive_data(call):
            if isinstance(event, h2.events.DataReceived):
                connection.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.StreamEnded):
                head = [(b":status", b"200"), (b"content-type", b"application/grpc")]
                connection.send_headers(event.stream_id, head)
                connection.send_data(event.stream_id, BODY)
                connection.send_headers(event.stream_id, [(b"grpc-status", b"0")], end_stream=True)
        connection.data_to_send()
    return (time.process_time() - began) / len(calls)


def framing() -> dict[str, float]:
    found = {}
    for name, calls in (("same metadata", requests(False)), ("a trace in each call", requests(True))):
        ours, theirs = median(lambda calls=calls: our_framing(calls)), median(lambda calls=calls: h2_framing(calls))
        found |= {f"ours, {name} (us)": ours * 1e6, f"h2, {name} (us)": theirs * 1e6, f"ratio, {name}": theirs / ours}
    return found


def numbers() -> dict[str, float]:
    import numpy as np

    from modelward_serving.rest import codec, matrix_json

    found = {}
    for rows in (8, 32, 256):
        values = np.random.default_rng(0).normal(size=(rows, 30)).astype(np.float32)
        tensor = {"name": "x", "shape": [rows, 30], "datatype": "FP32", "data": values.ravel().tolist()}
        body = json.dumps({"inputs": [tensor]}).encode()

        def timed(read: Callable[[], object]) -> float:
            began = time.process_time()
            for _ in range(200):
                read()
            return (time.process_time() - began) / 200

        def fast(body: bytes = body) -> object:
            return np.asarray(matrix_json.read(body).inputs[0].numbers, np.float32)

        def general(body: bytes = body) -> object:
            return np.asarray(codec._document(body, 10**9).inputs[0].data, np.float32)

        one, other = median(lambda: timed(fast)), median(lambda: timed(general))
        found |= {f"simdjson, {rows} rows (us)": one * 1e6, f"msgspec, {rows} rows (us)": other * 1e6}
    return found


def rewriting() -> dict[str, float]:
    import numpy as np
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper

    from modelward_serving.model.graph_rewrite import merged

    names = [f"c{i}" for i in range(30)]
    weights = numpy_helper.from_array(np.ones((30, 1), np.float32), "w")
    inputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 1]) for name in names]
    nodes = [helper.make_node("Concat", names, ["all"], axis=1), helper.make_node("MatMul", ["all", "w"], ["score"])]
    output = helper.make_tensor_value_info("score", TensorProto.FLOAT, ["N", 1])
    graph = helper.make_graph(nodes, "g", inputs, [output], [weights])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()
    joined, name = merged(model, names)
    row = np.ones((1, 30), np.float32)

    def timed(content: bytes, given: dict) -> float:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(content, options)
        session.run(None, given)
        began = time.process_time()
        for _ in range(2000):
            session.run(None, given)
        return (time.process_time() - began) / 2000

    apart = median(lambda: timed(model, dict.fromkeys(names, row[:, :1])))
    whole = median(lambda: timed(joined, {name: row}))
    return {"30 inputs (us)": apart * 1e6, "one input (us)": whole * 1e6}


def signing() -> dict[str, float]:
    from modelward_operator.domain.operator.keyring import Keyring, published, turned
    from modelward_operator.engine.pods.request_signing import Signer, new_key
    from modelward_serving.security.control_auth import ControlAuthenticator

    now, content = datetime.now(UTC), bytes(1000)
    ring = turned(Keyring(), now, new_key)
    signer = Signer(ring)

    def sign() -> float:
        began = time.process_time()
        for _ in range(200):
            signer.sign("pod", "POST", "/v1/exchange", content, now)
        return (time.process_time() - began) / 200

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "keys.json"
        path.write_text(json.dumps(published(ring)))

        def verify() -> float:
            authenticator = ControlAuthenticator(path, "pod")
            tokens = [signer.sign("pod", "POST", "/v1/exchange", content, now) for _ in range(200)]
            began = time.process_time()
            for token in tokens:
                authenticator.check(f"Bearer {token}", "POST", "/v1/exchange", content)
            return (time.process_time() - began) / 200

        return {"sign (us)": median(sign) * 1e6, "verify (us)": median(verify) * 1e6}


async def serve(kind: str, port: int) -> None:
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, ended.set)
    if kind == "ours":
        connections: set[http2.Connection] = set()
        application = Echo()
        application.connected = connections.add
        application.disconnected = connections.discard
        loop = asyncio.get_running_loop()
        listener = await loop.create_server(
            lambda: http2.Connection(application, time.monotonic), "127.0.0.1", port, reuse_port=True
        )
        print(LISTENS, flush=True)
        await ended.wait()
        listener.close()
        for connection in tuple(connections):
            connection.go_away()
        while connections:  # noqa: ASYNC110  # each ends by itself
            await asyncio.sleep(0.05)
        return
    server = grpc.aio.server()

    class Handler(grpc.GenericRpcHandler):
        def service(self, _):
            async def echo(request, _):
                return request

            return grpc.unary_unary_rpc_method_handler(echo)

    server.add_generic_rpc_handlers([Handler()])
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    print(LISTENS, flush=True)
    await ended.wait()
    await server.stop(10)


def started(kind: str, port: int) -> subprocess.Popen[bytes]:
    """Start a server and wait until it says that it listens. A probe could reach the previous server, which shares the port."""
    command = [sys.executable, "-m", "tests.bench.own_code", kind, str(port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    if process.stdout.readline().strip() != LISTENS.encode():
        raise RuntimeError(f"{kind} did not start")
    return process


def cpu(process: subprocess.Popen[bytes]) -> float:
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def asking(port: int, count: int | None, until: threading.Event) -> tuple[list[threading.Thread], list[int], list[str]]:
    """Start eight clients with default settings, on a connection each.

    gRPC itself retries calls that a server cannot have seen.
    """
    done, failed = [0], []

    def ask() -> None:
        options = [("grpc.use_local_subchannel_pool", 1)]
        with grpc.insecure_channel(f"127.0.0.1:{port}", options) as channel:
            call, asked = channel.unary_unary(PATH), 0
            while not until.is_set() and (count is None or asked < count):
                asked += 1
                try:
                    call(b"\0" * 100, timeout=10, wait_for_ready=True)
                    done[0] += 1
                except grpc.RpcError as error:
                    failed.append(f"{error.code().name}: {error.details()}")

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    return threads, done, failed


def calls(kind: str, port: int) -> float:
    """Processor seconds of the server for a call."""
    process = started(kind, port)
    try:
        before = cpu(process)
        threads, done, _ = asking(port, 1000, threading.Event())
        for thread in threads:
            thread.join()
        return (cpu(process) - before) / done[0]
    finally:
        process.kill()
        process.wait()


def leaving(kind: str, port: int) -> tuple[int, list[str]]:
    """Return the calls made and those lost, while each server on a port is terminated under load and replaced by the next."""
    until = threading.Event()
    process = started(kind, port)
    threads, done, failed = asking(port, None, until)
    for _ in range(8):
        time.sleep(1)
        following = started(kind, port)
        process.send_signal(signal.SIGTERM)
        process.wait(60)
        process = following
    until.set()
    for thread in threads:
        thread.join()
    process.kill()
    process.wait()
    return done[0], failed


def main() -> None:
    if len(sys.argv) > 2:
        uvloop.run(serve(sys.argv[1], int(sys.argv[2])))
        return
    print(json.dumps({"framing": framing()}, indent=1), flush=True)
    print(json.dumps({"numbers": numbers()}, indent=1), flush=True)
    print(json.dumps({"rewriting": rewriting()}, indent=1), flush=True)
    print(json.dumps({"signing": signing()}, indent=1), flush=True)
    for kind, port in (("ours", 18431), ("grpc.aio", 18432)):
        print(kind, "us of processor a call:", [round(calls(kind, port) * 1e6) for _ in range(3)], flush=True)
    for kind, port in (("ours", 18433), ("grpc.aio", 18434)):
        done, failed = leaving(kind, port)
        print(kind, "8 restarts under load:", done, "calls,", len(failed), "lost", sorted(set(failed))[:5], flush=True)


if __name__ == "__main__":
    main()
