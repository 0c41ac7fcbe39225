"""Upstreams exchanged while requests run: each request goes on with those it began with."""

from __future__ import annotations

from tests.support.embedding_house import EmbeddingHouse, ScriptedEmbeddings
from tests.support.samples import a_model, a_principal, a_request
from tests.support.scripted_upstream import Script, ScriptedUpstream, finish, text
from tests.support.small_house import SmallHouse

from bandari.domain.catalogue import Target
from bandari.domain.faults import UpstreamUnreachable
from bandari.domain.ledger import CountRule
from bandari.service.counting import Counting
from bandari.service.estimates import Estimates
from bandari.service.models import Models


async def test_an_answer_is_the_former_upstream_s_to_its_last_count():
    """It is gone when the hold has been placed; it is asked, and counts the text, all the same."""
    former = ScriptedUpstream(
        Script(text("Hello"), finish()), counts_text=True, text_tokens=7, input_tokens=3
    )
    house = SmallHouse(former)
    house.books.before_place = lambda _: house.inference.use({})
    done = await house.answer(a_request())
    assert len(former.calls) == 1
    assert done.receipt is not None
    assert (done.receipt.rule, done.receipt.usage.output_tokens) == (
        CountRule.COUNTED,
        7,
    )


async def test_a_fallback_is_among_the_former_ones():
    broken = ScriptedUpstream(Script(entering=[UpstreamUnreachable()]), name="first")
    second = ScriptedUpstream(name="second")
    model = a_model(targets=(Target("first", "a"), Target("second", "b", priority=1)))
    house = SmallHouse({"first": broken, "second": second}, model=model)
    house.books.before_place = lambda _: house.inference.use({"first": ScriptedUpstream()})
    done = await house.answer(a_request())
    assert done.receipt is not None
    assert len(second.calls) == 1


async def test_who_comes_later_asks_the_new_one():
    former, new = ScriptedUpstream(), ScriptedUpstream()
    house = SmallHouse(former)
    house.inference.use({"acme": new})
    await house.answer(a_request())
    assert (len(former.calls), len(new.calls)) == (0, 1)


async def test_vectors_are_the_former_upstream_s_to_their_last_count():
    former = ScriptedEmbeddings(input_tokens=4)
    house = EmbeddingHouse(former)
    house.books.before_place = lambda _: house.embedding.use({})
    await house.embedded()
    assert len(former.asked) == 1


async def test_who_embeds_later_asks_the_new_one():
    former, new = ScriptedEmbeddings(), ScriptedEmbeddings()
    house = EmbeddingHouse(former)
    house.embedding.use({"acme": new})
    await house.embedded()
    assert (len(former.asked), len(new.asked)) == (0, 1)


async def test_a_prompt_is_counted_by_the_new_one():
    target = Target("a", "a-1")
    counting = Counting(
        Models([a_model(targets=(target,))]), {"a": ScriptedUpstream(input_tokens=1)}, Estimates()
    )
    counting.use({"a": ScriptedUpstream(input_tokens=2)})
    assert await counting.count(a_principal(), a_request()) == 2
