"""Who gets which connection: no sockets, and no second is waited for."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.fake_transport import FakeTransport
from tests.support.gates import Gate, until_idle
from tests.support.virtual_time import VirtualLoop

from bandari.adapters.providers.http1 import Connection, Limits
from bandari.adapters.providers.pool import Pool
from bandari.adapters.providers.proxies import Proxies
from bandari.adapters.providers.urls import Origin
from bandari.domain.faults import UpstreamOverloaded, UpstreamUnreachable

LOOPS = {"virtual": VirtualLoop}

HERE, THERE = Origin("here", 80, is_tls=False), Origin("there", 80, is_tls=False)
ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
LIMITS = Limits(30, 10, 100)
CONNECT_S, IDLE_S = 5.0, 4.0


class PaperPool(Pool):
    """A pool whose servers are played: a connection is made as soon as ``door``, if there is one,
    is open, unless ``fault`` is raised.
    """

    def __init__(self, max_connections: int = 2) -> None:
        super().__init__(
            Proxies({}), connect_s=CONNECT_S, idle_s=IDLE_S, max_connections=max_connections
        )
        self.transports: dict[Connection, FakeTransport] = {}
        self.door: Gate | None = None
        self.fault: Exception | None = None

    async def _connected(self, origin: Origin) -> Connection:
        if self.door is not None:
            await self.door.passing()
        if self.fault is not None:
            raise self.fault
        connection = Connection(self._idle_s, self._closed)
        self.transports[connection] = FakeTransport(connection)
        return connection

    def serve(self, connection: Connection) -> None:
        """It is asked something, answers, and is kept."""
        connection.send(b"request", LIMITS)
        connection.data_received(ANSWER)
        assert connection.release()
        self.keep(connection)

    @property
    def open(self) -> int:
        return sum(not transport.is_closing() for transport in self.transports.values())

    def check(self) -> None:
        """What holds whenever nobody is running."""
        idle = [connection for kept in self._idle.values() for connection in kept]
        assert len(self._open) == self.open <= self._max_connections
        assert all(connection.is_usable for connection in idle)
        assert set(idle) <= set(self._open)
        assert self._connecting == 0
        assert not self._waiting


async def taking(pool: Pool, origin: Origin = HERE, **options: bool) -> asyncio.Task[Connection]:
    """Somebody who asks, and is as far as he gets by himself."""
    task = asyncio.create_task(pool.take(origin, **options))
    await until_idle()
    return task


# -- keeping ---------------------------------------------------------------------------------------


async def test_what_was_used_last_is_used_next():
    pool = PaperPool(3)
    taken = [await pool.take(HERE) for _ in range(3)]
    for connection in taken:
        pool.serve(connection)
    assert await pool.take(HERE) is taken[2]
    assert await pool.take(HERE) is taken[1]
    pool.serve(taken[2])
    assert await pool.take(HERE) is taken[2]


async def test_a_fresh_one_is_none_that_was_kept():
    pool = PaperPool()
    kept = await pool.take(HERE)
    pool.serve(kept)
    assert await pool.take(HERE, fresh=True) is not kept
    assert await pool.take(HERE) is kept


async def test_each_server_has_its_own():
    pool = PaperPool()
    pool.serve(await pool.take(HERE))
    assert len(pool.transports) == 1
    await pool.take(THERE)
    assert len(pool.transports) == 2


@pytest.mark.parametrize("how", ["idle for too long", "closed", "reset", "says something"])
async def test_a_kept_connection_that_ends_is_forgotten(how):
    pool = PaperPool()
    connection = await pool.take(HERE)
    pool.serve(connection)
    transport = pool.transports[connection]
    if how == "closed":
        transport.end()
    elif how == "reset":
        transport.lose(ConnectionResetError())
    elif how == "says something":
        connection.data_received(ANSWER)
    else:
        await asyncio.sleep(IDLE_S + 0.1)
    await until_idle()
    assert (len(pool._open), len(pool._idle), pool.open) == (0, 0, 0)
    assert await pool.take(HERE) is not connection


async def test_a_kept_connection_that_is_about_to_end_is_not_given():
    pool = PaperPool(1)
    connection = await pool.take(HERE)
    pool.serve(connection)
    pool.transports[connection].lose(ConnectionResetError())  # said in the next turn of the loop
    assert await pool.take(HERE) is not connection
    assert len(pool._open) == 1


async def test_one_of_another_server_makes_way():
    pool = PaperPool(2)
    older, newer = await pool.take(THERE), await pool.take(THERE)
    pool.serve(older)
    pool.serve(newer)
    await pool.take(HERE)
    assert pool.transports[older].is_closing()
    assert newer.is_usable
    assert pool.open == 2


async def test_a_fresh_one_takes_the_place_of_one_that_is_idle():
    pool = PaperPool(1)
    kept = await pool.take(HERE)
    pool.serve(kept)
    await pool.take(HERE, fresh=True)
    assert pool.transports[kept].is_closing()
    assert pool.open == 1


# -- waiting ---------------------------------------------------------------------------------------


async def test_there_are_never_more_than_allowed():
    pool = PaperPool(2)
    pool.door = Gate()
    asking = [await taking(pool) for _ in range(5)]
    pool.door.open()
    await until_idle()
    assert [task.done() for task in asking] == [True, True, False, False, False]
    with pytest.raises(UpstreamOverloaded):
        await asking[4]
    assert asyncio.get_running_loop().time() == pytest.approx(CONNECT_S)
    for task in asking[2:4]:
        with pytest.raises(UpstreamOverloaded):
            await task
    pool.check()


@pytest.mark.parametrize("how", ["kept", "closed", "lost"])
async def test_whoever_waits_is_woken(how):
    pool = PaperPool(1)
    used = await pool.take(HERE)
    asking = [await taking(pool) for _ in range(2)]
    if how == "kept":
        pool.serve(used)
    elif how == "closed":
        used.close()
    else:
        pool.transports[used].lose(None)
    await until_idle()
    assert [task.done() for task in asking] == [True, False]
    assert ((await asking[0]) is used) == (how == "kept")
    pool.serve(await asking[0])
    await asking[1]
    pool.check()


async def test_whoever_waits_is_woken_when_another_cannot_connect():
    pool = PaperPool(1)
    pool.door, pool.fault = Gate(), OSError()
    failing = await taking(pool)
    waiting = await taking(pool)
    pool.door.open()
    for task in (failing, waiting):
        with pytest.raises(UpstreamUnreachable):
            await task
    assert asyncio.get_running_loop().time() < CONNECT_S
    pool.check()


async def test_whoever_waits_for_another_server_is_woken():
    pool = PaperPool(1)
    used = await pool.take(HERE)
    waiting = await taking(pool, THERE)
    pool.serve(used)
    assert (await waiting) is not used
    assert pool.transports[used].is_closing()
    pool.check()


async def test_nobody_is_overtaken():
    pool = PaperPool(1)
    used = await pool.take(HERE)
    first = await taking(pool)
    late = asyncio.create_task(pool.take(HERE))  # comes before the first has been woken
    pool.serve(used)
    assert await first is used
    await until_idle()
    assert not late.done()
    pool.serve(used)
    assert await late is used
    pool.check()


async def test_many_who_wait_get_it_in_their_order():
    pool = PaperPool(2)
    used = [await pool.take(HERE), await pool.take(HERE)]
    order: list[int] = []

    async def ask(number: int) -> None:
        connection = await pool.take(HERE)
        order.append(number)
        await asyncio.sleep(0.01)
        pool.serve(connection)

    asking = [asyncio.create_task(ask(number)) for number in range(20)]
    await until_idle()
    line = list(pool._waiting)
    for connection in used:
        pool.serve(connection)
    await until_idle()
    assert list(pool._waiting) == line[2:]  # nobody else was woken
    await asyncio.gather(*asking)
    assert order == list(range(20))
    assert len(pool.transports) == 2
    pool.check()


async def test_whoever_leaves_the_line_holds_nobody_up():
    pool = PaperPool(1)
    used = await pool.take(HERE)
    first, second = await taking(pool), await taking(pool)
    first.cancel()
    await until_idle()
    pool.serve(used)
    assert await second is used
    pool.check()


async def test_whoever_leaves_when_it_is_his_turn_passes_it_on():
    pool = PaperPool(1)
    used = await pool.take(HERE)
    first, second = await taking(pool), await taking(pool)
    pool.serve(used)
    first.cancel()  # in the turn of the loop in which he was called
    assert await second is used
    with pytest.raises(asyncio.CancelledError):
        await first
    pool.check()


async def test_a_turn_whose_connection_ends_meanwhile_is_still_a_turn():
    pool = PaperPool(1)
    used = await pool.take(HERE)
    waiting = await taking(pool)
    pool.serve(used)
    used.close()
    assert (await waiting) is not used
    pool.check()


async def test_a_turn_that_another_needed_is_waited_for_again():
    """Who finds that what was kept for him has ended takes its place, and nobody else does."""
    pool = PaperPool(1)
    used = await pool.take(HERE)
    first, second = await taking(pool), await taking(pool)
    pool.door = Gate()
    pool.serve(used)
    pool.transports[used].lose(ConnectionResetError())
    await until_idle()
    assert (pool._connecting, len(pool._waiting)) == (1, 1)
    pool.door.open()
    pool.serve(await first)
    assert await second is first.result()
    pool.check()


# -- connecting ------------------------------------------------------------------------------------


async def test_connecting_may_take_so_long():
    pool = PaperPool(1)
    pool.door = Gate()
    with pytest.raises(UpstreamUnreachable):
        await pool.take(HERE)
    assert asyncio.get_running_loop().time() == pytest.approx(CONNECT_S)
    pool.check()


async def test_whoever_leaves_while_connecting_gives_his_place_back():
    pool = PaperPool(1)
    pool.door = Gate()
    connecting = await taking(pool)
    waiting = await taking(pool)
    connecting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await connecting
    pool.door.open()
    assert (await waiting).is_usable
    pool.check()


@pytest.mark.parametrize("fault", [OSError(), ValueError("proxy"), UnicodeError()])
async def test_who_cannot_connect_says_why(fault):
    pool = PaperPool()
    pool.fault = fault
    with pytest.raises(UpstreamUnreachable) as caught:
        await pool.take(HERE)
    assert caught.value.__cause__ is fault
    pool.check()


async def test_a_connection_that_ends_as_it_is_made_is_none(monkeypatch):
    pool = PaperPool(1)

    async def connected(origin: Origin) -> Connection:
        connection = await PaperPool._connected(pool, origin)
        pool.transports[connection].lose(None)
        return connection

    monkeypatch.setattr(pool, "_connected", connected)
    for _ in range(3):
        with pytest.raises(UpstreamUnreachable):
            await pool.take(HERE)
        await until_idle()
        pool.check()


# -- the end ---------------------------------------------------------------------------------------


async def test_closing_ends_everything_for_good():
    pool = PaperPool(3)
    idle, busy = await pool.take(HERE), await pool.take(HERE)
    pool.serve(idle)
    busy.send(b"request", LIMITS)
    pool.door = Gate()
    connecting = [await taking(pool, fresh=True), await taking(pool, fresh=True)]
    waiting = await taking(pool)
    pool.close()
    with pytest.raises(UpstreamUnreachable):
        await waiting
    pool.door.open()
    for task in connecting:
        with pytest.raises(UpstreamUnreachable):
            await task
    made = len(pool.transports)
    with pytest.raises(UpstreamUnreachable):
        await pool.take(HERE)
    assert len(pool.transports) == made
    assert not busy.release()
    await until_idle()
    pool.check()
    assert pool.open == 0
    timers = asyncio.get_running_loop()._scheduled
    assert all(timer.cancelled() for timer in timers)


async def test_closing_wakes_those_who_wait():
    pool = PaperPool(1)
    pool.door = Gate()
    connecting = await taking(pool)
    waiting = [await taking(pool) for _ in range(3)]
    pool.close()
    for task in waiting:
        with pytest.raises(UpstreamUnreachable):
            await task
    assert not connecting.done()
    assert asyncio.get_running_loop().time() < CONNECT_S
    connecting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await connecting
    pool.check()


# -- everything at once ----------------------------------------------------------------------------

WAYS = ["take", "take", "fresh", "there", "keep", "close", "lose", "cancel", "wait"]
STEPS = st.lists(
    st.tuples(st.sampled_from(WAYS), st.integers(0, 9)),
    max_size=60,
)


@settings(deadline=None, max_examples=200)
@given(steps=STEPS)
async def test_whatever_happens_no_place_is_lost(steps):
    pool = PaperPool(2)
    pool.door = Gate()
    pool.door.open()
    asking: list[asyncio.Task[Connection]] = []
    used: list[Connection] = []

    async def ask(origin: Origin, fresh: bool) -> None:
        used.append(await pool.take(origin, fresh=fresh))

    for step, number in steps:
        if step in {"take", "fresh", "there"}:
            origin = THERE if step == "there" else HERE
            asking.append(asyncio.create_task(ask(origin, step == "fresh")))
        elif step == "cancel" and asking:
            asking[number % len(asking)].cancel()
        elif step == "wait":
            await asyncio.sleep(number / 3)
        elif used and step in {"keep", "close", "lose"}:
            connection = used.pop(number % len(used))
            if step == "keep" and connection.is_usable:
                pool.serve(connection)
            elif step == "lose":
                pool.transports[connection].lose(ConnectionResetError())
            else:
                connection.close()
        if number % 2:
            await until_idle()
        assert pool.open <= 2
    await asyncio.sleep(2 * CONNECT_S)
    for task in asking:
        with suppress(asyncio.CancelledError, UpstreamOverloaded):
            await task
    for connection in used:
        connection.close()
    await until_idle()
    pool.check()
    assert [await pool.take(HERE), await pool.take(THERE)]  # every place is there
