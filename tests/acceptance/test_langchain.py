"""LangChain's chat models, the real packages, in each of the three protocols."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from langchain_anthropic import ChatAnthropic
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic import BaseModel, Field
from tests.support.chat import MODEL
from tests.support.repertoire import BOAT, CITIES, act
from tests.support.server import Bandari
from tests.support.stage import ACTED, Stage, stage

FRANCE = "What is the capital of France?"


def chat(url: str, key: str, model: str, **more: Any) -> BaseChatModel:
    where = {"base_url": f"{url}/v1", "api_key": key}
    return ChatOpenAI(model=model, max_retries=0, stream_usage=True, **where, **more)


def responses(url: str, key: str, model: str, **more: Any) -> BaseChatModel:
    return chat(url, key, model, use_responses_api=True, **more)


def messages(url: str, key: str, model: str, **more: Any) -> BaseChatModel:
    return ChatAnthropic(model=model, base_url=url, api_key=key, max_retries=0, **more)


Protocol = Callable[..., BaseChatModel]
PROTOCOLS: list[Protocol] = [chat, responses, messages]
protocols = pytest.mark.parametrize("protocol", PROTOCOLS)


@pytest.fixture(scope="module")
def acted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with stage(tmp_path_factory.mktemp("langchain") / "data", act) as acted:
        yield acted


@pytest.fixture
def tiny(bandari: Bandari, key: str, protocol: Protocol) -> BaseChatModel:
    return protocol(bandari.url, key, MODEL, max_tokens=300, temperature=0)


@pytest.fixture
def actor(acted: Stage, protocol: Protocol) -> BaseChatModel:
    return protocol(acted.server.url, acted.key, ACTED, max_tokens=2_000)


@tool
def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"{city} is sunny"


class Boat(BaseModel):
    """A boat."""

    name: str = Field(max_length=10)
    masts: int


class Sailor(BaseModel):
    name: str
    age: int


class WholeBoat(Boat):
    """A boat and its crew."""

    colour: str
    crew: list[Sailor]


def together(chunks: Iterator[AIMessageChunk]) -> AIMessageChunk:
    first, *rest = chunks
    for chunk in rest:
        first += chunk
    return first


@protocols
def test_invoke_and_stream_agree(tiny: BaseChatModel) -> None:
    whole = tiny.invoke(FRANCE)
    streamed = together(tiny.stream(FRANCE))
    assert "Paris" in whole.text
    assert streamed.text == whole.text
    assert whole.usage_metadata is not None
    assert streamed.usage_metadata is not None
    for count in ("input_tokens", "output_tokens", "total_tokens"):
        assert whole.usage_metadata[count] == streamed.usage_metadata[count] > 0


@protocols
async def test_async_stream(bandari: Bandari, key: str, protocol: Protocol) -> None:
    # It keeps one pool of connections for a base URL and a timeout; this one ends with its loop.
    timeout = 60 + PROTOCOLS.index(protocol)
    model = protocol(bandari.url, key, MODEL, max_tokens=300, temperature=0, timeout=timeout)
    client = model.root_async_client if isinstance(model, ChatOpenAI) else model._async_client
    async with client:
        text = "".join([chunk.text async for chunk in model.astream(FRANCE)])
    assert "Paris" in text


@protocols
def test_a_bound_tool_there_and_back(tiny: BaseChatModel) -> None:
    asked = HumanMessage("What is the weather in Nairobi?")
    model = tiny.bind_tools([get_weather], tool_choice="get_weather")
    answer = model.invoke([asked])
    assert isinstance(answer, AIMessage)
    (call,) = answer.tool_calls
    assert (call["name"], call["args"]) == ("get_weather", {"city": "Nairobi"})
    result = get_weather.invoke(call)
    assert isinstance(result, ToolMessage)
    assert tiny.bind_tools([get_weather]).invoke([asked, answer, result]).text


@protocols
def test_parallel_tools_streamed(acted: Stage, actor: BaseChatModel) -> None:
    asked = HumanMessage("What is the weather?")
    model = actor.bind_tools([get_weather])
    answer = together(model.stream([asked]))
    assert [call["args"]["city"] for call in answer.tool_calls] == list(CITIES)
    results = [get_weather.invoke(call) for call in answer.tool_calls]
    told = together(model.stream([asked, answer, *results]))
    assert told.text == "Nairobi is sunny and Kisumu is sunny."
    seen = acted.upstream.asked[-1]["messages"]
    assert [message["role"] for message in seen] == ["user", "assistant", "tool", "tool"]
    assert seen[1]["content"] == "Let me look."


@protocols
def test_structured_output(tiny: BaseChatModel, actor: BaseChatModel) -> None:
    boat = tiny.with_structured_output(Boat).invoke("Describe a boat.")
    assert isinstance(boat, Boat)
    whole = actor.with_structured_output(WholeBoat).invoke("Describe a boat.")
    assert isinstance(whole, WholeBoat)
    assert whole.model_dump() == BOAT
