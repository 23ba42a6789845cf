"""The container images: built with docker where its daemon answers, else with buildah; named by their content."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.support.cluster import requirements
from tests.support.cluster.binaries import content_hash, locked
from tests.support.cluster.commands import run, run_logged
from tests.support.cluster.errors import ClusterError
from tests.support.cluster.layout import REPOSITORY

NAMES = ("operator", "serving", "training")
LIMITS_MB = {"operator": 250, "serving": 600, "training": 800}
BASE = "docker.io/library/python:3.11-slim"
SUBSTITUTE = "localhost/python:3.11-slim"
KEPT = 3
"""The newest archives of an image, which stay: several checkouts may share the cache."""
AUTHORITIES = "/etc/ssl/certs/ca-certificates.crt"


def reference(name: str) -> str:
    """The image's name and tag; the tag changes with anything that goes into the image."""
    files = ((str(p.relative_to(REPOSITORY)), p.read_bytes()) for p in _sources(name))
    return f"docker.io/modelward/{name}:dev-{content_hash(files)}"


def archive(name: str, cache: Path) -> Path:
    """The image as a file, built if it is not there yet."""
    target = cache / "images" / (reference(name).rpartition("/")[2].replace(":", "-") + ".tar")
    if target.exists():
        return target
    with locked(cache / "images" / "lock"):
        if not target.exists():
            _build(name, target, cache)
            built = target.parent.glob(f"{name}-dev-*.tar")
            for older in sorted(built, key=lambda path: path.stat().st_mtime, reverse=True)[KEPT:]:
                older.unlink()
    return target


def size_mb(name: str, cache: Path) -> int:
    """The unpacked size of the image's layers, in MB."""
    return archive(name, cache).stat().st_size // 1_000_000


def unpack(name: str, cache: Path, root: Path) -> dict[str, str]:
    """Write the image's root filesystem into a directory; returns the environment that the image sets."""
    with tarfile.open(archive(name, cache)) as image:

        def read(member: str) -> Any:
            return json.loads(image.extractfile(member).read())  # type: ignore[union-attr]

        manifest = read("manifest.json")[0]
        for layer in manifest["Layers"]:
            with tarfile.open(fileobj=image.extractfile(layer)) as content:
                content.extractall(root, filter="tar")
        return dict(line.split("=", 1) for line in read(manifest["Config"])["config"]["Env"])


def has_docker() -> bool:
    """Whether a docker daemon answers."""
    if shutil.which("docker") is None:
        return False
    return run(["docker", "info"], check=False, timeout=20).returncode == 0


def _sources(name: str) -> Iterator[Path]:
    yield from (REPOSITORY / "pyproject.toml", REPOSITORY / "uv.lock", REPOSITORY / name / "Dockerfile")
    for package in ("crds", name):
        yield REPOSITORY / package / "pyproject.toml"
        yield from sorted(p for p in (REPOSITORY / package / "src").rglob("*") if p.suffix in (".py", ".typed"))


def _build(name: str, target: Path, cache: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    print(f"cluster: building image {reference(name)}", file=sys.stderr, flush=True)
    log, staging = cache / "logs" / f"image-{name}.log", target.with_suffix(".new")
    staging.unlink(missing_ok=True)
    file = str(REPOSITORY / name / "Dockerfile")
    if has_docker():
        run_logged(["docker", "build", "-t", reference(name), "-f", file, str(REPOSITORY)], log)
        run(["docker", "save", "-o", staging, reference(name)])
    else:
        requirements.require_building()
        base = _base(cache)
        bind = ["-v", f"{os.environ['SSL_CERT_FILE']}:{AUTHORITIES}:ro"] if os.environ.get("SSL_CERT_FILE") else []
        words = ["bud", "--layers", *bind, "--build-arg", f"BASE_IMAGE={base}", "-t", reference(name), "-f", file]
        run_logged([*buildah(cache), *words, str(REPOSITORY)], log, env=_environment())
        run(
            [*buildah(cache), "push", "-q", reference(name), f"docker-archive:{staging}:{reference(name)}"],
            env=_environment(),
        )
    staging.rename(target)


def buildah(cache: Path) -> list[str]:
    """buildah with a storage of its own in the cache directory."""
    storage = cache / "buildah"
    return ["buildah", "--root", f"{storage}/root", "--runroot", f"{storage}/run", "--storage-driver", "overlay"]


def _environment() -> dict[str, str]:
    return {**os.environ, "BUILDAH_ISOLATION": "chroot"}


def _base(cache: Path) -> str:
    """The base image, or what stands in for it where no registry is reached: Debian's Python in a minimal Debian."""
    for name in (BASE, SUBSTITUTE):
        if run([*buildah(cache), "inspect", "--type", "image", name], check=False).returncode == 0:
            return name
    try:
        if run([*buildah(cache), "pull", "-q", BASE], check=False, timeout=60, env=_environment()).returncode == 0:
            return BASE
    except ClusterError:
        pass
    print("cluster: no registry reached: making a base image from Debian's packages", file=sys.stderr, flush=True)
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory) / "root"
        words = [
            "debootstrap",
            "--variant=minbase",
            "--include=python3,python3-venv,ca-certificates",
            "bookworm",
            str(root),
        ]
        run_logged(words, cache / "logs" / "base.log")
        for waste in (
            "var/cache/apt",
            "var/lib/apt/lists",
            "usr/share/doc",
            "usr/share/man",
            "usr/share/locale",
            "usr/share/info",
        ):
            shutil.rmtree(root / waste, ignore_errors=True)
        tar = Path(directory) / "root.tar"
        subprocess.run(["tar", "-C", str(root), "-cf", str(tar), "."], check=True)
        container = run([*buildah(cache), "from", "scratch"], env=_environment()).stdout.strip()
        run([*buildah(cache), "add", "-q", container, tar, "/"], env=_environment())
        run([*buildah(cache), "config", "--cmd", "python3", container], env=_environment())
        run([*buildah(cache), "commit", "-q", container, SUBSTITUTE], env=_environment())
        run([*buildah(cache), "rm", container], env=_environment())
    return SUBSTITUTE
