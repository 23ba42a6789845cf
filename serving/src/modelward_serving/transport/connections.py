"""How many connections a port has, and which one ends when another caller comes and there is no room.

The newcomer may be the kubelet that asks whether the pod lives, so it is let in, and the peer with the most connections loses the
one that has done nothing for the longest. One that waits for its answer is never ended.
"""

from __future__ import annotations

import resource
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from modelward_serving.transport.budget import Budget

BACK = 72
"""File descriptors that are for other things: the model, the loop, challengers, logs."""
HTTP, GRPC, CONTROL = 4096, 2048, 64
"""Connections to each port, where there are as many file descriptors."""
MIN_CONNECTIONS = 8


class Connection(Protocol):
    """What is asked of one."""

    def idle_since(self) -> float | None:
        """Since when it has done nothing that would be lost; None while a caller waits for an answer."""

    def evict(self) -> None:
        """End it at once. leave() is called in it, or later."""

    def look(self, now: float) -> None:
        """End it if something takes too long; asked twice a second."""


class Connections:
    """Those of one port."""

    def __init__(self, most: int) -> None:
        self.most = most
        self._peers: dict[Connection, str] = {}
        self._by_peer: dict[str, set[Connection]] = {}

    def __len__(self) -> int:
        return len(self._peers)

    def __iter__(self) -> Iterator[Connection]:
        return iter(list(self._peers))

    def admit(self, newcomer: Connection, peer: str) -> bool:
        """Take a connection in; False, and it is not in, if there is no room and nobody can make any."""
        if len(self._peers) >= self.most and not self._make_room():
            return False
        self._peers[newcomer] = peer
        self._by_peer.setdefault(peer, set()).add(newcomer)
        return True

    def leave(self, connection: Connection) -> None:
        """It has ended; nothing happens if it was not in."""
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


def shares(descriptors: int | None = None) -> tuple[int, int, int]:
    """How many connections the ports may have, HTTP, gRPC and control: together fewer than there are file descriptors."""
    if descriptors is None:
        descriptors = _raised()
    free = max(descriptors - BACK, 0)
    wanted = HTTP + GRPC + CONTROL
    http, grpc, control = (max(MIN_CONNECTIONS, min(most, free * most // wanted)) for most in (HTTP, GRPC, CONTROL))
    return http, grpc, control


def _raised() -> int:
    """The process's limit, raised as far as it may be and is of use."""
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
    """Of the whole process."""
    largest_body: int
