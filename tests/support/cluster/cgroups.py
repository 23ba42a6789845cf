"""Control groups, version 1 and 2: every process of a cluster is in one, so `down` finds each, whoever started it.

modelward-<id>/control-plane     etcd, API server and the like
modelward-<id>/node<i>/system    containerd and its shims, kubelet, kube-proxy
modelward-<id>/node<i>/pods      the kubelet's root: it kills what it does not know below it, so each has its own
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

from tests.support.cluster.errors import ClusterError
from tests.support.cluster.waiting import wait_until

MOUNT = Path("/sys/fs/cgroup")


def is_unified(mount: Path = MOUNT) -> bool:
    """Whether this is cgroup version 2."""
    return (mount / "cgroup.controllers").exists()


def hierarchies(mount: Path = MOUNT) -> tuple[Path, ...]:
    """Every hierarchy, once: version 1 has links such as cpu -> cpu,cpuacct."""
    if is_unified(mount):
        return (mount,)
    found = sorted({child.resolve() for child in mount.iterdir() if (child / "cgroup.procs").exists()})
    if not found:
        raise ClusterError(f"no cgroups are mounted below {mount}: run where they are (in a container: --privileged)")
    return tuple(found)


def tracking(mount: Path = MOUNT) -> Path:
    """The hierarchy that tells which processes are ours: any would do, it must only always be the same."""
    if is_unified(mount):
        return mount
    found = {path.name: path for path in hierarchies(mount)}
    return next((found[name] for name in ("pids", "memory", "devices") if name in found), next(iter(found.values())))


def create(cluster: str, node: int, mount: Path = MOUNT) -> None:
    """Make a node's groups; version 2 also has to hand the controllers down."""
    for hierarchy in hierarchies(mount):
        for leaf in (f"{cluster}/control-plane", f"{cluster}/node{node}/system", f"{cluster}/node{node}/pods"):
            (hierarchy / leaf).mkdir(parents=True, exist_ok=True)
    if is_unified(mount):
        for parent in (mount, mount / cluster, mount / cluster / f"node{node}"):
            _delegate(parent)


def _delegate(group: Path) -> None:
    available = (group / "cgroup.controllers").read_text().split()
    enabled = (group / "cgroup.subtree_control").read_text().split()
    for controller in sorted(set(available) - set(enabled)):
        try:
            (group / "cgroup.subtree_control").write_text(f"+{controller}")
        except OSError as error:
            if controller in {"cpu", "memory", "pids"}:
                raise ClusterError(
                    f"cgroup controller {controller} cannot be enabled in {group}: {error.strerror}. "
                    "In a container, run it with --cgroupns=host, or move its processes into a child group first"
                ) from error


def processes(group: str, mount: Path = MOUNT) -> frozenset[int]:
    """The ids of all processes in the group and below it."""
    found: set[int] = set()
    for listing in (tracking(mount) / group).rglob("cgroup.procs"):
        try:
            found.update(int(line) for line in listing.read_text().split())
        except OSError:  # the group went away meanwhile
            continue
    return frozenset(found - {0})


def kill(group: str, mount: Path = MOUNT) -> None:
    """Kill everything in the group, and all that it starts while dying."""

    def none_left() -> bool:
        left = processes(group, mount)
        for pid in left:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        return not left

    wait_until(none_left, f"end of the processes in {group}", 20)


def remove(group: str, mount: Path = MOUNT) -> None:
    """Remove the group and those below it in every hierarchy; a dying process holds its group for a moment."""

    def gone() -> bool:
        for hierarchy in hierarchies(mount):
            for path, _, _ in os.walk(hierarchy / group, topdown=False):
                try:
                    Path(path).rmdir()
                except FileNotFoundError:
                    continue
                except OSError:
                    return False
        return True

    wait_until(gone, f"removal of the cgroups {group}", 10)


def others(cluster: str, mount: Path = MOUNT) -> bool:
    """Whether another cluster of ours runs on this machine."""
    return any(path.name != cluster for path in tracking(mount).glob("modelward-*"))
