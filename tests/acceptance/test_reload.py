"""The configuration changes while the server runs: no stream is cut, and each has its own terms."""

from __future__ import annotations

import asyncio
import json
import os
import re
import resource
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import httpx2 as httpx
import pytest
from tests.support.chat import PATH, user
from tests.support.gates import Gate
from tests.support.http_upstream import HttpUpstream, Reply, sse
from tests.support.server import ENGINE, Bandari, environment, running, wait_until

from bandari.bootstrap.directory import last_told

STREAMS = 500
INPUT_TOKENS, OUTPUT_TOKENS = 10, 5
PLENTY = 10_000_000
ADMIN_KEY = "an-admin-key-of-the-test"

BEFORE = """
[server]
max_open_requests = 1000
[providers.changing]
base_url = "{old}/v1"
max_connections = 1000
[providers.leaving]
base_url = "{leaving}/v1"
max_connections = 1000
[models.x]
targets = ["changing:x"]
prices.TOKEN = {{ input_per_million = 1000000, output_per_million = 10000000 }}
[models.y]
targets = ["leaving:y"]
prices.TOKEN = {{ input_per_million = 2000000, output_per_million = 20000000 }}
[groups.staff]
price_ratio = "1/2"
"""
X_BEFORE, Y_BEFORE = 10 + 5 * 10, 2 * 10 + 5 * 20

AFTER = """
[server]
max_open_requests = 1000
[providers.changing]
base_url = "{new}/v1"
[models.x]
targets = ["changing:x"]
prices.TOKEN = {{ input_per_million = 3000000, output_per_million = 30000000 }}
[models.z]
targets = ["changing:z"]
[groups.default]
limits.tokens_per_day = 1000000000
[groups.staff]
price_ratio = 2
"""
X_AFTER = 3 * 10 + 5 * 30


def spoken(*pieces: str | Gate) -> Reply:
    """A streamed answer of five tokens."""
    return sse(
        *(piece if isinstance(piece, Gate) else _chunk(piece) for piece in pieces),
        _chunk("", "stop"),
        json.dumps({"choices": [], "usage": USAGE}),
        "[DONE]",
    )


USAGE = {
    "prompt_tokens": INPUT_TOKENS,
    "completion_tokens": OUTPUT_TOKENS,
    "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS,
}


def _chunk(text: str, finish: str | None = None) -> str:
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": finish}
    return json.dumps({"id": "u", "created": 1, "model": "u", "choices": [choice]})


@pytest.fixture(autouse=True)
def _files() -> None:
    """A stream takes two file descriptors of the server."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 8192), hard))


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


class Talk:
    """One stream of a client: ``begun`` with its first words, then ``text`` and the receipt."""

    def __init__(self, client: httpx.AsyncClient, key: str, model: str) -> None:
        self._client = client
        self._key = key
        self._body = {
            **body(model),
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        self.begun = asyncio.Event()
        self.text = ""
        self.last = ""
        self.usage: dict[str, Any] | None = None
        self.receipt = ""

    async def run(self) -> Talk:
        headers = {"authorization": f"Bearer {self._key}"}
        async with self._client.stream("POST", PATH, json=self._body, headers=headers) as response:
            assert response.status_code == 200, await response.aread()
            self.receipt = response.headers["x-bandari-receipt"]
            async for line in response.aiter_lines():
                self._hear(line)
        return self

    def _hear(self, line: str) -> None:
        if not line.startswith("data: "):
            return
        self.last = line.removeprefix("data: ")
        if self.last == "[DONE]":
            return
        chunk = json.loads(self.last)
        assert "error" not in chunk, chunk
        self.usage = chunk.get("usage") or self.usage
        for choice in chunk["choices"]:
            self.text += choice["delta"].get("content") or ""
        if self.text:
            self.begun.set()


def staff_key(server: Bandari, account: str) -> str:
    return server.cli("key", "create", account, "--group", "staff").stdout.strip()


def body(model: str) -> dict[str, Any]:
    return {"model": model, "messages": user("hi"), "max_tokens": 100}


def config_of(server: Bandari, text: str) -> None:
    """As the server was started: with one thread for the engine."""
    server.config.write_text(ENGINE + text)


def amounts(server: Bandari, receipts: list[str]) -> Counter[int]:
    rows = {row["id"]: row for row in server.query("SELECT id, amount FROM receipts")}
    return Counter(rows[receipt]["amount"] for receipt in receipts)


async def test_a_reload_in_the_midst_of_500_streams(tmp_path: Path, stack: ExitStack) -> None:
    gate = Gate()
    async with (
        HttpUpstream(spoken("old ", gate, "x ", "to ", "the ", "end")) as old,
        HttpUpstream(spoken("leaving ", gate, "y ", "to ", "the ", "end")) as leaving,
        HttpUpstream(spoken("new ", "x")) as new,
    ):
        urls = {"old": old.url, "leaving": leaving.url, "new": new.url}
        server = stack.enter_context(running(tmp_path / "data", BEFORE.format(**urls)))
        key = await asyncio.to_thread(server.new_key, "buyer", PLENTY)
        staff = await asyncio.to_thread(staff_key, server, "buyer")
        async with (
            asyncio.timeout(150),
            httpx.AsyncClient(
                base_url=server.url, timeout=120, limits=httpx.Limits(max_connections=None)
            ) as client,
            asyncio.TaskGroup() as running_talks,
        ):
            talks = [
                Talk(client, *((key, "x") if at % 2 else (staff, "y"))) for at in range(STREAMS)
            ]
            tasks = [running_talks.create_task(talk.run()) for talk in talks]
            async with asyncio.timeout(60):
                await asyncio.gather(*(talk.begun.wait() for talk in talks))

            # A bad file is refused with line and reason, by the command and by the server.
            config_of(server, AFTER.format(**urls) + "limit = 3\n")
            line = len(server.config.read_text().splitlines())
            refused = await asyncio.to_thread(server.cli, "reload", check=False)
            reason = (
                f"{server.config}:{line}: groups.staff.limit: unknown key; did you mean 'limits"
            )
            assert (refused.returncode, refused.stdout) == (2, "")
            assert reason in refused.stderr
            assert server.process is not None
            server.process.send_signal(signal.SIGHUP)
            await asyncio.to_thread(
                wait_until, lambda: any(reason in told for told in server.log), 10, "a refusal"
            )
            assert (await _ask(client, key, "z")).status_code == 404

            config_of(server, AFTER.format(**urls))
            told = await asyncio.to_thread(server.cli, "reload")
            assert told.stdout.splitlines() == [
                "groups: ~default, ~staff",
                "models: +z, -y, ~x",
                "providers: -leaving, ~changing",
            ]

            # Who comes now finds the new terms.
            for model, status in (("x", 200), ("y", 404), ("z", 200)):
                assert (await _ask(client, key, model)).status_code == status
            later = await Talk(client, key, "x").run()
            cheap = await Talk(client, staff, "x").run()
            assert later.text == cheap.text == "new x"
            assert amounts(server, [later.receipt, cheap.receipt]) == {X_AFTER: 1, 2 * X_AFTER: 1}
            assert not any(task.done() for task in tasks)

            gate.open()
        for at, talk in enumerate(talks):
            assert talk.text == ("old x to the end" if at % 2 else "leaving y to the end")
            assert (talk.last, talk.usage) == ("[DONE]", {**talk.usage, **USAGE})
        assert amounts(server, [talk.receipt for talk in talks[1::2]]) == {X_BEFORE: STREAMS // 2}
        assert amounts(server, [talk.receipt for talk in talks[::2]]) == {
            Y_BEFORE // 2: STREAMS // 2
        }
        # Nothing is kept of the providers that were replaced and removed.
        await asyncio.to_thread(wait_until, lambda: not old.tasks and not leaving.tasks, 10)
        assert server.wallet("buyer")[1] == 0
        await asyncio.to_thread(server.verify)


async def _ask(client: httpx.AsyncClient, key: str, model: str) -> httpx.Response:
    headers = {"authorization": f"Bearer {key}"}
    return await client.post(PATH, json=body(model), headers=headers)


async def test_twenty_reloads_in_a_row_leave_nothing_behind(
    tmp_path: Path, stack: ExitStack
) -> None:
    async with HttpUpstream(spoken("hello")) as upstream:
        text = '[providers.p]\nbase_url = "{}/{}"\n[models.x]\ntargets = ["p:x"]\n'
        text += "[groups.default]\nlimits.tokens_per_day = {}\n"
        server = stack.enter_context(running(tmp_path / "data", text.format(upstream.url, 0, 1000)))
        key = await asyncio.to_thread(server.new_key, "buyer", PLENTY)
        async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:

            async def turn(number: int) -> None:
                """One by signal; every other one through the command, behind another's signal."""
                assert server.process is not None
                if number % 4 == 0:
                    config_of(server, text.format(upstream.url, "never", number))
                    server.process.send_signal(signal.SIGHUP)
                config_of(server, text.format(upstream.url, number, 1000 + number))
                if number % 4 == 0:
                    await asyncio.to_thread(server.cli, "reload")
                else:
                    told = last_told(server.data)
                    server.process.send_signal(signal.SIGHUP)
                    await asyncio.to_thread(wait_until, lambda: last_told(server.data) != told)
                assert (await _ask(client, key, "x")).status_code == 200
                assert upstream.requests[-1].path == f"/{number}/chat/completions"

            await turn(1)
            await asyncio.to_thread(wait_until, lambda: len(upstream.tasks) <= 1)
            before = _files_of(server)
            for number in range(2, 21):
                await turn(number)
            await asyncio.to_thread(wait_until, lambda: len(upstream.tasks) <= 1)
            assert _files_of(server) <= before
        audit = await asyncio.to_thread(server.cli, "audit", "list", "--json")
        entries = [each for each in json.loads(audit.stdout) if each["action"] == "config.reload"]
        assert len(entries) >= 20
        assert {each["who"] for each in entries} == {"signal"}


def _files_of(server: Bandari) -> Counter[str]:
    """What is open, but the database: how many readers that has is its own business."""
    assert server.process is not None
    kinds: Counter[str] = Counter()
    for link in Path(f"/proc/{server.process.pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            kinds[re.sub(r":?\[.*", "", str(link.readlink()))] += 1
    return Counter({kind: count for kind, count in kinds.items() if "bandari.db" not in kind})


async def test_what_a_reload_changes_is_told_as_json_and_a_restart_by_name(
    tmp_path: Path, stack: ExitStack
) -> None:
    async with HttpUpstream(spoken("hello")) as upstream:
        text = f'[providers.p]\nbase_url = "{upstream.url}/v1"\n[models.x]\ntargets = ["p:x"]\n'
        server = stack.enter_context(running(tmp_path / "data", text, BANDARI_ADMIN_KEY=ADMIN_KEY))
        await asyncio.to_thread(_changes_are_told, server, text)


def _changes_are_told(server: Bandari, text: str) -> None:
    assert server.cli("reload").stdout == "nothing has changed\n"
    config_of(server, text + "[groups.new]\n[server]\nmax_messages = 1\n")
    told = json.loads(server.cli("reload", "--json").stdout)
    assert told["groups"] == {"added": ["new"], "removed": [], "changed": []}
    assert told["needs_restart"] == ["server.max_messages"]
    assert server.cli("reload").stdout.splitlines() == [
        "needs a restart: server.max_messages",
    ]
    config_of(server, text + '[models.l]\ntargets = ["local:l"]\n')
    refused = server.cli("reload", check=False)
    assert refused.returncode == 2
    assert f"{server.config}:8: models.l.targets: has the target local" in refused.stderr
    with server.client(ADMIN_KEY) as client:
        answer = client.post("/admin/v1/reload")
        assert answer.status_code == 409
        assert f"{server.config}:8: models.l.targets: has" in answer.json()["error"]["message"]
        config_of(server, text + "[groups.newer]\n")
        answer = client.post("/admin/v1/reload")
    assert answer.status_code == 200
    assert answer.json()["groups"] == {"added": ["newer"], "removed": ["new"], "changed": []}


def test_a_server_that_is_not_there_is_not_asked(tmp_path: Path) -> None:
    data = tmp_path / "data"

    def reload(*more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "bandari", "reload", "--data", str(data), *more],
            capture_output=True,
            text=True,
            env=environment(),
            timeout=60,
            check=False,
        )

    none = reload()
    assert (none.returncode, none.stderr) == (
        1,
        f"bandari: no server runs on the data directory {data}\n",
    )
    # A process that has the number of a server that is gone is left alone.
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as innocent:
        data.mkdir()
        (data / "server.json").write_text(json.dumps({"pid": innocent.pid, "config": None}))
        assert reload().returncode == 1
        innocent.communicate(b"\n")
    assert innocent.returncode == 0


def test_the_server_s_own_file_and_variables_are_what_counts(
    tmp_path: Path, stack: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = '[providers.p]\nbase_url = "http://127.0.0.1:9/v1"\napi_key = "${{P_KEY}}"\n'
    text += '[models.x]\ntargets = ["p:x"]\n[groups.{}]\n'
    server = stack.enter_context(running(tmp_path / "data", text.format("a"), P_KEY="k"))
    config_of(server, text.format("b"))

    def reload(*more: str) -> subprocess.CompletedProcess[str]:
        """From where P_KEY is not set, and no configuration is named."""
        return subprocess.run(
            [sys.executable, "-m", "bandari", "reload", "--data", str(server.data), *more],
            capture_output=True,
            text=True,
            env=environment(),
            cwd=tmp_path,
            timeout=60,
            check=False,
        )

    told = reload()
    assert told.stdout == "groups: +b, -a\n", told.stderr
    other = tmp_path / "other.toml"
    other.write_text("")
    wrong = reload("--config", "other.toml")
    assert (wrong.returncode, wrong.stderr) == (
        1,
        f"bandari: the server reads {server.config}, and not other.toml\n",
    )
    assert reload("--config", os.path.relpath(server.config, tmp_path)).returncode == 0
