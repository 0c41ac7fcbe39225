"""The configuration in use, its reload, and the log of changes."""

from __future__ import annotations

import pytest

from bandari.domain.accounts import Role
from bandari.service.reloading import Changes, ReloadOutcome


async def test_groups_are_told_as_configured(house):
    listed = await house.told("GET", "/admin/v1/groups")
    default, gold = listed["data"]
    assert (default["name"], default["models"], default["price_ratio"]) == ("default", None, "1")
    assert gold == default | {"name": "gold", "models": ["gpt-*"], "priority": 5}


async def test_models_are_told_with_targets_and_prices(house):
    (model,) = (await house.told("GET", "/admin/v1/models"))["data"]
    assert model["targets"] == [{"provider": "acme", "model": "acme-1", "priority": 0, "weight": 1}]
    (price,) = model["prices"]
    assert (price["asset"], price["output_per_million"], price["version"]) == (
        "TOKEN",
        1_000_000,
        1,
    )
    assert model["limits"] == {}


async def test_a_reload_says_what_has_changed(house):
    house.outcome = ReloadOutcome(
        groups=Changes(changed=("gold",)),
        models=Changes(added=("a",), removed=("b",)),
        needs_restart=("server.port",),
    )
    told = await house.told("POST", "/admin/v1/reload", key=house.admin_keys[Role.OPERATOR])
    nothing = {"added": [], "removed": [], "changed": []}
    assert told == {
        "groups": nothing | {"changed": ["gold"]},
        "models": nothing | {"added": ["a"], "removed": ["b"]},
        "providers": nothing,
        "default_provider": None,
        "needs_restart": ["server.port"],
    }
    assert [by.name for by in house.reloaded] == ["operator one"]


async def test_a_refused_reload_says_every_line(house):
    problems = ("bandari.toml:3: 'modles' is not known.", "bandari.toml:9: 'x' must be a number.")
    house.outcome = ReloadOutcome(problems=problems)
    client = await house.ask("POST", "/admin/v1/reload")
    assert client.status == 409
    for problem in problems:
        assert problem.encode() in client.body
    assert b'"invalid_configuration"' in client.body


async def test_the_log_is_read_backwards(house):
    for name in ("a", "b", "c"):
        await house.told("POST", "/admin/v1/accounts", {"name": name})
    everything = await house.told("GET", "/admin/v1/audit")
    assert [each["id"] for each in everything["data"]] == list(range(len(house.store.audit), 0, -1))
    latest = everything["data"][0]
    assert (latest["who"], latest["action"], latest["subject"]) == (
        "admin",
        "account.create",
        "account 4",
    )
    assert latest["before"] is None
    assert latest["after"]["name"] == "c"
    assert latest["request_id"] == "req_made"
    seen, after = [], None
    while after is not None or not seen:
        more = "" if after is None else f"&after={after}"
        page = await house.told("GET", f"/admin/v1/audit?limit=3{more}")
        seen += page["data"]
        after = page["next"]
    assert seen == everything["data"]


async def test_the_log_is_filtered(house):
    await house.told("POST", "/admin/v1/accounts", {"name": "baraka"})
    of_admin = await house.told("GET", "/admin/v1/audit?who=admin")
    assert [each["action"] for each in of_admin["data"]] == ["account.create"]
    of_account = await house.told("GET", "/admin/v1/audit?subject=account 1")
    assert {each["subject"] for each in of_account["data"]} == {"account 1"}
    assert (await house.told("GET", "/admin/v1/audit?who=nobody"))["data"] == []


@pytest.mark.parametrize("query", ["before=5", "limits=5", "who=%00", "subject=" + "x" * 600])
async def test_a_wrong_question_names_the_parameter(house, query):
    status, _, named = await house.refused("GET", f"/admin/v1/audit?{query}")
    assert (status, named) == (400, query.partition("=")[0])
