from __future__ import annotations

import asyncio

import pytest
from tests.support.clock import SetClock
from tests.support.gates import Gate, until_idle

from bandari.domain import keys
from bandari.domain.faults import StoreUnavailable
from bandari.domain.keys import ApiKey, Principal
from bandari.domain.outcome import Deny, Reason
from bandari.service import access as access_module
from bandari.service.access import Access

PREFIX = "bd_test_"


class KeyStore:
    """The port ``Keys``, as far as access needs it."""

    def __init__(self) -> None:
        self.found: dict[bytes, tuple[ApiKey, tuple[str, ...]]] = {}
        self.asked = 0
        self.failing = False
        self.gate: Gate | None = None

    def add(self, number: int, *assets: str, revoked_ms: int | None = None) -> str:
        text = keys.spell(PREFIX, number.to_bytes(keys.SECRET_BYTES, "big"))
        key = ApiKey(number, 7, "amina", "k", "students", "…", 1, revoked_ms)
        self.found[keys.digest(text)] = (key, assets)
        return text

    async def find_key(self, digest: bytes):
        self.asked += 1
        if self.gate is not None:
            await self.gate.passing()
        if self.failing:
            raise StoreUnavailable
        return self.found.get(digest)


@pytest.fixture
def store():
    return KeyStore()


@pytest.fixture
def clock():
    return SetClock()


@pytest.fixture
def access(store, clock):
    return Access(store, clock, PREFIX)


async def test_a_key_stands_for_its_account_its_group_and_its_wallets(access, store):
    text = store.add(5, "KES", "TOKEN")
    assert await access.authenticate(text) == Principal(
        key_id=5, account_id=7, account="amina", group="students", assets=("KES", "TOKEN")
    )


@pytest.mark.parametrize("nothing", [None, ""])
async def test_no_key(access, store, nothing):
    refused = await access.authenticate(nothing)
    assert (refused.reason, store.asked) == (Reason.MISSING_KEY, 0)
    assert "Authorization: Bearer" in refused.detail


@pytest.mark.parametrize("change", [lambda t: t[:-1], lambda t: "sk-" + t, lambda t: t + "é"])
async def test_a_mistyped_key_is_known_for_one_without_asking_the_store(access, store, change):
    text = change(store.add(5))
    refused = await access.authenticate(text)
    assert (refused.reason, store.asked) == (Reason.MALFORMED_KEY, 0)
    assert text not in refused.detail
    assert f"begins with '{PREFIX}'" in refused.detail


async def test_an_unknown_key_is_asked_for_each_time(access, store):
    text = keys.spell(PREFIX, b"u" * 32)
    for _ in range(2):
        refused = await access.authenticate(text)
        assert refused.reason is Reason.UNKNOWN_KEY
        assert text not in refused.detail
    assert store.asked == 2


async def test_a_key_made_after_it_was_refused_works_at_once(access, store):
    text = keys.spell(PREFIX, (5).to_bytes(32, "big"))
    assert isinstance(await access.authenticate(text), Deny)
    assert store.add(5) == text
    assert isinstance(await access.authenticate(text), Principal)


async def test_a_found_key_is_remembered_for_a_second(access, store, clock):
    text = store.add(5)
    for _ in range(3):
        await access.authenticate(text)
    clock.pass_ms(999)
    await access.authenticate(text)
    assert store.asked == 1
    clock.pass_ms(1)
    await access.authenticate(text)
    assert store.asked == 2


async def test_a_revoked_key_stops_working_within_a_second(access, store, clock):
    text = store.add(5)
    await access.authenticate(text)
    store.add(5, revoked_ms=2)
    assert isinstance(await access.authenticate(text), Principal)
    clock.pass_ms(1000)
    for _ in range(2):
        assert (await access.authenticate(text)).reason is Reason.REVOKED_KEY
    assert store.asked == 3


async def test_a_key_that_is_gone_stops_working_within_a_second(access, store, clock):
    text = store.add(5)
    await access.authenticate(text)
    store.found.clear()
    clock.pass_ms(1000)
    assert (await access.authenticate(text)).reason is Reason.UNKNOWN_KEY
    assert not access._remembered


async def test_a_new_wallet_is_seen_within_a_second(access, store, clock):
    text = store.add(5)
    await access.authenticate(text)
    store.add(5, "KES")
    clock.pass_ms(1000)
    assert (await access.authenticate(text)).assets == ("KES",)


async def test_remembered_keys_are_bounded_and_the_oldest_goes(access, store, monkeypatch):
    monkeypatch.setattr(access_module, "MAX_REMEMBERED", 2)
    first, second, third = (store.add(number) for number in (1, 2, 3))
    for text in (first, second, third):
        await access.authenticate(text)
    assert len(access._remembered) == 2
    await access.authenticate(third)
    await access.authenticate(second)
    assert store.asked == 3
    await access.authenticate(first)
    assert store.asked == 4


async def test_a_store_that_is_down_lets_remembered_keys_work_and_no_others(access, store, clock):
    text = store.add(5)
    await access.authenticate(text)
    store.failing = True
    assert isinstance(await access.authenticate(text), Principal)
    clock.pass_ms(1000)
    with pytest.raises(StoreUnavailable):
        await access.authenticate(text)


async def test_requests_that_come_together_ask_the_store_once(access, store):
    text = store.add(5, "TOKEN")
    store.gate = Gate()
    asking = [asyncio.create_task(access.authenticate(text)) for _ in range(5)]
    await until_idle()
    asking[0].cancel()
    await until_idle()
    store.gate.open()
    answers = await asyncio.gather(*asking, return_exceptions=True)
    assert isinstance(answers[0], asyncio.CancelledError)
    assert {answer.key_id for answer in answers[1:]} == {5}
    assert store.asked == 1


async def test_a_store_that_fails_is_told_to_all_and_asked_again(access, store):
    text = store.add(5, "TOKEN")
    store.failing = True
    asking = [asyncio.create_task(access.authenticate(text)) for _ in range(3)]
    answers = await asyncio.gather(*asking, return_exceptions=True)
    assert {type(answer) for answer in answers} == {StoreUnavailable}
    store.failing = False
    assert (await access.authenticate(text)).key_id == 5
    assert store.asked == 2
