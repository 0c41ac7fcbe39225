"""Who may operate, and what each role may."""

from __future__ import annotations

import json
import re

import pytest
from tests.support.client import Client, request
from tests.support.operated_house import ADMIN_KEY

from bandari.domain.accounts import Role
from bandari.service.guesses import AT_ONCE

CHANGING = {"POST", "PUT", "PATCH"}


def operations(house) -> list[tuple[str, str]]:
    """Every method and path of the operator API."""
    routes = [*house.app._exact.values(), *house.app._with_id]
    return [
        (method, re.sub(r"\{\w+\}", "9", route.path))
        for route in routes
        for method in route.endpoints
        if route.path.startswith("/admin/")
    ]


async def test_every_operation_asks_who_is_there(house):
    assert len(operations(house)) > 25
    customer = await house.a_key()
    for method, path in operations(house):
        for key in (None, customer, ADMIN_KEY + "x", "bandari_admin_" + "x" * 49):
            house.clock.pass_ms(60_000)
            client = await house.ask(method, path, {}, key=key)
            assert client.status == 401, (method, path)
            assert client.headers["www-authenticate"] == "Bearer"
            assert client.headers["cache-control"] == "no-store"
            error = json.loads(client.body)["error"]
            assert error["type"] == "authentication_error"
            assert key is None or key not in error["message"]


async def test_an_auditor_looks_and_changes_nothing(house):
    store = house.store

    def everything() -> list[list]:
        return [list(each) for each in (store.audit, store.all_accounts, store.all_wallets)]

    before = everything()
    for method, path in operations(house):
        client = await house.ask(method, path, {}, key=house.admin_keys[Role.AUDITOR])
        if method in CHANGING:
            assert client.status == 403, (method, path)
            error = json.loads(client.body)["error"]
            assert (error["code"], error["type"]) == ("role_not_allowed", "permission_error")
        else:
            assert client.status in (200, 404, 400), (method, path)
    assert before == everything()
    assert house.reloaded == []


async def test_an_operator_changes_all_but_users(house):
    key = house.admin_keys[Role.OPERATOR]
    for method, path in operations(house):
        client = await house.ask(method, path, {}, key=key)
        is_of_users = "/users" in path and method in CHANGING
        assert (client.status == 403) is is_of_users, (method, path)


async def test_an_owner_may_do_everything(house):
    for method, path in operations(house):
        client = await house.ask(method, path, {}, key=house.admin_keys[Role.OWNER])
        assert client.status not in (401, 403), (method, path)


async def test_a_refused_role_is_told_before_the_body_is_read(house):
    key = house.admin_keys[Role.AUDITOR]
    assert await house.refused("POST", "/admin/v1/accounts", key=key, raw=b"{") == (
        403,
        "role_not_allowed",
        None,
    )


@pytest.mark.parametrize(
    "headers",
    [
        [("authorization", f"Bearer {ADMIN_KEY}")],
        [("authorization", f"bearer   {ADMIN_KEY} ")],
        [("x-admin-key", ADMIN_KEY)],
        [("x-admin-key", ADMIN_KEY), ("authorization", "Bearer bd_live_something")],
    ],
)
async def test_where_the_admin_key_may_stand(house, headers):
    assert (await request(house.app, "GET", "/admin/v1/groups", headers=headers)).status == 200


@pytest.mark.parametrize(
    ("header", "code"),
    [
        (("authorization", "Basic abc"), "malformed_api_key"),
        (("authorization", "Bearer "), "malformed_api_key"),
        (("authorization", "Bearer " + "x" * 300), "malformed_api_key"),
        (("x-admin-key", ""), "missing_api_key"),
        (("x-admin-key", "x" * 300), "invalid_api_key"),
        (("x-api-key", ADMIN_KEY), "missing_api_key"),
    ],
)
async def test_what_is_no_admin_key(house, header, code):
    client = await request(house.app, "GET", "/admin/v1/groups", headers=[header])
    assert client.status == 401
    assert json.loads(client.body)["error"]["code"] == code


async def test_guessing_is_slow(house):
    wrong = "bandari_admin_" + "x" * 49
    for _ in range(AT_ONCE):
        assert (await house.ask("GET", "/admin/v1/groups", key=wrong)).status == 401
    client = await house.ask("GET", "/admin/v1/groups", key=ADMIN_KEY)
    assert client.status == 429
    assert json.loads(client.body)["error"]["code"] == "too_many_failed_attempts"
    assert int(client.headers["retry-after"]) >= 1


async def test_guessing_slows_nobody_else(house):
    async def ask(key: str, source: str) -> int:
        client = Client(b"")
        headers = [("authorization", f"Bearer {key}")]
        await house.app(client.exchange("GET", "/admin/v1/groups", headers, source=source))
        return client.status

    for _ in range(AT_ONCE + 1):
        last = await ask("bandari_admin_" + "x" * 49, "192.0.2.1")
    assert last == 429
    assert await ask(ADMIN_KEY, "192.0.2.1") == 429
    assert await ask(ADMIN_KEY, "192.0.2.2") == 200


async def test_the_log_names_who_has_asked_and_by_which_request(house):
    await house.ask(
        "POST",
        "/admin/v1/accounts",
        {"name": "baraka"},
        key=house.admin_keys[Role.OPERATOR],
        headers=[("x-request-id", "my-request")],
    )
    entry = house.store.audit[-1]
    assert (entry.who, entry.action) == ("operator one", "account.create")
    assert entry.request_id == "my-request"
    await house.told("POST", "/admin/v1/accounts", {"name": "chausiku"})
    assert house.store.audit[-1].who == "admin"


async def test_a_disabled_user_is_out(house):
    key = house.admin_keys[Role.OPERATOR]
    await house.told("POST", "/admin/v1/users/2/disable")
    assert await house.refused("GET", "/admin/v1/groups", key=key) == (
        401,
        "revoked_api_key",
        None,
    )


async def test_what_is_not_there_is_not_there(house):
    for path in ("/admin/v1", "/admin/v1/nothing", "/admin/v1/accounts/amina/nothing"):
        assert await house.refused("GET", path) == (404, "not_found", None)
    client = await house.ask("DELETE", "/admin/v1/accounts/amina")
    assert (client.status, client.headers["allow"]) == (405, "GET, PATCH")


@pytest.mark.parametrize(
    "path", ["keys/1/revoke", "users/3/rotate", "users/3/disable", "reload", "keys/1/rotate"]
)
async def test_what_has_no_meaning_is_refused(house, path):
    """Who sends a grace with a revocation has to know that there is none."""
    await house.a_key()
    before = list(house.store.audit)
    for body, more, field in (({"grace": 60}, "", "grace"), (None, "?force=true", "force")):
        refused = await house.refused("POST", f"/admin/v1/{path}{more}", body)
        assert refused == (400, "unsupported_parameter", field)
    assert house.store.audit == before
    assert house.reloaded == []
    assert (await house.ask("POST", f"/admin/v1/{path}")).status == 200
