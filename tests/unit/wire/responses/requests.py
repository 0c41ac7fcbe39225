"""Requests for the tests of this folder."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import strategies as st
from msgspec import Raw
from msgspec.json import encode
from msgspec.structs import replace

from bandari.domain.chat import (
    ChatRequest,
    ImagePart,
    Message,
    OtherPart,
    Part,
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

MINIMAL: dict[str, Any] = {"model": "m", "input": "hi"}
WEATHER: dict[str, Any] = {"type": "function", "name": "weather", "parameters": {"type": "object"}}
TIME: dict[str, Any] = {"type": "function", "name": "time"}


def body(**fields: Any) -> bytes:
    """A minimal request with these fields besides; ``...`` leaves one out."""
    return json.dumps({k: v for k, v in (MINIMAL | fields).items() if v is not ...}).encode()


def raw(value: Any) -> Raw:
    return Raw(json.dumps(value).encode())


def read(encoded: Raw | bytes) -> Any:
    return json.loads(bytes(encoded))


def user(content: Any) -> dict[str, Any]:
    return {"type": "message", "role": "user", "content": content}


def assistant(content: Any) -> dict[str, Any]:
    return {"type": "message", "role": "assistant", "content": content}


def call(call_id: str = "c1", **fields: Any) -> dict[str, Any]:
    item = {"type": "function_call", "call_id": call_id, "name": "weather", "arguments": "{}"}
    return item | fields


def result(call_id: str = "c1", output: Any = "rain") -> dict[str, Any]:
    return {"type": "function_call_output", "call_id": call_id, "output": output}


def thought(**fields: Any) -> dict[str, Any]:
    return {"type": "reasoning", "summary": []} | fields


def turns_without_places(request: ChatRequest) -> list[Message]:
    """The conversation, in which files have forgotten where in the request they came from."""
    return [
        replace(turn, parts=tuple(map(_without_its_place, turn.parts))) for turn in request.messages
    ]


def _without_its_place(part: Part) -> Part:
    return replace(part, where="") if isinstance(part, OtherPart) else part


# -- any request, as a value ----------------------------------------------------------------------

texts = st.text(st.characters(codec="utf-8"), max_size=20)
some_text = texts.filter(lambda text: text != "")
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

text_parts = st.builds(TextPart, texts)
input_parts = st.one_of(
    text_parts,
    st.builds(
        ImagePart,
        st.sampled_from(["https://a.example/é.png", "data:image/png;base64,AAAA"]),
        st.sampled_from([None, "auto", "low", "high"]),
    ),
    names.map(
        lambda name: OtherPart(
            "responses", "input_file", Raw(encode({"type": "input_file", "file_id": name})), ""
        )
    ),
)
own_thoughts = st.builds(
    ReasoningPart, texts, st.builds(Seal, st.just("responses"), names, st.just(True))
)


@st.composite
def blocks(draw: st.DrawFn) -> tuple[Message, ...]:
    """What somebody says, what the assistant answers, and what its calls result in."""
    role = draw(st.sampled_from([Role.SYSTEM, Role.DEVELOPER, Role.USER]))
    said = Message(role, tuple(draw(st.lists(input_parts, min_size=1, max_size=3))))
    if not draw(st.booleans()):
        return (said,)
    parts: list[Part] = draw(st.lists(st.one_of(text_parts, own_thoughts), max_size=3))
    ids = draw(st.lists(some_text, max_size=2, unique=True))
    calls = tuple(ToolCall(call_id, draw(texts), draw(texts)) for call_id in ids)
    answer = Message(Role.ASSISTANT, tuple(parts), tool_calls=calls)
    results = tuple(
        Message(
            Role.TOOL,
            tuple(draw(st.lists(input_parts, min_size=1, max_size=2))),
            tool_call_id=call_id,
        )
        for call_id in ids
    )
    return (said, answer, *results)


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
    logprobs=st.just(True),
    top_logprobs=st.none() | st.integers(0, 20),
) | st.builds(Sampling, max_tokens=st.none() | st.integers(1, 2**53 - 1))
chat_requests = st.builds(
    ChatRequest,
    model=st.just("public"),
    messages=st.lists(blocks(), min_size=1, max_size=3).map(
        lambda several: tuple(message for block in several for message in block)
    ),
    sampling=samplings,
    tools=tool_lists,
    tool_choice=choices,
    parallel_tool_calls=st.sampled_from([None, True, False]),
    response_format=formats,
    user=st.none() | names,
    reasoning_effort=st.sampled_from([None, "none", "low", "high", "max"]),
)
