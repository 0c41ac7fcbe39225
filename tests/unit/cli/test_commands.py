"""Every command over a store in memory: what it prints, where, and its exit status."""

from __future__ import annotations

import asyncio
import errno
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import bandari as package
from bandari.adapters.storage import StorageError
from bandari.bootstrap.serving import Listening
from bandari.cli import COMMANDS, books, help_page, serve
from bandari.cli.failure import CommandFailed
from bandari.domain import keys
from bandari.domain.faults import StoreUnavailable
from bandari.domain.ledger import Difference, Ending, Receipt
from bandari.domain.usage import CountRule, Usage

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(package.__file__).parents[1])}

RECEIPT = Receipt(
    id="rcpt_1",
    account="amina",
    key_id=1,
    model="m",
    target="local:m",
    asset="TOKEN",
    amount=12,
    overrun=3,
    balance_after=88,
    rate_card_version=1,
    usage=Usage(input_tokens=10, output_tokens=5),
    rule=CountRule.REPORTED,
    basis=None,
    ending=Ending.COMPLETED,
    created_ms=1_700_000_000_000,
    ended_ms=1_700_000_001_000,
    finish_reason="stop",
)


# Help


def test_every_command_has_a_module_and_a_line_in_the_help():
    page = help_page()
    for name, line in COMMANDS.items():
        assert f"  {name} " in page
        assert line in page
        parser = importlib.import_module(f"bandari.cli.{name}").app
        assert parser.name == (name,)


def test_the_help_imports_nothing_heavy():
    code = (
        "import sys; sys.argv = ['bandari', '--help']\n"
        "from bandari.cli import main; main()\n"
        "heavy = {'cyclopts', 'msgspec', 'rich', 'asyncio', 'uvloop'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, check=True
    )
    assert done.stdout == help_page()


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself_and_its_options(bandari, name):
    status, out, _ = bandari(name, "--help")
    assert status == 0
    assert f"Usage: bandari {name}" in out
    if name in ("serve", "chat"):
        assert "--data" in out
        assert "--config" in out
        assert "--json" in out


# What it prints


def test_account_create(bandari, store):
    assert bandari("account", "create", "amina") == (0, "account 'amina' created\n", "")
    status, out, _ = bandari("account", "create", "bob", "--json")
    assert status == 0
    assert json.loads(out)["name"] == "bob"
    assert [account.name for account in store.all_accounts] == ["amina", "bob"]


def test_account_credit(bandari, store):
    bandari("account", "create", "amina")
    assert bandari("account", "credit", "amina", "500")[1] == "'amina' now has 500 TOKEN\n"
    status, out, _ = bandari(
        "account", "credit", "amina", "7", "--asset", "KES", "--why", "M-Pesa QK1", "--json"
    )
    assert status == 0
    assert json.loads(out) == {
        "name": "amina",
        "asset": "KES",
        "amount": 7,
        "balance": 7,
        "held": 0,
    }
    assert store.transfers[1][-1] == "M-Pesa QK1"
    assert store.transfers[1][-2].startswith("cli")
    assert store.audit[-1].who == store.transfers[1][-2]


def test_account_show_in_json_is_exactly_this(bandari):
    bandari("account", "create", "amina")
    assert bandari("account", "show", "amina", "--json")[1] == '{"name":"amina","wallets":[]}\n'
    bandari("account", "credit", "amina", "500")
    assert bandari("account", "show", "amina", "--json")[1] == (
        '{"name":"amina","wallets":[{"asset":"TOKEN","balance":500,"held":0}]}\n'
    )


def test_account_show_for_a_person(bandari):
    bandari("account", "create", "amina")
    assert "no wallet yet" in bandari("account", "show", "amina")[1]
    bandari("account", "credit", "amina", "500")
    assert "TOKEN\t500\t0\n" in bandari("account", "show", "amina")[1]


def test_key_create_prints_the_key_and_nothing_else_on_stdout(bandari, store):
    bandari("account", "create", "amina")
    status, out, err = bandari("key", "create", "amina")
    assert status == 0
    assert keys.is_well_formed(out.removesuffix("\n"), "bd_live_")
    assert "cannot be shown again" in err
    status, out, err = bandari("key", "create", "amina", "--name", "laptop", "--json")
    assert json.loads(out)["name"] == "laptop"
    assert keys.digest(json.loads(out)["key"]) == store.all_keys[1][0]
    assert err == ""


def test_keys_are_listed_without_the_keys(bandari):
    bandari("account", "create", "amina")
    text = bandari("key", "create", "amina")[1].strip()
    for arguments in (("key", "list"), ("key", "list", "amina"), ("key", "list", "--json")):
        status, out, _ = bandari(*arguments)
        assert status == 0
        assert "amina" in out
        assert text not in out
    assert json.loads(bandari("key", "list", "--json")[1])[0]["revoked_ms"] is None


def test_key_revoke(bandari):
    bandari("account", "create", "amina")
    text = bandari("key", "create", "amina")[1].strip()
    assert bandari("key", "revoke", "1")[1].endswith("of 'amina' is revoked\n")
    assert json.loads(bandari("key", "revoke", text, "--json")[1])["revoked_ms"] > 0
    assert "key revoke" not in bandari("key", "list")[1]


def test_the_key_s_prefix_and_groups_are_the_configuration_s(bandari, tmp_path):
    file = tmp_path / "b.toml"
    file.write_text('key_prefix = "fk_live_"\n[groups.students]\n')
    bandari("account", "create", "amina")
    out = bandari("key", "create", "amina", "--config", str(file), "--group", "students")[1]
    assert out.startswith("fk_live_")
    status, _, err = bandari("key", "create", "amina", "--group", "students")
    assert (status, err) == (1, "bandari: There is no group 'students'; known: default.\n")


def test_ledger_verify(bandari, store):
    status, out, _ = bandari("ledger", "verify")
    assert (status, out[:6]) == (0, "clean:")
    assert json.loads(bandari("ledger", "verify", "--json")[1])["clean"] is True
    store.differences = (Difference("wallet 1", 5, 4),)
    status, out, err = bandari("ledger", "verify")
    assert status == 1
    assert out == "wallet 1: the books say 5, the postings 4\n"
    assert err == "bandari: the ledger has 1 differences\n"
    assert bandari("ledger", "verify", "--json")[0] == 1


def test_receipt_show(bandari, store):
    store.receipts["rcpt_1"] = RECEIPT
    _, out, _ = bandari("receipt", "show", "rcpt_1")
    for text in ("12 TOKEN", "10 tokens", "reported", "completed", "stop", "3 TOKEN", "88 TOKEN"):
        assert text in out
    assert "end user" not in out
    told = json.loads(bandari("receipt", "show", "rcpt_1", "--json")[1])
    assert (told["amount"], told["usage"]["output_tokens"], told["ending"]) == (12, 5, "completed")


# How it fails


@pytest.mark.parametrize(
    ("arguments", "status", "line"),
    [
        (("acount",), 2, "there is no command 'acount'; known: account"),
        (("zzz",), 2, "there is no command 'zzz'; known: serve, account, key, user"),
        (("a\x1b[31m",), 2, "there is no command 'a\\x1b[31m'; known: "),
        (("--nonsense",), 2, ""),
        (("account", "nonsense"), 2, ""),
        (("account", "create"), 2, ""),
        (("account", "create", "a", "b"), 2, ""),
        (("account", "create", "a", "--nonsense"), 2, ""),
        (("account", "create", "/"), 1, "'/' is not a name"),
        (("account", "show", "nobody"), 1, "There is no account 'nobody'."),
        (("account", "credit", "nobody", "x"), 2, ""),
        (("account", "credit", "nobody", "1.5"), 2, ""),
        (("account", "credit", "nobody", "0x10"), 2, ""),
        (("account", "credit", "nobody", "9" * 5000), 2, ""),
        (("serve", "--port", "80.5"), 2, ""),
        (("account", "credit", "nobody", "-5"), 1, "The amount must be from 1 to"),
        (("account", "adjust", "nobody", "5"), 2, ""),
        (("key", "revoke", "7"), 1, "There is no such key."),
        (("receipt", "show", "x"), 1, "There is no such receipt."),
        (("account", "show", "a", "--config", "none.toml"), 2, "none.toml: cannot be read: No su"),
        (("chat", "hello"), 2, "no API key; give one with --key or in BANDARI_API_KEY"),
        (("serve", "--port", "70000"), 2, "--port: expected 0 to 65535, got 70000"),
    ],
)
def test_a_failure_is_one_line_on_stderr(bandari, arguments, status, line):
    got, out, err = bandari(*arguments)
    assert (got, out) == (status, "")
    assert err.startswith(f"bandari: {line}")
    assert err.count("\n") == 1
    assert "Traceback" not in err


def test_every_problem_of_the_configuration_has_its_line(bandari, tmp_path):
    (tmp_path / "b.toml").write_text("a = 1\nb = 2\n")
    status, _, err = bandari("account", "show", "a", "--config", "b.toml")
    assert status == 2
    assert [line.split(":")[2] for line in err.splitlines()] == ["1", "2"]


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (StorageError("no such database"), 1, "bandari: no such database\n"),
        (StorageError(), 1, "bandari: The database cannot be used.\n"),
        (ExceptionGroup("", [StorageError("x")]), 1, "bandari: x\n"),
        (ExceptionGroup("", [ExceptionGroup("", [StorageError("x")])]), 1, "bandari: x\n"),
        (StoreUnavailable(), 1, f"bandari: {StoreUnavailable.__doc__}\n"),
        (CommandFailed("a\nb", 3), 3, "bandari: a b\n"),
        (PermissionError(13, "Permission denied", "/x"), 1, "bandari: /x: Permission denied\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_what_the_store_raises_is_one_line(bandari, monkeypatch, error, status, line):
    def fail(*_):
        raise error

    monkeypatch.setattr(books, "open_books", fail)
    assert bandari("account", "show", "a") == (status, "", line)


def test_a_defect_shows_its_traceback(bandari, monkeypatch):
    def fail(*_):
        raise ZeroDivisionError

    monkeypatch.setattr(books, "open_books", fail)
    with pytest.raises(ZeroDivisionError):
        bandari("account", "show", "a")


def test_a_reader_that_has_enough_gets_no_traceback():
    code = (
        "import sys; sys.argv = ['bandari', 'key', '--help']\nfrom bandari.cli import main; main()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        process.stdout.close()
        assert process.stderr.read() == b""


# serve


@pytest.fixture
def served(store, monkeypatch):
    """Runs ``serve`` up to the moment when it listens; keeps the settings it was given."""
    seen = []

    def fake(settings, on_listening, _):
        seen.append(settings)

        async def listen():
            await on_listening(Listening("http://127.0.0.1:1", store, settings.models))

        asyncio.run(listen())

    monkeypatch.setattr(serve.serving, "serve", fake)
    return seen


def test_serve_gives_a_first_key_and_a_line_that_uses_it(bandari, served, store):
    status, out, _ = bandari("serve")
    assert status == 0
    key = next(line.strip() for line in out.splitlines() if line.startswith("  bd_live_"))
    assert keys.digest(key) == store.all_keys[0][0]
    (curl,) = (line.strip() for line in out.splitlines() if line.startswith("  curl "))
    assert f"Bearer {key}" in curl
    assert "http://127.0.0.1:1/v1/chat/completions" in curl
    assert json.loads(curl.split("-d ")[1].strip("'"))["model"] == "bandari-tiny"

    out = bandari("serve")[1]
    assert "bd_live_" not in out
    assert "$BANDARI_API_KEY" in out


def test_serve_in_json(bandari, served, store):
    told = json.loads(bandari("serve", "--json")[1])
    assert told["url"] == "http://127.0.0.1:1"
    assert keys.digest(told["key"]) == store.all_keys[0][0]


def test_serve_s_options_win(bandari, served, tmp_path):
    bandari("serve", "--host", "::1", "--port", "0", "--model", "m.gguf", "--data", "d")
    (settings,) = served
    assert (settings.server.host, settings.server.port) == ("::1", 0)
    assert settings.engine.model == tmp_path / "m.gguf"
    assert settings.data_dir == tmp_path / "d"
    assert Path(settings.database_url.removeprefix("sqlite:///")) == tmp_path / "d" / "bandari.db"


def test_an_address_that_is_taken_is_named(bandari, monkeypatch):
    def fake(*_):
        raise OSError(errno.EADDRINUSE, "Address already in use")

    monkeypatch.setattr(serve.serving, "serve", fake)
    assert bandari("serve", "--port", "9") == (
        1,
        "",
        "bandari: cannot listen on 127.0.0.1, port 9: Address already in use\n",
    )
