"""Keys and users: secrets that are told once, and what becomes of them."""

from __future__ import annotations

import asyncio

import pytest
from tests.support.gates import Gate
from tests.support.operated_house import ADMIN_KEY

from bandari.domain.accounts import Role

KEYS, USERS = "/admin/v1/keys", "/admin/v1/users"


async def secret_and_key(house, **body):
    made = await house.told("POST", KEYS, {"account": "amina", **body})
    return made["secret"], made["key"]


async def test_a_key_is_made_and_opens(house):
    policy = {
        "scopes": ["usage"],
        "models": ["gpt-*"],
        "quota": {"per_day": 5},
        "networks": ["10.0.0.0/8"],
    }
    secret, key = await secret_and_key(house, name="laptop", group="gold", policy=policy)
    assert secret.startswith("bd_test_")
    assert secret not in str(key)
    assert (key["account"], key["name"], key["group"]) == ("amina", "laptop", "gold")
    assert key["policy"] == policy
    assert (key["revoked_ms"], key["former_hint"], key["former_expires_ms"]) == (None,) * 3
    assert await house.told("GET", f"{KEYS}/{key['id']}") == key
    assert (await house.ask("GET", "/v1/balance", key=secret)).status == 403  # from elsewhere
    secret, _ = await secret_and_key(house)
    assert (await house.ask("GET", "/v1/balance", key=secret)).status == 200


async def test_a_secret_is_told_once(house):
    secret, key = await secret_and_key(house)
    await house.told("PATCH", f"{KEYS}/{key['id']}", {"name": "desktop"})
    for path in (KEYS, f"{KEYS}/{key['id']}", "/admin/v1/audit"):
        assert secret.encode() not in (await house.ask("GET", path)).body


async def test_keys_are_listed_page_by_page_and_by_account(house):
    await house.told("POST", "/admin/v1/accounts", {"name": "baraka"})
    for account in ("amina", "baraka", "amina"):
        await house.told("POST", KEYS, {"account": account})
    page = await house.told("GET", f"{KEYS}?limit=2")
    assert ([key["id"] for key in page["data"]], page["next"]) == ([1, 2], 2)
    page = await house.told("GET", f"{KEYS}?limit=2&after=2")
    assert ([key["id"] for key in page["data"]], page["next"]) == ([3], None)
    page = await house.told("GET", f"{KEYS}?account=amina")
    assert [key["id"] for key in page["data"]] == [1, 3]
    assert await house.refused("GET", f"{KEYS}?account=none") == (404, "not_found", "account")


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({}, 400, "account"),
        ({"account": "none"}, 404, "account"),
        ({"account": "amina", "group": "silver"}, 404, "group"),
        ({"account": "amina", "name": "\n"}, 400, "name"),
        ({"account": "amina", "policy": {"scope": []}}, 400, "policy.scope"),
        ({"account": "amina", "policy": {"scopes": ["everything"]}}, 400, "policy.scopes[0]"),
        ({"account": "amina", "policy": {"networks": ["10.0.0"]}}, 400, "policy.networks[0]"),
        ({"account": "amina", "policy": {"quota": {"per_year": 5}}}, 400, "policy.quota.per_year"),
        ({"account": "amina", "policy": {"expires_ms": 5}}, 400, "policy.expires_ms"),
        ({"account": "amina", "grup": "gold"}, 400, "grup"),
    ],
)
async def test_a_wrong_key_names_the_field(house, body, status, field):
    told, _, named = await house.refused("POST", KEYS, body)
    assert (told, named) == (status, field)
    assert house.store.all_keys == []


async def test_a_key_is_changed_name_by_name(house):
    _, key = await secret_and_key(house, policy={"quota": {"per_day": 5, "lifetime": 9}})
    path = f"{KEYS}/{key['id']}"
    changed = await house.told("PATCH", path, {"group": "gold"})
    assert changed == key | {"group": "gold"}
    changed = await house.told("PATCH", path, {"policy": {"quota": {"per_day": 6}}})
    assert changed["policy"] == {"quota": {"per_day": 6, "lifetime": 9}}
    changed = await house.told("PATCH", path, {"policy": {"quota": None}, "name": "x"})
    assert (changed["policy"], changed["name"], changed["group"]) == ({}, "x", "gold")
    assert (await house.refused("PATCH", path, {"policy": {"limit": 5}}))[2] == "policy.limit"
    assert (await house.refused("PATCH", path, {"group": "silver"}))[2] == "group"
    assert await house.told("PATCH", path, {}) == changed


async def test_what_two_operators_change_at_once_is_both_there(house):
    _, key = await secret_and_key(house)
    path = f"{KEYS}/{key['id']}"
    gate, find = Gate(), house.store.key_of_id

    async def slowly(key_id: int):
        found = await find(key_id)
        if not gate.reached.is_set():
            await gate.passing()
        return found

    house.store.key_of_id = slowly
    first = asyncio.create_task(house.told("PATCH", path, {"policy": {"quota": {"per_day": 5}}}))
    await gate.reached.wait()
    second = asyncio.create_task(house.told("PATCH", path, {"policy": {"models": ["gpt-*"]}}))
    await asyncio.sleep(0)
    gate.open()
    await asyncio.gather(first, second)
    policy = (await house.told("GET", path))["policy"]
    assert policy == {"quota": {"per_day": 5}, "models": ["gpt-*"]}


async def test_a_rotated_key_has_a_grace(house):
    former, key = await secret_and_key(house)
    path = f"{KEYS}/{key['id']}/rotate"
    made = await house.told("POST", path, {"grace_seconds": 60})
    assert made["secret"] != former
    assert made["key"]["former_hint"] == key["hint"]
    assert made["key"]["former_expires_ms"] == house.clock.now_ms() + 60_000
    for secret in (former, made["secret"]):
        assert (await house.ask("GET", "/v1/balance", key=secret)).status == 200
    again = await house.told("POST", path)
    assert again["key"]["former_expires_ms"] == house.clock.now_ms()
    for body, field in (
        ({"grace_seconds": -1}, "grace_seconds"),
        ({"grace_seconds": 30 * 86_400 + 1}, "grace_seconds"),
        ({"grace_seconds": 1.5}, "grace_seconds"),
        ({"grace_ms": 5}, "grace_ms"),
    ):
        assert (await house.refused("POST", path, body))[2] == field


async def test_a_revoked_key_stays_revoked(house):
    secret, key = await secret_and_key(house)
    path = f"{KEYS}/{key['id']}"
    revoked = await house.told("POST", f"{path}/revoke")
    assert revoked["revoked_ms"] == house.clock.now_ms()
    house.clock.pass_ms(5000)
    assert await house.told("POST", f"{path}/revoke") == revoked
    assert await house.refused("GET", "/v1/balance", key=secret) == (401, "revoked_api_key", None)
    for method, more, body in (("PATCH", "", {"name": "x"}), ("POST", "/rotate", {})):
        assert (await house.refused(method, path + more, body))[:2] == (409, "revoked_api_key")


@pytest.mark.parametrize(
    "key_id", ["99", "x", "bd_test_abc", "1e3", "-1", "١", "9" * 40, "9" * 5000]
)
async def test_a_key_that_is_not_there(house, key_id):
    await house.a_key()
    for method, more in (("GET", ""), ("PATCH", ""), ("POST", "/rotate"), ("POST", "/revoke")):
        client = await house.ask(method, f"{KEYS}/{key_id}{more}", {} if method != "GET" else None)
        assert client.status == 404
        assert key_id.encode() not in client.body or key_id == "x"


# -- users -----------------------------------------------------------------------------------------


async def test_a_user_is_made_and_comes_in(house):
    made = await house.told("POST", USERS, {"name": "otieno", "role": "auditor"})
    user = made["user"]
    assert (user["name"], user["role"], user["disabled_ms"]) == ("otieno", "auditor", None)
    assert made["secret"] not in str(user)
    assert (await house.ask("GET", USERS, key=made["secret"])).status == 200
    listed = await house.told("GET", f"{USERS}?limit=2&after=2")
    assert ([each["id"] for each in listed["data"]], listed["next"]) == ([3, 4], 4)
    again = await house.told("POST", f"{USERS}/{user['id']}/rotate")
    assert (await house.ask("GET", USERS, key=made["secret"])).status == 401
    assert (await house.ask("GET", USERS, key=again["secret"])).status == 200
    changed = await house.told("PATCH", f"{USERS}/{user['id']}", {"role": "operator"})
    assert changed["role"] == "operator"
    assert (await house.told("POST", f"{USERS}/{user['id']}/disable"))["disabled_ms"] is not None
    assert (await house.ask("GET", USERS, key=again["secret"])).status == 401
    refused = await house.refused("PATCH", f"{USERS}/{user['id']}", {"role": "owner"})
    assert refused[:2] == (409, "user_disabled")


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"role": "owner"}, 400, "name"),
        ({"name": "otieno"}, 400, "role"),
        ({"name": "otieno", "role": "king"}, 400, "role"),
        ({"name": "admin", "role": "owner"}, 400, "name"),
        ({"name": "owner one", "role": "owner"}, 409, "name"),
        ({"name": "otieno", "role": "owner", "rol": "x"}, 400, "rol"),
    ],
)
async def test_a_wrong_user_names_the_field(house, body, status, field):
    told, _, named = await house.refused("POST", USERS, body)
    assert (told, named) == (status, field)
    assert len(house.store.all_users) == 3


async def test_a_role_is_one_of_three(house):
    client = await house.ask("PATCH", f"{USERS}/1", {"role": "king"})
    assert b"must be one of owner, operator, auditor, and is 'king'" in client.body


@pytest.mark.parametrize("user_id", ["99", "x", "owner one"])
async def test_a_user_who_is_not_there(house, user_id):
    path = f"{USERS}/{user_id}"
    assert (await house.refused("PATCH", path, {"role": "owner"}))[0] == 404
    for action in ("rotate", "disable"):
        assert (await house.refused("POST", f"{path}/{action}"))[0] == 404


async def test_an_auditor_cannot_make_himself_an_owner(house):
    key = house.admin_keys[Role.AUDITOR]
    assert (await house.refused("PATCH", f"{USERS}/3", {"role": "owner"}, key=key))[0] == 403
    operator = house.admin_keys[Role.OPERATOR]
    assert (await house.refused("PATCH", f"{USERS}/2", {"role": "owner"}, key=operator))[0] == 403
    assert (await house.ask("PATCH", f"{USERS}/2", {"role": "owner"}, key=ADMIN_KEY)).status == 200
