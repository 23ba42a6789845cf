"""Servers from a process that has loaded their code already: most of a start is imports, and the tests start a hundred.

The command itself is started as users start it in test_serving.
"""

from __future__ import annotations

import atexit
import json
import os
import signal
import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from typing import Any


class Forge:
    """The process that has loaded the code; it forks for each server."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.faulty_api_server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        atexit.register(self._process.terminate)

    def ask(self, **request: Any) -> Any:
        """Its answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


@cache
def forge() -> Forge:
    """The one of this test process."""
    return Forge()


class Forged:
    """A server's process, as subprocess.Popen has it."""

    def __init__(self, arguments: list[str], log: Path, env: dict[str, str]) -> None:
        self.pid: int = forge().ask(arguments=arguments, log=str(log), env=env)
        self.returncode: int | None = None

    def send_signal(self, number: int) -> None:
        """Unless it has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)

    def terminate(self) -> None:
        """Ask it to end."""
        self.send_signal(signal.SIGTERM)

    def poll(self) -> int | None:
        """How it ended, or None."""
        if self.returncode is None:
            self.returncode = forge().ask(ended=self.pid)
        return self.returncode

    def wait(self, timeout: float = 60.0) -> int:
        """How it ended.

        Raises:
            TimeoutExpired: it has not.
        """
        until = time.monotonic() + timeout
        while (code := self.poll()) is None:
            if time.monotonic() > until:
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
            time.sleep(0.01)
        return code


def _serve(request: dict[str, Any]) -> None:
    from modelward_serving.__main__ import main

    with Path(request["log"]).open("wb") as log:
        for number in (1, 2):
            os.dup2(log.fileno(), number)
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.environ.clear()
    os.environ.update(request["env"])
    sys.argv = ["modelward_serving", *request["arguments"]]
    code = 1
    try:
        code = main()
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    finally:
        sys.stdout.flush()
        os._exit(code)


def _main() -> None:
    import modelward_serving.__main__
    import modelward_serving.server  # noqa: F401

    for line in sys.stdin:
        request = json.loads(line)
        if "ended" in request:
            pid, status = os.waitpid(request["ended"], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        else:
            answer = os.fork()
            if answer == 0:
                _serve(request)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _main()
