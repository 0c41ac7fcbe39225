"""Accounts, their money and their end users; the log of changes; the first key."""

from __future__ import annotations

import json

import pytest
from tests.support.memory_store import MemoryStore, StoppedClock

from bandari.domain import keys
from bandari.domain.accounts import AccountPolicy
from bandari.domain.allowance import Limits
from bandari.domain.audit_log import Actor
from bandari.domain.catalogue import Group
from bandari.domain.faults import InvalidValue, NotFound
from bandari.domain.ledger import MAX_AMOUNT, Line, TransactionKind
from bandari.service.administration import (
    FIRST_CREDIT,
    Administration,
    AlreadyExists,
    TooLittleFree,
)
from bandari.service.groups import Groups

ME = Actor("me", "req_1")


@pytest.fixture
def store():
    return MemoryStore()


@pytest.fixture
def admin(store):
    return Administration(
        accounts=store,
        keys=store,
        users=store,
        audit_log=store,
        clock=StoppedClock(),
        groups=Groups({"students": Group(name="students")}),
        key_prefix="bd_test_",
    )


# Accounts


@pytest.mark.parametrize("name", ["a", "Amina", "a@b.example", "Chuo Kikuu 2", "é", "a" * 100])
async def test_an_account_has_a_name(admin, name):
    assert (await admin.create_account(name, ME)).name == name


@pytest.mark.parametrize(
    "name", ["", " a", "a ", "-a", "a/b", "a\nb", "a\0", "a" * 101, "\ud800", "a\x1b[31m", "."]
)
async def test_what_is_no_name(admin, name):
    with pytest.raises(InvalidValue, match="is not a name") as caught:
        await admin.create_account(name, ME)
    assert caught.value.param == "name"
    assert caught.value.message.isprintable()


async def test_a_name_is_taken_once(admin):
    await admin.create_account("a", ME)
    with pytest.raises(AlreadyExists, match="already an account 'a'") as caught:
        await admin.create_account("a", ME)
    assert (caught.value.status, caught.value.code) == (409, "already_exists")


async def test_an_account_has_a_policy_that_is_checked(admin):
    policy = AccountPolicy(limits=Limits(tokens_per_day=5), names_end_users=False)
    assert (await admin.create_account("a", ME, policy)).policy == policy
    other = AccountPolicy(is_suspended=True)
    assert (await admin.set_account_policy("a", other, ME)).policy == other
    assert (await admin.account("a")).account.policy == other
    bad = AccountPolicy(end_user_limits=Limits(tokens_per_day=0))
    for call in (admin.set_account_policy("a", bad, ME), admin.create_account("b", ME, bad)):
        with pytest.raises(InvalidValue, match="must be an integer from 1 to") as caught:
            await call
        assert caught.value.param == "policy.end_user_limits.tokens_per_day"


async def test_accounts_are_listed_page_by_page(admin):
    for name in "abc":
        await admin.create_account(name, ME)
    assert [account.name for account in await admin.accounts(1, 1)] == ["b"]
    assert [account.name for account in await admin.accounts()] == ["a", "b", "c"]


async def test_every_list_has_a_limit(admin):
    await admin.create_account("a", ME)
    for limit in (0, -1, 1_001):
        for call in (
            admin.accounts(0, limit),
            admin.keys(None, 0, limit),
            admin.users(0, limit),
            admin.end_users("a", "", limit),
            admin.audit_entries(limit=limit),
        ):
            with pytest.raises(InvalidValue, match="must be from 1 to 1000") as caught:
                await call
            assert caught.value.param == "limit"


async def test_an_account_that_is_not_there(admin):
    for call in (
        admin.account("b"),
        admin.set_account_policy("b", AccountPolicy(), ME),
        admin.credit("b", 1, why="w", by=ME),
        admin.adjust("b", 1, why="w", by=ME),
        admin.transfer("b", "u", 1, why="w", by=ME),
        admin.end_users("b"),
        admin.end_user("b", "u"),
        admin.set_end_user_limits("b", "u", None, by=ME),
        admin.create_key("b", by=ME),
        admin.keys("b"),
    ):
        with pytest.raises(NotFound, match="There is no account 'b'") as caught:
            await call
        assert caught.value.param == "account"


# Money


async def test_credit_comes_out_of_cash_with_who_and_why(admin, store):
    await admin.create_account("a", ME)
    await admin.credit("a", 5, why="because", by=ME)
    wallet = await admin.credit("a", 7, why="because", by=ME)
    assert wallet.balance == 12
    assert store.transfers[1] == (
        "TOKEN",
        7,
        Line.CASH,
        TransactionKind.CREDIT,
        "me",
        "because",
    )
    await admin.credit("a", 3, "KES", why="because", by=ME)
    statement = await admin.account("a")
    assert [(w.asset, w.balance) for w in statement.wallets] == [("TOKEN", 12), ("KES", 3)]


async def test_an_adjustment_goes_either_way_against_a_line(admin, store):
    await admin.create_account("a", ME)
    assert (await admin.adjust("a", 50, why="w", by=ME)).balance == 50
    assert (await admin.adjust("a", -20, why="w", by=ME, line=Line.SUSPENSE)).balance == 30
    assert [(each[1], each[2], each[3]) for each in store.transfers] == [
        (50, Line.PROMOTIONS, TransactionKind.ADJUSTMENT),
        (-20, Line.SUSPENSE, TransactionKind.ADJUSTMENT),
    ]
    with pytest.raises(TooLittleFree, match=r"Only 30 TOKEN are free .* 31 would") as caught:
        await admin.adjust("a", -31, why="w", by=ME)
    assert (caught.value.status, caught.value.code) == (409, "insufficient_balance")
    with pytest.raises(TooLittleFree, match="Only 0 KES are free"):
        await admin.adjust("a", -1, "KES", why="w", by=ME)


async def test_money_may_go_to_an_end_user_and_back(admin):
    await admin.create_account("a", ME)
    await admin.credit("a", 100, why="w", by=ME)
    own, his = await admin.transfer("a", "juma", 60, why="w", by=ME)
    assert (own.balance, his.balance, his.end_user) == (40, 60, "juma")
    own, his = await admin.transfer("a", "juma", -10, why="w", by=ME)
    assert (own.balance, his.balance) == (50, 50)
    assert (await admin.credit("a", 5, why="w", by=ME, end_user="juma")).balance == 55
    with pytest.raises(TooLittleFree, match=r"Only 50 TOKEN are free .* 51 would"):
        await admin.transfer("a", "juma", 51, why="w", by=ME)
    with pytest.raises(TooLittleFree, match=r"Only 55 TOKEN are free .* 56 would"):
        await admin.transfer("a", "juma", -56, why="w", by=ME)
    assert (await admin.adjust("a", -5, why="w", by=ME, end_user="juma")).balance == 50
    assert [wallet.balance for wallet in (await admin.account("a")).wallets] == [50]


@pytest.mark.parametrize("amount", [0, -1, MAX_AMOUNT + 1])
async def test_an_amount_has_bounds(admin, store, amount):
    await admin.create_account("a", ME)
    with pytest.raises(InvalidValue, match="The amount must be from 1 to") as caught:
        await admin.credit("a", amount, why="w", by=ME)
    assert caught.value.param == "amount"
    for far in (0, MAX_AMOUNT + 1, -MAX_AMOUNT - 1):
        for call in (
            admin.adjust("a", far, why="w", by=ME),
            admin.transfer("a", "u", far, why="w", by=ME),
        ):
            with pytest.raises(InvalidValue, match="or as much below zero"):
                await call
    assert not store.transfers


async def test_a_balance_stays_a_json_number(admin, store):
    await admin.create_account("a", ME)
    await admin.credit("a", MAX_AMOUNT, why="w", by=ME)
    for call in (admin.credit("a", 1, why="w", by=ME), admin.adjust("a", 1, why="w", by=ME)):
        with pytest.raises(InvalidValue, match="may not exceed") as caught:
            await call
        assert caught.value.param == "amount"
    assert len(store.transfers) == 1
    await admin.transfer("a", "u", MAX_AMOUNT, why="w", by=ME)
    await admin.credit("a", 1, why="w", by=ME)
    for amount in (1, -MAX_AMOUNT):
        with pytest.raises(InvalidValue, match="may not exceed"):
            await admin.transfer("a", "u", amount, why="w", by=ME)


async def test_an_asset_is_spelled_in_capitals(admin):
    await admin.create_account("a", ME)
    for asset in ("kes", "K", "K" * 17, "K-S", "", "K\x1b[1m"):
        for call in (
            admin.credit("a", 1, asset, why="w", by=ME),
            admin.adjust("a", 1, asset, why="w", by=ME),
            admin.transfer("a", "u", 1, asset, why="w", by=ME),
        ):
            with pytest.raises(InvalidValue, match="An asset is") as caught:
                await call
            assert caught.value.param == "asset"
            assert caught.value.message.isprintable()


@pytest.mark.parametrize("why", ["", "w" * 501, "a\nb", "\ud800"])
async def test_money_moves_for_a_reason(admin, store, why):
    await admin.create_account("a", ME)
    for call in (
        admin.credit("a", 1, why=why, by=ME),
        admin.adjust("a", 1, why=why, by=ME),
        admin.transfer("a", "u", 1, why=why, by=ME),
    ):
        with pytest.raises(InvalidValue, match="The reason is 1 to 500") as caught:
            await call
        assert caught.value.param == "why"
    assert not store.transfers


# End users


async def test_an_end_user_has_limits_of_his_own(admin):
    await admin.create_account("a", ME)
    limits = Limits(tokens_per_day=5)
    assert (await admin.set_end_user_limits("a", "+254 7", limits, by=ME)).limits == limits
    await admin.credit("a", 9, why="w", by=ME, end_user="+254 7")
    end_user, wallets = await admin.end_user("a", "+254 7")
    assert (end_user.limits, [wallet.balance for wallet in wallets]) == (limits, [9])
    assert [each.name for each in await admin.end_users("a")] == ["+254 7"]
    assert await admin.end_users("a", "+254 7") == []
    assert (await admin.set_end_user_limits("a", "+254 7", None, by=ME)).limits is None
    with pytest.raises(InvalidValue) as caught:
        await admin.set_end_user_limits("a", "x", Limits(concurrent_requests=0), by=ME)
    assert caught.value.param == "limits.concurrent_requests"
    with pytest.raises(NotFound, match="nothing of an end user 'x'") as caught:
        await admin.end_user("a", "x")
    assert caught.value.param == "end_user"


@pytest.mark.parametrize("name", ["", "u" * 513, "a\0", "a\nb", "\ud800"])
async def test_what_is_no_end_user(admin, store, name):
    await admin.create_account("a", ME)
    calls = [
        admin.transfer("a", name, 1, why="w", by=ME),
        admin.end_user("a", name),
        admin.set_end_user_limits("a", name, None, by=ME),
    ]
    if name:
        calls += [
            admin.credit("a", 1, why="w", by=ME, end_user=name),
            admin.adjust("a", 1, why="w", by=ME, end_user=name),
        ]
    for call in calls:
        with pytest.raises(InvalidValue, match="1 to 512 printable") as caught:
            await call
        assert caught.value.param == "end_user"
    assert not store.all_end_users
    assert not store.transfers


async def test_an_end_user_may_have_the_longest_name(admin):
    await admin.create_account("a", ME)
    assert (await admin.credit("a", 1, why="w", by=ME, end_user="ü" * 512)).balance == 1


# The log, groups, the first key


async def test_what_was_changed_is_in_the_log(admin):
    await admin.create_account("a", ME)
    await admin.create_account("b", Actor("you"))
    (entry,) = await admin.audit_entries(who="me")
    assert (entry.action, entry.subject, entry.request_id) == (
        "account.create",
        "account 1",
        "req_1",
    )
    assert json.loads(bytes(entry.after))["name"] == "a"
    assert [each.who for each in await admin.audit_entries()] == ["you", "me"]
    assert [each.who for each in await admin.audit_entries(before=2)] == ["me"]
    assert [each.who for each in await admin.audit_entries(limit=1)] == ["you"]
    assert [each.who for each in await admin.audit_entries(subject="account 2")] == ["you"]


def test_groups_are_those_that_are_configured(admin):
    assert [group.name for group in admin.groups()] == ["default", "students"]


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
    await admin.create_account("a", ME)
    await admin.create_key("a", by=ME)
    assert await admin.first_key() is None
    assert not store.transfers
