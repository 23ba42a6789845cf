"""What the machine must have, said at once and with the command that mends it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

from tests.cluster.errors import ClusterError

_SYSTEM_PATH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"))
CNI_PLUGINS = Path("/usr/lib/cni")

RUNNING = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "iptables": "iptables",
    "nft": "nftables",
    "conntrack": "conntrack",
    "ip": "iproute2",
    "socat": "socat",
    "nsenter": "util-linux",
    "unshare": "util-linux",
    "setsid": "util-linux",
    "sysctl": "procps",
}
BUILDING = {"buildah": "buildah", "debootstrap": "debootstrap"}


def find_program(name: str) -> str | None:
    """Like which, but it also looks where a user's PATH leaves the administrator's programs out."""
    return shutil.which(name, path=_SYSTEM_PATH)


def missing_packages(
    programs: dict[str, str],
    *,
    has: Callable[[str], bool] = lambda name: find_program(name) is not None,
    plugins: Path | None = None,
) -> tuple[str, ...]:
    """The Debian packages of the programs (and CNI plug-ins) that are not there, each once."""
    missing = {package for program, package in programs.items() if not has(program)}
    if plugins is not None and not all((plugins / name).exists() for name in ("ptp", "portmap", "host-local")):
        missing.add("containernetworking-plugins")
    return tuple(sorted(missing))


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
    _require(missing_packages(RUNNING, plugins=CNI_PLUGINS), "the embedded cluster")


def require_building() -> None:
    """Root, and what builds images without a docker daemon."""
    _require(missing_packages(BUILDING), "building images without docker")


def _require(missing: tuple[str, ...], purpose: str) -> None:
    if said := message(missing, root=os.geteuid() == 0, purpose=purpose):
        raise ClusterError(said)
