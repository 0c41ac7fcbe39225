"""Embeddings as a use case: what is held, who is asked, and what is charged, whatever happens."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace
from tests.support.embedding_house import (
    EmbeddingHouse,
    ScriptedEmbeddings,
    a_text,
    an_embedding_model,
    vectors,
)
from tests.support.gates import Gate, until, until_idle
from tests.support.samples import PER_REQUEST, SHILLINGS, a_model, a_principal

from bandari.domain.catalogue import Target
from bandari.domain.estimate import Basis
from bandari.domain.faults import (
    ContextLengthExceeded,
    Interrupted,
    InvalidValue,
    ModelNotFound,
    OwnFault,
    StoreUnavailable,
    UnsupportedField,
    UpstreamMalformed,
    UpstreamOverloaded,
)
from bandari.domain.ledger import Ending
from bandari.domain.outcome import Deny, Reason
from bandari.domain.usage import CountRule, Usage

TWO_TARGETS = (Target("acme", "acme-1"), Target("b", "b-1", priority=1))


async def refused(house: EmbeddingHouse, request=None) -> Deny:
    outcome = await house.embedding.begin(a_principal(), request or a_text())
    assert isinstance(outcome, Deny)
    assert house.open_requests.count == 0
    return outcome


# -- a good answer ---------------------------------------------------------------------------------


async def test_what_the_upstream_reported_is_charged():
    house = EmbeddingHouse()
    result, receipt = await house.embedded()
    assert result.answer == vectors()
    assert result.usage == Usage(input_tokens=5)
    assert (receipt.amount, receipt.usage, receipt.rule) == (5, result.usage, CountRule.REPORTED)
    assert (receipt.ending, receipt.target) == (Ending.COMPLETED, "acme:acme-1")
    assert (receipt.model, receipt.finish_reason) == ("bandari-1", None)
    assert house.books.wallet().balance == 1_000_000 - 5
    assert house.books.wallet().held == 0
    ((request, model),) = house.upstreams["acme"].asked
    assert (request, model) == (a_text(), "acme-1")


async def test_the_bound_of_the_prompt_is_held_and_no_output():
    gate = Gate()
    house = EmbeddingHouse(ScriptedEmbeddings(gate, vectors()))
    run = await house.begin()
    (hold,) = house.books.holds.values()
    assert (hold.amount, hold.epoch, hold.id) == (20, 1, run.receipt_id)
    assert hold.created_ms == house.clock.now_ms()
    assert run.receipt_id.startswith("rcpt_")
    gate.open()
    await run.result()


async def test_a_hold_is_durable_before_the_upstream_is_asked():
    house = EmbeddingHouse()
    place = house.books.held_up("place")
    beginning = asyncio.create_task(house.begin())
    await place.reached.wait()
    await until_idle()
    assert not house.upstreams["acme"].asked
    place.open()
    await (await beginning).result()


async def test_nobody_gets_vectors_before_they_are_charged():
    house = EmbeddingHouse()
    post = house.books.held_up("post")
    run = await house.begin()
    waiting = asyncio.create_task(run.result())
    await post.reached.wait()
    await until_idle()
    assert not waiting.done()
    post.open()
    await waiting


async def test_what_is_dearer_than_the_hold_is_paid_and_the_rest_is_ours():
    house = EmbeddingHouse(ScriptedEmbeddings(vectors(tokens=50)), balance=30)
    _, receipt = await house.embedded()
    assert (receipt.amount, receipt.overrun) == (30, 20)
    assert house.metrics.of("overrun") == [("TOKEN", 20)]


async def test_a_card_with_a_price_per_request():
    house = EmbeddingHouse(model=an_embedding_model(rate_cards=(PER_REQUEST,)))
    _, receipt = await house.embedded()
    assert receipt.amount == 7


async def test_the_end_user_is_kept():
    """The principal's: who else the body may name has been seen at the edge."""
    house = EmbeddingHouse()
    _, receipt = await house.embedded(a_text(user="amina"))
    assert receipt.end_user is None
    run = await house.embedding.begin(replace(a_principal(), end_user="asha"), a_text(user="amina"))
    assert not isinstance(run, Deny)
    await run.result()
    assert house.books.receipts[run.receipt_id].end_user == "asha"


async def test_what_was_ignored_is_known_of_who_answered():
    upstreams = {
        "acme": ScriptedEmbeddings(UpstreamOverloaded(), ignored=("a",)),
        "b": ScriptedEmbeddings(ignored=("b",)),
    }
    house = EmbeddingHouse(upstreams, model=an_embedding_model(targets=TWO_TARGETS))
    run = await house.begin()
    await run.result()
    assert run.ignored == ("b",)


async def test_the_dashboards_see_it_like_any_answer():
    house = EmbeddingHouse()
    await house.embedded()
    assert house.metrics.told == [
        ("generation_started", "bandari-1"),
        ("generation_ended", "bandari-1", Ending.COMPLETED, Usage(input_tokens=5)),
    ]


# -- counting --------------------------------------------------------------------------------------


async def test_without_a_report_given_tokens_are_counted():
    house = EmbeddingHouse(ScriptedEmbeddings(vectors(2, tokens=None), input_tokens=99))
    request = a_text(inputs=((1, 2, 3), (4,)), input_bytes=0)
    result, receipt = await house.embedded(request)
    assert (result.usage.input_tokens, receipt.rule) == (4, CountRule.COUNTED)
    assert house.upstreams["acme"].counted == 0


async def test_without_a_report_the_tokenizer_is_asked():
    house = EmbeddingHouse(ScriptedEmbeddings(vectors(tokens=None), input_tokens=7))
    result, receipt = await house.embedded()
    assert (result.usage.input_tokens, receipt.rule, receipt.amount) == (7, CountRule.COUNTED, 7)


@pytest.mark.parametrize("counted", [None, ZeroDivisionError()])
async def test_without_anybody_who_counts_it_is_estimated(counted):
    house = EmbeddingHouse(ScriptedEmbeddings(vectors(tokens=None), input_tokens=counted))
    result, receipt = await house.embedded(a_text("x" * 41))
    assert result.usage.input_tokens == 11  # ceil(41 / 4)
    assert receipt.rule is CountRule.ESTIMATED
    assert receipt.basis == Basis(input_bytes=41)


async def test_reports_teach_what_estimates_go_by():
    reporting, silent = vectors(tokens=50_000), vectors(tokens=None)
    house = EmbeddingHouse(ScriptedEmbeddings(reporting, silent))
    await house.embedded(a_text("x" * 100_000))
    result, receipt = await house.embedded(a_text("x" * 1000))
    assert receipt.rule is CountRule.ESTIMATED
    assert 450 < result.usage.input_tokens < 500


async def test_tokens_teach_nothing_about_texts():
    house = EmbeddingHouse(ScriptedEmbeddings(vectors(tokens=1000)))
    await house.embedded(a_text(inputs=((1,) * 1000,), input_bytes=0))
    assert house.estimates.ratios("acme:acme-1") == Basis().ratios


# -- refusals, which cost nothing ------------------------------------------------------------------


async def test_a_model_that_only_writes_is_refused_by_name():
    house = EmbeddingHouse(model=a_model())
    with pytest.raises(InvalidValue) as refusal:
        await house.begin()
    assert refusal.value.param == "model"
    assert not house.books.log
    assert house.open_requests.count == 0


async def test_a_model_that_is_not_there():
    with pytest.raises(ModelNotFound):
        await EmbeddingHouse().begin(a_text(model="nothing"))


async def test_dimensions_are_for_models_that_take_them():
    house = EmbeddingHouse()
    with pytest.raises(UnsupportedField) as refusal:
        await house.begin(a_text(dimensions=8))
    assert refusal.value.param == "dimensions"
    assert not house.books.log
    able = EmbeddingHouse(model=an_embedding_model(takes_dimensions=True))
    await able.embedded(a_text(dimensions=8))
    assert able.upstreams["acme"].asked[0][0].dimensions == 8


async def test_tokens_beyond_the_window_are_refused():
    house = EmbeddingHouse(model=an_embedding_model(context_window=256))
    with pytest.raises(ContextLengthExceeded):
        await house.begin(a_text(inputs=((1,) * 257,)))


async def test_a_provider_without_vectors_is_passed_over():
    targets = (Target("writer", "w"), Target("acme", "acme-1", priority=1))
    house = EmbeddingHouse(model=an_embedding_model(targets=targets))
    _, receipt = await house.embedded()
    assert receipt.target == "acme:acme-1"
    none = EmbeddingHouse(model=an_embedding_model(targets=targets[:1]))
    with pytest.raises(ModelNotFound) as refusal:
        await none.begin()
    assert "makes no embeddings" in refusal.value.message


async def test_a_wallet_that_does_not_cover_the_prompt_is_refused():
    house = EmbeddingHouse(balance=19)
    denied = await refused(house)
    assert denied.reason is Reason.INSUFFICIENT_BALANCE
    assert "19 TOKEN are free, and the prompt may cost 20" in denied.detail
    assert not house.books.log
    assert not house.upstreams["acme"].asked


async def test_a_wallet_that_covers_the_prompt_to_the_last_token_is_enough():
    house = EmbeddingHouse(ScriptedEmbeddings(vectors(tokens=20)), balance=20)
    await house.embedded()
    assert house.books.wallet().balance == 0


async def test_where_the_bound_leaves_a_doubt_the_prompt_is_counted():
    house = EmbeddingHouse(ScriptedEmbeddings(vectors(tokens=None), input_tokens=6), balance=6)
    _, receipt = await house.embedded()
    assert (receipt.amount, receipt.rule) == (6, CountRule.COUNTED)
    assert house.books.writes("place") == [6]
    assert house.upstreams["acme"].counted == 1


async def test_a_prompt_that_was_counted_and_is_too_dear_is_refused():
    house = EmbeddingHouse(ScriptedEmbeddings(input_tokens=7), balance=6)
    denied = await refused(house)
    assert "6 TOKEN are free, and the prompt may cost 7" in denied.detail
    assert house.upstreams["acme"].counted == 1


@pytest.mark.parametrize("cards", [(SHILLINGS,), None])
async def test_without_a_wallet_in_the_asset_it_is_refused(cards):
    if cards is None:  # the key says that there is a wallet, and it is not there
        house = EmbeddingHouse(balance=0)
    else:
        house = EmbeddingHouse(model=an_embedding_model(rate_cards=cards))
    assert "has no balance in" in (await refused(house)).detail


# -- failures --------------------------------------------------------------------------------------


async def test_the_next_target_is_asked_when_one_fails():
    upstreams = {"acme": ScriptedEmbeddings(UpstreamMalformed()), "b": ScriptedEmbeddings()}
    house = EmbeddingHouse(upstreams, model=an_embedding_model(targets=TWO_TARGETS))
    _, receipt = await house.embedded()
    assert receipt.target == "b:b-1"
    assert house.metrics.of("upstream_failed") == [("acme", "upstream_malformed")]


async def test_a_request_that_one_target_finds_wrong_is_not_tried_elsewhere():
    upstreams = {"acme": ScriptedEmbeddings(ContextLengthExceeded()), "b": ScriptedEmbeddings()}
    house = EmbeddingHouse(upstreams, model=an_embedding_model(targets=TWO_TARGETS))
    run = await house.begin()
    with pytest.raises(ContextLengthExceeded):
        await run.result()
    assert not upstreams["b"].asked


@pytest.mark.parametrize(
    ("failure", "raised"),
    [
        (UpstreamOverloaded(), UpstreamOverloaded),
        (ContextLengthExceeded(), ContextLengthExceeded),
        (ZeroDivisionError(), OwnFault),
    ],
)
async def test_a_failure_is_free(failure, raised):
    house = EmbeddingHouse(ScriptedEmbeddings(failure))
    run = await house.begin()
    with pytest.raises(raised):
        await run.result()
    assert house.books.voided == [run.receipt_id]
    assert house.books.wallet().free == 1_000_000
    await until_idle()
    assert house.open_requests.count == 0


@pytest.mark.parametrize("failure", [StoreUnavailable(), ZeroDivisionError()])
async def test_what_cannot_be_charged_is_an_error_and_free_in_the_end(failure):
    house = EmbeddingHouse()
    house.books.failing["post"] = [failure]
    run = await house.begin()
    with pytest.raises(OwnFault):
        await run.result()
    assert house.service_books.has_strays
    assert house.books.wallet().held == 20
    await house.service_books.end_strays()
    assert house.books.voided == [run.receipt_id]
    assert house.books.wallet().free == 1_000_000


@pytest.mark.parametrize("failure", [StoreUnavailable(), ZeroDivisionError()])
async def test_a_hold_that_cannot_be_voided_is_voided_later(failure):
    house = EmbeddingHouse(ScriptedEmbeddings(UpstreamOverloaded()))
    house.books.failing["void"] = [failure]
    run = await house.begin()
    with pytest.raises(UpstreamOverloaded):
        await run.result()
    await house.service_books.end_strays()
    assert house.books.voided == [run.receipt_id]


@pytest.mark.parametrize("how", ["failing", "losing"])
async def test_a_hold_that_was_in_doubt_ends_in_any_case(how):
    house = EmbeddingHouse()
    getattr(house.books, how)["place"] = [StoreUnavailable()]
    with pytest.raises(StoreUnavailable):
        await house.begin()
    assert house.open_requests.count == 0
    await house.service_books.end_strays()
    assert house.books.wallet().held == 0
    assert not house.upstreams["acme"].asked


# -- clients that leave, and servers that end ------------------------------------------------------


async def test_a_client_that_leaves_pays_for_what_was_computed():
    gate = Gate()
    house = EmbeddingHouse(ScriptedEmbeddings(gate, vectors()))
    run = await house.begin()
    await gate.reached.wait()
    run.client_left()
    gate.open()
    await run.result()
    receipt = house.books.receipts[run.receipt_id]
    assert (receipt.ending, receipt.amount) == (Ending.CLIENT_LEFT, 5)


async def test_whoever_waits_may_be_cancelled_and_the_run_goes_on():
    gate = Gate()
    house = EmbeddingHouse(ScriptedEmbeddings(gate, vectors()))
    run = await house.begin()
    waiting = asyncio.create_task(run.result())
    await gate.reached.wait()
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    gate.open()
    await until_idle()
    assert house.books.receipts[run.receipt_id].amount == 5


async def test_a_client_that_left_before_anybody_was_asked_pays_nothing():
    house = EmbeddingHouse()
    run = await house.begin()
    run.client_left()
    with pytest.raises(Interrupted):
        await run.result()
    assert house.books.voided == [run.receipt_id]
    assert not house.upstreams["acme"].asked


async def test_nobody_else_is_asked_for_a_client_that_has_left():
    gate = Gate()
    upstreams = {
        "acme": ScriptedEmbeddings(gate, UpstreamOverloaded()),
        "b": ScriptedEmbeddings(),
    }
    house = EmbeddingHouse(upstreams, model=an_embedding_model(targets=TWO_TARGETS))
    run = await house.begin()
    await gate.reached.wait()
    run.client_left()
    gate.open()
    with pytest.raises(Interrupted):
        await run.result()
    assert house.books.voided == [run.receipt_id]
    assert not upstreams["b"].asked


async def test_what_runs_when_draining_begins_may_finish():
    gate = Gate()
    house = EmbeddingHouse(ScriptedEmbeddings(gate, vectors()))
    run = await house.begin()
    await gate.reached.wait()
    draining = asyncio.create_task(house.open_requests.drain(60, 60))
    await until_idle()
    assert not draining.done()
    gate.open()
    await draining
    assert house.books.receipts[run.receipt_id].ending is Ending.COMPLETED


async def test_what_is_late_is_given_up_and_free():
    gate = Gate()
    house = EmbeddingHouse(ScriptedEmbeddings(gate, vectors()))
    run = await house.begin()
    await gate.reached.wait()
    await house.open_requests.drain(0, 60)
    with pytest.raises(Interrupted):
        await run.result()
    assert house.books.voided == [run.receipt_id]
    assert house.open_requests.count == 0
    assert run._task.cancelling() == 0


async def test_a_charge_that_is_being_written_is_not_given_up():
    house = EmbeddingHouse()
    post = house.books.held_up("post")
    run = await house.begin()
    await post.reached.wait()
    draining = asyncio.create_task(house.open_requests.drain(0, 60))
    await until(lambda: house.open_requests.is_cut)
    post.open()
    await draining
    assert (await run.result()).usage.input_tokens == 5


async def test_a_hold_that_comes_after_the_cut_is_voided_at_once():
    house = EmbeddingHouse()
    place = house.books.held_up("place")
    beginning = asyncio.create_task(house.begin())
    await place.reached.wait()
    draining = asyncio.create_task(house.open_requests.drain(0, 60))
    await until(lambda: house.open_requests.is_cut)
    place.open()
    run = await beginning
    with pytest.raises(Interrupted):
        await run.result()
    await draining
    assert house.books.voided == [run.receipt_id]
    assert not house.upstreams["acme"].asked


async def test_a_request_counts_as_open_from_its_first_moment_to_its_last():
    gate = Gate()
    house = EmbeddingHouse(ScriptedEmbeddings(gate, vectors()))
    place = house.books.held_up("place")
    beginning = asyncio.create_task(house.begin())
    await place.reached.wait()
    assert house.open_requests.count == 1
    place.open()
    run = await beginning
    assert house.open_requests.count == 1
    gate.open()
    await run.result()
    await until_idle()
    assert house.open_requests.count == 0
