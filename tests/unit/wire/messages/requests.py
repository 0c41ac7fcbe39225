"""Requests for the tests of this folder."""

from __future__ import annotations

import json
from itertools import count
from typing import Any

from hypothesis import strategies as st
from msgspec import Raw
from msgspec.json import encode

from bandari.domain.chat import (
    ChatRequest,
    ImagePart,
    Message,
    OtherPart,
    OtherTool,
    ReasoningPart,
    ResponseFormat,
    Role,
    Sampling,
    Seal,
    TextPart,
    Tool,
    ToolCall,
    ToolChoice,
)

MINIMAL: dict[str, Any] = {
    "model": "m",
    "max_tokens": 9,
    "messages": [{"role": "user", "content": "hi"}],
}


TEXT = {"type": "text", "text": "x"}
PIXEL: dict[str, Any] = {
    "type": "image",
    "source": {"type": "base64", "media_type": "image/png", "data": "AAAA"},
}
DOCUMENT = {"type": "document", "source": {"type": "file", "file_id": "f"}, "title": "T"}
WEATHER = {"name": "weather", "description": "Tells it.", "input_schema": {"type": "object"}}
BASH = {"type": "bash_20250124", "name": "bash"}
USE = {"type": "tool_use", "id": "t", "name": "f", "input": {}}

EVERYTHING: dict[str, Any] = {
    "model": "m",
    "max_tokens": 9000,
    "system": [
        {"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral", "ttl": "5m"}},
        {"type": "text", "text": "Be kind."},
    ],
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What is this?"},
                PIXEL,
                {"type": "image", "source": {"type": "url", "url": "https://a.example/b"}},
                {"type": "image", "source": {"type": "file", "file_id": "f"}},
                DOCUMENT,
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"},
                {"type": "redacted_thinking", "data": "ZW5j"},
                {"type": "text", "text": "Let me see."},
                {"type": "tool_use", "id": "t1", "name": "weather", "input": {"n": 1.5}},
                {"type": "tool_use", "id": "t2", "name": "bash", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Here:"},
                {"type": "tool_result", "tool_use_id": "t2", "is_error": True},
                {
                    "type": "tool_result",
                    "tool_use_id": "t1",
                    "content": [{"type": "text", "text": "rain"}, PIXEL, DOCUMENT],
                },
            ],
        },
        {"role": "system", "content": "The date is set."},
        {"role": "user", "content": "Go on."},
    ],
    "stream": True,
    "temperature": 0.2,
    "top_p": 0.9,
    "top_k": 40,
    "stop_sequences": ["a", "b", "c", "d", "e"],
    "tools": [WEATHER, BASH, {"type": "computer_toolset_20260801"}],
    "tool_choice": {"type": "tool", "name": "weather", "disable_parallel_tool_use": True},
    "thinking": {"type": "enabled", "budget_tokens": 4096, "display": "omitted"},
    "output_config": {
        "effort": "xhigh",
        "format": {"type": "json_schema", "schema": {"type": "object"}},
        "task_budget": {"type": "tokens", "total": 5},
    },
    "metadata": {"user_id": "Asha"},
    "cache_control": {"type": "ephemeral"},
    "context_management": {"edits": []},
    "service_tier": "auto",
    "container": {"skills": [{"skill_id": "pdf"}]},
    "mcp_servers": [],
}


def body(**fields: Any) -> bytes:
    """A minimal request with these fields besides; ``...`` leaves one out."""
    return json.dumps({k: v for k, v in (MINIMAL | fields).items() if v is not ...}).encode()


def raw_body(name: str, raw: bytes) -> bytes:
    """A minimal request with one field spelled byte for byte."""
    fields = {key: json.dumps(value).encode() for key, value in MINIMAL.items()} | {name: raw}
    return b"{" + b",".join(b'"%b":%b' % (key.encode(), fields[key]) for key in fields) + b"}"


def user(*blocks: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": list(blocks)}]}


def assistant(*blocks: Any) -> dict[str, Any]:
    return {"messages": [{"role": "assistant", "content": list(blocks)}]}


# -- any request that the protocol can say, as a value --------------------------------------------

texts = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20).filter(str.strip)
words = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=20)
names = st.from_regex(r"\A[A-Za-z0-9_-]{1,64}\Z")
numbers = st.floats(-100, 100)
json_objects = st.dictionaries(
    texts,
    st.recursive(
        st.none() | st.booleans() | st.integers(-(2**53), 2**53) | texts,
        lambda inner: st.lists(inner, max_size=2) | st.dictionaries(texts, inner, max_size=2),
        max_leaves=5,
    ),
    max_size=3,
)
schemas = json_objects.map(lambda value: Raw(encode({"type": "object"} | value)))
text_parts = st.builds(TextPart, texts)
user_parts = st.one_of(
    text_parts,
    st.sampled_from(
        [
            ImagePart("https://a.example/é.png"),
            ImagePart("data:image/png;base64,AAA="),
            OtherPart(
                "messages", "document", Raw(b'{"type":"document","source":{"a": 1.50}}'), "x"
            ),
        ]
    ),
)
thoughts = st.one_of(
    st.builds(ReasoningPart, texts, st.builds(Seal, st.just("messages"), names)),
    st.builds(
        ReasoningPart, st.just(""), st.builds(Seal, st.just("messages"), names, st.just(True))
    ),
)


@st.composite
def conversations(draw: st.DrawFn) -> tuple[Message, ...]:
    """Instructions, and turns of user and assistant, in which every call has its result."""
    messages = []
    ids = map("call_{}".format, count())
    if draw(st.booleans()):
        messages.append(Message(Role.SYSTEM, draw(_some(text_parts))))
    for _ in range(draw(st.integers(1, 3))):
        messages.append(Message(Role.USER, draw(_some(user_parts))))
        if draw(st.booleans()):
            messages.append(Message(Role.SYSTEM, draw(_some(text_parts))))
        if draw(st.booleans()):
            calls = tuple(
                ToolCall(next(ids), draw(names), json.dumps(arguments))
                for arguments in draw(st.lists(json_objects, max_size=2))
            )
            parts = (*draw(st.lists(thoughts, max_size=2)), *draw(_some(text_parts)))
            messages.append(Message(Role.ASSISTANT, parts, tool_calls=calls))
            messages += [
                Message(
                    Role.TOOL,
                    draw(st.lists(user_parts, max_size=2).map(tuple)),
                    tool_call_id=call.id,
                    is_error=draw(st.booleans()),
                )
                for call in calls
            ]
    return tuple(messages)


def _some(parts: st.SearchStrategy[Any]) -> st.SearchStrategy[tuple[Any, ...]]:
    return st.lists(parts, min_size=1, max_size=3).map(tuple)


tools = st.one_of(
    st.builds(Tool, names, st.none() | texts, schemas, st.sampled_from([None, True, False])),
    st.just(
        OtherTool("messages", "bash", Raw(b'{"type":"bash_20250124","name":"bash"}'), "tools[0]")
    ),
)
choices = st.one_of(
    st.none(),
    st.sampled_from(["none", "auto", "required"]).map(ToolChoice),
    names.map(lambda name: ToolChoice("named", name)),
)


@st.composite
def chat_requests(draw: st.DrawFn) -> ChatRequest:
    """A request of which every word can be carried in this protocol."""
    messages = draw(conversations())
    some_tools = draw(st.lists(tools, max_size=3).map(tuple))
    choice = draw(choices) if some_tools else None
    may_call = choice is not None and choice.mode != "none"
    forced = choice is not None and choice.forces_call
    may_think = not forced and not any(message.tool_calls for message in messages)
    efforts = ["low", "medium", "high", "xhigh", "max"] if may_think else []
    return ChatRequest(
        model="public",
        messages=messages,
        sampling=Sampling(
            temperature=draw(st.none() | numbers),
            top_p=draw(st.none() | numbers),
            top_k=draw(st.none() | st.integers(0, 2**53 - 1)),
            max_tokens=draw(st.integers(1, 2**53 - 1)),
            stop=draw(st.lists(texts, max_size=5).map(tuple)),
        ),
        tools=some_tools,
        tool_choice=choice,
        parallel_tool_calls=draw(st.sampled_from([None, False])) if may_call else None,
        response_format=draw(
            st.none()
            | st.builds(
                ResponseFormat, st.just("json_schema"), st.just("answer"), schemas, st.just(True)
            )
        ),
        user=draw(st.none() | words),
        reasoning_effort=draw(st.sampled_from([None, "none", *efforts])),
    )
