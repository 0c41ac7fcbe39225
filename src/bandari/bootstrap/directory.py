"""The data directory: one server at a time, who that is, and what its last reload came to.

``server.lock`` is held by the server for as long as it runs. ``server.json`` says who serves, and
its process holds a lock on that very file: a file that a dead server has left is not locked, and
its process id means nothing.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import msgspec
from msgspec import Struct

from bandari.service.reloading import ReloadOutcome

LOCK = "server.lock"
SERVING = "server.json"
OUTCOME = "reload.json"
MAX_FILE_BYTES = 16 * 2**20
"""A refusal has a line for each problem of a file that may be a megabyte."""


class AlreadyServing(Exception):
    """Another server uses this data directory."""


class Serving(Struct, frozen=True):
    """A server that runs: its process, and the configuration file that it reads, if any."""

    pid: int
    config: str | None = None


class Told(Struct, frozen=True):
    """What came of a server's last reload. ``began_ns`` is by the machine's monotonic clock, which
    all its processes share: a reload has seen what the file was at any moment before.
    """

    pid: int
    began_ns: int
    outcome: ReloadOutcome


@contextmanager
def data_directory(path: Path) -> Iterator[None]:
    """The data directory, made if need be, and locked for one server until the end."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise AlreadyServing(f"Another server uses the data directory {path}.") from None
        yield
    finally:
        os.close(descriptor)


@contextmanager
def announced(directory: Path, config: Path | None) -> Iterator[None]:
    """Say who serves from here on, until the end. The directory is this process's."""
    with suppress(FileNotFoundError):
        (directory / OUTCOME).unlink()  # a former server's
    said = msgspec.json.encode(Serving(os.getpid(), None if config is None else str(config)))
    new = directory / f"{SERVING}.new"
    descriptor = os.open(new, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.write(descriptor, said)
        new.rename(directory / SERVING)
        yield
        (directory / SERVING).unlink(missing_ok=True)
    finally:
        os.close(descriptor)


def who_serves(directory: Path) -> Serving | None:
    """The server that runs there and can be asked, if there is one."""
    try:
        descriptor = os.open(directory / SERVING, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return msgspec.json.decode(os.read(descriptor, MAX_FILE_BYTES), type=Serving)
        return None
    finally:
        os.close(descriptor)


def tell(directory: Path, told: Told) -> None:
    """Have it found there by whoever asked for a reload: whole, or not at all."""
    new = directory / f"{OUTCOME}.new"
    descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(msgspec.json.encode(told))
    new.rename(directory / OUTCOME)


def last_told(directory: Path) -> Told | None:
    """What the server that runs there told last."""
    try:
        return msgspec.json.decode((directory / OUTCOME).read_bytes(), type=Told)
    except FileNotFoundError:
        return None
