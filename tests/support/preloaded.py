"""Processes that fork from one that has loaded their code already: most of a start is imports, and the tests start a hundred.

The commands themselves are started as users start them in contract/serving/test_server.py and unit/training/test_ending.py.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any


class Loader:
    """The process that has loaded the code; it forks for each start."""

    def __init__(self, modules: Sequence[str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.preloaded", *modules],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        atexit.register(self._process.terminate)
        self.ask()  # answers once it has loaded them

    def ask(self, **request: Any) -> Any:
        """Its answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


@cache
def loader(*modules: str) -> Loader:
    """The one of this test process that has loaded these modules."""
    return Loader(modules)


class Forked:
    """A process as subprocess.Popen has it. Its program is source text; stdout and stderr go to a file, or a FIFO."""

    def __init__(
        self, loaded: Loader, program: str, arguments: Sequence[str], output: Path, env: dict[str, str]
    ) -> None:
        self._loader = loaded
        self.pid: int = loaded.ask(program=program, arguments=list(arguments), output=str(output), env=env)
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
            self.returncode = self._loader.ask(ended=self.pid)
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


def _become(request: dict[str, Any]) -> None:
    with Path(request["output"]).open("wb") as output:
        for number in (1, 2):
            os.dup2(output.fileno(), number)
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    os.environ.clear()
    os.environ.update(request["env"])
    sys.argv = ["preloaded", *request["arguments"]]
    code = 1
    try:
        exec(request["program"], {"__name__": "__main__"})
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        os._exit(code)


def _main(modules: Sequence[str]) -> None:
    for module in modules:
        importlib.import_module(module)
    for line in sys.stdin:
        request = json.loads(line)
        answer = None
        if "ended" in request:
            pid, status = os.waitpid(request["ended"], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if pid else None
        elif "program" in request:
            answer = os.fork()
            if answer == 0:
                _become(request)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _main(sys.argv[1:])
