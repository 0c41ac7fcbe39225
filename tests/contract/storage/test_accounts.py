"""Accounts: their names, their policies, and money that moves between them and the chart."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import pytest
from tests.contract.storage.books import Books, open_books
from tests.contract.storage.changes import BY, changes

from bandari.adapters.storage import Store
from bandari.domain.accounts import AccountPolicy
from bandari.domain.allowance import Limits
from bandari.domain.audit_log import Actor
from bandari.domain.faults import OwnFault
from bandari.domain.ledger import MAX_AMOUNT, Line, TransactionKind, Wallet
from bandari.service.ports import NameTaken

POLICY = AccountPolicy(
    limits=Limits(requests_per_minute=5, spend_per_day={"KES": 7}),
    end_user_limits=Limits(concurrent_requests=1),
    names_end_users=False,
    needs_sub_wallets=True,
    is_suspended=True,
)


async def test_an_account_is_found_by_its_name_and_by_its_id(store: Store) -> None:
    account = await store.accounts.create_account("Äcme & Söhne", 17, BY, POLICY)

    assert account.policy == POLICY
    assert await store.accounts.find_account("Äcme & Söhne") == account
    assert await store.accounts.find_account("acme") is None
    assert await store.accounts.account_of_id(account.id) == account
    assert await store.accounts.wallets(account.id) == []


@pytest.mark.parametrize("account_id", [0, -1, 404, 2**63, -(2**63) - 1, 10**40])
async def test_an_account_that_is_not_there(store: Store, account_id: int) -> None:
    assert await store.accounts.account_of_id(account_id) is None
    assert await store.accounts.set_account_policy(account_id, POLICY, 1, BY) is None
    assert await changes(store) == []


async def test_a_name_is_given_once(store: Store, other_store: Store) -> None:
    attempts = await asyncio.gather(
        *(
            (store, other_store)[number % 2].accounts.create_account("acme", number, BY)
            for number in range(10)
        ),
        return_exceptions=True,
    )

    (made,) = (one for one in attempts if not isinstance(one, NameTaken))
    assert made == await store.accounts.find_account("acme")
    assert [action for action, _, _ in await changes(store)] == ["account.create"]


async def test_lists_go_on_where_they_ended(store: Store) -> None:
    made = [await store.accounts.create_account(f"account {n}", n, BY) for n in range(5)]

    first = await store.accounts.list_accounts(0, 2)
    second = await store.accounts.list_accounts(first[-1].id, 2)
    third = await store.accounts.list_accounts(second[-1].id, 2)

    assert [*first, *second, *third] == made
    assert await store.accounts.list_accounts(made[-1].id, 2) == []
    assert await store.accounts.list_accounts(-(10**30), 10**30) == made
    assert await store.accounts.list_accounts(10**30, 10) == []


async def test_a_policy_is_changed_once(store: Store) -> None:
    account = await store.accounts.create_account("acme", 17, BY)

    changed = await store.accounts.set_account_policy(account.id, POLICY, 18, BY)
    again = await store.accounts.set_account_policy(account.id, POLICY, 19, BY)

    assert changed is not None
    assert changed.policy == POLICY
    assert again == changed == await store.accounts.find_account("acme")
    created, set_once = await changes(store, f"account {account.id}")
    plain = {"id": account.id, "name": "acme", "created_ms": 17, "policy": {}}
    assert created == ("account.create", None, plain)
    action, before, after = set_once
    assert (action, before) == ("account.policy", plain)
    assert after["policy"] == {
        "limits": {"requests_per_minute": 5, "spend_per_day": {"KES": 7}},
        "end_user_limits": {"concurrent_requests": 1},
        "names_end_users": False,
        "needs_sub_wallets": True,
        "is_suspended": True,
    }


@pytest.mark.parametrize(
    "limits",
    [Limits(requests_per_minute=0), Limits(spend_per_day={"A" * 300_000: 1})],
    ids=["out of bounds", "too large"],
)
async def test_a_policy_that_could_not_be_read_again_is_not_written(
    store: Store, limits: Limits
) -> None:
    account = await store.accounts.create_account("acme", 17, BY)

    with pytest.raises(ValueError, match="policy"):
        await store.accounts.set_account_policy(account.id, AccountPolicy(limits=limits), 18, BY)
    with pytest.raises(ValueError, match="policy"):
        await store.accounts.create_account("b", 17, BY, AccountPolicy(limits=limits))

    assert await store.accounts.list_accounts(0, 10) == [account]


@pytest.mark.parametrize("by", [Actor("\0"), Actor("me", "\0")])
async def test_who_does_it_is_text(store: Store, by: Actor) -> None:
    with pytest.raises(ValueError, match="NUL"):
        await store.accounts.create_account("acme", 17, by)


async def test_a_credit_makes_the_wallet(store: Store) -> None:
    account = await store.accounts.create_account("acme", 17, BY)

    async def credit(asset: str, amount: int) -> Wallet | None:
        return await store.accounts.transfer(
            account.id, asset, amount, Line.CASH, TransactionKind.CREDIT, "top-up", 18, BY
        )

    kes = await credit("KES", 70)
    token = await credit("TOKEN", 5)
    more = await credit("KES", 30)

    assert kes is not None
    assert more is not None
    assert token is not None
    assert (kes.balance, more.balance, kes.id) == (70, 100, more.id)
    assert await store.accounts.wallets(account.id) == [more, token]
    said = {"line": "cash", "why": "top-up"}
    assert (await changes(store, f"account {account.id}"))[1:] == [
        (
            "wallet.credit",
            None,
            {"asset": "KES", "balance": 70, "amount": 70, "transaction": 1} | said,
        ),
        (
            "wallet.credit",
            None,
            {"asset": "TOKEN", "balance": 5, "amount": 5, "transaction": 2} | said,
        ),
        (
            "wallet.credit",
            {"asset": "KES", "balance": 70},
            {"asset": "KES", "balance": 100, "amount": 30, "transaction": 3} | said,
        ),
    ]


async def test_money_goes_out_as_far_as_it_is_free(books: Books) -> None:
    await books.place(amount=400)
    before = await changes(books.store)

    assert await books.credit(-601) is None
    assert await books.amounts() == (1_000, 400)
    assert await changes(books.store) == before
    wallet = await books.credit(-600)
    assert wallet is not None
    assert (wallet.balance, wallet.held, wallet.free) == (400, 400, 0)
    assert (await books.store.ledger.verify()).is_clean


async def test_an_adjustment_says_so(books: Books) -> None:
    wallet = await books.store.accounts.transfer(
        *(books.account.id, "TOKEN", -200, Line.PROMOTIONS, TransactionKind.ADJUSTMENT),
        *("a mistake", 5, BY),
    )

    assert wallet is not None
    assert wallet.balance == 800
    action, before, after = (await changes(books.store, who="amina"))[-1]
    assert (action, before["balance"], after["balance"]) == ("wallet.adjustment", 1_000, 800)
    assert (after["amount"], after["line"], after["why"]) == (-200, "promotions", "a mistake")


async def test_nothing_goes_out_of_a_wallet_that_is_not_there(books: Books) -> None:
    assert await books.credit(-1, "KES") is None
    assert await books.credit(-1, end_user="tom") is None
    assert [wallet.asset for wallet in await books.store.accounts.wallets(books.account.id)] == [
        "TOKEN"
    ]
    assert await books.store.accounts.end_user(books.account.id, "tom") is None


async def test_what_was_before_is_true_beside_another_program(
    store: Store, other_store: Store
) -> None:
    books = await open_books(store)

    async def go(where: Store, amount: int) -> None:
        for _ in range(100):
            assert await where.accounts.transfer(
                *(books.account.id, "TOKEN", amount, Line.CASH, TransactionKind.ADJUSTMENT),
                *("why", 5, BY),
            )

    await asyncio.gather(go(store, 3), go(other_store, -2))

    said = (await changes(store, f"account {books.account.id}"))[1:]
    in_order = sorted(said, key=lambda change: change[2]["transaction"])
    for (_, _, earlier), (_, before, _) in pairwise(in_order):
        assert before["balance"] == earlier["balance"]
    assert await books.amounts() == (1_100, 0)
    assert (await store.ledger.verify()).is_clean


@pytest.mark.parametrize("amount", [0, MAX_AMOUNT + 1, -MAX_AMOUNT - 1])
async def test_amounts_that_no_posting_may_have(books: Books, amount: int) -> None:
    with pytest.raises(ValueError, match="2\\^53 - 1"):
        await books.credit(amount)


async def test_a_balance_stays_readable_for_every_client(books: Books) -> None:
    await books.credit(MAX_AMOUNT - 1_000)
    before = await changes(books.store)

    with pytest.raises(ValueError, match="2\\^53 - 1"):
        await books.credit(1)

    assert await books.amounts() == (MAX_AMOUNT, 0)
    assert await changes(books.store) == before


async def test_an_account_that_is_not_there_is_a_fault_of_ours(store: Store) -> None:
    with pytest.raises(OwnFault):
        await store.accounts.transfer(
            404, "TOKEN", 5, Line.CASH, TransactionKind.CREDIT, "why", 1, BY
        )
