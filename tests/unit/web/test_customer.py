"""What a customer asks about himself, and that it is about nobody else."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest
from tests.support.operated_house import OperatedHouse
from tests.support.reports_in_memory import ENDED_MS, a_receipt

from bandari.domain.accounts import AccountPolicy
from bandari.domain.allowance import Quota
from bandari.domain.audit_log import Actor
from bandari.domain.keys import Scope
from bandari.domain.usage import Usage

BY = Actor("test")
READS = ("/v1/balance", "/v1/usage", "/v1/receipts", "/v1/receipts/receipt-1")
END_USERS = ("/v1/end-users", "/v1/end-users/juma")


@pytest.fixture
async def house():
    """Two accounts, each with a key, an end user of the same name, and receipts."""
    house = await OperatedHouse().furnished()
    await house.administration.create_account("baraka", BY)
    await house.administration.credit("baraka", 77, why="test", by=BY)
    for account in ("amina", "baraka"):
        await house.administration.transfer(account, "juma", 7, why="test", by=BY)
    house.reports.book(1, *(a_receipt(number) for number in range(1, 4)))
    house.reports.book(1, a_receipt(4, key_id=9, end_user="juma"))
    house.reports.book(2, *(a_receipt(number, account="baraka", key_id=2) for number in (5, 6)))
    return house


@pytest.fixture
async def key(house):
    return await house.a_key()


async def test_who_asks_is_known_first(house):
    for path in (*READS, *END_USERS):
        assert (await house.refused("GET", path, key=None))[:2] == (401, "missing_api_key")
    assert (await house.refused("PUT", "/v1/end-users/juma", {}, key=None))[0] == 401
    assert (await house.refused("POST", "/v1/end-users/juma/transfers", {}, key=None))[0] == 401


async def test_each_scope_opens_its_own(house):
    for scope, paths in ((Scope.USAGE, READS), (Scope.END_USERS, END_USERS)):
        key = await house.a_key(scopes=(scope,))
        for path in (*READS, *END_USERS):
            client = await house.ask("GET", path, key=key)
            assert client.status == (200 if path in paths else 403), (scope, path)
            assert client.headers["cache-control"] == "no-store"
    usage = await house.a_key(scopes=(Scope.USAGE,))
    for method, path in (
        ("PUT", "/v1/end-users/juma"),
        ("POST", "/v1/end-users/juma/transfers"),
    ):
        assert (await house.refused(method, path, {}, key=usage))[1] == "scope_not_allowed"


async def test_an_admin_key_is_no_customers(house):
    for path in (*READS, *END_USERS):
        assert (await house.ask("GET", path)).status == 401


# -- balance ---------------------------------------------------------------------------------------


async def test_the_balance_is_of_the_accounts_own_wallets(house, key):
    told = await house.told("GET", "/v1/balance", key=key)
    assert told == {
        "object": "balance",
        "account": "amina",
        "wallets": [
            {"asset": "TOKEN", "balance": 993, "held": 0, "free": 993, "end_user": None},
        ],
        "end_user": None,
        "key": {
            "id": 1,
            "name": "laptop",
            "group": "default",
            "expires_ms": None,
            "quota": {},
        },
        "limits": [],
    }


async def test_the_balance_of_an_end_user(house, key):
    on_behalf = [("x-on-behalf-of", "juma")]
    told = await house.told("GET", "/v1/balance", key=key, headers=on_behalf)
    assert [wallet["end_user"] for wallet in told["wallets"]] == [None]
    assert told["end_user"]["name"] == "juma"
    assert [wallet["balance"] for wallet in told["end_user"]["wallets"]] == [7]
    on_behalf = [("x-on-behalf-of", "nobody yet")]
    told = await house.told("GET", "/v1/balance", key=key, headers=on_behalf)
    assert told["end_user"] is None


async def test_what_is_left_of_the_quota(house):
    """Two months, of which the present one has two days in it."""
    key = await house.a_key(quota=Quota(lifetime=1000, per_day=25, per_month=90))
    house.clock.pass_ms(
        int(datetime(2023, 12, 20, 12, tzinfo=UTC).timestamp() * 1000) - house.clock.now_ms()
    )
    house.reports.booked.clear()
    for number, (month, day, hour) in enumerate(
        ((11, 30, 23), (12, 1, 0), (12, 19, 23), (12, 20, 0)), 1
    ):
        at_ms = int(datetime(2023, month, day, hour, tzinfo=UTC).timestamp() * 1000)
        usage = Usage(input_tokens=10 * number, output_tokens=number)
        house.reports.book(1, a_receipt(number, ended_ms=at_ms, usage=usage))
    house.reports.book(1, a_receipt(9, key_id=9))
    quota = (await house.told("GET", "/v1/balance", key=key))["key"]["quota"]
    assert quota == {
        "lifetime": {"limit": 1000, "used": 110, "remaining": 890},
        "per_day": {"limit": 25, "used": 44, "remaining": 0},
        "per_month": {"limit": 90, "used": 99, "remaining": 0},
    }


# -- receipts and usage ----------------------------------------------------------------------------


async def test_receipts_are_the_accounts_own(house, key):
    told = await house.told("GET", "/v1/receipts", key=key)
    assert [each["id"] for each in told["data"]] == [f"receipt-{number}" for number in range(1, 5)]
    assert {each["account"] for each in told["data"]} == {"amina"}


async def test_anothers_receipt_is_not_there(house, key):
    """Not by a byte is it told apart from one that nobody has."""
    anothers = await house.ask("GET", "/v1/receipts/receipt-5", key=key)
    nobodys = await house.ask("GET", "/v1/receipts/receipt-8", key=key)
    assert anothers.status == 404
    assert b"".join(anothers.written).replace(b"date", b"") == b"".join(nobodys.written).replace(
        b"date", b""
    )
    assert (await house.told("GET", "/v1/receipts/receipt-4", key=key))["id"] == "receipt-4"


@pytest.mark.parametrize("path", ["/v1/receipts", "/v1/usage"])
@pytest.mark.parametrize(
    "query",
    [
        "key=2",
        "model=bandari-1&key=2",
        "end_user=juma&key=2",
        "format=csv",
        "format=jsonl",
        "key=2&format=jsonl",
    ],
)
async def test_no_filter_leads_to_anothers(house, key, path, query):
    client = await house.ask("GET", f"{path}?{query}", key=key)
    assert client.status == 200
    assert b"baraka" not in client.body
    assert b"receipt-5" not in client.body
    if "key=2" in query and "format" not in query:
        assert json.loads(client.body)["data"] == []


@pytest.mark.parametrize("query", ["account=baraka", "account_id=2", "by=day&account=baraka"])
async def test_no_account_can_be_named(house, key, query):
    for path in ("/v1/receipts", "/v1/usage"):
        status, code, _ = await house.refused("GET", f"{path}?{query}", key=key)
        assert (status, code) == (400, "unsupported_parameter")


async def test_a_customer_is_not_told_who_has_answered(house, key):
    for path in (
        "/v1/receipts",
        "/v1/receipts/receipt-1",
        "/v1/receipts?format=csv",
        "/v1/receipts?format=jsonl",
    ):
        body = (await house.ask("GET", path, key=key)).body
        assert b"receipt-1" in body
        assert b"acme" not in body
        assert b"target" not in body


async def test_this_key(house, key):
    told = await house.told("GET", "/v1/receipts?key=this", key=key)
    assert len(told["data"]) == 3
    told = await house.told("GET", "/v1/usage?key=this", key=key)
    assert [row["requests"] for row in told["data"]] == [3]
    assert (await house.refused("GET", "/v1/usage?key=that", key=key))[2] == "key"


async def test_usage_agrees_with_the_receipts(house, key):
    receipts = (await house.told("GET", "/v1/receipts", key=key))["data"]
    (row,) = (await house.told("GET", "/v1/usage", key=key))["data"]
    assert row["requests"] == len(receipts)
    assert row["amount"] == sum(each["amount"] for each in receipts)
    assert row["usage"]["total_tokens"] == sum(each["usage"]["total_tokens"] for each in receipts)
    by_user = (await house.told("GET", "/v1/usage?by=end_user", key=key))["data"]
    assert {row["end_user"]: row["requests"] for row in by_user} == {"": 3, "juma": 1}


async def test_on_an_end_users_behalf_it_is_of_him(house, key):
    on_behalf = [("x-on-behalf-of", "juma")]
    for path in ("/v1/receipts", "/v1/receipts?end_user=juma"):
        told = await house.told("GET", path, key=key, headers=on_behalf)
        assert [each["id"] for each in told["data"]] == ["receipt-4"]
    told = await house.told("GET", "/v1/usage", key=key, headers=on_behalf)
    assert [row["requests"] for row in told["data"]] == [1]
    assert await house.refused("GET", "/v1/usage?end_user=x", key=key, headers=on_behalf) == (
        400,
        "invalid_value",
        "end_user",
    )


async def test_a_time_and_a_page(house, key):
    told = await house.told("GET", f"/v1/receipts?start={ENDED_MS + 2}&limit=1", key=key)
    assert [each["id"] for each in told["data"]] == ["receipt-2"]
    told = await house.told("GET", f"/v1/receipts?limit=2&after={told['next']}", key=key)
    assert [each["id"] for each in told["data"]] == ["receipt-3", "receipt-4"]


# -- end users -------------------------------------------------------------------------------------


async def test_end_users_are_the_accounts_own(house, key):
    await house.administration.set_end_user_limits("baraka", "only of baraka", None, by=BY)
    listed = await house.told("GET", "/v1/end-users", key=key)
    assert [each["name"] for each in listed["data"]] == ["juma"]
    assert (await house.refused("GET", "/v1/end-users/only of baraka", key=key))[0] == 404


async def test_a_customer_limits_and_funds_his_own(house, key):
    path = "/v1/end-users/juma"
    told = await house.told("PUT", path, {"limits": {"tokens_per_day": 5}}, key=key)
    assert told["limits"] == {"tokens_per_day": 5}
    moved = await house.told("POST", f"{path}/transfers", {"amount": 93, "why": "x"}, key=key)
    assert (moved["account"]["balance"], moved["end_user"]["balance"]) == (900, 100)
    moved = await house.told("POST", f"{path}/transfers", {"amount": -100, "why": "x"}, key=key)
    assert (moved["account"]["balance"], moved["end_user"]["balance"]) == (1000, 0)
    other = await house.a_key("baraka")
    told = await house.told("GET", path, key=other)
    assert (told["limits"], told["wallets"][0]["balance"]) == (None, 7)
    by_key = [entry for entry in house.store.audit if entry.who == "key:1"]
    assert [entry.action for entry in by_key] == [
        "end_user.limits",
        "wallet.transfer",
        "wallet.transfer",
    ]
    assert {entry.request_id for entry in by_key} == {"req_made"}


@pytest.mark.parametrize(
    ("method", "path", "body", "field"),
    [
        ("PUT", "juma", {}, "limits"),
        ("PUT", "juma", {"limits": {"x": 1}}, "limits.x"),
        ("PUT", "x" * 600, {"limits": None}, "end_user"),
        ("POST", "juma/transfers", {"why": "x"}, "amount"),
        ("POST", "juma/transfers", {"amount": 0, "why": "x"}, "amount"),
        ("POST", "juma/transfers", {"amount": 5}, "why"),
        ("POST", "juma/transfers", {"amount": 5, "why": "x", "account": "baraka"}, "account"),
        ("POST", "juma/transfers?account=baraka", {"amount": 5, "why": "x"}, "account"),
    ],
)
async def test_what_is_wrong_names_the_field(house, key, method, path, body, field):
    before = list(house.store.all_wallets)
    status, _, named = await house.refused(method, f"/v1/end-users/{path}", body, key=key)
    assert (status, named) == (400, field)
    assert house.store.all_wallets == before


async def test_no_more_moves_than_is_free(house, key):
    path = "/v1/end-users/juma/transfers"
    for amount in (994, -8):
        refused = await house.refused("POST", path, {"amount": amount, "why": "x"}, key=key)
        assert refused == (409, "insufficient_balance", "amount")


async def test_a_suspended_account_asks_nothing(house, key):
    await house.administration.set_account_policy("amina", AccountPolicy(is_suspended=True), BY)
    house.clock.pass_ms(2000)
    assert (await house.refused("GET", "/v1/balance", key=key))[:2] == (403, "account_suspended")
