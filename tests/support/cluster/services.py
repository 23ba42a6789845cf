"""The cluster's long-running processes: start, find again, stop.

A process is remembered by id, start time and boot, so that one that took over the id is never mistaken for it.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from tests.support.cluster import cgroups
from tests.support.cluster.errors import ClusterError
from tests.support.cluster.layout import Layout
from tests.support.cluster.waiting import wait_until

_BOOT = Path("/proc/sys/kernel/random/boot_id")
# The shell puts itself in the group and writes its id before it becomes the program: nothing it starts can escape.
_LAUNCH = 'echo $$ >"$1" && echo $$ >"$2" && shift 2 && exec "$@"'


@dataclass(frozen=True)
class Service:
    """One process: `node` says in whose namespaces it runs (None: the machine's own), `group` in which cgroup."""

    name: str
    argv: tuple[str, ...]
    group: str
    node: int | None = None


@dataclass(frozen=True)
class Process:
    """Who a process is, for sure."""

    pid: int
    started: int
    boot: str


def identify(pid: int) -> Process | None:
    """The process with this id, if it lives (a zombie does not)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else Process(pid, int(fields[19]), _BOOT.read_text().strip())


def holder_name(node: int) -> str:
    """The process that holds a node's namespaces."""
    return f"node{node}"


def find(layout: Layout, name: str) -> Process | None:
    """The running process of that service, or None."""
    try:
        known = Process(**json.loads((layout.run / f"{name}.json").read_text()))
    except (OSError, ValueError, TypeError):
        return None
    return known if identify(known.pid) == known else None


def require(layout: Layout, name: str) -> Process:
    found = find(layout, name)
    if found is None:
        raise ClusterError(
            f"{name} does not run; its log: {layout.logs / name}.log; `python -m tests.support.cluster up` repairs the cluster"
        )
    return found


def enter(layout: Layout, node: int, *, mounts: bool = False) -> tuple[str, ...]:
    """The words before a command that make it run in the node's network (and with its mounts)."""
    holder = require(layout, holder_name(node))
    return ("nsenter", "--target", str(holder.pid), "--net", *(["--mount"] if mounts else []), "--")


def start(layout: Layout, service: Service) -> Process:
    """Start unless it runs. The log is appended to: what was said before a kill is evidence."""
    if running := find(layout, service.name):
        return running
    inside = enter(layout, service.node, mounts=True) if service.node is not None else ()
    pid_file = layout.run / f"{service.name}.pid"
    pid_file.unlink(missing_ok=True)
    procs = cgroups.tracking() / layout.name / service.group / "cgroup.procs"
    launch = ["setsid", "--fork", "sh", "-c", _LAUNCH, "sh", str(procs), str(pid_file), *inside, *service.argv]
    with (layout.logs / f"{service.name}.log").open("ab") as log:
        subprocess.run(launch, stdout=log, stderr=log, stdin=subprocess.DEVNULL, check=True, cwd="/")
    wait_until(
        lambda: pid_file.exists() and pid_file.read_text().endswith("\n"), f"start of {service.name}", 10, every=0.005
    )
    process = identify(int(pid_file.read_text()))
    pid_file.unlink()
    if process is None:
        raise ClusterError(f"{service.name} ended at once; its log ends:\n{tail(layout, service.name)}")
    (layout.run / f"{service.name}.json").write_text(json.dumps(process.__dict__))
    return process


def send(layout: Layout, name: str, number: signal.Signals) -> bool:
    """Send a signal to a service; False if it does not run."""
    process = find(layout, name)
    if process is None:
        return False
    os.kill(process.pid, number)
    return True


def stop(layout: Layout, name: str, *, hard: bool = False, seconds: float = 10) -> None:
    """End a service: politely and then not, or not politely at all."""
    if not hard and send(layout, name, signal.SIGTERM):
        try:
            wait_until(lambda: find(layout, name) is None, f"end of {name}", seconds)
        except ClusterError:
            hard = True
    if hard and send(layout, name, signal.SIGKILL):
        wait_until(lambda: find(layout, name) is None, f"end of {name}", seconds)


def known(layout: Layout) -> tuple[str, ...]:
    """Every service that was ever started, running or not."""
    return tuple(sorted(path.stem for path in layout.run.glob("*.json")))


def tail(layout: Layout, name: str, lines: int = 10) -> str:
    try:
        return "\n".join((layout.logs / f"{name}.log").read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return "(no log)"
