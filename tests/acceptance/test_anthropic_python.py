"""anthropic-python, the real package: sync, async, streams, tools, counting and errors."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, Literal

import anthropic
import pytest
from anthropic import beta_async_tool, beta_tool
from anthropic.types import MessageParam, ToolParam
from pydantic import BaseModel
from tests.support.chat import MODEL
from tests.support.repertoire import CITIES, THOUGHT, act
from tests.support.server import Bandari
from tests.support.stage import ACTED, Stage, stage

FRANCE = "What is the capital of France?"
COLD: dict[str, Any] = {"temperature": 0}
WEATHER: ToolParam = {
    "name": "get_weather",
    "description": "The weather in a city.",
    "input_schema": {
        "type": "object",
        "properties": {"city": {"type": "string"}},
        "required": ["city"],
    },
}


@pytest.fixture(scope="module")
def acted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with stage(tmp_path_factory.mktemp("anthropic") / "data", act) as acted:
        yield acted


@pytest.fixture
def sdk(bandari: Bandari, key: str) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=bandari.url, api_key=key, max_retries=0) as client:
        yield client


@pytest.fixture
def actor(acted: Stage) -> Iterator[anthropic.Anthropic]:
    url, key = acted.server.url, acted.key
    with anthropic.Anthropic(base_url=url, api_key=key, max_retries=0) as client:
        yield client


def asked(words: str) -> list[MessageParam]:
    return [{"role": "user", "content": words}]


def ask(client: anthropic.Anthropic, words: str = FRANCE, **fields: Any) -> anthropic.types.Message:
    message: anthropic.types.Message = client.messages.create(
        model=MODEL, max_tokens=100, messages=asked(words), extra_body=COLD, **fields
    )
    return message


def text_of(message: Any) -> str:
    return "".join(block.text for block in message.content if block.type == "text")


def prompt_tokens(usage: anthropic.types.Usage) -> int:
    """Of the whole prompt, however much of it was cached."""
    cached = (usage.cache_read_input_tokens or 0) + (usage.cache_creation_input_tokens or 0)
    return usage.input_tokens + cached


def test_whole_message(sdk: anthropic.Anthropic) -> None:
    message = ask(sdk)
    assert "Paris" in text_of(message)
    assert (message.type, message.role, message.model) == ("message", "assistant", MODEL)
    assert message.stop_reason == "end_turn"
    assert message._request_id
    assert message._request_id.startswith("req_")


def test_a_system_prompt_in_either_form(sdk: anthropic.Anthropic) -> None:
    words = "You are a helpful AI assistant named Alex."
    block: Any = {"type": "text", "text": words, "cache_control": {"type": "ephemeral"}}
    for system in (words, [block]):
        assert "Alex" in text_of(ask(sdk, "Who are you?", system=system))


def test_stream(sdk: anthropic.Anthropic) -> None:
    events = list(
        sdk.messages.create(
            model=MODEL, max_tokens=100, messages=asked(FRANCE), extra_body=COLD, stream=True
        )
    )
    assert events[0].type == "message_start"
    assert events[-1].type == "message_stop"
    assert events[-2].type == "message_delta"
    whole = ask(sdk)
    assert prompt_tokens(events[0].message.usage) == prompt_tokens(whole.usage)
    assert events[-2].usage.output_tokens == whole.usage.output_tokens


def test_streaming_helper(sdk: anthropic.Anthropic) -> None:
    with sdk.messages.stream(
        model=MODEL, max_tokens=100, messages=asked(FRANCE), extra_body=COLD
    ) as stream:
        text = "".join(stream.text_stream)
        final = stream.get_final_message()
    whole = ask(sdk)
    assert text == text_of(final) == text_of(whole)
    assert final.usage.output_tokens == whole.usage.output_tokens


def test_a_limit_and_a_stop_sequence_end_the_answer(sdk: anthropic.Anthropic) -> None:
    limited = sdk.messages.create(
        model=MODEL, max_tokens=3, messages=asked("Tell me a long story."), extra_body=COLD
    )
    assert (limited.stop_reason, limited.usage.output_tokens) == ("max_tokens", 3)
    stopped = ask(sdk, stop_sequences=["France"])
    assert "France" not in text_of(stopped)
    # A provider of Chat Completions does not tell which of the two ends it was.
    assert stopped.stop_reason in {"end_turn", "stop_sequence"}


async def test_async_messages_side_by_side(bandari: Bandari, key: str) -> None:
    async with anthropic.AsyncAnthropic(base_url=bandari.url, api_key=key) as client:

        async def one() -> str:
            async with client.messages.stream(
                model=MODEL, max_tokens=100, messages=asked(FRANCE), extra_body=COLD
            ) as stream:
                return await stream.get_final_text()

        texts = await asyncio.gather(*(one() for _ in range(6)))
    assert len(set(texts)) == 1
    assert "Paris" in texts[0]


def test_tools_there_and_back(sdk: anthropic.Anthropic) -> None:
    words = "What is the weather in Nairobi?"
    first = ask(sdk, words, tools=[WEATHER], tool_choice={"type": "tool", "name": "get_weather"})
    assert first.stop_reason == "tool_use"
    (use,) = (block for block in first.content if block.type == "tool_use")
    assert (use.name, use.input) == ("get_weather", {"city": "Nairobi"})
    result: Any = {"type": "tool_result", "tool_use_id": use.id, "content": '{"weather": "sunny"}'}
    told = sdk.messages.create(
        model=MODEL,
        max_tokens=100,
        tools=[WEATHER],
        messages=[
            *asked(words),
            {"role": "assistant", "content": first.content},
            {"role": "user", "content": [result]},
        ],
        extra_body=COLD,
    )
    assert text_of(told)


class Boat(BaseModel):
    """Without free text: the SDK leaves the length of a string out of the schema."""

    colour: Literal["red", "blue"]
    sails: bool


def test_parse(sdk: anthropic.Anthropic) -> None:
    message = sdk.messages.parse(
        model=MODEL, max_tokens=300, messages=asked("Describe a boat."), output_format=Boat
    )
    assert isinstance(message.parsed_output, Boat)


def test_counting_tokens(sdk: anthropic.Anthropic) -> None:
    counted = sdk.messages.count_tokens(model=MODEL, messages=asked(FRANCE))
    assert counted.input_tokens == prompt_tokens(ask(sdk).usage)
    with_tools = sdk.beta.messages.count_tokens(
        model=MODEL, messages=[{"role": "user", "content": FRANCE}], tools=[dict(WEATHER)]
    )
    assert with_tools.input_tokens > counted.input_tokens


def test_models(sdk: anthropic.Anthropic) -> None:
    (model,) = sdk.models.list()
    assert (model.type, model.id, model.lifecycle) == ("model", MODEL, "active")
    assert model.created_at.tzinfo is not None
    assert sdk.models.retrieve(MODEL).id == MODEL


def test_beta_messages(sdk: anthropic.Anthropic) -> None:
    message = sdk.beta.messages.create(
        model=MODEL,
        max_tokens=100,
        messages=[{"role": "user", "content": FRANCE}],
        betas=["fine-grained-tool-streaming-2025-05-14", "one-that-does-not-exist"],
        extra_body=COLD,
    )
    assert "Paris" in text_of(message)


def test_either_credential(bandari: Bandari, key: str) -> None:
    with anthropic.Anthropic(base_url=bandari.url, auth_token=key, api_key=None) as bearer:
        assert "Paris" in text_of(ask(bearer))
        with pytest.raises(anthropic.AuthenticationError) as refused:
            ask(bearer.copy(auth_token="nonsense"))
    assert refused.value.type == "authentication_error"
    assert refused.value.request_id


def test_errors_have_their_classes(sdk: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.NotFoundError) as missing:
        sdk.messages.create(model="none", max_tokens=5, messages=asked("x"))
    assert missing.value.type == "not_found_error"
    with pytest.raises(anthropic.BadRequestError) as bad:
        sdk.messages.create(model=MODEL, max_tokens=5, messages=[{"role": "user", "content": [{}]}])
    assert bad.value.type == "invalid_request_error"
    assert bad.value.api_message
    assert "messages[0].content[0]" in bad.value.api_message


def test_out_of_balance_is_not_retried(bandari: Bandari) -> None:
    key = bandari.new_key("anthropic-without-balance", 1)
    with (
        anthropic.Anthropic(base_url=bandari.url, api_key=key, max_retries=2) as client,
        pytest.raises(anthropic.PaymentRequiredError) as refused,
    ):
        ask(client)
    assert refused.value.type == "billing_error"
    assert refused.value.response.request.headers["x-stainless-retry-count"] == "0"


def test_thoughts_come_back_and_are_accepted_again(actor: anthropic.Anthropic) -> None:
    thinking: Any = {"type": "adaptive"}
    with actor.messages.stream(
        model=ACTED, max_tokens=500, messages=asked("think"), thinking=thinking
    ) as stream:
        thought = "".join(event.thinking for event in stream if event.type == "thinking")
        first = stream.get_final_message()
    assert thought == THOUGHT
    assert [block.type for block in first.content] == ["thinking", "text"]
    again = actor.messages.create(
        model=ACTED,
        max_tokens=500,
        messages=[
            *asked("think"),
            {"role": "assistant", "content": first.content},
            *asked("think"),
        ],
    )
    assert text_of(again) == "Forty-two."


def test_a_stream_that_breaks_is_an_error(actor: anthropic.Anthropic) -> None:
    with pytest.raises(anthropic.APIStatusError) as broken:
        for _ in actor.messages.create(
            model=ACTED, max_tokens=50, messages=asked("break"), stream=True
        ):
            pass
    assert broken.value.type == "api_error"


@pytest.mark.parametrize("threads", [True, False])
def test_the_tool_runner_runs_both_tools_and_ends(
    actor: anthropic.Anthropic, acted: Stage, threads: bool
) -> None:
    cities = []

    @beta_tool
    def get_weather(city: str) -> str:
        """The weather in a city."""
        cities.append(city)
        return f"{city} is sunny"

    # It would rather keep the conversation in the server, and must be told that this one does not.
    options: dict[str, Any] = {} if threads else {"thread": False}
    runner = actor.beta.messages.tool_runner(
        model=ACTED,
        max_tokens=500,
        tools=[get_weather],
        messages=[{"role": "user", "content": "What is the weather?"}],
        **options,
    )
    final = runner.until_done()
    assert sorted(cities) == sorted(CITIES)
    assert text_of(final) == "Nairobi is sunny and Kisumu is sunny."
    *_, call, one, other = acted.upstream.asked[-1]["messages"]
    assert [result["role"] for result in (one, other)] == ["tool", "tool"]
    assert [one["tool_call_id"], other["tool_call_id"]] == [
        called["id"] for called in call["tool_calls"]
    ]


async def test_the_async_tool_runner_streams(acted: Stage) -> None:
    @beta_async_tool
    async def get_weather(city: str) -> str:
        """The weather in a city."""
        return f"{city} is rainy"

    async with anthropic.AsyncAnthropic(base_url=acted.server.url, api_key=acted.key) as client:
        runner = client.beta.messages.tool_runner(
            model=ACTED,
            max_tokens=500,
            tools=[get_weather],
            messages=[{"role": "user", "content": "What is the weather?"}],
            stream=True,
        )
        final = await runner.until_done()
    assert text_of(final) == "Nairobi is rainy and Kisumu is rainy."


def test_leaving_a_stream(sdk: anthropic.Anthropic) -> None:
    with sdk.messages.stream(
        model=MODEL, max_tokens=500, messages=asked("Tell me a long story.")
    ) as stream:
        next(iter(stream.text_stream))
