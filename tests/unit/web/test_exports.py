"""Exports over a real socket: a client that does not read, one that leaves, one that is cut off."""

from __future__ import annotations

import asyncio
import socket
from contextlib import closing

import pytest
from tests.support.gates import until
from tests.support.operated_house import ADMIN_KEY, OperatedHouse
from tests.support.reports_in_memory import a_receipt

from bandari.service.reporting import MAX_PAGE
from bandari.web import listener, timed_connection

PAGES = 60
REQUEST = (
    "GET /admin/v1/receipts?format=csv HTTP/1.1\r\nhost: x\r\nauthorization: Bearer "
    f"{ADMIN_KEY}\r\nconnection: close\r\n\r\n"
).encode()


@pytest.fixture
async def house():
    """Sixty pages of receipts, about 11 MB: more than a loopback holds."""
    house = await OperatedHouse().furnished()
    house.reports.book(1, *[a_receipt()] * (PAGES * MAX_PAGE))
    return house


@pytest.fixture
async def visitor(house):
    """A client of the house with a small window, who has asked for all of it."""
    with closing(listener.bind("127.0.0.1", 0)) as bound:
        async with listener.listening(house.app, bound):
            line = socket.socket()
            line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
            line.connect(("127.0.0.1", bound.getsockname()[1]))
            reader, writer = await asyncio.open_connection(sock=line, limit=64 * 1024)
            writer.write(REQUEST)
            yield reader, writer
            writer.transport.abort()


async def stalls(house: OperatedHouse) -> int:
    """How many pages were asked for when no more are."""
    asked = -1
    while asked != house.reports.asked:
        asked = house.reports.asked
        await asyncio.sleep(0.1)
    return asked


async def test_who_reads_gets_all_of_it(house, visitor):
    reader, _ = visitor
    told = await reader.read()
    assert told.count(b"receipt-1,amina") == PAGES * MAX_PAGE
    assert told.endswith(b"0\r\n\r\n")
    assert house.exports._running.total() == 0


async def test_who_does_not_read_is_given_what_the_line_holds(house, visitor):
    asked = await stalls(house)
    assert 0 < asked < PAGES / 2
    reader, _ = visitor
    await reader.read()
    assert house.reports.asked == PAGES


async def test_who_leaves_in_the_middle_is_sent_no_more(house, visitor):
    _, writer = visitor
    asked = await stalls(house)
    assert house.exports._running.total() == 1
    writer.transport.abort()
    await until(lambda: house.exports._running.total() == 0)
    assert house.reports.asked <= asked + 1


@pytest.fixture
def impatient(monkeypatch):
    monkeypatch.setattr(timed_connection, "WRITE_TIMEOUT_S", 0.2)


async def test_who_never_reads_is_cut_off(house, impatient, visitor):
    await until(lambda: house.reports.asked > 0)
    await until(lambda: house.exports._running.total() == 0)
    assert house.reports.asked < PAGES / 2


async def test_who_reads_fast_leaves_the_others_their_turns(house, visitor):
    """While an export is under way, nobody waits for a whole page of it to be spelled."""
    reader, _ = visitor
    whole = asyncio.create_task(reader.read())
    turns = 0
    while not whole.done():
        turns += 1
        await asyncio.sleep(0)
    assert turns > PAGES * MAX_PAGE / 100
