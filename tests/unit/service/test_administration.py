from __future__ import annotations

import pytest
from tests.support.memory_store import MemoryStore, StoppedClock

from bandari.domain import keys
from bandari.domain.faults import InvalidValue, NotFound
from bandari.domain.ledger import MAX_AMOUNT, Line, TransactionKind
from bandari.service.administration import (
    FIRST_CREDIT,
    Administration,
    AlreadyExists,
)


@pytest.fixture
def store():
    return MemoryStore()


@pytest.fixture
def admin(store):
    return Administration(
        store, store, store, StoppedClock(), "bd_test_", ("default", "students"), lambda n: b"x" * n
    )


@pytest.mark.parametrize("name", ["a", "Amina", "a@b.example", "Chuo Kikuu 2", "é", "a" * 100])
async def test_an_account_has_a_name(admin, name):
    assert (await admin.create_account(name)).name == name


@pytest.mark.parametrize(
    "name", ["", " a", "a ", "-a", "a/b", "a\nb", "a\0", "a" * 101, "\ud800", "a\x1b[31m", "."]
)
async def test_what_is_no_name(admin, name):
    with pytest.raises(InvalidValue, match="is not a name") as caught:
        await admin.create_account(name)
    assert caught.value.param == "name"
    assert caught.value.message.isprintable()


async def test_a_name_is_taken_once(admin):
    await admin.create_account("a")
    with pytest.raises(AlreadyExists, match="already an account 'a'") as caught:
        await admin.create_account("a")
    assert (caught.value.status, caught.value.code) == (409, "already_exists")


async def test_credit_comes_out_of_cash_with_who_and_why(admin, store):
    await admin.create_account("a")
    await admin.credit("a", 5, who="me", why="because")
    wallet = await admin.credit("a", 7, who="me", why="because")
    assert wallet.balance == 12
    assert store.transfers[1] == (
        "TOKEN",
        7,
        Line.CASH,
        TransactionKind.CREDIT,
        "me",
        "because",
    )
    await admin.credit("a", 3, "KES", who="me", why="")
    statement = await admin.statement("a")
    assert [(w.asset, w.balance) for w in statement.wallets] == [("TOKEN", 12), ("KES", 3)]


@pytest.mark.parametrize("amount", [0, -1, MAX_AMOUNT + 1])
async def test_an_amount_has_bounds(admin, amount):
    await admin.create_account("a")
    with pytest.raises(InvalidValue, match="The amount must be from 1 to"):
        await admin.credit("a", amount, who="me", why="")


async def test_a_balance_stays_a_json_number(admin, store):
    await admin.create_account("a")
    await admin.credit("a", MAX_AMOUNT, who="me", why="")
    with pytest.raises(InvalidValue, match="may not exceed"):
        await admin.credit("a", 1, who="me", why="")
    assert len(store.transfers) == 1


async def test_an_asset_is_spelled_in_capitals(admin):
    await admin.create_account("a")
    for asset in ("kes", "K", "K" * 17, "K-S", ""):
        with pytest.raises(InvalidValue, match="An asset is"):
            await admin.credit("a", 1, asset, who="me", why="")


async def test_an_account_that_is_not_there(admin):
    for call in (
        admin.statement("b"),
        admin.credit("b", 1, who="", why=""),
        admin.create_key("b"),
        admin.list_keys("b"),
    ):
        with pytest.raises(NotFound, match="There is no account 'b'"):
            await call


async def test_a_key_is_stored_as_digest_and_shown_once(admin, store):
    await admin.create_account("a")
    made = await admin.create_key("a", "laptop", "students")
    assert keys.is_well_formed(made.text, "bd_test_")
    assert store.all_keys[0][0] == keys.digest(made.text)
    assert made.text not in repr(made)
    assert made.text not in repr(store.all_keys)
    assert (made.key.account, made.key.name, made.key.group) == ("a", "laptop", "students")
    assert await admin.list_keys() == await admin.list_keys("a") == [made.key]


async def test_a_key_belongs_to_a_group_that_there_is(admin):
    await admin.create_account("a")
    with pytest.raises(NotFound, match="no group 'student'; known: students"):
        await admin.create_key("a", group="student")
    with pytest.raises(NotFound, match="no group 'zz'; known: default, students"):
        await admin.create_key("a", group="zz")
    with pytest.raises(InvalidValue):
        await admin.create_key("a", "\n")


async def test_a_key_is_revoked_by_id_or_by_itself(admin):
    await admin.create_account("a")
    made = await admin.create_key("a")
    assert (await admin.revoke_key("1")).revoked_ms is not None
    assert (await admin.revoke_key(made.text)).id == 1


@pytest.mark.parametrize("which", ["2", "", "bd_test_x", "9" * 30, "²", "x" * 10_000])
async def test_a_key_that_is_not_there_is_not_repeated(admin, which):
    with pytest.raises(NotFound) as caught:
        await admin.revoke_key(which)
    assert not which or which == "2" or which not in caught.value.message


async def test_a_receipt_that_is_not_there(admin):
    with pytest.raises(NotFound, match="There is no receipt 'r'"):
        await admin.receipt("r")


async def test_the_first_key_is_given_once_with_some_credit(admin, store):
    made = await admin.first_key()
    assert made is not None
    assert keys.is_well_formed(made.text, "bd_test_")
    assert store.transfers == [
        (
            "TOKEN",
            FIRST_CREDIT,
            Line.PROMOTIONS,
            TransactionKind.CREDIT,
            "bandari",
            "to try it out",
        )
    ]
    assert await admin.first_key() is None
    assert len(store.transfers) == 1


async def test_who_has_a_key_is_given_none(admin, store):
    await admin.create_account("a")
    await admin.create_key("a")
    assert await admin.first_key() is None
    assert not store.transfers
