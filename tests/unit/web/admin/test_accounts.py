"""Accounts, wallets and end users, as an operator has them in hand."""

from __future__ import annotations

import asyncio
from urllib.parse import quote

import pytest
from tests.support.gates import Gate

ONE = "/admin/v1/accounts/amina"


async def test_accounts_are_made_and_found(house):
    policy = {"limits": {"requests_per_minute": 5}, "needs_sub_wallets": True}
    made = await house.told("POST", "/admin/v1/accounts", {"name": "bé @1", "policy": policy})
    assert made == {
        "id": 2,
        "name": "bé @1",
        "created_ms": house.clock.now_ms(),
        "policy": policy,
        "wallets": [],
    }
    assert await house.told("GET", "/admin/v1/accounts/bé @1") == made


async def test_accounts_are_listed_page_by_page(house):
    for number in range(5):
        await house.told("POST", "/admin/v1/accounts", {"name": f"account {number}"})
    names, after = [], 0
    while after is not None:
        page = await house.told("GET", f"/admin/v1/accounts?limit=2&after={after}")
        assert page["object"] == "list"
        assert len(page["data"]) <= 2
        names += [account["name"] for account in page["data"]]
        after = page["next"]
    assert names == ["amina", *(f"account {number}" for number in range(5))]


@pytest.mark.parametrize(
    ("body", "code", "field"),
    [
        ({}, "missing_required_parameter", "name"),
        ({"name": None}, "missing_required_parameter", "name"),
        ({"name": 5}, "invalid_value", "name"),
        ({"name": ""}, "invalid_value", "name"),
        ({"name": "-x"}, "invalid_value", "name"),
        ({"name": "a/b"}, "invalid_value", "name"),
        ({"name": "x" * 600}, "invalid_value", "name"),
        ({"name": "x", "polcy": {}}, "unsupported_parameter", "polcy"),
        ({"name": "x", "policy": 5}, "invalid_value", "policy"),
        ({"name": "x", "policy": []}, "invalid_value", "policy"),
        ({"name": "x", "policy": {"limit": {}}}, "unsupported_parameter", "policy.limit"),
        (
            {"name": "x", "policy": {"limits": {"request_per_minute": 5}}},
            "unsupported_parameter",
            "policy.limits.request_per_minute",
        ),
        (
            {"name": "x", "policy": {"limits": {"requests_per_minute": 0}}},
            "invalid_value",
            "policy.limits.requests_per_minute",
        ),
        (
            {"name": "x", "policy": {"limits": {"requests_per_minute": "5"}}},
            "invalid_value",
            "policy.limits.requests_per_minute",
        ),
    ],
)
async def test_a_wrong_account_names_the_field(house, body, code, field):
    assert await house.refused("POST", "/admin/v1/accounts", body) == (400, code, field)
    assert len(house.store.all_accounts) == 1


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"5", b"null", b"\xff", b'{"a":' * 2000])
async def test_a_body_that_is_no_object(house, raw):
    assert await house.refused("POST", "/admin/v1/accounts", raw=raw) == (400, "invalid_json", None)


async def test_an_unknown_field_is_told_the_nearest(house):
    client = await house.ask("POST", "/admin/v1/accounts", {"nam": "x"})
    assert b"Did you mean 'name'?" in client.body


async def test_a_body_is_bounded(house):
    body = {"name": "x", "policy": {"x": "y" * 300_000}}
    assert await house.refused("POST", "/admin/v1/accounts", body) == (
        413,
        "request_too_large",
        None,
    )


async def test_a_name_is_taken_once(house):
    assert await house.refused("POST", "/admin/v1/accounts", {"name": "amina"}) == (
        409,
        "already_exists",
        "name",
    )


async def test_a_policy_is_changed_name_by_name(house):
    async def change(policy: dict) -> dict:
        return (await house.told("PATCH", ONE, {"policy": policy}))["policy"]

    first = {"limits": {"requests_per_minute": 5, "tokens_per_day": 9}, "is_suspended": True}
    assert await change(first) == first
    assert await change({"limits": {"requests_per_minute": 6}}) == {
        "limits": {"requests_per_minute": 6, "tokens_per_day": 9},
        "is_suspended": True,
    }
    assert await change({"limits": {"tokens_per_day": None}, "is_suspended": None}) == {
        "limits": {"requests_per_minute": 6}
    }
    assert await change({"limits": None}) == {}
    for body, field in (({}, "policy"), ({"policy": None}, "policy"), ({"name": "x"}, "name")):
        assert (await house.refused("PATCH", ONE, body))[2] == field


async def test_what_two_operators_change_at_once_is_both_there(house):
    """The store is slow between what the first one reads and what he writes."""
    gate, find = Gate(), house.store.find_account

    async def slowly(name: str):
        account = await find(name)
        if not gate.reached.is_set():
            await gate.passing()
        return account

    house.store.find_account = slowly
    first = asyncio.create_task(
        house.told("PATCH", ONE, {"policy": {"limits": {"requests_per_minute": 5}}})
    )
    await gate.reached.wait()
    second = asyncio.create_task(house.told("PATCH", ONE, {"policy": {"is_suspended": True}}))
    await asyncio.sleep(0)
    gate.open()
    await asyncio.gather(first, second)
    assert (await house.told("GET", ONE))["policy"] == {
        "limits": {"requests_per_minute": 5},
        "is_suspended": True,
    }


@pytest.mark.parametrize("path", ["", "/wallets", "/end-users", "/end-users/x"])
async def test_an_account_that_is_not_there(house, path):
    assert await house.refused("GET", f"/admin/v1/accounts/none{path}") == (
        404,
        "not_found",
        "account",
    )


@pytest.mark.parametrize("name", ["..", "%00", "x" * 200, "\x00", "a'b"])
async def test_a_name_that_can_be_nobodys(house, name):
    assert (await house.refused("GET", f"/admin/v1/accounts/{name}"))[0] in (400, 404)


# -- money -----------------------------------------------------------------------------------------


async def test_money_comes_in_and_is_put_right(house):
    wallet = await house.told("POST", f"{ONE}/credits", {"amount": 500, "why": "M-Pesa ABC"})
    assert wallet == {
        "asset": "TOKEN",
        "balance": 1500,
        "held": 0,
        "free": 1500,
        "end_user": None,
    }
    body = {"amount": -200, "why": "by mistake", "line": "cash"}
    assert (await house.told("POST", f"{ONE}/adjustments", body))["balance"] == 1300
    body = {"amount": 7, "why": "as a gift", "asset": "KES", "end_user": "juma"}
    wallet = await house.told("POST", f"{ONE}/adjustments", body)
    assert (wallet["asset"], wallet["end_user"], wallet["balance"]) == ("KES", "juma", 7)
    assert [each[2:] for each in house.store.transfers[-3:]] == [
        ("cash", "credit", "admin", "M-Pesa ABC"),
        ("cash", "adjustment", "admin", "by mistake"),
        ("promotions", "adjustment", "admin", "as a gift"),
    ]
    listed = await house.told("GET", f"{ONE}/wallets")
    assert [each["balance"] for each in listed["data"]] == [1300]
    assert listed["next"] is None


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"why": "x"}, "amount"),
        ({"amount": 5}, "why"),
        ({"amount": 5, "why": ""}, "why"),
        ({"amount": 5, "why": "x" * 501}, "why"),
        ({"amount": 5, "why": "a\nb"}, "why"),
        ({"amount": 0, "why": "x"}, "amount"),
        ({"amount": 5.5, "why": "x"}, "amount"),
        ({"amount": "5", "why": "x"}, "amount"),
        ({"amount": True, "why": "x"}, "amount"),
        ({"amount": 2**53, "why": "x"}, "amount"),
        ({"amount": 10**30, "why": "x"}, "amount"),
        ({"amount": 5, "why": "x", "asset": "kes"}, "asset"),
        ({"amount": 5, "why": "x", "end_user": "\x00"}, "end_user"),
        ({"amount": 5, "why": "x", "assets": "KES"}, "assets"),
    ],
)
async def test_a_wrong_sum_names_the_field(house, body, field):
    for path in ("credits", "adjustments"):
        status, _, named = await house.refused("POST", f"{ONE}/{path}", body)
        assert (status, named) == (400, field)
    assert len(house.store.transfers) == 1


async def test_only_an_adjustment_has_a_sign_and_a_line(house):
    body = {"amount": -5, "why": "x"}
    assert (await house.refused("POST", f"{ONE}/credits", body))[2] == "amount"
    body = {"amount": 5, "why": "x", "line": "cash"}
    assert (await house.refused("POST", f"{ONE}/credits", body))[2] == "line"
    client = await house.ask("POST", f"{ONE}/adjustments", body | {"line": "heaven"})
    assert b"must be one of revenue, cash," in client.body


async def test_no_more_goes_out_than_is_free(house):
    assert await house.refused("POST", f"{ONE}/adjustments", {"amount": -1001, "why": "x"}) == (
        409,
        "insufficient_balance",
        "amount",
    )


@pytest.mark.parametrize("path", ["credits", "adjustments", "end-users/juma/transfers"])
async def test_nobody_counts_on_what_is_not_kept(house, path):
    header = [("idempotency-key", "abc")]
    refused = await house.refused(
        "POST", f"{ONE}/{path}", {"amount": 5, "why": "x"}, headers=header
    )
    assert refused == (400, "unsupported_parameter", "Idempotency-Key")
    assert len(house.store.transfers) == 1


# -- end users -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["juma", "Juma Njoroge", "a/b", "é", "50%", "transfers"])
async def test_an_end_user_has_limits_and_money(house, name):
    path = f"{ONE}/end-users/{name}"
    limits = {"tokens_per_day": 9, "spend_per_day": {"KES": 5}}
    assert await house.told("PUT", path, {"limits": limits}) == {
        "name": name,
        "created_ms": house.clock.now_ms(),
        "limits": limits,
        "wallets": [],
    }
    moved = await house.told("POST", f"{path}/transfers", {"amount": 300, "why": "December"})
    assert (moved["account"]["balance"], moved["end_user"]["balance"]) == (700, 300)
    moved = await house.told("POST", f"{path}/transfers", {"amount": -100, "why": "too much"})
    assert (moved["account"]["balance"], moved["end_user"]["balance"]) == (800, 200)
    found = await house.told("GET", path)
    assert found["limits"] == limits
    assert [(each["end_user"], each["balance"]) for each in found["wallets"]] == [(name, 200)]
    assert (await house.told("PUT", path, {"limits": {"tokens_per_day": 8}}))["limits"] == {
        "tokens_per_day": 8
    }
    assert (await house.told("PUT", path, {"limits": None}))["limits"] is None


async def test_end_users_are_listed_by_name(house):
    for name in ("c", "a", "b"):
        await house.told("PUT", f"{ONE}/end-users/{name}", {"limits": None})
    page = await house.told("GET", f"{ONE}/end-users?limit=2")
    assert [each["name"] for each in page["data"]] == ["a", "b"]
    assert "wallets" not in page["data"][0]
    page = await house.told("GET", f"{ONE}/end-users?after={quote(page['next'])}&limit=2")
    assert ([each["name"] for each in page["data"]], page["next"]) == (["c"], None)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "limits"),
        ({"limits": 5}, "limits"),
        ({"limits": {"x": 5}}, "limits.x"),
        ({"limits": {"concurrent_requests": -1}}, "limits.concurrent_requests"),
        ({"limits": {}, "limit": {}}, "limit"),
    ],
)
async def test_wrong_limits_name_the_field(house, body, field):
    status, _, named = await house.refused("PUT", f"{ONE}/end-users/juma", body)
    assert (status, named) == (400, field)
    assert house.store.all_end_users == {}


async def test_an_end_user_of_whom_nothing_was_said(house):
    assert await house.refused("GET", f"{ONE}/end-users/juma") == (404, "not_found", "end_user")
    path = f"{ONE}/end-users/{'x' * 600}"
    assert (await house.refused("PUT", path, {"limits": None}))[2] == "end_user"


async def test_no_more_moves_than_is_free(house):
    path = f"{ONE}/end-users/juma/transfers"
    for amount in (1001, -1):
        assert await house.refused("POST", path, {"amount": amount, "why": "x"}) == (
            409,
            "insufficient_balance",
            "amount",
        )


@pytest.mark.parametrize(
    "path", ["/admin/v1/accounts?limits=5", f"{ONE}?x=1", f"{ONE}/wallets?limit=1"]
)
async def test_a_parameter_that_nobody_knows_is_refused(house, path):
    name = path.partition("?")[2].partition("=")[0]
    assert await house.refused("GET", path) == (400, "unsupported_parameter", name)


async def test_what_is_changed_has_no_parameters(house):
    for method, path, body in (
        ("POST", "/admin/v1/accounts", {"name": "baraka"}),
        ("PATCH", ONE, {"policy": {"is_suspended": True}}),
        ("POST", f"{ONE}/credits", {"amount": 5, "why": "x"}),
    ):
        before = len(house.store.audit)
        refused = await house.refused(method, f"{path}?dry_run=true", body)
        assert refused == (400, "unsupported_parameter", "dry_run")
        assert len(house.store.audit) == before


@pytest.mark.parametrize("limit", ["0", "-1", "1001", "x", "1.5", "٣", "1" * 30])
async def test_a_page_is_bounded(house, limit):
    for path in ("accounts", "keys", "users", "audit", "receipts", "accounts/amina/end-users"):
        assert await house.refused("GET", f"/admin/v1/{path}?limit={quote(limit)}") == (
            400,
            "invalid_value",
            "limit",
        )
