"""Running other programs: their failure becomes a ClusterError that shows what they said."""

from __future__ import annotations

import shlex
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from tests.support.cluster.errors import ClusterError

PROGRESS_SECONDS = 30


def run(
    argv: Sequence[str | Path],
    *,
    stdin: str | None = None,
    check: bool = True,
    timeout: float = 600,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> subprocess.CompletedProcess[str]:
    """Run to the end and capture the output."""
    words = [str(word) for word in argv]
    # No terminal on stdin: a tool that would ask a question fails at once instead of waiting for an answer.
    given = {"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}
    try:
        done = subprocess.run(words, text=True, capture_output=True, timeout=timeout, env=env, cwd=cwd, **given)  # type: ignore[call-overload]
    except FileNotFoundError as error:
        raise ClusterError(f"{words[0]}: not found") from error
    except subprocess.TimeoutExpired as error:
        raise ClusterError(f"{shlex.join(words)}: not done after {timeout:g} s") from error
    if check and done.returncode:
        said = (done.stderr.strip() or done.stdout.strip())[-2000:]
        raise ClusterError(f"{shlex.join(words)}: exit status {done.returncode}\n{said}")
    return done


def run_logged(
    argv: Sequence[str | Path],
    log: Path,
    *,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    progress: Callable[[float], None] | None = None,
) -> None:
    """Run something long with its output in a file; its failure shows the file's end.

    ``progress`` is called with the seconds so far, every half minute.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    words = [str(word) for word in argv]
    started = time.monotonic()
    with log.open("wb") as output:
        try:
            process = subprocess.Popen(
                words, stdout=output, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=env, cwd=cwd
            )
        except FileNotFoundError as error:
            raise ClusterError(f"{words[0]}: not found") from error
        with process:
            while (status := _wait(process, PROGRESS_SECONDS)) is None:
                if progress is not None:
                    progress(time.monotonic() - started)
    if status:
        end = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
        raise ClusterError(f"{shlex.join(words[:3])} ...: exit status {status}; all of it in {log}\n{end}")


def _wait(process: subprocess.Popen[bytes], seconds: float) -> int | None:
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        return None
