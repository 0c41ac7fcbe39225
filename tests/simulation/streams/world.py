"""A world of streams: servers, providers, clients that come and go, and a disk, from one seed.

``run`` returns what happened, or raises a ``Violation`` whose text has the trace's last lines.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from random import Random
from typing import Any

from tests.simulation.books_model import expect
from tests.simulation.disk import Disk, Weather
from tests.simulation.fleet import Fleet
from tests.simulation.performing import Report, perform, unhandled
from tests.simulation.process import Process
from tests.simulation.store import Store
from tests.simulation.streams import draws
from tests.simulation.streams.clients import Client
from tests.simulation.streams.judgement import judge
from tests.simulation.streams.oracle import Oracle
from tests.simulation.streams.record import Record, Terms
from tests.simulation.streams.servers import Keeping, StreamServer
from tests.simulation.streams.upstreams import PROVIDERS, ScriptedProvider
from tests.simulation.trace import Trace, Violation
from tests.support.virtual_time import VirtualClock, VirtualLoop

from bandari.domain.keys import Scope
from bandari.service.inference import Settings
from bandari.service.stream_terms import StreamSettings

CALM_S = 120.0
"""After the faults have stopped and the last client has gone, within this all is settled."""
MEAN_LIFE_S = 40.0
KEPT_HOURS = 1
KEYS_OF_AN_ACCOUNT = 2
AMPLE, TIGHT = 2**28, 30_000


def run(seed: int, streams: int) -> Report:
    """One world. The same seed and number of streams give the same report, to the digest."""
    return perform(seed, streams, lambda loop: _World(seed, streams, loop))


class _World:
    def __init__(self, seed: int, streams: int, loop: VirtualLoop) -> None:
        self.failed: BaseException | None = None
        self.trace = Trace(loop.time)
        self._seed = seed
        self._streams = streams
        loop.set_exception_handler(unhandled(self._fail))
        self._draws = self._stream("world")
        self._clock = VirtualClock(loop)
        is_shared = self._draws.random() < 0.7
        self.disk = Disk(self._stream("disk"), self.trace, is_shared=is_shared)
        self._slots = self._draws.randrange(1, 3) if is_shared else 1
        self._models = draws.models(self._draws)
        self._customers = draws.customers(self._draws)
        is_tight = self._draws.random() < 0.25
        self._keeping = _keeping(self._draws, TIGHT if is_tight else AMPLE)
        terms = Terms(self._keeping, self._models, is_tight=is_tight)
        self._record = Record(self.disk, self.trace, loop.time, terms)
        self._oracle = Oracle(self._record, lambda name: name in self._fleet.servers)
        self._upstreams = {
            habits.name: ScriptedProvider(
                habits,
                self._stream(f"upstream {habits.name}"),
                self.trace,
                self._oracle.begun,
                self._oracle.said,
                self._oracle.over,
            )
            for habits in PROVIDERS
        }
        self._calm = asyncio.Event()
        self._fleet: Fleet[StreamServer] = Fleet(
            self._server,
            trace=self.trace,
            calm=self._calm,
            is_shared=is_shared,
            mean_life_s=MEAN_LIFE_S,
            draining=lambda server: None,
            ended=lambda server: self._audit(),
        )
        self._main: asyncio.Task[Any] | None = None

    async def live(self) -> None:
        """From the first account until nothing is left of any stream."""
        self._main = asyncio.current_task()
        office = Process("office")
        self._office = Store(self.disk, office.name)
        await office.start(self._open_accounts())
        self.disk.weather = self._weather()
        slots = [
            asyncio.ensure_future(
                self._watched(self._fleet.keep_up(slot, self._stream(f"s{slot}")))
            )
            for slot in range(self._slots)
        ]
        clients = await self._send_clients()
        await asyncio.wait(clients)
        self._calm.set()
        self.disk.end_of_faults()
        self.trace.tell("calm")
        await asyncio.wait(slots)
        await asyncio.sleep(CALM_S)
        self._fleet.look_after_tasks()
        if self.disk.model.holds:
            raise Violation(f"holds that nobody ends: {sorted(self.disk.model.holds)}")
        self._expect_no_bytes()
        running = self.disk.rows_of("recordings WHERE state = 'running'")
        expect(running == 0, "no recording that nobody ends", running)
        await self._end_servers()
        await self._expect_no_rows()

    def judge(self) -> None:
        """When all is over: the audit, and then each answer and each wallet."""
        self._audit()
        judge(self._record)
        for customer in self._customers:
            account_id = customer.principals[0].account_id
            for asset, given in customer.given.items():
                paid = sum(
                    ended.receipt.amount
                    for ended in self.disk.model.ended.values()
                    if ended.receipt is not None
                    and (ended.hold.account_id, ended.hold.asset) == (account_id, asset)
                )
                purse = self.disk.model.purses[account_id, asset, ""]
                right = (given - paid, 0)
                expect((purse.balance, purse.held) == right, f"{right} of {customer.name}", purse)

    async def _open_accounts(self) -> None:
        now_ms = self._clock.now_ms()
        number = 0
        for customer in self._customers:
            account = await self._office.create_account(customer.name, now_ms)
            keys = []
            for _ in range(KEYS_OF_AN_ACCOUNT):
                number += 1
                keys.append((await self._office.create_key(account.id, number, now_ms)).id)
            for asset, amount in customer.given.items():
                await self._office.transfer(account.id, asset, amount, now_ms)
            draws.principals(self._draws, customer, account.id, keys)

    async def _send_clients(self) -> Sequence[asyncio.Task[None]]:
        """In bursts, and until the last of them has come."""
        stream = self._stream("clients")
        clients: list[asyncio.Task[None]] = []
        wishes: list[draws.Wish] = []
        rate = stream.choice((1.0, 4.0))
        for number in range(self._streams):
            if number % 20 == 0:
                rate = stream.choice((0.3, 1.0, 4.0, 20.0))
            await asyncio.sleep(stream.expovariate(rate))
            wish = draws.wish(stream, self._customers, number, wishes)
            wishes.append(wish)
            client = Client(
                number,
                wish,
                self._stream(f"client {number}"),
                serving=self._serving,
                strangers=self._strangers(wish),
                watch=self._oracle,
                trace=self.trace,
            )
            work = self._watched(client.live())
            clients.append(asyncio.get_running_loop().create_task(work))
        return clients

    def _serving(self) -> Sequence[StreamServer]:
        return [server for server in self._fleet.servers.values() if server.is_serving]

    def _strangers(self, wish: draws.Wish) -> Sequence[Any]:
        return [
            customer.principals[0]
            for customer in self._customers
            if customer.principals[0].account_id != wish.principal.account_id
        ]

    def _expect_no_bytes(self) -> None:
        """Every window has passed: nothing is in memory any more."""
        for server in self._fleet.servers.values():
            left = (server.recordings.count, server.space.used)
            expect(left == (0, 0), f"no recording, and no byte of one, in {server.name}", left)
            expect(
                server.cache.size <= self._keeping.max_cache_bytes,
                f"a cache within its bounds in {server.name}",
                server.cache.size,
            )

    async def _expect_no_rows(self) -> None:
        """Every key has expired: what sweeps finds them, and nothing is in the database."""
        now_ms = self._clock.now_ms() + KEPT_HOURS * 3_600_000 + 1
        for step in (
            self._office.recordings.end_dead,
            lambda limit: self._office.recordings.delete_expired(now_ms, limit),
        ):
            await step(10_000)
        left = self.disk.rows_of("recordings"), self.disk.rows_of("recording_frames")
        expect(left == (0, 0), "no recording in the database", left)

    async def _end_servers(self) -> None:
        for server in list(self._fleet.servers.values()):
            await server.process.start(server.drain(1.0))
            await server.exit()

    def _audit(self) -> None:
        """The real one, and the model."""
        self.disk.compare(thoroughly=True)
        audit = self.disk.verify()
        if not audit.is_clean:
            raise Violation(f"the audit found {audit.differences}")

    def _server(self, name: str, stream: Random) -> StreamServer:
        return StreamServer(
            name,
            self._keeping,
            disk=self.disk,
            models=self._models,
            upstreams=self._upstreams,
            clock=self._clock,
            trace=self.trace,
            draws=stream,
            settings=Settings(
                max_open=200, max_recording_bytes=50_000, cache_ttl_s=draws.CACHE_TTL_S
            ),
        )

    def _weather(self) -> Weather:
        """Some worlds are calm, some are rough."""
        match self._draws.randrange(3):
            case 0:
                return Weather.calm()
            case 1:
                return Weather(refuses=0.03, outage=0.005, told_too_early=0.01, unknown=0.03)
        return Weather()

    def _stream(self, name: str) -> Random:
        return Random(f"{self._seed} {name}")

    async def _watched(self, work: Coroutine[Any, Any, None]) -> None:
        """Do part of the world's own work, whose failure is the world's."""
        try:
            await work
        except Exception as error:  # noqa: BLE001 - nobody awaits it
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        if self.failed is None and self._main is not None:
            self.failed = error
            self._main.cancel()


def _keeping(stream: Random, max_bytes: int) -> Keeping:
    return Keeping(
        streams=StreamSettings(
            keep=stream.choice(("memory", "memory", "memory", "database", "off")),
            max_resume_window_s=draws.MOST_WINDOW_S,
            keyed_resume_window_s=30,
            idempotency_hours=KEPT_HOURS,
            stored_hours=KEPT_HOURS,
            resume_window_s={Scope.TYPED_STREAM: 20},
        ),
        max_bytes=max_bytes,
        max_cache_bytes=stream.choice((0, 20_000, 2**26, 2**26, 2**26)),
        max_cached_answer_bytes=stream.choice((3_000, 2**20, 2**20)),
    )
