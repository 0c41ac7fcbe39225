"""openai-python, the real package: sync, async, streams, tools and ``parse``."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from enum import Enum

import openai
import pytest
from pydantic import BaseModel, Field
from tests.acceptance.test_parameters import LONG, WEATHER
from tests.support.chat import MODEL
from tests.support.server import Bandari

FRANCE = "What is the capital of France?"


@pytest.fixture
def sdk(bandari: Bandari, key: str) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{bandari.url}/v1", api_key=key, max_retries=0) as client:
        yield client


def asked(text: str) -> list[openai.types.chat.ChatCompletionMessageParam]:
    return [{"role": "user", "content": text}]


def test_whole_answer(sdk: openai.OpenAI) -> None:
    answer = sdk.chat.completions.create(model=MODEL, messages=asked(FRANCE), temperature=0)
    assert "Paris" in (answer.choices[0].message.content or "")
    assert answer.id.startswith("chatcmpl-")
    assert answer.object == "chat.completion"
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens


def test_stream(sdk: openai.OpenAI) -> None:
    chunks = list(
        sdk.chat.completions.create(
            model=MODEL,
            messages=asked(FRANCE),
            temperature=0,
            stream=True,
            stream_options={"include_usage": True},
        )
    )
    first = chunks[0].choices[0].delta
    assert (first.role, first.content) == ("assistant", "")
    assert len({(chunk.id, chunk.created, chunk.model) for chunk in chunks}) == 1
    text = "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert "Paris" in text
    assert chunks[-1].usage is not None
    assert all(chunk.usage is None for chunk in chunks[:-1])


def test_streaming_helper(sdk: openai.OpenAI) -> None:
    with sdk.chat.completions.stream(model=MODEL, messages=asked(FRANCE), temperature=0) as stream:
        kinds = {event.type for event in stream}
        final = stream.get_final_completion()
    assert "content.delta" in kinds
    assert "Paris" in (final.choices[0].message.content or "")


async def test_async_answers_side_by_side(bandari: Bandari, key: str) -> None:
    async with openai.AsyncOpenAI(base_url=f"{bandari.url}/v1", api_key=key) as client:

        async def one(number: int) -> int:
            stream = await client.chat.completions.create(
                model=MODEL,
                messages=asked(LONG),
                seed=number,
                max_tokens=20,
                stream=True,
                stream_options={"include_usage": True},
            )
            usage = None
            async for chunk in stream:
                usage = chunk.usage or usage
            assert usage is not None
            return usage.completion_tokens

        counts = await asyncio.gather(*(one(number) for number in range(12)))
    assert counts == [20] * 12


def test_tools_there_and_back(sdk: openai.OpenAI) -> None:
    messages = asked("What is the weather in Nairobi?")
    answer = sdk.chat.completions.create(
        model=MODEL, messages=messages, tools=[WEATHER], temperature=0
    )
    message = answer.choices[0].message
    assert message.tool_calls is not None
    call = message.tool_calls[0]
    assert call.type == "function"
    assert json.loads(call.function.arguments) == {"city": "Nairobi"}
    messages += [
        message.to_dict(),
        {"role": "tool", "tool_call_id": call.id, "content": '{"weather": "sunny"}'},
    ]
    told = sdk.chat.completions.create(
        model=MODEL, messages=messages, tools=[WEATHER], temperature=0
    )
    assert told.choices[0].message.content


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Boat(BaseModel):
    name: str = Field(max_length=10)
    masts: int
    colour: Colour


def test_parse(sdk: openai.OpenAI) -> None:
    answer = sdk.chat.completions.parse(
        model=MODEL, messages=asked("Describe a boat."), response_format=Boat, max_tokens=300
    )
    assert isinstance(answer.choices[0].message.parsed, Boat)


class GetWeather(BaseModel):
    """The weather in a city."""

    city: str = Field(max_length=20)


def test_parse_tool_arguments(sdk: openai.OpenAI) -> None:
    answer = sdk.chat.completions.parse(
        model=MODEL,
        messages=asked("What is the weather in Nairobi?"),
        tools=[openai.pydantic_function_tool(GetWeather)],
        tool_choice="required",
        temperature=0,
        max_tokens=300,
    )
    calls = answer.choices[0].message.tool_calls
    assert calls
    assert isinstance(calls[0].function.parsed_arguments, GetWeather)


def test_models(sdk: openai.OpenAI) -> None:
    assert [model.id for model in sdk.models.list()] == [MODEL]
    assert sdk.models.retrieve(MODEL).id == MODEL


def test_errors_have_their_classes(bandari: Bandari, sdk: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as bad:
        sdk.chat.completions.create(model=MODEL, messages=asked("x"), temperature=3)
    assert bad.value.param == "temperature"
    with pytest.raises(openai.NotFoundError):
        sdk.chat.completions.create(model="no-such-model", messages=asked("x"))
    with pytest.raises(openai.AuthenticationError):
        sdk.with_options(api_key="nonsense").models.list()


def test_out_of_balance_is_not_retried(bandari: Bandari) -> None:
    key = bandari.new_key("sdk-without-balance", 1)
    client = openai.OpenAI(base_url=f"{bandari.url}/v1", api_key=key, max_retries=2)
    with client, pytest.raises(openai.APIStatusError) as refused:
        client.chat.completions.create(model=MODEL, messages=asked("x"))
    assert refused.value.status_code == 402
    assert refused.value.code == "insufficient_balance"
    assert refused.value.response.request.headers["x-stainless-retry-count"] == "0"


def test_leaving_a_stream(sdk: openai.OpenAI) -> None:
    stream = sdk.chat.completions.create(model=MODEL, messages=asked(LONG), stream=True)
    with stream:
        for _ in zip(range(3), stream, strict=False):
            pass
