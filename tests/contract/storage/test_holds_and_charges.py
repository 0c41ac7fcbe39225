"""The life of a hold: placed, extended, counted, and ended exactly once."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from tests.contract.storage.books import Books, a_count, charge, open_books

from bandari.adapters.storage import Store
from bandari.domain.estimate import Basis, Experience, Ratios, Tally
from bandari.domain.faults import OwnFault
from bandari.domain.ledger import MAX_AMOUNT, Count, Ending, Receipt, RunningCount, Wallet
from bandari.domain.usage import CountRule, Usage
from bandari.service.ports import HoldAlreadyEnded

REPORTED = CountRule.REPORTED


async def test_a_hold_sets_its_amount_aside(books: Books) -> None:
    placement = await books.store.ledger.place(books.hold(amount=300))

    assert placement.placed
    assert placement.wallet == await books.wallet()
    assert await books.amounts() == (1_000, 300)
    assert await books.store.ledger.open_holds() == 1


async def test_a_hold_may_take_all_that_is_free_and_not_one_more(books: Books) -> None:
    refused = await books.store.ledger.place(books.hold(amount=1_001))
    assert not refused.placed
    assert refused.wallet is not None
    assert refused.wallet.free == 1_000

    assert (await books.store.ledger.place(books.hold(amount=1_000))).placed
    assert not (await books.store.ledger.place(books.hold(amount=1))).placed
    assert await books.store.ledger.open_holds() == 1


async def test_without_a_wallet_nothing_is_placed(books: Books) -> None:
    placement = await books.store.ledger.place(books.hold(asset="KES", amount=0))

    assert not placement.placed
    assert placement.wallet is None


async def test_a_hold_of_nothing_is_a_hold(books: Books) -> None:
    hold_id = await books.place(amount=0)

    assert (await books.store.ledger.post(charge(hold_id, 0))).amount == 0


@pytest.mark.parametrize("amount", [-1, MAX_AMOUNT + 1])
async def test_amounts_out_of_bounds_are_refused_before_sql(books: Books, amount: int) -> None:
    hold_id = await books.place()

    with pytest.raises(ValueError, match="2\\^53 - 1"):
        await books.store.ledger.place(books.hold(amount=amount))
    with pytest.raises(ValueError, match="2\\^53 - 1"):
        await books.store.ledger.extend(hold_id, amount, 0)
    with pytest.raises(ValueError, match="2\\^53 - 1"):
        await books.store.ledger.post(charge(hold_id, amount))


@pytest.mark.parametrize("text", ["a\0b", "\ud800"])
async def test_texts_that_cannot_be_stored_are_refused_before_sql(books: Books, text: str) -> None:
    with pytest.raises(ValueError, match=r"NUL|surrogates"):
        await books.store.ledger.place(books.hold(end_user=text))


async def test_two_holds_of_one_id_are_a_fault_of_ours(books: Books) -> None:
    hold_id = await books.place()

    with pytest.raises(OwnFault):
        await books.store.ledger.place(books.hold(hold_id))

    assert await books.amounts() == (1_000, 100)


async def test_posting_charges_exactly_and_releases_the_rest(books: Books) -> None:
    hold_id = await books.place(amount=300)

    receipt = await books.store.ledger.post(charge(hold_id, 60, reasoning_effort="low"))

    assert await books.amounts() == (940, 0)
    assert await books.store.ledger.open_holds() == 0
    assert receipt == Receipt(
        id=hold_id,
        account=books.account.name,
        key_id=books.key.id,
        model="m",
        target="local:m",
        asset="TOKEN",
        amount=60,
        overrun=0,
        balance_after=940,
        rate_card_version=1,
        usage=Usage(input_tokens=40, output_tokens=20, cached_tokens=8, reasoning_tokens=5),
        rule=CountRule.REPORTED,
        basis=Basis(150, 1, 90, Ratios(240_000, 260_000)),
        ending=Ending.COMPLETED,
        created_ms=10,
        ended_ms=20,
        end_user=None,
        finish_reason="stop",
        reasoning_effort="low",
    )


async def test_a_receipt_is_read_as_it_was_posted(books: Books) -> None:
    hold = books.hold(end_user="Ünal")
    await books.store.ledger.place(hold)
    posted = await books.store.ledger.post(
        charge(hold.id, count=a_count(40, 20, CountRule.ESTIMATED), ending=Ending.CLIENT_LEFT)
    )

    ledger = books.store.ledger
    assert await ledger.receipt(hold.id) == posted
    assert await ledger.receipt(hold.id, books.account.id) == posted
    assert await ledger.receipt(hold.id, books.account.id + 1) is None
    assert await ledger.receipt("another") is None


async def test_a_charge_beyond_the_hold_takes_what_is_free(books: Books) -> None:
    hold_id = await books.place(amount=100)
    await books.place(amount=500)

    receipt = await books.store.ledger.post(charge(hold_id, 450))

    assert (receipt.amount, receipt.overrun, receipt.balance_after) == (450, 0, 550)
    assert await books.amounts() == (550, 500)


async def test_what_the_wallet_does_not_cover_is_an_overrun(books: Books) -> None:
    hold_id = await books.place(amount=100)
    await books.place(amount=500)

    receipt = await books.store.ledger.post(charge(hold_id, 700))

    assert (receipt.amount, receipt.overrun, receipt.balance_after) == (500, 200, 500)
    assert await books.amounts() == (500, 500)
    assert (await books.store.ledger.verify()).is_clean


async def test_a_charge_that_is_all_overrun(books: Books) -> None:
    hold_id = await books.place(amount=0)
    await books.place(amount=1_000)

    receipt = await books.store.ledger.post(charge(hold_id, 5))

    assert (receipt.amount, receipt.overrun, receipt.balance_after) == (0, 5, 1_000)
    assert (await books.store.ledger.verify()).is_clean


async def test_a_charge_of_nothing_has_a_receipt_and_no_postings(books: Books) -> None:
    before = await books.store.ledger.verify()
    hold_id = await books.place()

    receipt = await books.store.ledger.post(charge(hold_id, 0))

    assert (receipt.amount, receipt.balance_after) == (0, 1_000)
    after = await books.store.ledger.verify()
    assert after.is_clean
    assert after.postings == before.postings
    assert after.transactions == before.transactions + 1
    assert after.receipts == 1


async def test_voiding_releases_and_charges_nothing(books: Books) -> None:
    hold_id = await books.place(amount=300)

    await books.store.ledger.void(hold_id)

    assert await books.amounts() == (1_000, 0)
    assert await books.store.ledger.receipt(hold_id) is None


@pytest.mark.parametrize("first", ["post", "void"])
@pytest.mark.parametrize("second", ["post", "void"])
async def test_a_hold_ends_once(books: Books, first: str, second: str) -> None:
    ledger = books.store.ledger
    hold_id = await books.place()

    async def end(how: str) -> None:
        if how == "post":
            await ledger.post(charge(hold_id))
        else:
            await ledger.void(hold_id)

    await end(first)
    after = await books.amounts()
    with pytest.raises(HoldAlreadyEnded):
        await end(second)

    assert await books.amounts() == after


async def test_ending_a_hold_that_never_was(store: Store) -> None:
    with pytest.raises(HoldAlreadyEnded):
        await store.ledger.post(charge("nothing"))
    with pytest.raises(HoldAlreadyEnded):
        await store.ledger.void("nothing")


@pytest.mark.parametrize(
    ("amount", "least", "added"),
    [(200, 200, 200), (900, 1, 900), (901, 1, 900), (901, 900, 900), (901, 901, 0), (0, 0, 0)],
)
async def test_extending(books: Books, amount: int, least: int, added: int) -> None:
    hold_id = await books.place(amount=100)

    assert await books.store.ledger.extend(hold_id, amount, least) == added

    assert await books.amounts() == (1_000, 100 + added)
    await books.store.ledger.void(hold_id)
    assert await books.amounts() == (1_000, 0)


async def test_extending_when_nothing_is_free(books: Books) -> None:
    hold_id = await books.place(amount=1_000)

    assert await books.store.ledger.extend(hold_id, 10, 0) == 0


async def test_extending_a_hold_that_has_ended_adds_nothing(books: Books) -> None:
    hold_id = await books.place()
    await books.store.ledger.void(hold_id)

    assert await books.store.ledger.extend(hold_id, 10, 1) == 0
    assert await books.amounts() == (1_000, 0)


async def test_running_counts_are_kept_for_a_later_server(books: Books) -> None:
    ledger = books.store.ledger
    running, ended, uncounted = [await books.place() for _ in range(3)]
    await ledger.void(ended)
    first, last = Count(Usage(1, 1), CountRule.COUNTED), a_count(7, 6, CountRule.ESTIMATED)

    await ledger.count([])
    await ledger.count([RunningCount(ended, last), RunningCount(running, first)])
    await ledger.count([RunningCount(running, last)])

    await ledger.close_epoch(books.epoch, 50)
    holds = {hold.id: hold for hold, _ in await ledger.dead_holds(10)}
    assert holds[running] == books.hold(running, counted=last)
    assert holds[uncounted] == books.hold(uncounted)
    assert set(holds) == {running, uncounted}


async def test_a_count_beyond_what_a_client_can_read_is_refused(books: Books) -> None:
    hold_id = await books.place()
    for count in (
        Count(Usage(2**53), CountRule.COUNTED),
        Count(Usage(1), CountRule.ESTIMATED, Basis(input_bytes=2**53)),
    ):
        with pytest.raises(ValueError, match="2\\^53 - 1"):
            await books.store.ledger.count([RunningCount(hold_id, count)])


async def test_a_hold_may_begin_with_a_count(books: Books) -> None:
    hold = books.hold(counted=Count(Usage(12), CountRule.COUNTED))
    await books.store.ledger.place(hold)

    await books.store.ledger.close_epoch(books.epoch, 50)

    assert [found for found, _ in await books.store.ledger.dead_holds(10)] == [hold]


async def test_the_price_is_the_pinned_one_whatever_came_later(books: Books) -> None:
    hold_id = await books.place()
    dearer = replace(books.card, input_per_million=9)
    (second,) = await books.store.rate_cards.pin([dearer])
    assert second.version == 2

    receipt = await books.store.ledger.post(charge(hold_id))

    assert receipt.rate_card_version == 1


async def test_wallets_of_others_are_untouched(books: Books) -> None:
    other = await open_books(books.store, 500, epoch=books.epoch)

    await books.store.ledger.post(charge(await books.place()))

    assert await other.amounts() == (500, 0)
    assert isinstance(await other.wallet(), Wallet)


async def test_the_latest_receipts_show_what_the_targets_tokenizers_make_of_text(
    books: Books,
) -> None:
    ledger = books.store.ledger
    for target, count, ending in (
        ("a:m", Count(Usage(100, 50), REPORTED, Basis(300, 0, 200)), Ending.COMPLETED),
        ("a:m", Count(Usage(100, 50), REPORTED, Basis(300, 0, 200)), Ending.COMPLETED),
        ("a:m", Count(Usage(100, 50), CountRule.ESTIMATED, Basis(300, 0, 200)), Ending.COMPLETED),
        ("a:m", Count(Usage(100, 50), REPORTED, Basis(300, 0, 200)), Ending.UPSTREAM_FAILED),
        ("b:m", Count(Usage(100, 50), REPORTED, Basis(300, 1, 200)), Ending.COMPLETED),
        ("c:m", Count(Usage(100, 50), REPORTED), Ending.COMPLETED),
    ):
        hold_id = await books.place()
        await ledger.post(charge(hold_id, count=count, target=target, ending=ending))

    assert await ledger.experience() == {
        "a:m": Experience(Tally(600, 200), Tally(400, 100)),
        "b:m": Experience(Tally(), Tally(200, 50)),
    }
