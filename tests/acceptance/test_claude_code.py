"""Claude Code, the real program, in front of a provider that speaks Chat Completions only."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.support.acting_upstream import Call, Part, Say, Think
from tests.support.node import CLIENTS, installed, node
from tests.support.stage import ACTED, Stage, stage

NOTES = "The boat is called Mtepe."
PICTURE = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk"
    "+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


def act(body: dict[str, Any]) -> list[Part]:
    """Calls the tools that the user's words are about, then tells what came of them."""
    said = json.dumps(body["messages"])
    results = [message for message in body["messages"] if message["role"] == "tool"]
    if results:
        told = " and ".join(str(message["content"]) for message in results)
        return [Say("It says: "), Say(told)]
    if "look for a tool that fetches" in said:
        return [Call("ToolSearch", {"query": "select:WebFetch"})]
    # It tells among the messages where it works.
    folder = said.split("Primary working directory: ", 1)[1].split("\\n", 1)[0]
    if "picture.png?" in said:
        return [Call("Read", {"file_path": f"{folder}/picture.png"})]
    return [
        Think("I should look."),
        Say("Let me look."),
        Call("Read", {"file_path": f"{folder}/notes.txt"}),
        Call("Bash", {"command": "echo habari-$((40 + 2))", "description": "Says something"}),
    ]


@pytest.fixture(scope="module")
def acted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with stage(tmp_path_factory.mktemp("claude") / "data", act) as acted:
        yield acted


@pytest.fixture(autouse=True)
def asked(acted: Stage) -> list[dict[str, Any]]:
    """What the provider was asked in this test."""
    acted.upstream.asked.clear()
    return acted.upstream.asked


def claude(acted: Stage, home: Path, prompt: str, **variables: str) -> dict[str, Any]:
    """Run it once, without a terminal; what it prints is JSON. Its home is a new folder."""
    program = installed(CLIENTS / "claude_code") / ".bin" / "claude"
    work = home / "work"
    work.mkdir(parents=True)
    (work / "notes.txt").write_text(NOTES)
    (work / "picture.png").write_bytes(base64.b64decode(PICTURE))
    tools = "Read,ToolSearch,Bash(echo:*)"
    done = subprocess.run(
        [
            *(program, "-p", prompt, "--model", ACTED),
            *("--output-format", "json", "--allowedTools", tools),
        ],
        cwd=work,
        env={
            "PATH": f"{Path(node()).parent}:{os.environ['PATH']}",
            "HOME": str(home),
            "ANTHROPIC_BASE_URL": acted.server.url,
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "DISABLE_AUTOUPDATER": "1",
            **variables,
        },
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def roles(body: dict[str, Any]) -> list[str]:
    return [message["role"] for message in body["messages"]]


def test_its_loop_of_tools_goes_through_the_translation(
    acted: Stage, asked: list[dict[str, Any]], tmp_path: Path
) -> None:
    result = claude(acted, tmp_path, "What does notes.txt say?", ANTHROPIC_API_KEY=acted.key)
    assert not result["is_error"], result
    assert result["result"].startswith("It says: ")
    assert NOTES in result["result"]
    assert "habari-42" in result["result"]

    first, second = asked
    assert roles(first)[0] == "system"
    assert {"Read", "Bash"} <= {tool["function"]["name"] for tool in first["tools"]}
    assert roles(second)[-3:] == ["assistant", "tool", "tool"]
    called, read, said = second["messages"][-3:]
    assert [call["function"]["name"] for call in called["tool_calls"]] == ["Read", "Bash"]
    assert NOTES in read["content"]
    assert "habari-42" in said["content"]


def test_both_answers_are_charged_as_it_counts_them(acted: Stage, tmp_path: Path) -> None:
    balance, _ = acted.server.wallet("visitor")
    receipts = len(acted.server.query("SELECT id FROM receipts"))
    result = claude(acted, tmp_path, "What does notes.txt say?", ANTHROPIC_AUTH_TOKEN=acted.key)
    assert not result["is_error"], result
    usage = result["usage"]
    charged = usage["input_tokens"] + usage["output_tokens"]
    assert charged > 0
    assert acted.server.wallet("visitor") == (balance - charged, 0)
    assert len(acted.server.query("SELECT id FROM receipts")) == receipts + 2


def test_a_tool_that_it_has_looked_for_is_offered(
    acted: Stage, asked: list[dict[str, Any]], tmp_path: Path
) -> None:
    result = claude(
        acted, tmp_path, "Please look for a tool that fetches.", ANTHROPIC_API_KEY=acted.key
    )
    assert not result["is_error"], result
    assert result["result"].startswith("It says: ")
    first, second = ({tool["function"]["name"] for tool in body["tools"]} for body in asked)
    assert "WebFetch" in second - first


def test_a_picture_that_it_has_read_is_seen(
    acted: Stage, asked: list[dict[str, Any]], tmp_path: Path
) -> None:
    result = claude(acted, tmp_path, "What is in picture.png?", ANTHROPIC_API_KEY=acted.key)
    assert not result["is_error"], result
    assert f"data:image/png;base64,{PICTURE}" in json.dumps(asked[1]["messages"])


def test_a_wrong_key_is_told(acted: Stage, tmp_path: Path) -> None:
    result = claude(acted, tmp_path, "Hello", ANTHROPIC_AUTH_TOKEN="nonsense")
    assert (result["is_error"], result["api_error_status"]) == (True, 401)
