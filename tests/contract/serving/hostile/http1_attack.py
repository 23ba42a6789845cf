"""What attackers send over HTTP/1.1, and what it costs the server and its other callers."""

from __future__ import annotations

import gzip
import json
import re
import socket

INFER = b"/v2/models/mortality/infer"


class Caller(socket.socket):
    """One connection."""

    rest = b""
    """What was received and not read yet."""


def connected(port, receives=None, seconds=20):
    """A connection to a port of the server's."""
    made = Caller()
    if receives is not None:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receives)
    made.settimeout(seconds)
    made.connect(("127.0.0.1", port))
    return made


def document(rows=1, age=55):
    """A request's JSON."""
    inputs = [
        {"name": "age", "shape": [rows, 1], "datatype": "FP32", "data": [age] * rows},
        {"name": "sex", "shape": [rows, 1], "datatype": "BYTES", "data": ["f"] * rows},
    ]
    return json.dumps({"inputs": inputs}, separators=(",", ":")).encode()


def post(body, *lines, path=INFER):
    """A request, byte for byte."""
    length = b"content-length: %d" % len(body)
    return b"\r\n".join((b"POST %b HTTP/1.1" % path, b"host: a", length, *lines, b"", b"")) + body


def packed(body):
    """The same, compressed."""
    return post(gzip.compress(body, 9), b"content-encoding: gzip")


def answered(caller):
    """The next response: its status and its body."""
    while b"\r\n\r\n" not in caller.rest:
        _receive(caller)
    head, _, caller.rest = caller.rest.partition(b"\r\n\r\n")
    length = int(re.search(rb"content-length: (\d+)", head)[1])
    while len(caller.rest) < length:
        _receive(caller)
    body, caller.rest = caller.rest[:length], caller.rest[length:]
    return int(head.split()[1]), body


def _receive(caller):
    found = caller.recv(1 << 20)
    if not found:
        raise ConnectionError("ended without a response")
    caller.rest += found
