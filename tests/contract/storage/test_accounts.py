"""Accounts, wallets, and money that moves other than by charges."""

from __future__ import annotations

import pytest
from tests.contract.storage.books import Books

from bandari.adapters.storage import Store
from bandari.domain.faults import OwnFault
from bandari.domain.ledger import MAX_AMOUNT, Line, TransactionKind, Wallet
from bandari.service.ports import NameTaken


async def test_an_account_is_found_by_its_name(store: Store) -> None:
    account = await store.accounts.create_account("Äcme & Söhne", 17)

    assert await store.accounts.find_account("Äcme & Söhne") == account
    assert await store.accounts.find_account("acme") is None
    assert await store.accounts.wallets(account.id) == []


async def test_a_name_is_given_once(store: Store) -> None:
    await store.accounts.create_account("acme", 17)

    with pytest.raises(NameTaken):
        await store.accounts.create_account("acme", 18)


async def test_a_credit_makes_the_wallet(store: Store) -> None:
    account = await store.accounts.create_account("acme", 17)

    async def credit(asset: str, amount: int) -> Wallet | None:
        return await store.accounts.transfer(
            account.id, asset, amount, Line.CASH, TransactionKind.CREDIT, "me", "top-up", 18
        )

    kes = await credit("KES", 70)
    token = await credit("TOKEN", 5)
    more = await credit("KES", 30)

    assert kes is not None
    assert more is not None
    assert token is not None
    assert (kes.balance, more.balance, kes.id) == (70, 100, more.id)
    assert await store.accounts.wallets(account.id) == [more, token]


async def test_money_goes_out_as_far_as_it_is_free(books: Books) -> None:
    await books.place(amount=400)

    assert await books.credit(-601) is None
    assert await books.amounts() == (1_000, 400)
    wallet = await books.credit(-600)
    assert wallet is not None
    assert (wallet.balance, wallet.held, wallet.free) == (400, 400, 0)
    assert (await books.store.ledger.verify()).is_clean


async def test_nothing_goes_out_of_a_wallet_that_is_not_there(books: Books) -> None:
    assert await books.credit(-1, "KES") is None
    assert [wallet.asset for wallet in await books.store.accounts.wallets(books.account.id)] == [
        "TOKEN"
    ]


@pytest.mark.parametrize("amount", [0, MAX_AMOUNT + 1, -MAX_AMOUNT - 1])
async def test_amounts_that_no_posting_may_have(books: Books, amount: int) -> None:
    with pytest.raises(ValueError, match="2\\^53 - 1"):
        await books.credit(amount)


async def test_a_balance_stays_readable_for_every_client(books: Books) -> None:
    await books.credit(MAX_AMOUNT - 1_000)

    with pytest.raises(ValueError, match="2\\^53 - 1"):
        await books.credit(1)

    assert await books.amounts() == (MAX_AMOUNT, 0)


async def test_an_account_that_is_not_there_is_a_fault_of_ours(store: Store) -> None:
    with pytest.raises(OwnFault):
        await store.accounts.transfer(
            404, "TOKEN", 5, Line.CASH, TransactionKind.CREDIT, "me", "why", 1
        )
