"""`modelward_operator run`, as a process of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.support.harness import OperatorHarness
from tests.support.ports import free_port
from tests.support.preloaded import Forked, loader

PROGRAM = """
import sys
from modelward_operator.__main__ import main
sys.exit(main())
"""
IMAGES = {"MODELWARD_SERVING_IMAGE": "serving:1", "MODELWARD_TRAINING_IMAGE": "training:1"}


class Operator:
    """A running operator and its log."""

    def __init__(self, process: Forked | subprocess.Popen, log: Path, name: str, health: int, metrics: int) -> None:
        self.process, self.log, self.name, self.health, self.metrics = process, log, name, health, metrics

    def answers(self, path: str, port: int | None = None) -> tuple[int, str]:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port or self.health}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError as error:
            return 0, str(error)

    def wait(self, condition: Callable[[], object], seconds: float = 20.0) -> None:
        deadline = time.monotonic() + seconds
        while not condition():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def leads(self) -> bool:
        """Whether it leads, and watches."""
        code, said = self.answers("/readyz")
        return code == 200 and said.startswith("leader")

    def stands_by(self) -> bool:
        """Whether it could lead."""
        code, said = self.answers("/readyz")
        return code == 200 and said.startswith("standby")

    def end(self) -> tuple[int, str]:
        self.process.send_signal(signal.SIGTERM)
        return self.ended()

    def ended(self, seconds: float = 15.0) -> tuple[int, str]:
        """Its exit code and its log, once it has ended by itself."""
        return self.process.wait(timeout=seconds), self.log.read_text()

    @property
    def memory(self) -> float:
        """Resident, in MiB."""
        with open(f"/proc/{self.process.pid}/status") as status:  # noqa: PTH123
            line = next(line for line in status if line.startswith("VmRSS"))
        return int(line.split()[1]) / 1024


@contextmanager
def operator(
    harness: OperatorHarness, *options: str, as_users_do: bool = False, **environment: str
) -> Iterator[Operator]:
    """Start one in that namespace; it is killed in the end if it still runs."""
    health, metrics = free_port(), free_port()
    words = ["run", "--health-port", str(health), "--metrics-port", str(metrics), *options]
    env = {
        **os.environ,
        **IMAGES,
        "KUBECONFIG": str(harness.plane.kubeconfig),
        "MODELWARD_NAMESPACES": harness.namespace,
        "POD_NAMESPACE": harness.namespace,
        "POD_NAME": f"operator-{health}",
        **environment,
    }
    with TemporaryDirectory() as directory:
        log = Path(directory) / "log"
        process: Forked | subprocess.Popen
        if as_users_do:
            with log.open("wb") as output:
                argv = [sys.executable, "-m", "modelward_operator", *words]
                process = subprocess.Popen(argv, env=env, stdout=output, stderr=output)
        else:
            process = Forked(
                loader("modelward_operator.__main__", "modelward_operator.process"), PROGRAM, words, log, env
            )
        try:
            yield Operator(process, log, env["POD_NAME"], health, metrics)
        finally:
            process.kill()
            process.wait()
