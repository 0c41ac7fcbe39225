"""Every client's protocol over every provider's: real SDKs, and llama.cpp, which speaks all three.

What must be the same whatever the provider speaks is asked for at temperature 0, and compared.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import anthropic
import httpx2 as httpx
import openai
import pytest
from openai.lib.streaming.chat import ChatCompletionStreamState
from tests.acceptance.test_parameters import WEATHER
from tests.support.llama_cpp import llama_cpp
from tests.support.server import Bandari, running

UPSTREAMS = ("chat_completions", "messages", "responses")
PROVIDER = """
[providers.{name}]
base_url = "{url}"
api_key = "{key}"
protocol = "{name}"
[models."{name}"]
targets = ["{name}:local"]
context_window = 8192
"""
FRANCE = "What is the capital of France?"
NAIROBI = "What is the weather in Nairobi?"
LIMIT = 4
FUNCTION: dict[str, Any] = WEATHER["function"]
SCHEMA = {
    "type": "object",
    "properties": {"masts": {"type": "integer"}},
    "required": ["masts"],
    "additionalProperties": False,
}


class Seen(NamedTuple):
    """What a client was told, in no protocol's words."""

    text: str
    calls: list[tuple[str, Any]]
    finish: str
    tokens: tuple[int, int]


class Asked(NamedTuple):
    """A question and what is wanted of its answer; ``result`` is that of the call, once made."""

    text: str
    stream: bool
    max_tokens: int = 60
    tools: bool = False
    schema: bool = False
    result: str | None = None


Client = Callable[[str, str, str, Asked], Seen]
"""Asks (url, key, model, question)."""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bandari]:
    pytest.importorskip("xllamacpp", reason="the engine in the box is not installed here")
    with llama_cpp() as engine:
        config = "".join(
            PROVIDER.format(name=name, url=engine.base_url, key=engine.api_key)
            for name in UPSTREAMS
        )
        with running(tmp_path_factory.mktemp("nine") / "data", config) as server:
            yield server
            server.verify()


CREDIT = 10_000_000


class Desk:
    """Asks as any client, over any provider, and adds up what that must cost."""

    def __init__(self, server: Bandari) -> None:
        self.server = server
        self.key = server.new_key("nine", CREDIT)
        self.spent = 0

    def ask(self, client: Client, upstream: str, asked: Asked) -> Seen:
        seen = client(self.server.url, self.key, upstream, asked)
        self.spent += sum(seen.tokens)
        return seen


@pytest.fixture(scope="module")
def desk(server: Bandari) -> Iterator[Desk]:
    """In the end the balance must be less by what all the answers said of their usage."""
    desk = Desk(server)
    yield desk
    [wallet] = json.loads(server.cli("account", "show", "nine", "--json").stdout)["wallets"]
    assert wallet == {"asset": "TOKEN", "balance": CREDIT - desk.spent, "held": 0}


# -- clients --------------------------------------------------------------------------------------


CALL_ID = "call_weather"


def chat(url: str, key: str, model: str, asked: Asked) -> Seen:
    with openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0) as client:
        messages: list[Any] = [{"role": "user", "content": asked.text}]
        if asked.result is not None:
            call = {"id": CALL_ID, "type": "function"}
            call |= {"function": {"name": FUNCTION["name"], "arguments": '{"city":"Nairobi"}'}}
            messages.append({"role": "assistant", "content": None, "tool_calls": [call]})
            messages.append({"role": "tool", "tool_call_id": CALL_ID, "content": asked.result})
        options: dict[str, Any] = {"tools": [WEATHER]} if asked.tools else {}
        if asked.schema:
            described = {"name": "boat", "schema": SCHEMA, "strict": True}
            options["response_format"] = {"type": "json_schema", "json_schema": described}
        options |= {"max_tokens": asked.max_tokens, "temperature": 0}
        if asked.stream:
            answer: Any = ChatCompletionStreamState()
            options["stream_options"] = {"include_usage": True}
            for chunk in client.chat.completions.create(
                model=model, messages=messages, stream=True, **options
            ):
                answer.handle_chunk(chunk)
            answer = answer.current_completion_snapshot
        else:
            answer = client.chat.completions.create(model=model, messages=messages, **options)
    choice = answer.choices[0]
    calls = [
        (call.function.name, json.loads(call.function.arguments))
        for call in choice.message.tool_calls or ()
    ]
    tokens = (answer.usage.prompt_tokens, answer.usage.completion_tokens)
    return Seen(choice.message.content or "", calls, choice.finish_reason, tokens)


def messages(url: str, key: str, model: str, asked: Asked) -> Seen:
    with anthropic.Anthropic(base_url=url, api_key=key, max_retries=0) as client:
        turns: list[Any] = [{"role": "user", "content": asked.text}]
        if asked.result is not None:
            call = {"type": "tool_use", "id": CALL_ID, "name": FUNCTION["name"]}
            turns.append({"role": "assistant", "content": [call | {"input": {"city": "Nairobi"}}]})
            result = {"type": "tool_result", "tool_use_id": CALL_ID, "content": asked.result}
            turns.append({"role": "user", "content": [result]})
        options: dict[str, Any] = {}
        if asked.tools:
            tool = {"name": FUNCTION["name"], "description": FUNCTION["description"]}
            options["tools"] = [tool | {"input_schema": FUNCTION["parameters"]}]
        if asked.schema:
            options["output_config"] = {"format": {"type": "json_schema", "schema": SCHEMA}}
        options |= {"max_tokens": asked.max_tokens, "extra_body": {"temperature": 0}}
        if asked.stream:
            with client.messages.stream(model=model, messages=turns, **options) as stream:
                answer: Any = stream.get_final_message()
        else:
            answer = client.messages.create(model=model, messages=turns, **options)
    usage = answer.usage
    prompt = usage.input_tokens + usage.cache_read_input_tokens + usage.cache_creation_input_tokens
    return Seen(
        "".join(block.text for block in answer.content if block.type == "text"),
        [(block.name, block.input) for block in answer.content if block.type == "tool_use"],
        {"end_turn": "stop", "max_tokens": "length", "tool_use": "tool_calls"}[answer.stop_reason],
        (prompt, usage.output_tokens),
    )


def responses(url: str, key: str, model: str, asked: Asked) -> Seen:
    with openai.OpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0) as client:
        items: list[Any] = [{"role": "user", "content": asked.text}]
        if asked.result is not None:
            call = {"type": "function_call", "call_id": CALL_ID, "name": FUNCTION["name"]}
            items.append(call | {"arguments": '{"city":"Nairobi"}'})
            result = {"type": "function_call_output", "call_id": CALL_ID, "output": asked.result}
            items.append(result)
        options: dict[str, Any] = {}
        if asked.tools:
            options["tools"] = [{"type": "function", **FUNCTION, "strict": False}]
        if asked.schema:
            described = {"type": "json_schema", "name": "boat", "schema": SCHEMA, "strict": True}
            options["text"] = {"format": described}
        options |= {"max_output_tokens": asked.max_tokens, "temperature": 0}
        if asked.stream:
            *_, last = client.responses.create(model=model, input=items, stream=True, **options)
            answer: Any = last.response  # type: ignore[union-attr]
        else:
            answer = client.responses.create(model=model, input=items, **options)
    calls = [item for item in answer.output if item.type == "function_call"]
    finish = "tool_calls" if calls else "stop"
    if answer.incomplete_details is not None:
        assert answer.incomplete_details.reason == "max_output_tokens"
        finish = "length"
    return Seen(
        answer.output_text,
        [(call.name, json.loads(call.arguments)) for call in calls],
        finish,
        (answer.usage.input_tokens, answer.usage.output_tokens),
    )


CLIENTS: tuple[Client, ...] = (chat, messages, responses)
pairs = pytest.mark.parametrize(
    ("client", "upstream"),
    [
        pytest.param(client, upstream, id=f"{client.__name__}-over-{upstream}")
        for client in CLIENTS
        for upstream in UPSTREAMS
    ],
)
forms = pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])


# -- what is asked --------------------------------------------------------------------------------


@pairs
@forms
def test_text(desk: Desk, client: Client, upstream: str, stream: bool) -> None:
    seen = desk.ask(client, upstream, Asked(FRANCE, stream))
    assert seen == Seen("The capital of France is Paris.", [], "stop", (16, 11))


@pairs
@forms
def test_an_answer_cut_by_its_limit(
    desk: Desk, client: Client, upstream: str, stream: bool
) -> None:
    seen = desk.ask(client, upstream, Asked(FRANCE, stream, max_tokens=LIMIT))
    # llama.cpp's own Responses says of every answer that it is complete.
    finish = "stop" if upstream == "responses" else "length"
    assert (seen.finish, seen.tokens[1]) == (finish, LIMIT)
    assert "The capital of France is Paris.".startswith(seen.text.strip())


@pairs
@forms
def test_a_call_and_its_result(desk: Desk, client: Client, upstream: str, stream: bool) -> None:
    seen = desk.ask(client, upstream, Asked(NAIROBI, stream, tools=True))
    assert seen.calls == [(FUNCTION["name"], {"city": "Nairobi"})]
    assert seen.finish == "tool_calls"
    told = Asked(NAIROBI, stream, tools=True, result='{"weather": "sunny"}')
    after = desk.ask(client, upstream, told)
    assert after.text
    assert after.calls == []


@pytest.mark.parametrize("client", CLIENTS)
@forms
def test_json_by_a_schema(desk: Desk, client: Client, stream: bool) -> None:
    """Over the one protocol in which llama.cpp obeys a schema."""
    asked = Asked("Describe a boat.", stream, schema=True)
    seen = desk.ask(client, "chat_completions", asked)
    assert isinstance(json.loads(seen.text)["masts"], int)


PNG = (
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9"
    "awAAAABJRU5ErkJggg=="
)
SHOWN: dict[str, dict[str, Any]] = {
    "chat/completions": {
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
                ],
            }
        ]
    },
    "messages": {
        "max_tokens": 20,
        "messages": [
            {
                "role": "user",
                "content": [
                    {
                        "type": "image",
                        "source": {"type": "base64", "media_type": "image/png", "data": PNG},
                    }
                ],
            }
        ],
    },
    "responses": {
        "input": [
            {
                "role": "user",
                "content": [{"type": "input_image", "image_url": f"data:image/png;base64,{PNG}"}],
            }
        ]
    },
}


@pytest.mark.parametrize("surface", SHOWN)
@pytest.mark.parametrize("upstream", UPSTREAMS)
def test_an_image_for_a_model_that_cannot_see(desk: Desk, surface: str, upstream: str) -> None:
    answer = httpx.post(
        f"{desk.server.url}/v1/{surface}",
        headers={"x-api-key": desk.key, "anthropic-version": "2023-06-01"},
        json={"model": upstream, **SHOWN[surface]},
        timeout=30,
    )
    assert answer.status_code == 400
    assert "image input is not supported" in answer.json()["error"]["message"]
    assert "x-bandari-receipt" not in answer.headers
