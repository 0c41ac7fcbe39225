"""Users, what they have changed, and what was used."""

from __future__ import annotations

import json

import pytest
from tests.support.reports_in_memory import a_receipt

from bandari.domain import keys


@pytest.fixture
def used(bandari, reports):
    """Two accounts, a key of each, and three receipts."""
    for name in ("amina", "baraka"):
        bandari("account", "create", name)
        bandari("key", "create", name)
    reports.book(1, a_receipt(1), a_receipt(2, model="other", end_user="juma"))
    reports.book(2, a_receipt(3, account="baraka", key_id=2, overrun=4))


# Users


def test_an_admin_key_is_printed_alone_and_once(bandari, store):
    status, out, err = bandari("user", "create", "Grace", "--role", "owner")
    assert status == 0
    assert keys.is_well_formed(out.removesuffix("\n"), "bandari_admin_")
    assert err == "Admin key of 'Grace' (owner). Keep it: it cannot be shown again.\n"
    told = json.loads(bandari("user", "create", "Otto", "--role", "auditor", "--json")[1])
    assert keys.digest(told["admin_key"]) == store.all_users[1][0]
    assert (told["name"], told["role"]) == ("Otto", "auditor")
    listed = bandari("user", "list")[1] + bandari("user", "list", "--json")[1]
    assert out.strip() not in listed
    assert told["admin_key"] not in listed
    assert listed.startswith("1\tGrace\towner\tbandari_admin_…")


def test_a_user_gets_another_role_another_key_and_none(bandari, store):
    bandari("user", "create", "Grace", "--role", "owner")
    first = bandari("user", "create", "Otto", "--role", "auditor")[1]
    assert bandari("user", "role", "Otto", "operator")[1] == "user 'Otto' is operator\n"
    second = bandari("user", "rotate", "2")[1]
    assert second != first
    assert store.all_users[1][0] == keys.digest(second.strip())
    assert bandari("user", "disable", "Otto")[1] == "user 'Otto' is disabled\n"
    told = json.loads(bandari("user", "disable", "Otto", "--json")[1])
    assert told["disabled_ms"] == store.all_users[1][1].disabled_ms
    told = json.loads(bandari("user", "role", "Grace", "owner", "--json")[1])
    assert (told["name"], told["role"]) == ("Grace", "owner")


@pytest.mark.parametrize(
    ("arguments", "status", "line"),
    [
        (("create", "x"), 2, 'Command "user create" parameter --role'),
        (("create", "x", "--role", "king"), 2, 'Invalid value "king" for --role. Choose from:'),
        (("create", "admin", "--role", "owner"), 1, "A user is not named 'admin'"),
        (("create", "Grace", "--role", "owner"), 1, "There is already a user 'Grace'."),
        (("role", "Grace", "auditor"), 1, "'Grace' is the last owner, and no BANDARI_ADMIN_KEY"),
        (("disable", "Grace"), 1, "'Grace' is the last owner, and no BANDARI_ADMIN_KEY"),
        (("rotate", "nobody"), 1, "There is no user 'nobody'."),
    ],
)
def test_what_no_user_is(bandari, arguments, status, line):
    bandari("user", "create", "Grace", "--role", "owner")
    got, out, err = bandari("user", *arguments)
    assert (got, out, err.count("\n")) == (status, "", 1)
    assert err.startswith(f"bandari: {line}")


def test_with_an_admin_key_in_the_environment_the_last_owner_may_go(bandari, monkeypatch):
    bandari("user", "create", "Grace", "--role", "owner")
    monkeypatch.setenv("BANDARI_ADMIN_KEY", "a-long-secret-of-ours")
    assert bandari("user", "disable", "Grace")[0] == 0


def test_an_admin_key_that_could_be_guessed_is_one_line(bandari, monkeypatch):
    monkeypatch.setenv("BANDARI_ADMIN_KEY", "short")
    status, out, err = bandari("user", "list")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("bandari: BANDARI_ADMIN_KEY")


# The log


def test_changes_are_listed_the_latest_first(bandari):
    bandari("account", "create", "amina")
    bandari("account", "set", "amina", "--suspended")
    bandari("account", "create", "baraka")
    status, out, err = bandari("audit", "list", "--limit", "2")
    assert (status, err) == (0, "There may be more: --before 2\n")
    rows = [line.split("\t") for line in out.splitlines()]
    assert [row[0] for row in rows] == ["3", "2"]
    assert rows[1][2].startswith("cli")
    assert rows[1][3:5] == ["account.policy", "account 1"]
    assert json.loads(rows[1][6])["policy"] == {"is_suspended": True}
    told = json.loads(bandari("audit", "list", "--subject", "account 1", "--json")[1])
    assert [entry["id"] for entry in told] == [2, 1]
    assert told[1]["before"] is None
    assert told[1]["after"]["name"] == "amina"
    assert bandari("audit", "list", "--before", "2")[1].count("\n") == 1
    assert bandari("audit", "list", "--who", "nobody")[1] == ""
    assert bandari("audit", "list", "--limit", "0")[0] == 1


# Usage and receipts


def test_usage_is_added_up(bandari, used):
    assert bandari("usage", "show") == (0, "3\t30\t60\t90\t4\tTOKEN\n", "")
    assert bandari("usage", "show", "--by", "day,model")[1] == (
        "2023-11-14\tbandari-1\t2\t20\t40\t60\t4\tTOKEN\n"
        "2023-11-14\tother\t1\t10\t20\t30\t0\tTOKEN\n"
    )
    assert bandari("usage", "show", "--by", "hour,account, key,end-user")[1].splitlines()[1] == (
        "2023-11-14 22:00\tamina\t1\tjuma\t1\t10\t20\t30\t0\tTOKEN"
    )
    told = json.loads(bandari("usage", "show", "--by", "model", "--json")[1])
    assert [(row["model"], row["requests"], row["amount"]) for row in told] == [
        ("bandari-1", 2, 60),
        ("other", 1, 30),
    ]


@pytest.mark.parametrize(
    ("arguments", "requests"),
    [
        (("--account", "amina"), 2),
        (("--key", "2"), 1),
        (("--model", "other"), 1),
        (("--end-user", "juma"), 1),
        (("--from", "2023-11-14T22:00"), 3),
        (("--to", "2023-11-14T23:00Z", "--account", "baraka"), 1),
    ],
)
def test_usage_is_asked_for_by_what_it_was(bandari, used, arguments, requests):
    assert bandari("usage", "show", *arguments)[1].split("\t")[0] == str(requests)


def test_where_nothing_was_used_nothing_is_printed(bandari, used):
    assert bandari("usage", "show", "--from", "1h") == (0, "", "nothing was charged\n")
    assert bandari("usage", "show", "--from", "1h", "--json") == (0, "[]\n", "")


def test_usage_in_csv_and_in_json_lines(bandari, used):
    status, out, _ = bandari("usage", "show", "--by", "model", "--csv")
    assert status == 0
    assert out.splitlines()[0].startswith("model,asset,requests,amount")
    assert out.splitlines()[1].startswith("bandari-1,TOKEN,2,60")
    lines = bandari("usage", "show", "--by", "model", "--jsonl")[1].splitlines()
    assert [json.loads(line)["model"] for line in lines] == ["bandari-1", "other"]


@pytest.mark.parametrize(
    ("arguments", "status", "line"),
    [
        (("--by", "modl"), 2, "--by: there is no 'modl'; known: model"),
        (("--by", "day,month"), 1, ""),
        (("--csv", "--json"), 2, "only one of --csv, --jsonl and --json"),
        (("--account", "nobody"), 1, "There is no account 'nobody'."),
        (("--key", "9"), 1, "There is no such key."),
        (("--from", "2023-11-14T22:30"), 2, "--from: '2023-11-14T22:30' is within an hour"),
        (("--to", "soon"), 2, "--to: 'soon' is neither"),
        (("--from", "2023-11-14", "--to", "2023-11-13"), 1, ""),
    ],
)
def test_how_usage_is_not_asked_for(bandari, used, arguments, status, line):
    got, out, err = bandari("usage", "show", *arguments)
    assert (got, out, err.count("\n")) == (status, "", 1)
    assert err.startswith(f"bandari: {line}")


def test_receipts_are_listed_as_they_were_charged(bandari, used):
    status, out, err = bandari("receipt", "list", "--limit", "2")
    assert (status, err) == (0, "There are more: --after 2\n")
    assert out.splitlines()[0] == (
        "2023-11-14 22:13:20\treceipt-1\tamina\t1\tbandari-1\t30\t30\tTOKEN"
    )
    status, out, err = bandari("receipt", "list", "--after", "2", "--json")
    assert ([each["id"] for each in json.loads(out)], err) == (["receipt-3"], "")
    assert bandari("receipt", "list", "--from", "2023-11-14T22:13:20.003")[1].count("\n") == 1
    assert bandari("receipt", "list", "--end-user", "juma")[1].count("\n") == 1
