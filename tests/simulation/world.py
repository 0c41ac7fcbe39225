"""A world: servers, providers, clients, a cashier and a disk, for some requests, from one seed.

``run`` returns what happened, or raises a ``Violation`` whose text has the trace's last lines.
Everything that is random is drawn from the seed; each part has a stream of draws of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass
from random import Random
from typing import Any

from msgspec.structs import replace
from tests.simulation import draws
from tests.simulation.books_model import expect
from tests.simulation.clients import ask
from tests.simulation.disk import Disk, Weather
from tests.simulation.fleet import Fleet
from tests.simulation.oracle import Oracle
from tests.simulation.performing import Report, perform, unhandled
from tests.simulation.process import Process
from tests.simulation.servers import Server
from tests.simulation.store import Store
from tests.simulation.story import Story
from tests.simulation.trace import Trace, Violation
from tests.simulation.upstreams import PROVIDERS, SimulatedUpstream
from tests.support.virtual_time import VirtualClock, VirtualLoop

from bandari.domain.accounts import AccountPolicy, EndUserTerms
from bandari.domain.faults import StoreUnavailable
from bandari.domain.keys import Principal
from bandari.service.inference import Settings

CALM_S = 60.0
"""After the faults have stopped and the last client has gone, within this all is settled."""
QUIET_S = 30.0
"""And in this long after that nothing happens any more."""
MEAN_LIFE_S = 60.0
TRANSFERS_PER_S = 0.12
PROMPT_MARGIN = 100
READ_RECEIPTS = 20


@dataclass
class _Customer:
    """An account as its requests are asked; its end users with what they have wallets in."""

    principal: Principal
    plan: draws.AccountPlan
    end_users: dict[str, EndUserTerms]


def run(seed: int, requests: int) -> Report:
    """One world. The same seed and number of requests give the same report, to the digest."""
    return perform(seed, requests, lambda loop: _World(seed, requests, loop))


class _World:
    def __init__(self, seed: int, requests: int, loop: VirtualLoop) -> None:
        self.failed: BaseException | None = None
        self.trace = Trace(loop.time)
        self._seed = seed
        self._requests = requests
        self._loop = loop
        loop.set_exception_handler(unhandled(self._fail))
        self._draws = self._stream("world")
        self._clock = VirtualClock(loop)
        self._is_shared = self._draws.random() < 0.75
        self.disk = Disk(self._stream("disk"), self.trace, is_shared=self._is_shared)
        self._models = draws.models(self._draws)
        self._stories: dict[str, Story] = {}
        self._upstreams = {
            habits.name: SimulatedUpstream(
                habits, self._stories, self._stream(f"upstream {habits.name}"), self.trace
            )
            for habits in PROVIDERS
        }
        self._slots = self._draws.randrange(1, 4) if self._is_shared else 1
        self._settings = Settings(
            max_open=self._draws.choice((40, 200)),
            max_recording_bytes=self._draws.choice((8_000, 2**25)),
        )
        self._oracle = Oracle(self.disk, self.trace, self._settings.max_recording_bytes)
        self._groups = {name: draws.group(self._draws, name) for name in draws.GROUPS}
        self._customers: list[_Customer] = []
        self._handlers: list[asyncio.Task[Any]] = []
        self._main: asyncio.Task[Any] | None = None
        self._calm = asyncio.Event()
        self._fleet: Fleet[Server] = Fleet(
            self._server,
            trace=self.trace,
            calm=self._calm,
            is_shared=self._is_shared,
            mean_life_s=MEAN_LIFE_S,
            draining=self._drains,
            ended=self._ended,
        )

    async def live(self) -> None:
        """From the first account to the silence after the last request."""
        self._main = asyncio.current_task()
        office = Process("office")
        self._office = Store(self.disk, office.name)
        await office.start(self._open_accounts())
        self.disk.weather = self._weather()
        slots = [
            asyncio.ensure_future(
                self._watched(self._fleet.keep_up(slot, self._stream(f"slot {slot}")))
            )
            for slot in range(self._slots)
        ]
        cashier = office.start(self._watched(self._keep_cash()))
        await self._send_requests()
        self._calm.set()
        self.disk.end_of_faults()
        self.trace.tell("calm")
        await asyncio.wait(slots)
        await asyncio.wait(self._handlers)
        cashier.cancel()
        await asyncio.sleep(CALM_S)
        self._fleet.look_after_tasks()
        if self.disk.model.holds:
            raise Violation(f"holds that nobody ends: {sorted(self.disk.model.holds)}")
        ended = len(self.disk.model.ended)
        await asyncio.sleep(QUIET_S)
        if ended != len(self.disk.model.ended):
            raise Violation("something was charged after all had ended")
        for server in list(self._fleet.servers.values()):
            await server.process.start(server.drain(1.0))
            await server.exit()
        await self._read_receipts()

    def judge(self) -> None:
        """When all is over: the audit, and then each request."""
        self._audit()
        known = {story.hold_id for story in self._stories.values()}
        for hold_id in self.disk.model.ended:
            if hold_id not in known:
                raise Violation(f"the hold {hold_id} belongs to nobody")
        for story in self._stories.values():
            try:
                self._oracle.judge(story)
            except Violation as violation:
                lines = [*self.trace.last(30, story.name), *self.trace.last(30, story.hold_id)]
                raise Violation("\n".join([*lines, str(violation)])) from violation

    async def _read_receipts(self) -> None:
        """What can be read is what was told: of some receipts, by their owner and by others."""
        ledger = self._office.ledger
        for story in self._draws.sample(list(self._stories.values()), READ_RECEIPTS):
            ended = self.disk.model.ended.get(story.hold_id)
            right = None if ended is None else ended.receipt
            account_id = story.principal.account_id
            for reader, found in ((account_id, right), (None, right), (account_id + 1, None)):
                read = await ledger.receipt(story.hold_id, reader)
                expect(read == found, f"the receipt {found}", read)

    async def _open_accounts(self) -> None:
        office = self._office
        now_ms = self._clock.now_ms()
        for number, plan in enumerate(draws.accounts(self._draws)):
            account = await office.create_account(plan.name, now_ms)
            key = await office.create_key(account.id, number, now_ms)
            for end_user, wallets in {"": plan.first, **plan.end_users}.items():
                for asset, amount in wallets.items():
                    await office.transfer(account.id, asset, amount, now_ms, end_user)
            principal = Principal(
                *(key.id, account.id, plan.name, plan.group, tuple(plan.first)),
                account_policy=AccountPolicy(needs_sub_wallets=plan.needs_sub_wallets),
                has_end_users=bool(plan.end_users),
            )
            terms = {
                name: EndUserTerms(assets=tuple(wallets))
                for name, wallets in plan.end_users.items()
            }
            self._customers.append(_Customer(principal, plan, terms))

    async def _keep_cash(self) -> None:
        """Top-ups, and now and then somebody takes money out, or moves it; and other terms."""
        stream = self._stream("cashier")
        while True:
            await asyncio.sleep(stream.expovariate(TRANSFERS_PER_S))
            if stream.random() < 0.1:
                name = stream.choice(draws.GROUPS)
                self._groups[name] = draws.group(stream, name)
                self.trace.count("a group with other terms")
            customer = stream.choice(self._customers)
            principal = customer.principal
            if not principal.assets:
                continue
            asset = stream.choice(principal.assets)
            amount = stream.randrange(1, customer.plan.top_up + 2)
            chance = stream.random()
            if chance < 0.25:
                amount = -amount
            elif chance < 0.3:
                asset = stream.choice(draws.ASSETS)  # perhaps the first of its kind
            with suppress(StoreUnavailable):
                if customer.end_users and stream.random() < 0.5:
                    name = stream.choice(list(customer.end_users))
                    await self._move(customer, name, asset, amount)
                else:
                    await self._transfer(customer, asset, amount)

    async def _transfer(self, customer: _Customer, asset: str, amount: int) -> None:
        principal = customer.principal
        wallet = await self._office.transfer(
            principal.account_id, asset, amount, self._clock.now_ms()
        )
        self.trace.count("transfer" if wallet is not None else "transfer refused")
        if asset not in principal.assets and wallet is not None:
            customer.principal = replace(principal, assets=(*principal.assets, asset))
            self.trace.count("new wallet")

    async def _move(self, customer: _Customer, end_user: str, asset: str, amount: int) -> None:
        """Between the account's wallet and its end user's."""
        principal, terms = customer.principal, customer.end_users[end_user]
        moved = await self._office.move(
            principal.account_id, end_user, asset, amount, self._clock.now_ms()
        )
        self.trace.count("move" if moved is not None else "move refused")
        if asset not in terms.assets and moved is not None:
            customer.end_users[end_user] = EndUserTerms(assets=(*terms.assets, asset))
            self.trace.count("new sub-wallet")

    async def _send_requests(self) -> None:
        """In bursts, and until the last of them has begun."""
        stream = self._stream("clients")
        rate = stream.choice((1.5, 4.0, 10.0))
        for number in range(self._requests):
            if number % 50 == 0:
                rate = stream.choice((0.3, 1.5, 4.0, 10.0, 40.0))
            await asyncio.sleep(stream.expovariate(rate))
            story = self._story(stream, number)
            serving = [server for server in self._fleet.servers.values() if server.is_serving]
            if not serving:
                story.outcome = "no server"
                continue
            server = stream.choice(serving)
            self.trace.tell("asks", f"{story.name} of {server.name}")
            handler = server.process.start(ask(server, story, self._saw_end))
            self._handlers.append(handler)

    def _story(self, stream: Random, number: int) -> Story:
        model = stream.choice(self._models)
        principal = self._asking(stream)
        plan = draws.request(stream, model, f"r{number}")
        story = Story(
            number,
            plan.request,
            principal,
            plan.prompt_tokens,
            plan.leaves_after_s,
            plan.pause_s,
            plan.given_up_after_s,
            prompt_is_cut=plan.prompt_tokens + PROMPT_MARGIN > model.context_window,
        )
        self._stories[story.name] = story
        return story

    def _asking(self, stream: Random) -> Principal:
        """As ``Access`` tells it: with the group's terms of now, and some for an end user."""
        weights = [customer.plan.weight for customer in self._customers]
        customer = stream.choices(self._customers, weights)[0]
        principal = customer.principal
        terms = self._groups[principal.group]
        if not customer.end_users or stream.random() < 0.7:
            return replace(principal, group_terms=terms)
        name = stream.choice(list(customer.end_users))
        return replace(
            principal, group_terms=terms, end_user=name, end_user_terms=customer.end_users[name]
        )

    def _drains(self, server: Server) -> None:
        for story in server.stories.values():
            story.was_drained = True

    def _ended(self, server: Server) -> None:
        self._audit()
        for story in self._stories.values():
            if story.server == server.name:
                story.server_is_gone = True

    def _audit(self) -> None:
        """The real one, and the model."""
        self.disk.compare(thoroughly=True)
        audit = self.disk.verify()
        if not audit.is_clean:
            raise Violation(f"the audit found {audit.differences}")

    def _server(self, name: str, stream: Random) -> Server:
        return Server(
            name,
            disk=self.disk,
            models=draws.new_prices(stream, self._models),
            upstreams=self._upstreams,
            clock=self._clock,
            trace=self.trace,
            draws=stream,
            settings=self._settings,
        )

    def _weather(self) -> Weather:
        """Some worlds are calm, some are rough."""
        match self._draws.randrange(4):
            case 0:
                return Weather(refuses=0, outage=0, told_too_early=0, unknown=0)
            case 1:
                return Weather(refuses=0.03, outage=0.005, told_too_early=0.01, unknown=0.03)
        return Weather()

    def _stream(self, name: str) -> Random:
        return Random(f"{self._seed} {name}")

    def _saw_end(self, story: Story) -> None:
        try:
            self._oracle.saw_end(story)
        except Violation as violation:
            self._fail(violation)

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
