"""Money between an account's wallet and its end users': both ways, to the unit, never below 0."""

from __future__ import annotations

import asyncio
from collections import Counter
from itertools import pairwise

import pytest
from tests.contract.storage.books import Books, open_books
from tests.contract.storage.changes import BY, changes

from bandari.adapters.storage import Store
from bandari.adapters.storage.database import Verdict
from bandari.adapters.storage.group_commit import GroupCommit
from bandari.domain.ledger import MAX_AMOUNT

WHY = "pocket money"


@pytest.fixture
def troubles(monkeypatch: pytest.MonkeyPatch) -> Counter[Verdict]:
    """What became of transactions that failed, deadlocks among them."""
    seen: Counter[Verdict] = Counter()
    recover = GroupCommit._recover

    def counting(self: GroupCommit, error: Exception, *rest: object) -> None:
        seen[self._database.judge(error)] += 1
        recover(self, error, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(GroupCommit, "_recover", counting)
    return seen


async def test_it_goes_there_and_back(books: Books) -> None:
    accounts, account_id = books.store.accounts, books.account.id

    there = await accounts.move(account_id, "tom", "TOKEN", 300, WHY, 6, BY)
    back = await accounts.move(account_id, "tom", "TOKEN", -100, "back", 7, BY)

    assert there is not None
    assert back is not None
    assert [(one.end_user, one.balance, one.held) for one in there] == [
        ("", 700, 0),
        ("tom", 300, 0),
    ]
    assert [(one.end_user, one.balance, one.held) for one in back] == [
        ("", 800, 0),
        ("tom", 200, 0),
    ]
    assert await accounts.wallets(account_id) == [back[0]]
    assert await accounts.wallets(account_id, "tom") == [back[1]]
    verification = await books.store.ledger.verify()
    assert verification.is_clean
    assert (verification.transactions, verification.postings) == (3, 6)
    _, first, second = await changes(books.store, f"end_user {account_id}/tom")
    assert first == (
        "wallet.transfer",
        {"asset": "TOKEN", "balance": 1_000, "end_user_balance": 0},
        {
            "asset": "TOKEN",
            "balance": 700,
            "end_user_balance": 300,
            "amount": 300,
            "why": WHY,
            "transaction": 2,
        },
    )
    assert second == (
        "wallet.transfer",
        {"asset": "TOKEN", "balance": 700, "end_user_balance": 300},
        {
            "asset": "TOKEN",
            "balance": 800,
            "end_user_balance": 200,
            "amount": -100,
            "why": "back",
            "transaction": 3,
        },
    )


async def test_only_what_is_free_moves(books: Books) -> None:
    accounts, account_id = books.store.accounts, books.account.id
    await books.place(amount=400)
    before = await changes(books.store)

    assert await accounts.move(account_id, "tom", "TOKEN", 601, WHY, 6, BY) is None
    assert await accounts.move(account_id, "tom", "TOKEN", -1, WHY, 6, BY) is None
    assert await accounts.move(account_id, "tom", "KES", 1, WHY, 6, BY) is None
    assert await accounts.move(404, "tom", "TOKEN", 1, WHY, 6, BY) is None

    assert await books.amounts() == (1_000, 400)
    assert await accounts.end_user(account_id, "tom") is None
    assert await changes(books.store) == before
    assert await accounts.move(account_id, "tom", "TOKEN", 600, WHY, 6, BY) is not None
    assert await accounts.move(account_id, "tom", "TOKEN", -601, WHY, 6, BY) is None
    assert (await books.store.ledger.verify()).is_clean


async def test_what_is_held_of_a_sub_wallet_stays(books: Books) -> None:
    accounts, account_id = books.store.accounts, books.account.id
    await accounts.move(account_id, "tom", "TOKEN", 300, WHY, 6, BY)
    hold = books.hold(amount=250, end_user="tom", sub_wallet="tom")
    assert (await books.store.ledger.place(hold)).placed

    assert await accounts.move(account_id, "tom", "TOKEN", -51, WHY, 7, BY) is None
    moved = await accounts.move(account_id, "tom", "TOKEN", -50, WHY, 7, BY)

    assert moved is not None
    assert (moved[1].balance, moved[1].held) == (250, 250)
    assert (await books.store.ledger.verify()).is_clean


async def test_back_to_an_account_that_had_no_wallet(store: Store) -> None:
    books = await open_books(store, balance=0)
    await books.credit(70, "KES", "tom")

    moved = await store.accounts.move(books.account.id, "tom", "KES", -30, WHY, 6, BY)

    assert moved is not None
    assert [one.balance for one in moved] == [30, 40]
    assert await store.accounts.wallets(books.account.id) == [moved[0]]
    assert (await store.ledger.verify()).is_clean


@pytest.mark.parametrize("amount", [0, MAX_AMOUNT + 1, -MAX_AMOUNT - 1])
async def test_amounts_that_no_posting_may_have(books: Books, amount: int) -> None:
    with pytest.raises(ValueError, match="2\\^53 - 1"):
        await books.store.accounts.move(books.account.id, "tom", "TOKEN", amount, WHY, 6, BY)


async def test_a_balance_stays_readable_for_every_client(books: Books) -> None:
    accounts, account_id = books.store.accounts, books.account.id
    await books.credit(MAX_AMOUNT, end_user="tom")
    before = await changes(books.store)

    with pytest.raises(ValueError, match="2\\^53 - 1"):
        await accounts.move(account_id, "tom", "TOKEN", 1, WHY, 6, BY)
    with pytest.raises(ValueError, match="2\\^53 - 1"):
        await accounts.move(account_id, "tom", "TOKEN", -MAX_AMOUNT, WHY, 6, BY)

    assert await books.amounts() == (1_000, 0)
    assert await changes(books.store) == before


async def test_opposite_moves_of_two_programs_do_not_wait_in_a_circle(
    store: Store, other_store: Store, troubles: Counter[Verdict]
) -> None:
    books = await open_books(store)
    account_id = books.account.id
    await store.accounts.move(account_id, "tom", "TOKEN", 500, WHY, 6, BY)

    async def go(where: Store, amount: int) -> None:
        for _ in range(150):
            assert await where.accounts.move(account_id, "tom", "TOKEN", amount, WHY, 7, BY)

    await asyncio.gather(go(store, 1), go(other_store, -1), go(store, -1), go(other_store, 1))

    assert not troubles
    said = (await changes(store, f"end_user {account_id}/tom"))[1:]
    in_order = sorted(said, key=lambda change: change[2]["transaction"])
    for (_, _, earlier), (_, before, _) in pairwise(in_order):
        assert before["balance"] == earlier["balance"]
        assert before["end_user_balance"] == earlier["end_user_balance"]
    assert await books.amounts() == (500, 0)
    verification = await store.ledger.verify()
    assert verification.is_clean
    assert verification.transactions == 602


async def test_no_more_moves_than_there_is(store: Store, other_store: Store) -> None:
    books = await open_books(store, balance=37 * 10 + 9)
    names = ["tom", "ada", "eve"]

    moved = await asyncio.gather(
        *(
            (store, other_store)[number % 2].accounts.move(
                books.account.id, names[number % 3], "TOKEN", 10, WHY, 6, BY
            )
            for number in range(100)
        )
    )

    assert sum(one is not None for one in moved) == 37
    assert await books.amounts() == (9, 0)
    of_all = [await store.accounts.wallets(books.account.id, name) for name in names]
    assert sum(wallet.balance for (wallet,) in of_all) == 370
    said = [action for action, _, _ in await changes(store)]
    assert said.count("wallet.transfer") == 37
    assert said.count("end_user.create") == 3
    assert (await store.ledger.verify()).is_clean
