"""What attackers send over HTTP/1.1, and what it costs the server and its other callers."""

from __future__ import annotations

import gzip
import http.client
import json
import os
import re
import socket
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

INFER = b"/v2/models/mortality/infer"
TICKS = os.sysconf("SC_CLK_TCK")


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


@dataclass
class Cost:
    """What an attack cost."""

    memory: float = 0.0
    """MiB by which the server's peak grew."""
    cpu: float = 0.0
    """Seconds of the server's processor."""
    wait: float = 0.0
    """Seconds that another caller waited for an answer, at most."""


@contextmanager
def measured(server):
    """What is done to the server in the block costs so much; another caller asks it all the while."""
    pid, cost, is_over = server.process.pid, Cost(), threading.Event()

    def ask():
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        while not is_over.wait(0.02):
            started = time.monotonic()
            connection.request("GET", "/v2/health/live")
            assert connection.getresponse().read() == b'{"live":true}'
            cost.wait = max(cost.wait, time.monotonic() - started)
        connection.close()

    Path(f"/proc/{pid}/clear_refs").write_text("5")  # the peak begins anew
    before, used, other = _peak(pid), _cpu(pid), threading.Thread(target=ask)
    other.start()
    try:
        yield cost
    finally:
        is_over.set()
        other.join()
        cost.memory, cost.cpu = _peak(pid) - before, _cpu(pid) - used


def _peak(pid):
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def _cpu(pid):
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / TICKS
