"""Environments of their own for programs whose requirements do not fit ours: other servers, other clients. Kept in the cache."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path


def python_of(cache: Path, name: str, requirements: tuple[str, ...], interpreter: str = sys.executable) -> Path:
    """The interpreter of an environment with these packages, which is made when there is none."""
    told = hashlib.sha256(" ".join(requirements).encode()).hexdigest()[:12]
    folder = cache / "environments" / f"{name.lower()}-{told}"
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        subprocess.run(["uv", "venv", "--quiet", "--clear", "--python", interpreter, folder], check=True)
        subprocess.run(["uv", "pip", "install", "--quiet", "--python", python, *requirements], check=True)
        (folder / "complete").touch()
    return python


LONGEST_BUILD = 240
"""Seconds that programs of other languages may take to be fetched and built."""


def node_modules_of(cache: Path, package: Path) -> Path:
    """The folder of a package.json's dependencies."""

    def install(folder: Path) -> None:
        shutil.copy(package, folder)
        _build(["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts"], folder)

    return _kept(cache, package.parent, install) / "node_modules"


def jars_of(cache: Path, pom: Path) -> Path:
    """The folder of a pom.xml's dependencies."""

    def copy(folder: Path) -> None:
        shutil.copy(pom, folder)
        _build(["mvn", "-B", "-q", "dependency:copy-dependencies", "-DoutputDirectory=jars"], folder)

    return _kept(cache, pom.parent, copy) / "jars"


def program_of(cache: Path, module: Path, go: Path) -> Path:
    """The program that is built from a Go module."""

    def build(folder: Path) -> None:
        _build([go, "build", "-trimpath", "-o", folder / "program", "."], module)

    return _kept(cache, module, build) / "program"


def _kept(cache: Path, sources: Path, make: Callable[[Path], None]) -> Path:
    """The folder that is made of these sources, once for each content of theirs."""
    content = b"".join(path.name.encode() + path.read_bytes() for path in sorted(sources.iterdir()))
    folder = cache / "environments" / f"{sources.name}-{hashlib.sha256(content).hexdigest()[:12]}"
    if not (folder / "complete").exists():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        make(folder)
        (folder / "complete").touch()
    return folder


def _build(argv: list[str | Path], where: Path) -> None:
    done = subprocess.run(argv, cwd=where, capture_output=True, text=True, timeout=LONGEST_BUILD)
    if done.returncode != 0:
        raise RuntimeError(f"{argv[0]} failed: {done.stdout[-1500:]}{done.stderr[-1500:]}")
