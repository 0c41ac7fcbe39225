"""A PostgreSQL server for tests: started from the machine's binaries, and thrown away.

It lives in a new directory, listens on a free port of the loopback, and knows no password.
PostgreSQL refuses to run as root; then it runs as ``postgres`` or ``nobody``.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg

_BINARIES = ("initdb", "postgres")
_READY = b"database system is ready to accept connections"
_USER = "bandari"


class PostgresqlMissing(Exception):
    """This machine has no PostgreSQL to start."""


class PostgresqlServer:
    """A running server; every database in it is empty or a copy."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._numbers = iter(range(1_000_000))

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://{_USER}@127.0.0.1:{self.port}/{database}"

    def create_database(self, template: str = "template0") -> str:
        """The URL of a new database."""
        name = f"test_{next(self._numbers)}"
        self.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
        return self.url(name)

    def drop_database(self, url: str) -> None:
        name = url.rpartition("/")[2]
        self.execute(f'DROP DATABASE "{name}" WITH (FORCE)')

    def execute(self, sql: str, database: str = "postgres") -> None:
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            connection.execute(sql.encode())


def find_binaries() -> Path:
    """The directory that has PostgreSQL's server in it: on PATH, or the newest of Debian's."""
    found = shutil.which("initdb")
    candidates = [Path(found).resolve().parent] if found else []
    candidates += sorted(
        Path("/usr/lib/postgresql").glob("*/bin"),
        key=lambda path: [int(number) for number in re.findall(r"\d+", str(path))],
        reverse=True,
    )
    for directory in candidates:
        if all((directory / name).exists() for name in _BINARIES):
            return directory
    raise PostgresqlMissing(
        "no PostgreSQL: initdb and postgres are neither on PATH nor in /usr/lib/postgresql/*/bin"
    )


@contextlib.contextmanager
def postgresql_server(*, fsync: bool = False) -> Iterator[PostgresqlServer]:
    """Start a server and stop it. Raises ``PostgresqlMissing``.

    ``fsync``: whether a commit waits for the disk as in production.
    """
    binaries = find_binaries()
    identity = _unprivileged()
    root = Path(tempfile.mkdtemp(prefix="bandari-postgresql-"))
    try:
        if identity:
            os.chown(root, identity["user"], identity["group"])
        data = root / "data"
        subprocess.run(
            [
                *(str(binaries / "initdb"), "-D", str(data), "-U", _USER, "-A", "trust"),
                *("-E", "UTF8", "--no-locale", "--no-sync", "--no-instructions"),
            ],
            check=True,
            capture_output=True,
            cwd=root,
            **identity,
        )
        port = _free_port()
        switch = "on" if fsync else "off"
        process = subprocess.Popen(
            [
                *(str(binaries / "postgres"), "-D", str(data)),
                *("-c", "listen_addresses=127.0.0.1", "-c", f"port={port}"),
                *("-c", f"unix_socket_directories={root}", "-c", "max_connections=200"),
                *("-c", f"fsync={switch}", "-c", f"full_page_writes={switch}"),
                *("-c", "deadlock_timeout=100ms"),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd=root,
            **identity,
        )
        log: deque[bytes] = deque(maxlen=100)
        drain: threading.Thread | None = None
        assert process.stderr is not None
        try:
            for line in process.stderr:
                log.append(line)
                if _READY in line:
                    break
            else:
                raise RuntimeError(b"PostgreSQL did not start:\n" + b"".join(log))
            # A pipe that nobody reads would stop the server once it is full.
            drain = threading.Thread(target=log.extend, args=(process.stderr,), daemon=True)
            drain.start()
            yield PostgresqlServer(port)
        finally:
            process.send_signal(signal.SIGQUIT)  # at once, without tidying up
            process.wait(timeout=30)
            if drain is not None:
                drain.join()
            process.stderr.close()
    finally:
        shutil.rmtree(root, ignore_errors=True)


def _unprivileged() -> dict[str, Any]:
    """Whom to run the server as, if not as ourselves."""
    if os.geteuid() != 0:
        return {}
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    raise PostgresqlMissing("no user to run PostgreSQL as: neither 'postgres' nor 'nobody'")


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
