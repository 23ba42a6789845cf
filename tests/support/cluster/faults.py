"""Faults of the embedded cluster, each with its way back."""

from __future__ import annotations

import contextlib
import shutil
import signal
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from tests.support.cluster import cgroups, services
from tests.support.cluster.commands import run
from tests.support.cluster.embedded import SWITCH, Embedded, node_services, port_name
from tests.support.cluster.waiting import wait_until


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


def signal_container(cluster: Embedded, node: int, identifier: str, number: signal.Signals) -> None:
    """Send a signal to a container's first process; the kubelet starts a container that has ended again."""
    containerd = ["ctr", "--address", cluster.layout.socket(node), "--namespace", "k8s.io"]
    run([*containerd, "tasks", "kill", "--signal", number.name, identifier])


@contextlib.contextmanager
def lost_node(cluster: Embedded, node: int) -> Iterator[None]:
    """A node loses its power: at once nothing of it answers, not even with a refusal, and no connection is ended."""
    _cable(cluster, node, "down")
    try:
        cgroups.kill(f"{cluster.layout.name}/node{node}")
        for name in node_services(node):
            wait_until(lambda name=name: services.find(cluster.layout, name) is None, f"end of {name}", 10)
        yield
    finally:
        _cable(cluster, node, "up")
        cluster.start_node(node)


def _cable(cluster: Embedded, node: int, state: str) -> None:
    switch = services.require(cluster.layout, SWITCH).pid
    run(["nsenter", "--target", str(switch), "--net", "--", "ip", "link", "set", port_name(node), state])


@contextlib.contextmanager
def partition(cluster: Embedded, some: Iterable[str], others: Iterable[str]) -> Iterator[None]:
    """No packet passes between two sets of pods, by their addresses, in either direction."""
    one, other = ",".join(some), ",".join(others)

    def rules(change: str) -> None:
        for node in range(cluster.nodes):
            inside = services.enter(cluster.layout, node, mounts=True)  # its /run holds the lock that kube-proxy takes
            for source, target in ((one, other), (other, one)):
                rule = ["FORWARD", "--source", source, "--destination", target, "--jump", "DROP"]
                run([*inside, "iptables", "--wait", change, *rule])

    rules("--insert")
    try:
        yield
    finally:
        rules("--delete")


@contextlib.contextmanager
def small_volume(cluster: Embedded, node: int, volume: Path, room: int) -> Iterator[Path]:
    """In the place of a volume, for pods that start from now on: its content on a file system with little room.

    It is mounted in the node's namespace, and goes with the node. Yields where it is seen from here.
    """
    inside = services.enter(cluster.layout, node, mounts=True)
    holder = services.require(cluster.layout, services.holder_name(node)).pid
    used = sum(path.stat().st_size + 4096 for path in volume.rglob("*"))
    run([*inside, "mount", "-t", "tmpfs", "-o", f"size={used + room}", "small", volume])
    try:
        seen = Path(f"/proc/{holder}/root") / volume.relative_to("/")
        shutil.copytree(volume, seen, dirs_exist_ok=True)
        for path in (seen, *seen.rglob("*")):
            original = (volume / path.relative_to(seen)).stat()
            shutil.chown(path, original.st_uid, original.st_gid)
        yield seen
    finally:
        run([*inside, "umount", "--lazy", volume])


def fill(directory: Path) -> Path:
    """Write a file until there is no room for another byte; returns it."""
    filler = directory / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            with contextlib.suppress(OSError):
                while True:
                    file.write(bytes(size))
    return filler


FAULTS: dict[str, Callable[[Embedded, str], None]] = {"kill": kill, "restart": restart, "freeze": freeze, "thaw": thaw}
