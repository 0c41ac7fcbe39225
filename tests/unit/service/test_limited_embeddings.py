"""Embeddings under limits: a prompt alone is reserved, and replaced by what was used."""

from __future__ import annotations

import pytest
from tests.support.embedding_house import EmbeddingHouse, ScriptedEmbeddings, a_text, vectors
from tests.support.gates import Gate, until_idle
from tests.support.limited_answers import (
    ALL,
    asking,
    assert_nothing_reserved,
    counters,
    used,
)

from bandari.domain.allowance import Quota
from bandari.domain.faults import OwnFault, StoreUnavailable, UpstreamInterrupted
from bandari.domain.limits import Window
from bandari.domain.outcome import Deny, Reason


async def embed(house, principal):
    run = await house.embedding.begin(principal, a_text())
    if not isinstance(run, Deny):
        try:
            await run.result()
        except OwnFault:
            await until_idle()
    return run


async def test_a_prompt_alone_is_reserved_and_replaced():
    gate = Gate()
    house = EmbeddingHouse(ScriptedEmbeddings(gate, vectors()))
    run = await house.embedding.begin(asking(**ALL), a_text())
    assert run.standing.tokens.remaining == 10**6 - 20
    gate.open()
    await run.result()
    assert run.standing.tokens.remaining == 10**6 - 5
    assert used(house, "key.quota.lifetime") == 5
    assert_nothing_reserved(house)


async def test_a_prompt_is_counted_where_its_quota_does_not_cover_the_bound():
    house = EmbeddingHouse(ScriptedEmbeddings(input_tokens=5))
    assert not isinstance(await embed(house, asking(Quota(lifetime=12))), Deny)
    assert not isinstance(await embed(house, asking(Quota(lifetime=12))), Deny)
    deny = await embed(house, asking(Quota(lifetime=12)))
    assert deny.reason is Reason.KEY_QUOTA
    assert used(house, "key.quota.lifetime") == 10


async def test_a_quota_may_be_used_up_by_a_prompt_alone():
    house = EmbeddingHouse()
    assert not isinstance(await embed(house, asking(Quota(lifetime=20))), Deny)


async def test_what_the_wallet_has_had_counted_is_all_that_stays_reserved():
    house = EmbeddingHouse(ScriptedEmbeddings(Gate(), input_tokens=5), balance=10)
    await house.embedding.begin(asking(**ALL), a_text())
    assert next(each for each in counters(house) if isinstance(each, Window)).outstanding == 5


async def test_a_wallet_that_refuses_a_prompt_gives_its_claim_back():
    house = EmbeddingHouse(balance=10)
    assert (await embed(house, asking(**ALL))).reason is Reason.INSUFFICIENT_BALANCE
    assert_nothing_reserved(house)


@pytest.mark.parametrize("fault", [UpstreamInterrupted(), ZeroDivisionError()])
async def test_what_was_not_computed_is_given_back(fault):
    house = EmbeddingHouse(ScriptedEmbeddings(fault))
    run = await house.embedding.begin(asking(**ALL), a_text())
    with pytest.raises((UpstreamInterrupted, OwnFault)):
        await run.result()
    assert_nothing_reserved(house)
    assert used(house, "key.quota.lifetime") == 0


@pytest.mark.parametrize("lost", [True, False])
async def test_vectors_that_could_not_be_charged_stay_reserved_until_that_is_seen_to(lost):
    house = EmbeddingHouse()
    post = house.books.post

    async def fail(charge):
        if lost:
            await post(charge)
        raise StoreUnavailable

    house.books.post = fail
    await embed(house, asking(**ALL))
    assert any(getattr(each, "outstanding", 0) for each in counters(house))
    await house.service_books.end_strays()
    assert_nothing_reserved(house)
    assert used(house, "key.quota.lifetime") == (5 if lost else 0)


async def test_vectors_whose_hold_could_not_be_voided_use_nothing():
    house = EmbeddingHouse(ScriptedEmbeddings(UpstreamInterrupted()))
    house.books.failing["void"] = [StoreUnavailable()]
    run = await house.embedding.begin(asking(**ALL), a_text())
    with pytest.raises(UpstreamInterrupted):
        await run.result()
    assert_nothing_reserved(house)
    await house.service_books.end_strays()
    assert not house.books.holds
