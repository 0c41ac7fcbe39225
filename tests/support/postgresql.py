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
from enum import Enum
from pathlib import Path
from typing import Any

import psycopg

_BINARIES = ("initdb", "postgres")
_READY = (
    b"database system is ready to accept connections",
    b"database system is ready to accept read-only connections",
)
_USER = "bandari"
_MEMORY = Path("/dev/shm")
_MEMORY_BYTES = 4 * 2**30


class PostgresqlMissing(Exception):
    """This machine has no PostgreSQL to start."""


class Stop(Enum):
    """How a server ends, by PostgreSQL's own names for it."""

    FAST = signal.SIGINT
    """Rolls back what runs, tells the clients, and closes its files in order."""
    IMMEDIATE = signal.SIGQUIT
    """As in a crash: recovers when it starts again."""


class PostgresqlServer:
    """A running server; every database in it is empty or a copy."""

    def __init__(self, root: Path, identity: dict[str, Any], *, fsync: bool) -> None:
        self.port = _free_port()
        self._root = root
        self._identity = identity
        self._fsync = "on" if fsync else "off"
        self._numbers = iter(range(1_000_000))
        self._process: subprocess.Popen[bytes] | None = None
        self._drain: threading.Thread | None = None

    @property
    def data(self) -> Path:
        """The server's own directory."""
        return self._root / "data"

    def start(self) -> None:
        """Returns when it takes connections."""
        self._drain = None
        process = self._process = subprocess.Popen(
            [
                *(str(find_binaries() / "postgres"), "-D", str(self.data)),
                *("-c", "listen_addresses=127.0.0.1", "-c", f"port={self.port}"),
                *("-c", f"unix_socket_directories={self._root}", "-c", "max_connections=200"),
                *("-c", f"fsync={self._fsync}", "-c", f"full_page_writes={self._fsync}"),
                *("-c", "deadlock_timeout=100ms"),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd=self._root,
            **self._identity,
        )
        assert process.stderr is not None
        log: deque[bytes] = deque(maxlen=100)
        for line in process.stderr:
            log.append(line)
            if any(ready in line for ready in _READY):
                break
        else:
            raise RuntimeError(b"PostgreSQL did not start:\n" + b"".join(log))
        # A pipe that nobody reads would stop the server once it is full.
        self._drain = threading.Thread(target=log.extend, args=(process.stderr,), daemon=True)
        self._drain.start()

    def stop(self, how: Stop = Stop.IMMEDIATE) -> None:
        """Returns when it has ended."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(how.value)
        process.wait(timeout=30)
        if self._drain is not None:
            self._drain.join()
        assert process.stderr is not None
        process.stderr.close()

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

    def ask(self, sql: str, database: str = "postgres") -> Any:
        """The first value of the first row; None where there is no row."""
        with psycopg.connect(self.url(database), autocommit=True) as connection:
            row = connection.execute(sql.encode()).fetchone()
            return None if row is None else row[0]


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


def _in_memory() -> str | None:
    """Where files are made in memory, if there is such a place with room: every database that a
    test has made for it is some hundred files, and on a disk they take longer than the test.
    """
    if not _MEMORY.is_dir() or shutil.disk_usage(_MEMORY).free < _MEMORY_BYTES:
        return None
    return str(_MEMORY)


@contextlib.contextmanager
def postgresql_server(*, fsync: bool = False) -> Iterator[PostgresqlServer]:
    """Start a server and stop it. Raises ``PostgresqlMissing``.

    ``fsync``: whether a commit waits for the disk as in production.
    """
    binaries = find_binaries()
    identity = _unprivileged()
    root = Path(tempfile.mkdtemp(prefix="bandari-postgresql-", dir=None if fsync else _in_memory()))
    try:
        if identity:
            os.chown(root, identity["user"], identity["group"])
        server = PostgresqlServer(root, identity, fsync=fsync)
        subprocess.run(
            [
                *(str(binaries / "initdb"), "-D", str(server.data), "-U", _USER, "-A", "trust"),
                *("-E", "UTF8", "--no-locale", "--no-sync", "--no-instructions"),
            ],
            check=True,
            capture_output=True,
            cwd=root,
            **identity,
        )
        try:
            server.start()
            yield server
        finally:
            server.stop()
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
