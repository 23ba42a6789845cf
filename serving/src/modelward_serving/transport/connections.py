"""Limits on connections per port, and eviction when a port is full.

The new connection may be a kubelet's liveness probe, so it is admitted, and the peer with the most connections loses the one that
has been idle for longest. A connection that waits for a response is never evicted.
"""

from __future__ import annotations

import resource
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from modelward_serving.transport.budget import Budget

BACK = 72
"""File descriptors reserved for other uses: the model, the event loop, challengers, logs."""
HTTP, GRPC, CONTROL = 4096, 2048, 64
"""Maximum of connections per port, if there are enough file descriptors."""
MIN_CONNECTIONS = 8
TLS_MEMORY = 640 * 1024
"""Bytes that a TLS connection takes at most (measured: 620 KiB): its state and its buffers, which no budget counts."""
TLS_SHARE = 0.25
"""Share of the container's free memory for TLS connections."""


class Connection(Protocol):
    """The interface that Connections needs."""

    def idle_since(self) -> float | None:
        """Return since when the connection is idle; None while a client waits for a response."""

    def evict(self) -> None:
        """Close the connection at once; leave() follows."""

    def look(self, now: float) -> None:
        """Close the connection if a limit on time is exceeded; called twice a second."""


class Connections:
    """The connections of one port."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._peers: dict[Connection, str] = {}
        self._by_peer: dict[str, set[Connection]] = {}

    def __len__(self) -> int:
        return len(self._peers)

    def __iter__(self) -> Iterator[Connection]:
        return iter(list(self._peers))

    def admit(self, newcomer: Connection, peer: str) -> bool:
        """Admit a connection; return False if the port is full and none can be evicted."""
        if len(self._peers) >= self.most and not self._make_room():
            return False
        self._peers[newcomer] = peer
        self._by_peer.setdefault(peer, set()).add(newcomer)
        return True

    def leave(self, connection: Connection) -> None:
        """Remove a closed connection, if it was admitted."""
        peer = self._peers.pop(connection, None)
        if peer is None:
            return
        theirs = self._by_peer[peer]
        theirs.discard(connection)
        if not theirs:
            del self._by_peer[peer]

    def _make_room(self) -> bool:
        for theirs in sorted(self._by_peer.values(), key=len, reverse=True):
            idle = [(since, id(one), one) for one in theirs if (since := one.idle_since()) is not None]
            if idle:
                oldest = min(idle)[2]
                self.leave(oldest)
                oldest.evict()
                return True
        return False


def shares(descriptors: int | None = None, memory: int | None = None) -> tuple[int, int, int]:
    """Return the limits of connections for HTTP, gRPC and control.

    Args:
        descriptors: the limit of file descriptors; by default the process's, raised as far as useful.
        memory: free memory of a container whose HTTP and gRPC ports use TLS.
    """
    if descriptors is None:
        descriptors = _raised()
    free = max(descriptors - BACK, 0)
    wanted = HTTP + GRPC + CONTROL
    http, grpc, control = (max(MIN_CONNECTIONS, min(most, free * most // wanted)) for most in (HTTP, GRPC, CONTROL))
    if memory is not None:
        secured = int(TLS_SHARE * memory) // TLS_MEMORY
        http, grpc = (max(MIN_CONNECTIONS, min(most, secured * most // (http + grpc))) for most in (http, grpc))
    return http, grpc, control


def _raised() -> int:
    """Raise the limit of file descriptors as far as useful; return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = BACK + HTTP + GRPC + CONTROL
    allowed = wanted if hard == resource.RLIM_INFINITY else min(hard, wanted)
    if soft != resource.RLIM_INFINITY and soft < allowed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
        return allowed
    return soft if soft != resource.RLIM_INFINITY else wanted


@dataclass(frozen=True)
class Port:
    """The limits of one port."""

    connections: Connections
    budget: Budget
    """Shared by all ports of the process."""
    largest_body: int
