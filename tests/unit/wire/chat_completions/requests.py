"""Requests for the tests of this folder."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st
from msgspec import Raw
from msgspec.json import encode

from bandari.domain.chat import (
    ChatRequest,
    ImagePart,
    Message,
    OtherPart,
    ResponseFormat,
    Role,
    Sampling,
    TextPart,
    Tool,
    ToolCall,
    ToolChoice,
)

MINIMAL: dict[str, Any] = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def body(**fields: Any) -> bytes:
    """A minimal request with these fields besides; ``...`` leaves one out."""
    return json.dumps({k: v for k, v in (MINIMAL | fields).items() if v is not ...}).encode()


def raw_body(name: str, raw: bytes) -> bytes:
    """A minimal request with one field spelled byte for byte."""
    return b'{"model":"m","messages":[{"role":"user","content":"hi"}],"%b":%b}' % (
        name.encode(),
        raw,
    )


# -- any request, as a value ----------------------------------------------------------------------

texts = st.text(st.characters(codec="utf-8"), max_size=20)
names = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]), max_size=20)
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
).map(lambda value: Raw(encode(value)))

parts = st.one_of(
    st.builds(TextPart, texts),
    st.builds(
        ImagePart,
        st.sampled_from(["https://a.example/é.png", "data:image/png;base64,AAAA"]),
        st.sampled_from([None, "auto", "low", "high"]),
    ),
    json_objects.map(
        lambda value: OtherPart(
            "chat_completions",
            "input_audio",
            Raw(b'{"type":"input_audio","input_audio":%b}' % bytes(value)),
            "",
        )
    ),
    json_objects.map(
        lambda value: OtherPart(
            "chat_completions", "file", Raw(b'{"type":"file","file":%b}' % bytes(value)), ""
        )
    ),
)
contents = st.lists(parts, min_size=1, max_size=3).map(tuple)
messages = st.one_of(
    st.builds(
        Message,
        st.sampled_from([Role.SYSTEM, Role.DEVELOPER, Role.USER]),
        contents,
        st.none() | texts,
    ),
    st.builds(
        Message,
        st.just(Role.ASSISTANT),
        st.just(()) | contents,
        tool_calls=st.lists(st.builds(ToolCall, texts, texts, texts), max_size=2).map(tuple),
    ),
    st.builds(
        Message,
        st.just(Role.TOOL),
        st.lists(st.builds(TextPart, texts), min_size=1, max_size=2).map(tuple),
        tool_call_id=texts.filter(lambda text: text != ""),
    ),
)
tool_lists = st.lists(
    st.builds(
        Tool,
        names,
        st.none() | texts,
        st.none() | json_objects,
        st.sampled_from([None, True, False]),
    ),
    max_size=3,
).map(tuple)
formats = st.one_of(
    st.sampled_from([None, ResponseFormat("text"), ResponseFormat("json_object")]),
    st.builds(
        ResponseFormat,
        st.just("json_schema"),
        names,
        st.none() | json_objects,
        st.sampled_from([None, True, False]),
    ),
)
choices = st.one_of(
    st.none(),
    st.sampled_from(["none", "auto", "required"]).map(ToolChoice),
    names.map(lambda name: ToolChoice("named", name)),
)
samplings = st.builds(
    Sampling,
    temperature=st.none() | numbers,
    top_p=st.none() | numbers,
    max_tokens=st.none() | st.integers(1, 2**53 - 1),
    stop=st.lists(texts, max_size=4).map(tuple),
    n=st.integers(1, 128),
    seed=st.none() | st.integers(-(2**53), 2**53),
    logit_bias=st.none() | st.dictionaries(st.from_regex(r"\A[0-9]{1,9}\Z"), numbers, max_size=3),
    logprobs=st.booleans(),
    top_logprobs=st.none() | st.integers(0, 20),
    presence_penalty=st.none() | numbers,
    frequency_penalty=st.none() | numbers,
)
chat_requests = st.builds(
    ChatRequest,
    model=st.just("public"),
    messages=st.lists(messages, min_size=1, max_size=3).map(tuple),
    sampling=samplings,
    tools=tool_lists,
    tool_choice=choices,
    parallel_tool_calls=st.sampled_from([None, True, False]),
    response_format=formats,
    user=st.none() | names,
    reasoning_effort=st.sampled_from([None, "none", "low", "high", "max"]),
)
