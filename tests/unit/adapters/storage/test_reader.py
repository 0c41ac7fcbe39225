"""Reads: bounded, and they survive a lost connection."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from typing import cast

import pytest

from bandari.adapters.storage import reader as module
from bandari.adapters.storage.database import Connection, Database, Verdict
from bandari.adapters.storage.reader import Reader
from bandari.domain.faults import OwnFault, StoreUnavailable


class Trouble(Exception):
    """What the fake's driver raises."""


class FakeConnection:
    def __init__(self, number: int) -> None:
        self.number = number
        self.is_open = True
        self.was_cut = threading.Event()

    def cut(self) -> None:
        self.was_cut.set()

    def close(self) -> None:
        self.is_open = False


class FakeDatabase:
    def __init__(self) -> None:
        self.connections: list[FakeConnection] = []
        self.verdict = Verdict.LOST
        self.is_down = False

    def connect_reader(self) -> FakeConnection:
        if self.is_down:
            raise Trouble
        self.connections.append(FakeConnection(len(self.connections)))
        return self.connections[-1]

    def judge(self, _: Exception) -> Verdict:
        return self.verdict

    def is_driver_error(self, error: Exception) -> bool:
        return isinstance(error, Trouble)


@pytest.fixture
def database() -> FakeDatabase:
    return FakeDatabase()


@pytest.fixture
async def reader(database: FakeDatabase, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Reader]:
    monkeypatch.setattr(module, "MAX_THREADS", 1)
    reader = Reader(cast(Database, database))
    yield reader
    await reader.aclose()
    assert not any(connection.is_open for connection in database.connections)


def number(connection: Connection) -> int:
    return cast(FakeConnection, connection).number


def fail(_: Connection, error: Exception) -> None:
    raise error


async def test_a_connection_is_kept(reader: Reader) -> None:
    assert [await reader.run(number) for _ in range(3)] == [0, 0, 0]


async def test_a_lost_connection_is_replaced(reader: Reader) -> None:
    await reader.run(number)

    def fail_on_the_first(connection: Connection) -> int:
        if number(connection) == 0:
            raise Trouble
        return number(connection)

    assert await reader.run(fail_on_the_first) == 1


async def test_an_outage(reader: Reader, database: FakeDatabase) -> None:
    database.is_down = True
    with pytest.raises(StoreUnavailable):
        await reader.run(number)
    database.is_down = False
    assert await reader.run(number) == 0


async def test_a_question_that_is_at_fault(reader: Reader, database: FakeDatabase) -> None:
    database.verdict = Verdict.CULPRIT
    with pytest.raises(OwnFault) as raised:
        await reader.run(fail, Trouble())
    assert type(raised.value) is OwnFault


async def test_other_errors_are_the_callers(reader: Reader) -> None:
    with pytest.raises(ValueError, match="mine"):
        await reader.run(fail, ValueError("mine"))


async def test_waiting_has_an_end(reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_WAITING", 1)
    entered, opened = threading.Event(), threading.Event()

    def wait(_: Connection) -> bool:
        entered.set()
        return opened.wait(30)

    first = asyncio.create_task(reader.run(wait))
    await asyncio.to_thread(entered.wait, 30)
    with pytest.raises(StoreUnavailable, match="Too many"):
        await reader.run(number)
    opened.set()
    assert await first
    assert await reader.run(number) == 0


class Hanging:
    """Questions that are answered only when their connection is cut, and then with trouble."""

    def __init__(self) -> None:
        self.entered = threading.Semaphore(0)
        self.opened = threading.Event()
        self.asked = 0

    def __call__(self, connection: Connection) -> None:
        self.asked += 1
        self.entered.release()
        assert cast(FakeConnection, connection).was_cut.wait(30)
        assert self.opened.wait(30)
        raise Trouble


async def test_a_question_that_hangs(database: FakeDatabase) -> None:
    reader, hanging = Reader(cast(Database, database), timeout_s=0.05), Hanging()
    for _ in range(module.MAX_THREADS):
        with pytest.raises(StoreUnavailable, match="slow"):
            await reader.run(hanging)
    # All threads hang: nobody is kept waiting for them.
    with pytest.raises(StoreUnavailable, match="earlier reads"):
        await reader.run(number)
    assert hanging.asked == module.MAX_THREADS
    hanging.opened.set()

    async with asyncio.timeout(30):
        while True:
            try:
                assert await reader.run(number) >= module.MAX_THREADS
                break
            except StoreUnavailable:
                await asyncio.sleep(0)
    # Nobody waits for their answers: they are not asked again.
    assert hanging.asked == module.MAX_THREADS
    await reader.aclose()


async def test_a_question_behind_one_that_hangs_is_never_asked(
    database: FakeDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "MAX_THREADS", 1)
    reader, hanging = Reader(cast(Database, database), timeout_s=0.05), Hanging()
    asked: list[Connection] = []
    first, behind = (asyncio.ensure_future(reader.run(what)) for what in (hanging, asked.append))
    for waiting in (first, behind):
        with pytest.raises(StoreUnavailable, match="slow"):
            await waiting
    hanging.opened.set()
    await reader.aclose()
    assert asked == []
