"""Events of the API server's watch: one line for each change, with the time of its arrival."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Any, NamedTuple

from tests.support.cluster import Cluster, ClusterError


class Told(NamedTuple):
    """One state of an object."""

    at: float
    """As time.time()."""
    words: tuple[str, ...]
    """The fields that were asked for."""


class Watch(AbstractContextManager["Watch"]):
    """Follows some fields of one object, which need not exist yet; a field that it does not have is empty."""

    def __init__(self, cluster: Cluster, namespace: str, kind: str, name: str, *paths: str) -> None:
        self._what = f"{kind} {name}"
        self._process = follow(cluster, namespace, kind, f"--field-selector=metadata.name={name}", *paths)
        self._told: list[Told] = []
        self._changed = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        for words in lines(self._process):
            with self._changed:
                self._told.append(Told(time.time(), words))
                self._changed.notify_all()

    @property
    def now(self) -> tuple[str, ...]:
        """The newest state; nothing before there is one."""
        return self._told[-1].words if self._told else ()

    def until(self, holds: Callable[..., Any], seconds: float, since: float = 0.0) -> Told:
        """The first state, of those that came at ``since`` or later, for whose fields that holds.

        Raises:
            ClusterError: there is none within that many seconds.
        """
        found = self.first(holds, seconds, since)
        if found is None:
            raise ClusterError(f"{self._what}: not within {seconds:g} s; it is {self.now}")
        return found

    def first(self, holds: Callable[..., Any], seconds: float, since: float = 0.0) -> Told | None:
        """The same, or None."""
        with self._changed:
            self._changed.wait_for(lambda: self._found(holds, since) is not None, seconds)
            return self._found(holds, since)

    def _found(self, holds: Callable[..., Any], since: float) -> Told | None:
        return next((told for told in self._told if told.at >= since and holds(*told.words)), None)

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()


def follow(cluster: Cluster, namespace: str, kind: str, selector: str, *paths: str) -> subprocess.Popen[str]:
    """kubectl that prints these fields of every such object at each of its changes."""
    template = "".join(f"{{{path}}}|" for path in paths) + r'{"\n"}'
    words = ["get", kind, "--namespace", namespace, selector, "--watch", "--output", f"jsonpath={template}"]
    program = [cluster.binary("kube"), "kubectl", "--kubeconfig", cluster.kubeconfig, *words]
    return subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def lines(process: subprocess.Popen[str]) -> Iterator[tuple[str, ...]]:
    """What it prints, line by line, until its end."""
    assert process.stdout is not None
    for line in process.stdout:
        yield tuple(line.rstrip("\n").split("|")[:-1])
