"""Callers who write or read slowly, or not at all: what they have the server keep is bounded, and nobody waits for them."""

from __future__ import annotations

import itertools
import socket
import time

import pytest
from grpc_reflection.v1alpha import reflection_pb2

from modelward_serving._generated import open_inference_pb2 as pb
from modelward_serving.grpc.framing import framed
from modelward_serving.transport import http2
from modelward_serving.transport.http2 import END_HEADERS, HEADERS, frame
from tests.contract.serving.hostile.attack import INFER, REFLECT, Attacker, call, head, packed, request
from tests.contract.serving.hostile.cost import measured

MEGABYTES = 16 << 20
PACKED = head(INFER, (b"grpc-encoding", b"gzip"))


def ended(sockets, seconds):
    """How many of them the server ends in time."""
    deadline, over = time.monotonic() + seconds, 0
    for each in sockets:
        each.settimeout(max(deadline - time.monotonic(), 0.01))
        try:
            while each.recv(1 << 16):
                pass
            over += 1
        except TimeoutError:
            pass
        except OSError:
            over += 1
    return over


@pytest.mark.parametrize("window", [0, 2**31 - 1], ids=["by its window", "by its socket"])
def test_who_does_not_read_is_answered_no_further_and_makes_nobody_wait(server, window):
    attacker = Attacker(server, window=window, widest=window > 0, receives=4096)
    body = packed(request(rows=10_000))
    with measured(server) as cost:
        for n in range(2_000):
            if not attacker.send(call(2 * n + 1, body, PACKED)):
                break
        attacker.close()
    assert cost.memory < 48
    assert cost.cpu < 4
    assert cost.wait < 3


def test_bodies_on_many_streams_are_bounded_together(server):
    attacker = Attacker(server)
    began = b"\0" + MEGABYTES.to_bytes(4) + bytes(8_000)
    with measured(server) as cost:
        for n in range(30):
            attacker.send(frame(HEADERS, END_HEADERS, 2 * n + 1, head()) + frame(http2.DATA, 0, 2 * n + 1, began))
        for _, n in itertools.product(range(90), range(30)):
            if not attacker.send(frame(http2.DATA, 0, 2 * n + 1, bytes(16_000))):
                break
        said = attacker.frames(lambda *found: b"TooBusy" in found[3], seconds=5)
        attacker.close()
    assert any(b"TooBusy" in payload for _, _, _, payload in said)
    assert cost.memory < 64
    assert cost.wait < 3


@pytest.mark.parametrize("window", [0, 2**31 - 1], ids=["by its window", "by its socket"])
def test_reflection_answers_no_faster_than_it_is_read(server, window):
    asked = reflection_pb2.ServerReflectionRequest(file_containing_symbol="inference.GRPCInferenceService")
    questions = framed(asked.SerializeToString()) * 200
    attacker = Attacker(server, window=window, widest=window > 0, receives=4096)
    with measured(server) as cost:
        for n in range(200):
            opened = frame(HEADERS, END_HEADERS, 2 * n + 1, head(REFLECT))
            if not attacker.send(opened + frame(http2.DATA, 0, 2 * n + 1, questions)):
                break
        attacker.close()
    assert cost.memory < 24
    assert cost.cpu < 2
    assert cost.wait < 3


def typed_values(count):
    """One input, as a message within the request's message, whose contents are so many texts of no length."""
    made = pb.ModelInferRequest()
    made.inputs.add(name="sex", datatype="BYTES", shape=[count, 1]).contents.bytes_contents.extend([b""] * count)
    return made.SerializeToString()


BOMBS = {
    "empty inputs": b"\x2a\0",
    "empty raw contents": b"\x3a\0",
    "empty outputs": b"\x32\0",
    "empty parameters": b"\x22\0",
    "typed values": typed_values(100_000),
}


@pytest.mark.parametrize("part", BOMBS.values(), ids=BOMBS.keys())
def test_a_small_message_that_would_become_a_large_one_is_refused_before_it_does(server, part):
    attacker = Attacker(server)
    with measured(server) as cost:
        attacker.send(call(1, packed(part * ((MEGABYTES - 100) // len(part))), PACKED))
        said = attacker.frames(lambda kind, flags, *_: kind == HEADERS and flags & 1)
        attacker.close()
    assert b"TooManyValues: inputs: a message may have at most 2000000 values" in said[-1][3]
    assert cost.memory < 80, "the message itself has 16 MB"
    assert cost.wait < 3


@pytest.mark.slow
def test_the_silent_and_those_who_never_end_their_request_are_left_after_ten_seconds(server):
    silent = [socket.create_connection(("127.0.0.1", server.grpc)) for _ in range(100)]
    half = [socket.create_connection(("127.0.0.1", server.grpc)) for _ in range(100)]
    for each in half:
        each.sendall(http2.PREFACE[:10])
    slow = Attacker(server)
    slow.send(frame(HEADERS, END_HEADERS, 1, head()))
    with measured(server) as cost:
        assert ended([*silent, *half], 13) == 200
        said = slow.frames(lambda kind, *_: kind == HEADERS, seconds=3)
    assert b"TooSlow" in said[-1][3]
    assert cost.wait < 3
