"""What an operator sees: health, metrics, logs, limits, and how a start fails."""

from __future__ import annotations

import asyncio
import json
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.chat import MODEL, PATH, user
from tests.support.http_upstream import HttpUpstream, json_body, sse
from tests.support.server import Bandari, environment, running

SECRET_WORD = "xylophone-of-the-harbour"


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bandari]:
    """A server of its own with a small rate, for what needs its whole log."""
    pytest.importorskip("xllamacpp", reason="the engine in the box is not installed here")
    config = "[groups.default]\nlimits = { requests_per_minute = 5 }\n"
    with running(tmp_path_factory.mktemp("limited") / "data", config) as server:
        yield server


def test_health_and_readiness(bandari: Bandari) -> None:
    with bandari.client() as client:
        assert client.get("/healthz").json() == {"status": "ok"}
        assert client.get("/readyz").json() == {"status": "ready"}
        assert client.head("/healthz").status_code == 200


def test_request_ids(bandari: Bandari, key: str) -> None:
    with bandari.client(key) as client:
        made = client.get("/v1/models").headers["x-request-id"]
        assert made.startswith("req_")
        given = client.get("/v1/models", headers={"x-request-id": "mine-1"})
        assert given.headers["x-request-id"] == "mine-1"
        insane = client.get("/v1/models", headers={"x-request-id": "a b; drop"})
        assert insane.headers["x-request-id"].startswith("req_")


def test_metrics(bandari: Bandari, key: str) -> None:
    with bandari.client(key) as client:
        client.post(PATH, json={"model": MODEL, "messages": user("Hi")})
        client.post(PATH, json={"model": MODEL, "messages": []})
        text = client.get("/metrics").text
    for pattern in (
        r'bandari_requests_total\{route="/v1/chat/completions",status="200"\} [1-9]',
        r'bandari_errors_total\{blame="caller",code="invalid_value"\} [1-9]',
        rf'bandari_first_token_seconds_count\{{model="{MODEL}"\}} [1-9]',
        rf'bandari_tokens_total\{{kind="output",model="{MODEL}"\}} [1-9]',
        r"bandari_open_holds \d",
        r"bandari_commit_seconds_count [1-9]",
    ):
        assert re.search(pattern, text), pattern


def test_the_model_list(bandari: Bandari, key: str) -> None:
    with bandari.client(key) as client:
        listed = client.get("/v1/models").json()
        (entry,) = listed["data"]
        assert listed["object"] == "list"
        assert (entry["id"], entry["object"]) == (MODEL, "model")
        assert client.get(f"/v1/models/{MODEL}").json() == entry
    with bandari.client() as client:
        assert client.get("/v1/models").status_code == 401


def test_a_rate_limit_says_when_to_come_back(limited: Bandari) -> None:
    with limited.client(limited.new_key("hasty", 1000)) as client:
        body = {"model": "no-such-model", "messages": user("x")}
        answers = [client.post(PATH, json=body) for _ in range(6)]
    assert [answer.status_code for answer in answers] == [404] * 5 + [429]
    assert [a.headers["x-ratelimit-remaining-requests"] for a in answers] == list("432100")
    refused = answers[-1]
    assert refused.json()["error"]["code"] == "rate_limit_exceeded"
    assert 0 < int(refused.headers["retry-after"]) <= 12
    assert 0 < int(refused.headers["retry-after-ms"]) <= 12_000
    assert refused.headers["x-ratelimit-limit-requests"] == "5"


def test_logs_are_json_lines_without_prompts_or_secrets(limited: Bandari) -> None:
    key = limited.new_key("private", 10_000)
    with limited.client(key) as client:
        messages = user(f"Say {SECRET_WORD}")
        answer = client.post(
            PATH, json={"model": MODEL, "messages": messages}, headers={"x-request-id": "trace-7"}
        )
        client.post(PATH + f"?prompt={SECRET_WORD}", content=f'{{"{SECRET_WORD}": 1}}')
    assert answer.status_code == 200
    assert limited.stop() == 0
    log = "".join(limited.log)
    lines = [json.loads(line) for line in limited.log]
    assert all({"time", "level", "event"} <= set(line) for line in lines)
    assert any(line.get("request_id") == "trace-7" for line in lines)
    for secret in (SECRET_WORD, key, key[-12:], limited.first_key or "none"):
        assert secret not in log


def failing_start(data: Path, config: str, *arguments: str, port: int = 0) -> str:
    """Start a server that must not start; returns what it said on stderr."""
    file = data.parent / "config.toml"
    file.write_text(config)
    done = subprocess.run(
        [
            *(sys.executable, "-m", "bandari", "serve", "--port", str(port)),
            *("--data", str(data), "--config", str(file), *arguments),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment(),
        check=False,
    )
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    lines = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    assert lines, done.stderr
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("config", "line", "words"),
    [
        ("\nkey_prefx = 'x'\n", 2, ["key_prefx", "key_prefix"]),
        ("[server]\nport = 'many'\n", 2, ["server.port"]),
        (
            "[providers.acme]\nbase_url = 'http://x/v1'\napi_key = '${NO_SUCH_VARIABLE}'\n",
            3,
            ["NO_SUCH_VARIABLE", "providers.acme.api_key"],
        ),
        ("[models.x]\ntargets = ['locl:y']\n", 2, ["locl", "local"]),
        ("[models.x\n", 1, []),
    ],
    ids=["unknown key", "wrong type", "missing variable", "unknown provider", "syntax"],
)
def test_a_bad_configuration_is_refused_with_its_line(
    tmp_path: Path, config: str, line: int, words: list[str]
) -> None:
    said = failing_start(tmp_path / "data", config)
    assert f"config.toml:{line}:" in said
    for word in words:
        assert word in said


def test_a_missing_and_a_damaged_model_are_named(tmp_path: Path) -> None:
    missing = tmp_path / "missing.gguf"
    assert str(missing) in failing_start(tmp_path / "data", "", "--model", str(missing))
    damaged = tmp_path / "damaged.gguf"
    damaged.write_bytes(b"GGUF" + bytes(100))
    assert str(damaged) in failing_start(tmp_path / "data", "", "--model", str(damaged))


def test_one_server_per_data_directory(bandari: Bandari) -> None:
    said = failing_start(bandari.data, "")
    assert str(bandari.data) in said
    assert "server" in said


def test_a_port_that_is_taken_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = failing_start(tmp_path / "data", "", port=port)
    assert str(port) in said


PROVIDERS = """
[providers.first]
base_url = "{first}/v1"
[providers.second]
base_url = "{second}/v1"
api_key = "${{SECOND_KEY}}"
[models."gpt-4o"]
targets = ["first:gpt-a", "second:gpt-b"]
aliases = ["gpt-latest"]
defaults = {{ temperature = 0.25, max_tokens = 77 }}
bounds = {{ temperature = [0, 1] }}
"""

ANSWER = json_body(
    {
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "From the second."},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8},
    }
)


async def test_providers_defaults_aliases_and_fallback(tmp_path: Path) -> None:
    """Without a local model there is no engine; a failing target is followed by the next."""
    broken = json_body({"error": {"message": "boom"}}, status=500)
    streamed = sse(
        '{"choices":[{"index":0,"delta":{"role":"assistant","content":""}}]}',
        '{"choices":[{"index":0,"delta":{"content":"Streamed."}}]}',
        '{"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}',
        '{"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":2,"total_tokens":7}}',
        "[DONE]",
    )
    async with HttpUpstream(broken) as first, HttpUpstream(ANSWER, streamed) as second:
        config = PROVIDERS.format(first=first.url, second=second.url)
        body = {"model": "gpt-latest", "messages": user("x"), "metadata": {"a": "b"}}
        whole, again, hot = await asyncio.to_thread(serve_and_ask, tmp_path / "data", config, body)
    assert whole["choices"][0]["message"]["content"] == "From the second."
    assert whole["model"] == again["model"] == "gpt-4o"
    assert again["choices"][0]["message"]["content"] == "Streamed."
    assert hot["error"]["param"] == "temperature"
    asked = json.loads(second.requests[0].body)
    assert asked["model"] == "gpt-b"
    assert (asked["temperature"], asked["max_tokens"]) == (0.25, 77)
    assert "metadata" not in asked
    assert second.requests[0].headers["authorization"] == "Bearer sesame"
    assert [json.loads(request.body)["model"] for request in first.requests] == ["gpt-a", "gpt-a"]


def serve_and_ask(data: Path, config: str, body: dict[str, Any]) -> list[dict[str, Any]]:
    """Ask twice, and once too hot, over a server's whole life."""
    with running(data, config, SECOND_KEY="sesame") as server:
        assert server.engine_pids() == []
        with server.client(server.new_key("amina", 1000)) as client:
            answers = [
                client.post(PATH, json=body | more).json()
                for more in ({}, {}, {"temperature": 1.5})
            ]
        assert server.wallet("amina") == (1000 - 8 - 7, 0)
    return answers
