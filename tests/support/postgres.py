"""A PostgreSQL of its own for tests, in a temporary folder, as a user without privileges."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PASSWORD = "owner's own"


def programs() -> Path | None:
    """Return where PostgreSQL's programs are, of the newest version, or None."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    return found[-1].parent if found else None


@contextmanager
def postgres() -> Iterator[int]:
    """Run a cluster on a free port of loopback, which wants passwords; the superuser is postgres."""
    folder = Path(tempfile.mkdtemp(prefix="modelward-postgres-"))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    user = pwd.getpwnam("postgres" if os.getuid() == 0 else pwd.getpwuid(os.getuid()).pw_name)
    run = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if os.getuid() == 0 else {}
    where, data = programs(), folder / "data"
    assert where is not None, "PostgreSQL is missing: run tests/setup.sh"
    (folder / "password").write_text(PASSWORD)
    for path in (folder, folder / "password"):
        os.chown(path, user.pw_uid, user.pw_gid)

    def call(*words: object) -> None:
        subprocess.run([str(word) for word in words], check=True, capture_output=True, cwd=folder, **run)

    options = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories='' -c fsync=off"
    try:
        call(
            *(where / "initdb", "-D", data, "-U", "postgres", "-A", "scram-sha-256"),
            *(f"--pwfile={folder / 'password'}", "-E", "UTF8", "--locale=C", "-N"),
        )
        call(where / "pg_ctl", "-D", data, "-o", options, "-l", folder / "log", "-w", "start")
        try:
            yield port
        finally:
            call(where / "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
