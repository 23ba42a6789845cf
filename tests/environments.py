"""Environments of their own for programs whose requirements do not fit ours: other servers, other clients. Kept in the cache."""

from __future__ import annotations

import hashlib
import subprocess
import sys
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
