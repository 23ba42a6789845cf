"""Termination of the containers of Jobs: at once on a signal, with a termination message that contains no data."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from modelward_api.wire.exchange import TERMINATED_EXIT_CODE

STOPS = (signal.SIGTERM, signal.SIGINT)
_PR_SET_PDEATHSIG = 1


def run(work: Callable[[], int], stopped: Callable[[], None], killed: Callable[[], None]) -> int:
    """Do the work in a child process, wait for it, and return the exit code.

    Python runs a signal's handler only between two of its own instructions, and a fit or a read inside a library may take
    minutes, some of them with the interpreter's lock held. So this process does nothing but wait: at SIGTERM it kills the child,
    which cannot publish anything afterwards, says so, and ends. As process 1 of a container it would get no signal that it does
    not wait for.

    Args:
        work: what the child does; its return value is the child's exit code.
        stopped: called when a signal ended the work, after the child is gone.
        killed: called when the child died of a signal that was not sent from here, such as the kernel's when memory runs out. It
            leaves no last words: the kubelet knows the reason.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, {*STOPS, signal.SIGCHLD})
    sys.stdout.flush()
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        _become_worker(parent)
        os._exit(_guarded(work))
    while True:
        heard = signal.sigwait({*STOPS, signal.SIGCHLD})
        if heard in STOPS:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            stopped()
            return 128 + heard
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended == child:
            code = os.waitstatus_to_exitcode(status)
            if code < 0:
                killed()
            return code if code >= 0 else 128 - code


def _become_worker(parent: int) -> None:
    """End with the parent."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(TERMINATED_EXIT_CODE)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {*STOPS, signal.SIGCHLD})


@contextmanager
def silence() -> Iterator[None]:
    """Discard stderr, because warnings and native panics of libraries may quote the data. Our log is on stdout."""
    sys.stderr.flush()
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _guarded(work: Callable[[], int]) -> int:
    try:
        code = work()
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException as error:
        sys.stdout.write(f"InternalError: {where(error)}\n")
        code = 1
    sys.stdout.flush()
    return code


def where(error: BaseException) -> str:
    """Return the type of an error and our line that it came through, never its text, which may quote the data."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = next((f for f in reversed(frames) if "modelward_" in f.filename), None)
    at = f" at {Path(ours.filename).parent.name}/{Path(ours.filename).name}:{ours.lineno}" if ours else ""
    return f"{type(error).__name__}{at}"


def keep_silent_of_errors() -> None:
    """Report uncaught errors of all threads by their type and our line, without their text."""

    def tell(error: BaseException | None) -> None:
        sys.stderr.write(f"InternalError: {where(error) if error is not None else 'unknown'}\n")

    sys.excepthook = lambda _, error, __: tell(error)
    sys.unraisablehook = lambda hooked: tell(hooked.exc_value)
    threading.excepthook = lambda hooked: tell(hooked.exc_value)


def path_of(location: tuple[int | str, ...], known: frozenset[str]) -> str:
    """Return the path of a wrong field. Keys that the schema does not name may be values, and become ``*``."""
    steps = (f"[{part}]" if isinstance(part, int) else f".{part}" if part in known else ".*" for part in location)
    return "".join(steps)
