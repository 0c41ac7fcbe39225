"""End users: whatever they are called, limits of their own, and nothing of another account's."""

from __future__ import annotations

import asyncio
import logging

import pytest
from tests.contract.storage.books import Books, open_books
from tests.contract.storage.changes import BY, changes
from tests.contract.storage.conftest import Tamper

from bandari.adapters.storage import Store
from bandari.domain.accounts import EndUser, EndUserTerms
from bandari.domain.allowance import Limits
from bandari.domain.faults import OwnFault

FEW = Limits(requests_per_minute=2, spend_per_month={"TOKEN": 9})
NAMES = [
    "tom",
    "o'hara; DROP TABLE end_users; --",
    'say "hi"',
    "%_\\",
    "ünïcode ☕ 🐙 نص",
    "\u202e\t\n",
    " ",
    "0/1",
    "🐙" * 512,
]


@pytest.mark.parametrize("name", NAMES)
async def test_names_of_any_text(books: Books, name: str) -> None:
    accounts, account_id = books.store.accounts, books.account.id

    made = await accounts.set_end_user_limits(account_id, name, FEW, 5, BY)
    moved = await accounts.move(account_id, name, "TOKEN", 3, "pocket money", 6, BY)
    credited = await books.credit(4, "KES", name)

    assert made == EndUser(account_id, name, 5, FEW)
    assert moved is not None
    assert credited is not None
    assert moved[1].end_user == credited.end_user == name
    assert await accounts.wallets(account_id, name) == [moved[1], credited]
    assert await accounts.end_user(account_id, name) == made
    assert await accounts.end_user_terms(account_id, name) == EndUserTerms(FEW, ("TOKEN", "KES"))
    assert await accounts.list_end_users(account_id, "", 10) == [made]
    said = [action for action, _, _ in await changes(books.store, f"end_user {account_id}/{name}")]
    assert said == ["end_user.create", "end_user.limits", "wallet.transfer", "wallet.credit"]
    assert (await books.store.ledger.verify()).is_clean


@pytest.mark.parametrize("name", ["", "a\0b", "\ud800", "x" * 513])
async def test_what_names_nobody_is_refused(books: Books, name: str) -> None:
    accounts, account_id = books.store.accounts, books.account.id

    with pytest.raises(ValueError):
        await accounts.set_end_user_limits(account_id, name, FEW, 5, BY)
    with pytest.raises(ValueError):
        await accounts.move(account_id, name, "TOKEN", 3, "why", 6, BY)
    if name:
        with pytest.raises(ValueError):
            await books.credit(3, end_user=name)

    assert await accounts.list_end_users(account_id, "", 10) == []


async def test_his_limits_change_and_are_taken_back(books: Books) -> None:
    accounts, account_id = books.store.accounts, books.account.id

    assert await accounts.end_user_terms(account_id, "tom") is None
    new = await accounts.set_end_user_limits(account_id, "tom", None, 5, BY)
    limited = await accounts.set_end_user_limits(account_id, "tom", FEW, 6, BY)
    again = await accounts.set_end_user_limits(account_id, "tom", FEW, 7, BY)
    unlimited = await accounts.set_end_user_limits(account_id, "tom", Limits(), 8, BY)
    free = await accounts.set_end_user_limits(account_id, "tom", None, 9, BY)

    assert (new.limits, limited.limits, unlimited.limits) == (None, FEW, Limits())
    assert again == limited
    assert free == new
    assert await accounts.end_user_terms(account_id, "tom") == EndUserTerms()
    said = await changes(books.store, f"end_user {account_id}/tom")
    assert [action for action, _, _ in said] == ["end_user.create", *["end_user.limits"] * 3]
    assert [(before and before["limits"], after["limits"]) for _, before, after in said] == [
        (None, None),
        (None, {"requests_per_minute": 2, "spend_per_month": {"TOKEN": 9}}),
        ({"requests_per_minute": 2, "spend_per_month": {"TOKEN": 9}}, {}),
        ({}, None),
    ]


async def test_limits_that_could_not_be_read_again_are_not_written(books: Books) -> None:
    accounts, account_id = books.store.accounts, books.account.id

    with pytest.raises(ValueError, match="policy"):
        await accounts.set_end_user_limits(account_id, "tom", Limits(tokens_per_day=-1), 5, BY)

    assert await accounts.end_user(account_id, "tom") is None


async def test_an_account_that_is_not_there_has_none(store: Store) -> None:
    with pytest.raises(OwnFault):
        await store.accounts.set_end_user_limits(404, "tom", FEW, 5, BY)

    assert await store.accounts.list_end_users(404, "", 10) == []
    assert await changes(store) == []


@pytest.mark.parametrize("text", ["", "null", "{", '{"requests_per_minute": 0}', '{"free": 1}'])
async def test_limits_that_cannot_be_read_let_nobody_in(
    books: Books, tamper: Tamper, text: str, caplog: pytest.LogCaptureFixture
) -> None:
    accounts, account_id = books.store.accounts, books.account.id
    await accounts.set_end_user_limits(account_id, "tom", FEW, 5, BY)
    tamper(f"UPDATE end_users SET limits = '{text}'")

    with caplog.at_level(logging.ERROR), pytest.raises(OwnFault, match="cannot be read"):
        await accounts.end_user_terms(account_id, "tom")

    assert f"end_user {account_id}/tom cannot be read" in caplog.text


async def test_lists_go_on_where_they_ended(books: Books) -> None:
    accounts, account_id = books.store.accounts, books.account.id
    names = ["ada", "bob", "cyd", "dan", "eve"]
    for name in reversed(names):
        await accounts.set_end_user_limits(account_id, name, None, 5, BY)

    seen: list[str] = []
    while page := await accounts.list_end_users(account_id, seen[-1] if seen else "", 2):
        assert len(page) <= 2
        seen += [one.name for one in page]

    assert seen == names
    assert await accounts.list_end_users(account_id, "", 0) == []


async def test_a_list_of_any_names_loses_nobody(books: Books) -> None:
    accounts, account_id = books.store.accounts, books.account.id
    for name in NAMES:
        await accounts.set_end_user_limits(account_id, name, None, 5, BY)

    seen: list[str] = []
    while page := await accounts.list_end_users(account_id, seen[-1] if seen else "", 2):
        seen += [one.name for one in page]

    assert sorted(seen) == sorted(NAMES)


async def test_two_programs_enter_him_once(store: Store, other_store: Store) -> None:
    books = await open_books(store)
    account_id = books.account.id

    for number in range(20):
        name = f"new {number}"
        made = await asyncio.gather(
            store.accounts.set_end_user_limits(account_id, name, FEW, 5, BY),
            other_store.accounts.move(account_id, name, "TOKEN", 1, "why", 6, BY),
            store.accounts.set_end_user_limits(account_id, name, FEW, 7, BY),
            other_store.accounts.move(account_id, name, "TOKEN", 1, "why", 8, BY),
        )

        assert None not in made
        said = await changes(store, f"end_user {account_id}/{name}")
        actions = sorted(action for action, _, _ in said)
        assert actions == ["end_user.create", "end_user.limits", *["wallet.transfer"] * 2]
        (wallet,) = await store.accounts.wallets(account_id, name)
        assert wallet.balance == 2
    assert (await store.ledger.verify()).is_clean


async def test_one_account_does_not_see_anothers(books: Books) -> None:
    accounts, mine = books.store.accounts, books.account.id
    other = await open_books(books.store, epoch=books.epoch)
    theirs = other.account.id
    await accounts.set_end_user_limits(mine, "tom", FEW, 5, BY)
    await accounts.move(mine, "tom", "TOKEN", 300, "why", 6, BY)

    assert await accounts.end_user(theirs, "tom") is None
    assert await accounts.end_user_terms(theirs, "tom") is None
    assert await accounts.list_end_users(theirs, "", 10) == []
    assert await accounts.wallets(theirs, "tom") == []
    assert await accounts.move(theirs, "tom", "TOKEN", -300, "mine now", 7, BY) is None
    assert await other.credit(-300, end_user="tom") is None
    assert await other.amounts() == (1_000, 0)

    await accounts.set_end_user_limits(theirs, "tom", None, 8, BY)
    await accounts.move(theirs, "tom", "TOKEN", 50, "why", 9, BY)

    (wallet,) = await accounts.wallets(mine, "tom")
    assert wallet.balance == 300
    assert await accounts.end_user_terms(mine, "tom") == EndUserTerms(FEW, ("TOKEN",))
    assert await accounts.end_user_terms(theirs, "tom") == EndUserTerms(None, ("TOKEN",))
