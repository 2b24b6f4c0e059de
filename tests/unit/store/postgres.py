"""A PostgreSQL server of a test: its own cluster, on a socket of its own folder."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from tempfile import mkdtemp
from typing import Self
from urllib.parse import quote

_SERVER = "postgres"


class PostgreSQL:
    """A throw-away cluster that only its socket reaches.

    The server refuses to run as root, so that root runs it as the user that its package made.
    """

    def __init__(self) -> None:
        self._folder = Path(mkdtemp(prefix="gateway-postgresql-"))
        self._binaries = _binaries()
        self._as_user = ["runuser", "-u", _SERVER, "--"] if os.geteuid() == 0 else []

    def __enter__(self) -> Self:
        if self._as_user:
            shutil.chown(self._folder, _SERVER)
        cluster = str(self._folder / "cluster")
        self._run("initdb", "-D", cluster, "-U", "gateway", "-A", "trust", "-E", "UTF8", "-N")
        options = f"-c listen_addresses= -c unix_socket_directories={self._folder} -c fsync=off"
        log = str(self._folder / "log")
        self._run("pg_ctl", "-D", cluster, "-l", log, "-o", options, "-w", "start")
        return self

    def __exit__(self, *_: object) -> None:
        self._run("pg_ctl", "-D", str(self._folder / "cluster"), "-m", "immediate", "-w", "stop")
        shutil.rmtree(self._folder)

    def empty_database(self) -> str:
        """Empty the one database that tests share in turn, and return its URL."""
        ours, engines = "DROP SCHEMA public CASCADE", "DROP SCHEMA IF EXISTS dbos CASCADE"
        again = f"{ours}; {engines}; CREATE SCHEMA public"
        self._run("psql", "-q", "-h", str(self._folder), "-U", "gateway", "-c", again, "postgres")
        return f"postgresql://gateway@/postgres?host={quote(str(self._folder), safe='')}"

    def _run(self, program: str, *words: str) -> None:
        command: Sequence[str] = [*self._as_user, str(self._binaries / program), *words]
        done = subprocess.run(
            command, cwd="/", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        assert done.returncode == 0, f"{program}: {done.stderr}"


def _binaries() -> Path:
    """Return the folder of the newest installed server's programs."""
    found = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda one: float(one.parts[-3])
    )
    assert found, "PostgreSQL is not installed; leave these tests out with -m 'not peers'"
    return found[-1].parent
