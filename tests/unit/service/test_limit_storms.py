"""Many clients at once under all limits, who leave when they like: nothing slips past or stays."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable

import pytest
from msgspec.structs import replace
from tests.support.gates import until
from tests.support.limited_answers import (
    PROMPT,
    asking,
    assert_nothing_reserved,
    begun,
    count,
    counters,
    used,
)
from tests.support.samples import a_model, a_principal, a_request
from tests.support.scripted_upstream import Script, ScriptedUpstream, finish, text
from tests.support.small_house import SmallHouse
from tests.support.spent_before import SpentBefore

from bandari.domain.accounts import AccountPolicy
from bandari.domain.allowance import Limits, Quota
from bandari.domain.catalogue import Group
from bandari.domain.faults import StoreUnavailable, UpstreamInterrupted
from bandari.domain.ledger import Ending
from bandari.domain.limits import Allotment
from bandari.domain.outcome import Deny


class Trickling(ScriptedUpstream):
    """Lets others run after each piece of an answer."""

    async def _answer(self, script, call):
        async for batch in super()._answer(script, call):
            yield batch
            await asyncio.sleep(0)


class Storm:
    """Many clients of one key, an end user and a model, who leave whenever they like."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)
        self.house = SmallHouse(model=a_model(limits=Limits(**MANY)), balance=40_000)
        self.reports = SpentBefore(books=self.house.books)
        self.house.limiter.__init__(clock=self.house.clock, reports=self.reports)
        self.house.inference.use({"acme": Trickling(*(self.script() for _ in range(60)))})
        self.principal = replace(
            asking(Quota(lifetime=9_000, per_day=8_000), **MANY),
            end_user="asha",
            account_policy=AccountPolicy(limits=Limits(**MANY), end_user_limits=Limits(**MANY)),
            group_terms=Group(name="staff", limits_together=Limits(**MANY)),
        )

    def script(self) -> Script:
        draw, many = self.draw, 0
        steps: list[object] = []
        for _ in range(draw.randrange(12)):
            many += draw.randrange(300)
            steps.append((count(draw.randrange(90, 110), many), text("word ")))
            steps.append(self.wind)
        ends = draw.choice([(finish(),), (UpstreamInterrupted(),), (ZeroDivisionError(),)])
        return Script(*steps, *ends)

    def wind(self) -> None:
        """Anything may happen between two steps of an answer."""
        draw = self.draw
        self.house.clock.pass_ms(draw.choice([0, 0, 10, 700]))
        if draw.random() < 0.03:
            self.house.books.failing[draw.choice(["post", "void", "extend", "place"])].append(
                StoreUnavailable()
            )

    async def client(self) -> None:
        draw, house = self.draw, self.house
        request = a_request(
            max_tokens=draw.choice([None, None, 10, 500]), n=1, stream=draw.random() < 0.7
        )
        unlimited = a_principal(end_user="asha", group_terms=Group(name="staff"))
        principal = self.principal if draw.random() < 0.9 else unlimited
        asked = asyncio.create_task(begun(house, principal, request))
        for _ in range(draw.randrange(40)):
            await asyncio.sleep(0)
        if draw.random() < 0.3:
            asked.cancel()
        try:
            generation = await asked
        except (asyncio.CancelledError, StoreUnavailable):
            return
        if isinstance(generation, Deny):
            return
        for _ in range(draw.randrange(40)):
            await asyncio.sleep(0)
        if draw.random() < 0.4:
            generation.stop(draw.choice([Ending.CLIENT_LEFT, Ending.SERVER_STOPPED]))

    async def blow(self) -> None:
        await asyncio.gather(*(self.client() for _ in range(60)))
        await until(lambda: not self.house.inference._running)
        self.house.books.failing.clear()
        await self.house.inference.settle_late()


MANY = {
    "tokens_per_minute": 7_000,
    "tokens_per_day": 30_000,
    "requests_per_day": 1000,
    "concurrent_requests": 20,
    "spend_per_month": {"TOKEN": 20_000},
}


@pytest.mark.parametrize("seed", range(25))
async def test_after_a_storm_all_that_was_charged_is_used_and_nothing_is_reserved(seed):
    storm = Storm(seed)
    await storm.blow()
    house = storm.house
    assert_nothing_reserved(house)
    assert not house.books.holds
    charged = sum(each.usage.total_tokens for each in house.books.receipts.values())
    paid = sum(each.amount for each in house.books.receipts.values())
    assert charged > 0
    for counter in counters(house):
        if isinstance(counter, Allotment):
            assert counter.used == (paid if counter.asset else charged), counter.name


class TokenByToken(Trickling):
    """As many tokens as are drawn, but no more than it was asked for."""

    def __init__(self, draw: random.Random, pass_ms: Callable[[int], None]) -> None:
        super().__init__()
        self.draw, self.pass_ms = draw, pass_ms

    async def _answer(self, script, call):
        most = call.request.sampling.max_tokens or 4096
        for many in range(1, 1 + min(most, self.draw.randrange(1, 2500))):
            yield count(PROMPT, many), text("x")
            await asyncio.sleep(0)
            self.pass_ms(self.draw.choice([0] * 100 + [20, 100]))
        yield (finish(),)


@pytest.mark.parametrize("seed", range(4))
async def test_two_hundred_clients_exceed_no_limit_by_a_single_token(seed):
    draw = random.Random(seed)
    house = SmallHouse(balance=10**9)
    house.limiter.__init__(clock=house.clock, reports=SpentBefore(books=house.books))
    began_ns = house.clock.monotonic_ns()
    house.inference.use({"acme": TokenByToken(draw, house.clock.pass_ms)})
    principal = asking(
        Quota(lifetime=[40_000, 10**6][seed % 2]),
        tokens_per_minute=[60_000, 9_000][seed % 2],
        spend_per_day={"TOKEN": 39_000},
        concurrent_requests=50,
    )

    async def client() -> None:
        for _ in range(draw.randrange(400)):
            await asyncio.sleep(0)
        request = a_request(max_tokens=draw.choice([None, None, 100, 900]))
        generation = await begun(house, principal, request)
        if isinstance(generation, Deny):
            return
        for _ in range(draw.randrange(3000)):
            await asyncio.sleep(0)
        if draw.random() < 0.5:
            generation.stop(Ending.CLIENT_LEFT)
        await until(lambda: generation.is_settled)

    for _ in range(4):
        await asyncio.gather(*(client() for _ in range(50)))
    assert_nothing_reserved(house)
    charged = sum(each.usage.total_tokens for each in house.books.receipts.values())
    assert used(house, "key.quota.lifetime") == charged <= principal.policy.quota.lifetime
    assert used(house, "key.spend_per_day.TOKEN") == charged <= 39_000
    a_minute = principal.policy.limits.tokens_per_minute
    passed_ns = house.clock.monotonic_ns() - began_ns
    assert charged <= a_minute + a_minute * passed_ns // 60_000_000_000
    endings = {each.ending for each in house.books.receipts.values()}
    assert endings >= {Ending.COMPLETED, Ending.CLIENT_LEFT, Ending.LIMIT_REACHED}
