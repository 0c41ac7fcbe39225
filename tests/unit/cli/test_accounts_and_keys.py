"""What accounts and keys may do, as it is typed; money that is put right or passed on."""

from __future__ import annotations

import io
import json
from types import SimpleNamespace

import pytest

from bandari.cli import moments
from bandari.domain import keys
from bandari.domain.accounts import AccountPolicy
from bandari.domain.allowance import Limits, Quota
from bandari.domain.keys import KeyPolicy, Scope
from bandari.domain.recordings import CacheUse

NOW_MS = 1_800_000_000_000
DAY_MS = 86_400_000


@pytest.fixture(autouse=True)
def stopped_clock(monkeypatch):
    monkeypatch.setattr(moments, "now_ms", lambda: NOW_MS)


@pytest.fixture
def amina(bandari):
    bandari("account", "create", "amina")


@pytest.fixture
def typed(monkeypatch):
    """What comes on stdin."""

    def typed(content: bytes) -> None:
        monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(content)))

    return typed


# Accounts


def test_an_account_has_limits(bandari, store):
    assert bandari(
        *("account", "create", "amina", "--requests-per-minute", "60", "--spend-per-day", "KES=5"),
        *("--spend-per-day", "TOKEN=7", "--needs-sub-wallets", "--no-names-end-users"),
    ) == (0, "account 'amina' created\n", "")
    assert store.all_accounts[0].policy == AccountPolicy(
        limits=Limits(requests_per_minute=60, spend_per_day={"KES": 5, "TOKEN": 7}),
        needs_sub_wallets=True,
        names_end_users=False,
    )


def test_an_account_s_policy_is_changed_where_something_is_said(bandari, store, amina):
    bandari("account", "set", "amina", "--tokens-per-day", "5", "--requests-per-day", "6")
    status, out, _ = bandari("account", "set", "amina", "--suspended", "--requests-per-day", "none")
    assert (status, out) == (0, "account 'amina': limits.tokens_per_day=5 is_suspended=true\n")
    assert store.all_accounts[0].policy == AccountPolicy(
        limits=Limits(tokens_per_day=5), is_suspended=True
    )
    told = json.loads(bandari("account", "set", "amina", "--no-suspended", "--json")[1])
    assert told["policy"] == {"limits": {"tokens_per_day": 5}}
    assert "limits.tokens_per_day=5" in bandari("account", "show", "amina")[1]
    bandari("account", "set", "amina", "--tokens-per-day", "none")
    assert bandari("account", "set", "amina")[1] == "account 'amina': no limits of its own\n"


def test_accounts_are_listed_page_by_page(bandari):
    for name in ("amina", "baraka", "chuo"):
        bandari("account", "create", name)
    status, out, err = bandari("account", "list", "--after", "1", "--limit", "1")
    assert (status, out.split("\t")[:2]) == (0, ["2", "baraka"])
    assert err == "There may be more: --after 2\n"
    status, out, err = bandari("account", "list", "--json")
    assert [account["name"] for account in json.loads(out)] == ["amina", "baraka", "chuo"]
    assert err == ""


def test_a_wallet_is_put_right(bandari, store, amina):
    bandari("account", "credit", "amina", "500")
    adjusted = bandari("account", "adjust", "amina", "-200", "--why", "twice on Monday")
    assert adjusted == (0, "'amina' now has 300 TOKEN\n", "")
    assert store.transfers[1][-1] == "twice on Monday"
    status, _, err = bandari("account", "adjust", "amina", "-301", "--why", "w")
    assert (status, err) == (
        1,
        "bandari: Only 300 TOKEN are free in that wallet, and 301 would go out.\n",
    )


def test_money_is_passed_on_to_an_end_user_and_back(bandari, amina):
    bandari("account", "credit", "amina", "500")
    assert bandari("account", "transfer", "amina", "juma", "200")[1] == (
        "'amina' now has 300 TOKEN, and its end user 'juma' 200 TOKEN\n"
    )
    told = json.loads(bandari("account", "transfer", "amina", "juma", "-50", "--json")[1])
    assert told == {
        "name": "amina",
        "wallet": {"asset": "TOKEN", "balance": 350, "held": 0},
        "end_user": {"name": "juma", "wallets": [{"asset": "TOKEN", "balance": 150, "held": 0}]},
    }
    told = bandari("account", "credit", "amina", "5", "--end-user", "juma")[1]
    assert told == "the end user 'juma' of 'amina' now has 155 TOKEN\n"
    told = json.loads(
        bandari(
            *("account", "adjust", "amina", "-5", "--end-user", "juma", "--why", "w", "--json")
        )[1]
    )
    assert (told["end_user"], told["amount"], told["balance"]) == ("juma", -5, 150)
    assert bandari("account", "end-users", "amina")[1] == "juma\t150 TOKEN\tthe account's\n"
    _, out, err = bandari("account", "end-users", "amina", "--limit", "1", "--json")
    assert json.loads(out) == [
        {
            "name": "juma",
            "wallets": [{"asset": "TOKEN", "balance": 150, "held": 0}],
            "limits": None,
        }
    ]
    assert err == "There may be more: --after juma\n"
    assert bandari("account", "end-users", "amina", "--after", "juma")[1] == ""
    # What the account shows is its own, and exactly this.
    assert bandari("account", "show", "amina", "--json")[1] == (
        '{"name":"amina","wallets":[{"asset":"TOKEN","balance":350,"held":0}]}\n'
    )


# Keys


def test_a_key_may_do_what_is_said(bandari, store, amina):
    status, out, err = bandari(
        *("key", "create", "amina", "--name", "laptop"),
        *("--scope", "messages", "--scope", "usage", "--model", "gpt-*", "--model", "m"),
        *("--quota", "9", "--quota-per-day", "1", "--quota-per-month", "5", "--expires", "30d"),
        *("--network", "10.0.0.0/8", "--network", "::1", "--concurrent-requests", "2"),
        *("--tokens-per-minute", "3", "--spend-per-month", "KES=4"),
    )
    assert status == 0
    assert keys.is_well_formed(out.removesuffix("\n"), "bd_live_")
    assert err == "Key 1 of 'amina'. Keep it: it cannot be shown again.\n"
    assert store.all_keys[0][1].policy == KeyPolicy(
        scopes=(Scope.MESSAGES, Scope.USAGE),
        models=("gpt-*", "m"),
        quota=Quota(lifetime=9, per_day=1, per_month=5),
        limits=Limits(concurrent_requests=2, tokens_per_minute=3, spend_per_month={"KES": 4}),
        networks=("10.0.0.0/8", "::1/128"),
        expires_ms=NOW_MS + 30 * DAY_MS,
    )


def test_a_key_has_its_window_and_its_cache(bandari, store, amina):
    said = ("--resume-window", "30", "--cache", "use", "--cache-ttl", "600")
    assert bandari("key", "create", "amina", *said)[0] == 0
    assert store.all_keys[0][1].policy == KeyPolicy(
        resume_window_s=30, cache=CacheUse.USE, cache_ttl_s=600
    )
    shown = bandari("key", "show", "1")[1]
    assert "may       resume_window_s=30 cache=use cache_ttl_s=600\n" in shown
    told = json.loads(bandari("key", "show", "1", "--json")[1])
    assert told["policy"] == {"resume_window_s": 30, "cache": "use", "cache_ttl_s": 600}
    # Nothing at all is something else than nothing said.
    bandari("key", "set", "1", "--resume-window", "0", "--cache", "off")
    assert store.all_keys[0][1].policy == KeyPolicy(
        resume_window_s=0, cache=CacheUse.OFF, cache_ttl_s=600
    )
    bandari("key", "set", "1", "--resume-window", "none", "--cache", "none", "--cache-ttl", "none")
    assert store.all_keys[0][1].policy == KeyPolicy()


@pytest.mark.parametrize("use", CacheUse)
def test_a_key_may_have_any_use_of_the_cache(bandari, store, amina, use):
    assert bandari("key", "create", "amina", "--cache", use.value)[0] == 0
    assert store.all_keys[0][1].policy.cache is use


def test_a_policy_may_come_as_a_file_and_the_options_win(bandari, store, amina, tmp_path, typed):
    document = b'{"limits": {"tokens_per_hour": 5, "tokens_per_day": 6}, "models": ["m"]}'
    (tmp_path / "p.json").write_bytes(document)
    assert bandari("key", "create", "amina", "--policy", "p.json")[0] == 0
    typed(document)
    assert bandari("key", "create", "amina", "--policy", "-", "--tokens-per-day", "7")[0] == 0
    assert [key.policy for _, key in store.all_keys] == [
        KeyPolicy(limits=Limits(tokens_per_hour=5, tokens_per_day=6), models=("m",)),
        KeyPolicy(limits=Limits(tokens_per_hour=5, tokens_per_day=7), models=("m",)),
    ]
    typed(b'{"end_user_limits": {"requests_per_day": 3}}')
    assert bandari("account", "set", "amina", "--policy", "-", "--suspended")[0] == 0
    assert store.all_accounts[0].policy == AccountPolicy(
        end_user_limits=Limits(requests_per_day=3), is_suspended=True
    )


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"{", "stdin: not JSON: "),
        (b"\xff", "stdin: not JSON: "),
        (b"[" * 100_000, "stdin: not JSON: "),
        (b"[]", "stdin: a policy is a JSON object"),
        (b" " * 300_000, "stdin: a policy has at most 262144 bytes"),
    ],
)
def test_what_is_no_policy_at_all(bandari, amina, typed, content, line):
    typed(content)
    status, out, err = bandari("key", "create", "amina", "--policy", "-")
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"bandari: {line}")


def test_a_key_is_shown_and_changed(bandari, store, amina):
    bandari("key", "create", "amina", "--model", "m", "--quota", "9", "--expires", "1d")
    text = bandari("key", "create", "amina")[1].strip()
    status, out, _ = bandari("key", "show", "1")
    assert status == 0
    assert "may       models=m quota.lifetime=9 expires=2027-01-16 08:00:00 UTC\n" in out
    told = json.loads(bandari("key", "show", text, "--json")[1])
    assert (told["id"], told["policy"], told["former_hint"]) == (2, {}, None)
    assert text not in json.dumps(told)
    status, out, _ = bandari(
        *("key", "set", "1", "--name", "n", "--model", "none", "--quota-per-day", "4"),
        *("--expires", "none"),
    )
    assert status == 0
    assert "name      n\n" in out
    assert "may       quota.lifetime=9 quota.per_day=4\n" in out
    assert store.all_keys[0][1].policy == KeyPolicy(quota=Quota(lifetime=9, per_day=4))
    bandari("key", "set", "1", "--quota", "none", "--quota-per-day", "none")
    assert "may       no limits of its own\n" in bandari("key", "set", "1")[1]


def test_a_key_is_rotated_with_a_grace(bandari, store, amina):
    former = bandari("key", "create", "amina")[1].strip()
    status, out, err = bandari("key", "rotate", "1", "--grace", "24h")
    assert status == 0
    assert keys.is_well_formed(out.removesuffix("\n"), "bd_live_")
    assert out.strip() != former
    assert "The former secret opens until 2" in err
    key = store.all_keys[0][1]
    assert f"former    bd_live_…{former[-4:]}, until 2" in bandari("key", "show", "1")[1]
    status, out, err = bandari("key", "rotate", out.strip())
    assert err.endswith("The former one opens no more.\n")
    told = json.loads(bandari("key", "rotate", "1", "--json", "--grace", "30d")[1])
    assert keys.digest(told["key"]) == store.all_keys[0][0]
    assert told["former_hint"] == f"bd_live_…{out.strip()[-4:]}"
    assert key.id == told["id"] == 1


def test_keys_are_listed_page_by_page(bandari, amina):
    for _ in range(3):
        bandari("key", "create", "amina")
    status, out, err = bandari("key", "list", "amina", "--after", "1", "--limit", "1")
    assert (status, out[:2], err) == (0, "2\t", "There may be more: --after 2\n")


# How it fails


@pytest.mark.parametrize(
    ("arguments", "status", "line"),
    [
        (("--scope", "chat"), 1, "'scopes[0]' must be one of chat_completions"),
        (("--network", "10.0.0.5/8"), 1, "'networks[0]' is '10.0.0.5/8', an address inside"),
        (("--tokens-per-minute", "0"), 1, "'limits.tokens_per_minute' must be an integer from 1"),
        (("--tokens-per-minute", "-5"), 1, "'limits.tokens_per_minute' must be an integer from"),
        (("--tokens-per-minute", "1.5"), 2, "Invalid value for --tokens-per-minute: '1.5' is not"),
        (("--quota", "many"), 2, "Invalid value for --quota: 'many' is not a whole number"),
        (("--spend-per-day", "5"), 2, "--spend-per-day: '5' is not ASSET=AMOUNT"),
        (("--spend-per-day", "KES=x"), 2, "--spend-per-day: 'KES=x' is not ASSET=AMOUNT"),
        (("--spend-per-day", "kes=5"), 1, "An asset is 2 to 16 capital letters"),
        (("--expires", "2027-01-15T07:59:59Z"), 2, "--expires: '2027-01-15T07:59:59Z' has passed"),
        (("--expires", "soon\x1b"), 2, "--expires: 'soon\\x1b' is neither a date or time"),
        (("--expires", "3000-01-01"), 1, "'policy.expires_ms' must be before the year 3000"),
        (("--expires", "9999-12-31T23:00-05:00"), 1, "'policy.expires_ms' must be before"),
        (("--policy", "none.json"), 1, "none.json: No such file"),
        (("--resume-window", "86401"), 1, "'resume_window_s' must be an integer from 0 to 86400"),
        (("--resume-window", "-1"), 1, "'resume_window_s' must be an integer from 0 to 86400"),
        (("--resume-window", "1m"), 2, "Invalid value for --resume-window: '1m' is not a whole"),
        (("--cache", "yes"), 2, "Invalid value"),
        (("--cache-ttl", "0"), 1, "'cache_ttl_s' must be an integer from 1 to 31536000, and is 0"),
        (("--group", "studens"), 1, "There is no group 'studens'; known: default."),
    ],
)
def test_what_a_key_may_not_be_told(bandari, store, amina, arguments, status, line):
    got, out, err = bandari("key", "create", "amina", *arguments)
    assert (got, out, err.count("\n")) == (status, "", 1)
    assert err.startswith(f"bandari: {line}")
    assert not store.all_keys


@pytest.mark.parametrize(
    ("arguments", "status", "line"),
    [
        (("rotate", "1", "--grace", "soon"), 2, "--grace: 'soon' is not a time span"),
        (("rotate", "1", "--grace", "31d"), 1, "'grace_ms' must be from 0 to 2592000000 (30 days)"),
        (("rotate", "2"), 1, "There is no such key."),
        (("set", "2"), 1, "There is no such key."),
        (("show", "2"), 1, "There is no such key."),
        (("list", "--limit", "0"), 1, "'limit' must be from 1 to 1000."),
        (("list", "--limit", "1001"), 1, "'limit' must be from 1 to 1000."),
    ],
)
def test_what_a_key_cannot(bandari, amina, arguments, status, line):
    bandari("key", "create", "amina")
    got, out, err = bandari("key", *arguments)
    assert (got, out, err.count("\n")) == (status, "", 1)
    assert err.startswith(f"bandari: {line}")


def test_a_key_that_is_revoked_gets_nothing_new(bandari, amina):
    bandari("key", "create", "amina")
    bandari("key", "revoke", "1")
    for arguments in (("rotate", "1"), ("set", "1", "--name", "n")):
        status, out, err = bandari("key", *arguments)
        assert (status, out) == (1, "")
        assert "is revoked for good." in err
