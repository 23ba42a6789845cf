"""What the machine must have, said at once and with the command that installs it. `tests/setup.sh` reads the same list."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from tests.support.cluster.errors import ClusterError

_SYSTEM_PATH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"))
CNI_PLUGINS = Path("/usr/lib/cni")
PROGRAMS = Path(__file__).with_name("programs.txt")


def has_program(name: str) -> bool:
    """Like which, but it also looks where a user's PATH leaves the administrator's programs out."""
    return Path(name).exists() if name.startswith("/") else shutil.which(name, path=_SYSTEM_PATH) is not None


def missing_packages(purposes: Iterable[str], *, has: Callable[[str], bool] = has_program) -> tuple[str, ...]:
    """The Debian packages of the programs that are not there, each once."""
    lines = (line.split() for line in PROGRAMS.read_text().splitlines() if not line.startswith("#"))
    wanted = frozenset(purposes)
    return tuple(sorted({package for program, package, purpose in lines if purpose in wanted and not has(program)}))


def message(missing: Iterable[str], *, root: bool, purpose: str) -> str | None:
    """One message for all that is wrong, or None."""
    packages = sorted(missing)
    problems = []
    if not root:
        problems.append(f"{purpose} needs root: run it as root (or set CLUSTER=existing to use the current context)")
    if packages:
        problems.append(f"{purpose} needs programs that are not installed: apt-get install {' '.join(packages)}")
    return "; ".join(problems) or None


def require_running() -> None:
    """Root, and every program that a node needs."""
    _require(missing_packages(("any", "cluster")), "the embedded cluster")


def require_building() -> None:
    """Root, and what builds images without a docker daemon."""
    _require(missing_packages(("images",)), "building images without docker")


def _require(missing: tuple[str, ...], purpose: str) -> None:
    if said := message(missing, root=os.geteuid() == 0, purpose=purpose):
        raise ClusterError(said)
