"""Faults of the embedded cluster, each with its way back."""

from __future__ import annotations

import signal
from collections.abc import Callable

from tests.cluster import services
from tests.cluster.embedded import Embedded, node_services
from tests.cluster.waiting import wait_until


def kill(cluster: Embedded, name: str) -> None:
    """kill -9 one service: kube-apiserver, etcd, kubelet0 ..."""
    services.stop(cluster.layout, name, hard=True)


def restart(cluster: Embedded, name: str) -> None:
    """Kill it if it runs, and start it again."""
    kill(cluster, name)
    cluster.start(name)


def freeze(cluster: Embedded, name: str) -> None:
    """It stays, and does nothing any more."""
    services.send(cluster.layout, name, signal.SIGSTOP)


def thaw(cluster: Embedded, name: str) -> None:
    """It goes on."""
    services.send(cluster.layout, name, signal.SIGCONT)


def stop_node(cluster: Embedded, node: int) -> None:
    """A node is gone at once, with all its pods."""
    from tests.cluster import cgroups

    cgroups.kill(f"{cluster.layout.name}/node{node}")
    for name in node_services(node):
        wait_until(lambda name=name: services.find(cluster.layout, name) is None, f"end of {name}", 10)


def start_node(cluster: Embedded, node: int) -> None:
    """It comes back."""
    for name in node_services(node):
        cluster.start(name)


FAULTS: dict[str, Callable[[Embedded, str], None]] = {"kill": kill, "restart": restart, "freeze": freeze, "thaw": thaw}
