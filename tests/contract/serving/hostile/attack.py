"""What attackers send, byte for byte, and what it costs the server and its other callers."""

from __future__ import annotations

import gzip
import socket
import time

import numpy as np

from modelward_serving._generated import open_inference_pb2 as pb
from modelward_serving.transport import http2
from modelward_serving.transport.http2 import ACK, END_HEADERS, END_STREAM, HEADERS, PREFACE, SETTINGS, frame, literal

INFER = b"/inference.GRPCInferenceService/ModelInfer"
REFLECT = b"/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
WIDEST = (2**31 - 1 - 65_535).to_bytes(4)


def head(path=INFER, *more):
    """A header block without any table."""
    fields = [(b":method", b"POST"), (b":scheme", b"http"), (b":path", path), (b":authority", b"a")]
    fields += [(b"content-type", b"application/grpc"), (b"te", b"trailers"), *more]
    return b"".join(literal(*field) for field in fields)


def request(rows=1, age=55.0):
    """A ModelInferRequest with raw contents."""
    message = pb.ModelInferRequest(model_name="mortality")
    message.inputs.add(name="age", datatype="FP32", shape=[rows, 1])
    message.inputs.add(name="sex", datatype="BYTES", shape=[rows, 1])
    message.raw_input_contents.append(np.full(rows, age, "<f4").tobytes())
    message.raw_input_contents.append(b"\1\0\0\0f" * rows)
    return message.SerializeToString()


def packed(message):
    """A compressed message in its frame: the head must say grpc-encoding: gzip."""
    content = gzip.compress(message, 9)
    return b"\1" + len(content).to_bytes(4) + content


def call(stream, body, block=None):
    """One whole call."""
    opened = frame(HEADERS, END_HEADERS, stream, block if block is not None else head())
    parts = [body[at : at + 16_000] for at in range(0, len(body), 16_000)]
    datas = [frame(http2.DATA, 0, stream, part) for part in parts[:-1]]
    return b"".join((opened, *datas, frame(http2.DATA, END_STREAM, stream, parts[-1])))


class Attacker:
    """One connection to the gRPC port."""

    def __init__(self, server, window=65_535, widest=False, receives=None):
        self.ended = False
        """Whether the server was seen to end the connection."""
        self.socket = socket.socket()
        if receives is not None:
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receives)
        self.socket.settimeout(20)
        self.socket.connect(("127.0.0.1", server.grpc))
        self.socket.sendall(PREFACE + frame(SETTINGS, 0, 0, b"\0\4" + window.to_bytes(4)) + frame(SETTINGS, ACK, 0))
        if widest:
            self.socket.sendall(frame(http2.WINDOW_UPDATE, 0, 0, WIDEST))

    def send(self, content):
        """Send it all; False if the server ended the connection, or reads no more for a second."""
        self.socket.settimeout(1)
        try:
            self.socket.sendall(content)
        except OSError:
            return False
        return True

    def frames(self, until, seconds=20.0):
        """What the server says until ``until(kind, flags, stream, payload)``, or until it ends the connection."""
        rest, found, deadline = b"", [], time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.socket.settimeout(max(deadline - time.monotonic(), 0.01))
            try:
                more = self.socket.recv(1 << 20)
            except TimeoutError:
                break
            except OSError:
                more = b""
            if not more:
                self.ended = True
                break
            rest += more
            while len(rest) >= 9 and len(rest) >= 9 + int.from_bytes(rest[:3]):
                size = int.from_bytes(rest[:3])
                found.append((rest[3], rest[4], int.from_bytes(rest[5:9]), rest[9 : 9 + size]))
                rest = rest[9 + size :]
                if until(*found[-1]):
                    return found
        return found

    def close(self):
        self.socket.close()
