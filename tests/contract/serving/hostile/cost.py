"""What an attack costs the server and its other callers, whichever protocol it comes by."""

from __future__ import annotations

import http.client
import os
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Cost:
    """What an attack cost."""

    memory: float = 0.0
    """MiB by which the server's peak grew."""
    cpu: float = 0.0
    """Seconds of the server's processor."""
    wait: float = 0.0
    """Seconds that another caller waited for an answer, at most."""


def _peak(pid):
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def _cpu(pid):
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / TICKS


@contextmanager
def measured(server, tls=None):
    """What is done to the server in the block costs so much; another caller asks it all the while, over TLS with a context."""
    pid, cost, is_over = server.process.pid, Cost(), threading.Event()

    def ask():
        if tls is None:
            connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)
        else:
            connection = http.client.HTTPSConnection("127.0.0.1", server.port, timeout=60, context=tls)
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
