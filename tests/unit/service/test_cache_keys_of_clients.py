"""What clients send, by way of the codecs: which bodies are the same request."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

import pytest

from bandari.domain.chat import ChatRequest
from bandari.domain.faults import CallerFault
from bandari.service.cache_keys import cache_key
from bandari.wire.chat_completions.decode_request import decode_request as decode_chat
from bandari.wire.chat_completions.encode_request import encode_request as encode_chat
from bandari.wire.completions.decode_request import decode_request as decode_completion
from bandari.wire.dialect import Dialect
from bandari.wire.messages.decode_request import decode_request as decode_messages
from bandari.wire.messages.encode_request import encode_request as encode_messages
from bandari.wire.responses.decode_request import decode_request as decode_responses
from bandari.wire.responses.encode_request import encode_request as encode_responses

PARAMETERS = {
    "type": "object",
    "properties": {"city": {"type": "string", "description": "where"}, "days": {"type": "integer"}},
    "required": ["city"],
}
OTHER_PARAMETERS = PARAMETERS | {"required": ["city", "days"]}
FUNCTION = {"name": "weather", "description": "Tells it.", "parameters": PARAMETERS}

CHAT: dict[str, Any] = {
    "model": "m",
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Rain in Voi?"},
        {
            "role": "assistant",
            "content": "I look.",
            "tool_calls": [
                {
                    "id": "call_1",
                    "type": "function",
                    "function": {"name": "weather", "arguments": '{"city":"Voi"}'},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "no"},
        {"role": "user", "content": "And in Lamu?"},
    ],
    "temperature": 0.5,
    "top_p": 1,
    "max_tokens": 100,
    "tools": [{"type": "function", "function": FUNCTION}],
    "tool_choice": "auto",
}
MESSAGES: dict[str, Any] = {
    "model": "m",
    "max_tokens": 100,
    "temperature": 0.5,
    "top_p": 1.0,
    "system": "Be brief.",
    "messages": [
        {"role": "user", "content": "Rain in Voi?"},
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": "I look."},
                {"type": "tool_use", "id": "call_1", "name": "weather", "input": {"city": "Voi"}},
            ],
        },
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": "call_1", "content": "no"}],
        },
        {"role": "user", "content": [{"type": "text", "text": "And in Lamu?"}]},
    ],
    "tools": [{"name": "weather", "description": "Tells it.", "input_schema": PARAMETERS}],
    "tool_choice": {"type": "auto"},
}
RESPONSES: dict[str, Any] = {
    "model": "m",
    "max_output_tokens": 100,
    "temperature": 0.5,
    "top_p": 1.0,
    "instructions": "Be brief.",
    "input": [
        {"role": "user", "content": "Rain in Voi?"},
        {"role": "assistant", "content": "I look."},
        {
            "type": "function_call",
            "call_id": "call_1",
            "name": "weather",
            "arguments": '{"city":"Voi"}',
        },
        {"type": "function_call_output", "call_id": "call_1", "output": "no"},
        {"type": "message", "role": "user", "content": "And in Lamu?"},
    ],
    "tools": [{"type": "function", **FUNCTION}],
    "tool_choice": "auto",
}


def compact(body: Any) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()


def of(decode: Any, body: Any) -> bytes:
    request = decode(body if isinstance(body, bytes) else compact(body))
    chat = request if isinstance(request, ChatRequest) else request.chat
    return cache_key(1, None, "m", chat)


def chat(**changes: Any) -> bytes:
    return of(decode_chat, CHAT | changes)


def messages(**changes: Any) -> bytes:
    return of(decode_messages, MESSAGES | changes)


def responses(**changes: Any) -> bytes:
    return of(decode_responses, RESPONSES | changes)


def test_one_conversation_is_the_same_in_every_protocol():
    assert chat() == messages() == responses()


@pytest.mark.parametrize("decode", [decode_chat, decode_messages, decode_responses])
@pytest.mark.parametrize("seed", range(3))
def test_the_order_of_keys_and_the_white_space_do_not_matter(decode: Any, seed: int):
    body = {decode_chat: CHAT, decode_messages: MESSAGES, decode_responses: RESPONSES}[decode]
    order = random.Random(seed)

    def shuffled(value: Any) -> Any:
        if isinstance(value, dict):
            names = order.sample(list(value), len(value))
            return {name: shuffled(value[name]) for name in names}
        return [shuffled(item) for item in value] if isinstance(value, list) else value

    assert of(decode, shuffled(body)) == of(decode, body)
    spaced = json.dumps(shuffled(body), indent=2).encode()
    if decode is not decode_messages:  # whose calls' arguments are JSON, kept as it was written
        assert of(decode, spaced) == of(decode, body)


@pytest.mark.parametrize(
    "changes",
    [
        {"stream": True},
        {"stream": True, "stream_options": {"include_usage": True}},
        {"user": "u1"},
        {"model": "another name of it"},
        {"top_p": 1.0},
        {"seed": None, "tools": CHAT["tools"], "min_p": None},
        {"max_completion_tokens": 100},
        {"n": 1, "logprobs": False},
    ],
    ids=str,
)
def test_how_the_answer_is_delivered_does_not_matter(changes: dict[str, Any]):
    assert chat(**changes) == chat()


@pytest.mark.parametrize(
    "changes",
    [
        {"temperature": 0.6},
        {"temperature": None},
        {"top_p": 0.9},
        {"top_k": 3},
        {"max_tokens": 101},
        {"max_completion_tokens": 99},
        {"stop": "a"},
        {"stop": ["a", "b"]},
        {"n": 2},
        {"seed": 1},
        {"seed": 0},
        {"logit_bias": {"1": 1}},
        {"logprobs": True},
        {"logprobs": True, "top_logprobs": 2},
        {"presence_penalty": 0.1},
        {"frequency_penalty": 0.1},
        {"tools": []},
        {"tools": [{"type": "function", "function": FUNCTION | {"strict": True}}]},
        {"tools": [{"type": "function", "function": FUNCTION | {"parameters": OTHER_PARAMETERS}}]},
        {"tool_choice": "required"},
        {"tool_choice": {"type": "function", "function": {"name": "weather"}}},
        {"parallel_tool_calls": False},
        {"response_format": {"type": "json_object"}},
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "a", "schema": PARAMETERS},
            }
        },
        {"reasoning_effort": "low"},
        {"verbosity": "low"},
        {"min_p": 0.1},
        {"messages": CHAT["messages"][:-1]},
        {"messages": CHAT["messages"][1:]},
    ],
    ids=lambda changes: str(changes)[:60],
)
def test_what_matters_in_chat_completions_does(changes: dict[str, Any]):
    assert chat(**changes) not in (chat(), chat(verbosity="high"))


@pytest.mark.parametrize(
    "changes",
    [
        {"thinking": {"type": "enabled", "budget_tokens": 2000}},
        {"thinking": {"type": "adaptive"}},
        {"context_management": {"edits": []}},
        {"cache_control": {"type": "ephemeral"}},
        {"system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}]},
        {"system": [{"type": "text", "text": "Be brief."}, {"type": "text", "text": ""}]},
        {"stop_sequences": ["a"]},
        {"output_config": {"effort": "low"}},
        {"tools": [MESSAGES["tools"][0] | {"defer_loading": True}]},
        {"tools": [*MESSAGES["tools"], {"type": "bash_20250124", "name": "bash"}]},
    ],
    ids=lambda changes: str(changes)[:60],
)
def test_what_matters_in_messages_does(changes: dict[str, Any]):
    assert messages(**changes) != messages()


def test_two_budgets_of_the_same_effort_are_told_apart():
    one, other = (
        messages(thinking={"type": "enabled", "budget_tokens": budget}) for budget in (2000, 2001)
    )
    assert one != other


def test_efforts_that_are_said_in_other_words_are_told_apart():
    effort, budget = {"effort": "low"}, {"type": "enabled", "budget_tokens": 50}
    keys = [
        messages(output_config=effort),
        messages(output_config=effort, thinking={"type": "adaptive"}),
        messages(output_config=effort, thinking=budget),
        messages(thinking=budget),
    ]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize(
    "changes",
    [
        {"text": {"verbosity": "low"}},
        {"reasoning": {"effort": "low"}},
        {"reasoning": {"summary": "auto"}},
        {"include": ["message.output_text.logprobs"]},
        {"include": ["reasoning.encrypted_content"]},
        {"truncation": "auto"},
        {"tools": [*RESPONSES["tools"], {"type": "web_search"}]},
        {"max_tool_calls": 2},
    ],
    ids=str,
)
def test_what_matters_in_responses_does(changes: dict[str, Any]):
    assert responses(**changes) != responses()


@pytest.mark.parametrize("changes", [{"store": False}, {"metadata": {"a": "b"}}, {"user": "u"}])
def test_what_is_kept_of_a_response_does_not_matter(changes: dict[str, Any]):
    assert responses(**changes) == responses()


def test_a_prompt_is_the_same_as_a_message():
    prompt = of(decode_completion, {"model": "m", "prompt": "Hi", "max_tokens": 5})
    turn = {"role": "user", "content": "Hi"}
    assert prompt == of(decode_chat, {"model": "m", "messages": [turn], "max_tokens": 5})


def test_an_image_is_the_same_image_in_two_protocols():
    url = "data:image/png;base64,iVBORw0KGgo="
    source = {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}

    def shown(block: dict[str, Any]) -> dict[str, Any]:
        return {"model": "m", "max_tokens": 5, "messages": [{"role": "user", "content": [block]}]}

    by_chat = of(decode_chat, shown({"type": "image_url", "image_url": {"url": url}}))
    assert by_chat == of(decode_messages, shown({"type": "image", "source": source}))
    detailed = {"type": "image_url", "image_url": {"url": url, "detail": "low"}}
    assert by_chat != of(decode_chat, shown(detailed))


# -- what goes to a provider of the same protocol --------------------------------------------------

IMAGE = "https://example.com/a.png"
RICH_CHAT: dict[str, Any] = CHAT | {
    "messages": [
        {
            "role": "user",
            "name": "amina",
            "content": [
                {"type": "text", "text": "What is it?"},
                {"type": "image_url", "image_url": {"url": IMAGE, "detail": "low"}},
                {"type": "file", "file": {"file_id": "file-1"}},
                {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
            ],
        },
        *CHAT["messages"][2:],
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
        {"role": "assistant", "content": None, "reasoning_content": "Hm.", "refusal": "No."},
        {"role": "user", "content": "Go on.", "prefix": True},
    ],
    "tool_choice": {"type": "function", "function": {"name": "weather"}},
    "response_format": {
        "type": "json_schema",
        "json_schema": {"name": "a", "schema": PARAMETERS, "strict": True, "description": "b"},
    },
    "logit_bias": {"1": 2},
    "stop": ["a", "b"],
    "top_k": 3,
    "seed": 4,
    "reasoning_effort": "low",
    "verbosity": "low",
    "metadata": {"a": "b"},
}
RICH_MESSAGES: dict[str, Any] = MESSAGES | {
    "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is it?"},
                {"type": "image", "source": {"type": "url", "url": IMAGE}},
                {
                    "type": "document",
                    "title": "a",
                    "source": {"type": "text", "media_type": "text/plain", "data": "b"},
                },
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "Hm.", "signature": "c2lnbmVk"},
                {"type": "redacted_thinking", "data": "c2VhbGVk"},
                {"type": "text", "text": "I look."},
                {"type": "tool_use", "id": "call_1", "name": "weather", "input": {"city": "Voi"}},
            ],
        },
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "call_1",
                    "content": [{"type": "text", "text": "no"}],
                    "is_error": True,
                }
            ],
        },
    ],
    "tool_choice": {"type": "tool", "name": "weather", "disable_parallel_tool_use": True},
    "thinking": {"type": "enabled", "budget_tokens": 50, "display": "omitted"},
    "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": PARAMETERS}},
    "metadata": {"user_id": "u1"},
    "stop_sequences": ["a"],
    "top_k": 3,
    "context_management": {"edits": [{"type": "clear_thinking"}]},
}
RICH_RESPONSES: dict[str, Any] = RESPONSES | {
    "input": [
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "What is it?"},
                {"type": "input_image", "image_url": IMAGE, "detail": "low"},
            ],
        },
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "c2VhbGVk"},
        {
            "type": "message",
            "id": "msg_1",
            "role": "assistant",
            "status": "completed",
            "content": [{"type": "output_text", "text": "I look.", "annotations": []}],
        },
        *RESPONSES["input"][2:],
    ],
    "tool_choice": {"type": "function", "name": "weather"},
    "parallel_tool_calls": False,
    "text": {
        "verbosity": "low",
        "format": {"type": "json_schema", "name": "a", "schema": PARAMETERS, "description": "b"},
    },
    "reasoning": {"effort": "low", "summary": "auto"},
    "include": ["reasoning.encrypted_content"],
    "truncation": "auto",
    "top_logprobs": 2,
    "max_tool_calls": 3,
}
OPEN = Dialect(
    extra_fields=frozenset(
        {"verbosity", "metadata", "top_k", "seed", "reasoning_content", "max_tool_calls", "zz"}
        | {"context_management"}
    )
)
CODECS = {
    "chat_completions": (RICH_CHAT, decode_chat, encode_chat),
    "messages": (RICH_MESSAGES, decode_messages, encode_messages),
    "messages, adaptive": (
        RICH_MESSAGES | {"thinking": {"type": "adaptive"}},
        decode_messages,
        encode_messages,
    ),
    "messages, plain": (MESSAGES | {"thinking": None}, decode_messages, encode_messages),
    "chat_completions, plain": (CHAT, decode_chat, encode_chat),
    "responses, plain": (RESPONSES, decode_responses, encode_responses),
    "responses": (RICH_RESPONSES, decode_responses, encode_responses),
}


def edited(value: Any) -> Iterator[Any]:
    """Everything that differs from a JSON value in one place: more, less, or another scalar."""
    if isinstance(value, dict):
        yield value | {"zz": "more"}
        yield value | {"zz": {"type": "text"}}
        for name, item in value.items():
            yield {other: value[other] for other in value if other != name}
            yield from (value | {name: changed} for changed in edited(item))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield value[:index] + value[index + 1 :]
            yield from ([*value[:index], other, *value[index + 1 :]] for other in edited(item))
    else:
        yield {str: "other", bool: not value, int: 7, float: 0.125}.get(type(value), "other")


def sent(encode: Any, decode: Any, body: Any) -> tuple[bytes, list[Any]] | None:
    """The key, and what the providers get; None where the request is refused."""
    try:
        request = decode(json.dumps(body, indent=1).encode())
        chat = request if isinstance(request, ChatRequest) else request.chat
        upstream = [json.loads(encode(chat, "m", dialect)) for dialect in (Dialect(), OPEN)]
    except CallerFault:
        return None
    for one in upstream:
        one.pop("user", None)
        one.pop("safety_identifier", None)
        one.get("metadata", {}).pop("user_id", None)
    return cache_key(1, None, "m", chat), [without_nothing(one) for one in upstream]


def without_nothing(value: Any) -> Any:
    """The same without what says no more than its absence."""
    if isinstance(value, dict):
        said = {name: without_nothing(item) for name, item in value.items() if item != "function"}
        return {name: item for name, item in said.items() if item not in (None, False, [], {})}
    return [without_nothing(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("protocol", CODECS)
def test_what_a_provider_is_told_otherwise_is_another_request(protocol: str):
    body, decode, encode = CODECS[protocol]
    told: dict[bytes, list[Any]] = {}
    for changed in (body, *edited(body)):
        now = sent(encode, decode, changed)
        if now is not None:
            key, upstream = now
            assert told.setdefault(key, upstream) == upstream, changed
    assert len(told) > 50
