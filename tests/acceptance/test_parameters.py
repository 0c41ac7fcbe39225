"""Every parameter of Chat Completions has its real effect through the real engine.

Each test compares answers with and without the parameter, so that it fails if the parameter is
ignored.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import gguf
import httpx2 as httpx
import pytest
from tests.support.chat import MODEL, PATH, ask, stream, text_of, user
from tests.support.server import Bandari

from bandari.bootstrap.engines import PACKAGED_MODEL

LONG = "Tell me a long story."

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather in a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}
TIME = {
    "type": "function",
    "function": {
        "name": "get_time",
        "description": "The time in a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
        },
    },
}
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string", "maxLength": 12}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}


@cache
def token_ids() -> dict[str, int]:
    """Token ids by the text that the vocabulary of the model in the box spells them with."""
    reader = gguf.GGUFReader(PACKAGED_MODEL)
    field = reader.fields["tokenizer.ggml.tokens"]
    return {bytes(field.parts[part]).decode(): index for index, part in enumerate(field.data)}


def uncertain(**fields: Any) -> dict[str, Any]:
    """Fields under which the answer may not end: what comes then is far from certain."""
    ends = (token_ids()[name] for name in ("<|im_end|>", "<|endoftext|>"))
    return {"logit_bias": {str(end): -100 for end in ends}, "max_tokens": 60} | fields


def first_token(client: httpx.Client, **fields: Any) -> str:
    answer = ask(client, LONG, max_tokens=1, logprobs=True, **fields)
    return str(answer["choices"][0]["logprobs"]["content"][0]["token"])


def spelled(token: str) -> str:
    return token.replace(" ", "Ġ").replace("\n", "Ċ")


def test_model_chooses_and_is_told_by_its_public_id(client: httpx.Client) -> None:
    assert ask(client)["model"] == MODEL


def test_messages_are_the_conversation(client: httpx.Client) -> None:
    france = ask(client, "What is the capital of France?")
    kenya = ask(client, "What is the capital of Kenya?")
    assert "Paris" in text_of(france)
    assert "Nairobi" in text_of(kenya)


@pytest.mark.parametrize("role", ["system", "developer"])
def test_system_and_developer_messages_instruct(client: httpx.Client, role: str) -> None:
    instruction = {"role": role, "content": "You are a helpful AI assistant named Alex."}
    named = ask(client, messages=[instruction, *user("Who are you?")])
    assert "Alex" in text_of(named)
    assert "Alex" not in text_of(ask(client, "Who are you?"))


def test_earlier_turns_count(client: httpx.Client) -> None:
    turns = [
        {"role": "user", "content": "My name is Amina."},
        {"role": "assistant", "content": "Nice to meet you, Amina!"},
        {"role": "user", "content": "What is my name?"},
    ]
    assert "Amina" in text_of(ask(client, messages=turns))


def test_tool_results_are_read(client: httpx.Client) -> None:
    turns: list[dict[str, Any]] = [
        *user("What is the weather in Nairobi?"),
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {
                    "id": "call_1",
                    "type": "function",
                    "function": {"name": "get_weather", "arguments": '{"city": "Nairobi"}'},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": '{"weather": "sunny"}'},
    ]
    without = ask(client, messages=turns[:1], tools=[WEATHER])
    told = ask(client, messages=turns, tools=[WEATHER])
    assert without["choices"][0]["finish_reason"] == "tool_calls"
    assert told["choices"][0]["finish_reason"] == "stop"
    assert told["usage"]["prompt_tokens"] > without["usage"]["prompt_tokens"]


def test_content_parts_are_read(client: httpx.Client) -> None:
    question = "What is the capital of France?"
    part = {"type": "text", "text": question}
    alone = ask(client, messages=[{"role": "user", "content": [part]}])
    assert text_of(alone) == text_of(ask(client, question))
    twice = ask(client, messages=[{"role": "user", "content": [part, part]}])
    assert twice["usage"]["prompt_tokens"] > alone["usage"]["prompt_tokens"]


def test_stream_gives_the_same_text_in_pieces(client: httpx.Client) -> None:
    whole = text_of(ask(client, LONG, max_tokens=60))
    streamed, headers = stream(client, LONG, max_tokens=60)
    assert headers["content-type"].startswith("text/event-stream")
    assert len(streamed.chunks) > 20
    assert streamed.text() == whole


def test_stream_options_include_usage(client: httpx.Client) -> None:
    without, _ = stream(client)
    with_usage, _ = stream(client, stream_options={"include_usage": True})
    assert without.usage is None
    assert with_usage.usage is not None
    assert with_usage.chunks[-1]["choices"] == []


def test_temperature(client: httpx.Client) -> None:
    cold = {text_of(ask(client, **uncertain(temperature=0, seed=n))) for n in range(4)}
    hot = {text_of(ask(client, **uncertain(temperature=2, seed=n))) for n in range(4)}
    assert len(cold) == 1
    assert len(hot) == 4


def test_top_p(client: httpx.Client) -> None:
    fields = {"temperature": 2}
    narrow = {text_of(ask(client, **uncertain(**fields, seed=n, top_p=0.01))) for n in range(4)}
    wide = {text_of(ask(client, **uncertain(**fields, seed=n, top_p=1.0))) for n in range(4)}
    assert len(narrow) == 1
    assert len(wide) == 4


def test_seed(client: httpx.Client) -> None:
    fields = uncertain(temperature=2)
    ask(client, **fields, seed=7)  # the same prompt in the cache for both
    same = {text_of(ask(client, **fields, seed=7)) for _ in range(2)}
    other = {text_of(ask(client, **fields, seed=n)) for n in range(8, 12)}
    assert len(same) == 1
    assert not same & other


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_limits_of_output(client: httpx.Client, name: str) -> None:
    answer = ask(client, LONG, **{name: 7})
    assert answer["usage"]["completion_tokens"] == 7
    assert answer["choices"][0]["finish_reason"] == "length"


def test_the_smaller_of_both_limits_counts(client: httpx.Client) -> None:
    answer = ask(client, LONG, max_tokens=9, max_completion_tokens=5)
    assert answer["usage"]["completion_tokens"] == 5


@pytest.mark.parametrize("as_list", [False, True])
def test_stop_ends_the_text_before_the_sequence(client: httpx.Client, as_list: bool) -> None:
    whole = text_of(ask(client, LONG, max_tokens=60))
    word = whole.split()[5]
    answer = ask(client, LONG, max_tokens=60, stop=[word, "never"] if as_list else word)
    assert text_of(answer) == whole[: whole.index(word)]
    assert answer["choices"][0]["finish_reason"] == "stop"
    streamed, _ = stream(client, LONG, max_tokens=60, stop=word)
    assert streamed.text() == whole[: whole.index(word)]


def test_n_gives_several_choices_and_counts_them_all(client: httpx.Client) -> None:
    fields = uncertain(max_tokens=30)
    answer = ask(client, n=3, **(fields | {"temperature": 2}))
    assert [choice["index"] for choice in answer["choices"]] == [0, 1, 2]
    assert len({text_of(answer, n) for n in range(3)}) == 3
    single = ask(client, **fields)
    assert answer["usage"]["completion_tokens"] == 90
    assert answer["usage"]["prompt_tokens"] == single["usage"]["prompt_tokens"]


def test_n_beyond_the_slots_is_fanned_out(client: httpx.Client) -> None:
    streamed, _ = stream(
        client, LONG, n=11, max_tokens=4, stream_options={"include_usage": True}, temperature=1
    )
    assert {streamed.finish(n) for n in range(11)} == {"length"}
    assert streamed.usage is not None
    assert streamed.usage["completion_tokens"] == 44


def test_logit_bias(client: httpx.Client) -> None:
    usual = first_token(client)
    banned = token_ids()[spelled(usual)]
    assert first_token(client, logit_bias={str(banned): -100}) != usual
    forced = token_ids()["Z"]
    assert first_token(client, logit_bias={str(forced): 100}) == "Z"


def test_logprobs_and_top_logprobs(client: httpx.Client) -> None:
    assert ask(client, max_tokens=3)["choices"][0]["logprobs"] is None
    alone = ask(client, LONG, max_tokens=3, logprobs=True)["choices"][0]["logprobs"]["content"]
    assert len(alone) == 3
    assert all(entry["logprob"] <= 0 and entry["top_logprobs"] == [] for entry in alone)
    top = ask(client, LONG, max_tokens=3, logprobs=True, top_logprobs=4)
    assert [len(e["top_logprobs"]) for e in top["choices"][0]["logprobs"]["content"]] == [4, 4, 4]
    streamed, _ = stream(client, LONG, max_tokens=3, logprobs=True, top_logprobs=2)
    entries = [
        entry
        for chunk in streamed.chunks
        for choice in chunk["choices"]
        for entry in (choice["logprobs"] or {}).get("content", ())
    ]
    assert [len(entry["top_logprobs"]) for entry in entries] == [2, 2, 2]


@pytest.mark.parametrize("name", ["presence_penalty", "frequency_penalty"])
def test_penalties(client: httpx.Client, name: str) -> None:
    texts = {text_of(ask(client, **uncertain(**{name: value}))) for value in (0, 2.0, -2.0)}
    assert len(texts) == 3


def test_response_format_json_object(client: httpx.Client) -> None:
    question = "Tell me about Nairobi."
    with pytest.raises(json.JSONDecodeError):
        json.loads(text_of(ask(client, question, max_tokens=200)))
    answer = ask(client, question, max_tokens=400, response_format={"type": "json_object"})
    if answer["choices"][0]["finish_reason"] == "stop":
        assert isinstance(json.loads(text_of(answer)), dict)
    assert text_of(answer).lstrip().startswith("{")


def test_response_format_json_schema(client: httpx.Client) -> None:
    described = {"type": "json_schema", "json_schema": {"name": "person", "schema": SCHEMA}}
    answer = ask(client, "Who is Amina?", max_tokens=200, response_format=described)
    value = json.loads(text_of(answer))
    assert set(value) == {"name", "age"}
    assert isinstance(value["age"], int)
    assert len(value["name"]) <= 12


def test_response_format_text_is_the_default(client: httpx.Client) -> None:
    assert text_of(ask(client, response_format={"type": "text"})) == text_of(ask(client))


def call_names(answer: dict[str, Any]) -> list[str]:
    calls = answer["choices"][0]["message"].get("tool_calls", ())
    return [call["function"]["name"] for call in calls]


def test_tools_are_called(client: httpx.Client) -> None:
    answer = ask(client, "What is the weather in Nairobi?", tools=[WEATHER], max_tokens=200)
    (call,) = answer["choices"][0]["message"]["tool_calls"]
    assert call["type"] == "function"
    assert call["id"]
    assert json.loads(call["function"]["arguments"]) == {"city": "Nairobi"}
    assert answer["choices"][0]["finish_reason"] == "tool_calls"


def test_tool_calls_stream_in_pieces(client: httpx.Client) -> None:
    streamed, _ = stream(client, "What is the weather in Nairobi?", tools=[WEATHER], max_tokens=200)
    pieces = [
        piece
        for chunk in streamed.chunks
        for choice in chunk["choices"]
        for piece in choice["delta"].get("tool_calls", ())
    ]
    assert [piece["function"].get("name") for piece in pieces if "id" in piece] == ["get_weather"]
    arguments = "".join(piece["function"]["arguments"] for piece in pieces)
    assert json.loads(arguments) == {"city": "Nairobi"}
    assert streamed.finish() == "tool_calls"


def test_tool_choice(client: httpx.Client) -> None:
    question = "What is the weather in Nairobi?"
    tools = [WEATHER, TIME]
    assert call_names(ask(client, question, tools=tools, tool_choice="none")) == []
    assert call_names(ask(client, question, tools=tools, tool_choice="auto")) == ["get_weather"]
    assert call_names(ask(client, "Hi", tools=tools, tool_choice="required", max_tokens=300))
    named = {"type": "function", "function": {"name": "get_time"}}
    forced = ask(client, question, tools=tools, tool_choice=named, max_tokens=300)
    assert set(call_names(forced)) == {"get_time"}


def test_parallel_tool_calls(client: httpx.Client) -> None:
    question = "What is the weather in Nairobi and in Kisumu?"
    several = ask(client, question, tools=[WEATHER], parallel_tool_calls=True, max_tokens=300)
    single = ask(client, question, tools=[WEATHER], parallel_tool_calls=False, max_tokens=300)
    assert len(call_names(several)) == 2
    assert len(call_names(single)) == 1


def test_logprobs_with_tools_in_a_stream(client: httpx.Client) -> None:
    """The engine refuses the three together; asked for whole, it gives them."""
    streamed, _ = stream(
        client, "What is the weather in Nairobi?", tools=[WEATHER], logprobs=True, max_tokens=200
    )
    assert streamed.finish() == "tool_calls"


def test_user_and_reasoning_effort_are_in_the_receipt(
    bandari: Bandari, client: httpx.Client
) -> None:
    body = {
        "model": MODEL,
        "messages": user("Hi"),
        "user": "customer-7",
        "reasoning_effort": "low",
    }
    response = client.post(PATH, json=body)
    receipt = bandari.receipt(response.headers["x-bandari-receipt"])
    assert receipt["end_user"] == "customer-7"
    assert receipt["reasoning_effort"] == "low"


ALL_AT_ONCE = json.loads(Path(__file__).with_name("all_parameters.json").read_text())


@pytest.mark.parametrize("streaming", [False, True])
def test_all_parameters_at_once(client: httpx.Client, streaming: bool) -> None:
    body = dict(ALL_AT_ONCE, stream=streaming)
    if not streaming:
        del body["stream_options"]
    response = client.post(PATH, json=body)
    assert response.status_code == 200, response.text
    ignored = set(response.headers["x-bandari-ignored"].split(", "))
    assert ignored == {
        "audio",
        "function_call",
        "functions",
        "metadata",
        "modalities",
        "moderation",
        "prediction",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "safety_identifier",
        "service_tier",
        "store",
        "verbosity",
        "web_search_options",
    }


def test_null_is_the_same_as_absent(client: httpx.Client) -> None:
    nothing = {name: None for name in ALL_AT_ONCE if name not in ("model", "messages")}
    response = client.post(PATH, json={"model": MODEL, "messages": user("Hi")} | nothing)
    assert response.status_code == 200, response.text
    assert "x-bandari-ignored" not in response.headers
