"""Ports of loopback that nobody else takes meanwhile."""

from __future__ import annotations

import contextlib
import itertools
import os
import socket

WORKER = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_ports = itertools.cycle(range(20_000 + 1_000 * (WORKER % 10), 21_000 + 1_000 * (WORKER % 10)))


def free_port() -> int:
    """Return a free port of this worker's own range.

    The range is below the one from which the kernel takes ports for connections: between this look and the server's start
    neither a connection nor another worker takes the port.
    """
    for port in itertools.islice(_ports, 1_000):
        with socket.socket() as tried, contextlib.suppress(OSError):
            tried.bind(("127.0.0.1", port))
            return port
    raise OSError("no port is free")
