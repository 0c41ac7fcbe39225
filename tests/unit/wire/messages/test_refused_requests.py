"""How a client's bytes are refused: by the name of the field, and never with a defect of ours."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.wire.messages.requests import (
    BASH,
    DOCUMENT,
    EVERYTHING,
    MINIMAL,
    PIXEL,
    TEXT,
    USE,
    WEATHER,
    assistant,
    body,
    raw_body,
    user,
)

from bandari.domain.chat import ChatRequest
from bandari.domain.faults import (
    CallerFault,
    InvalidJson,
    InvalidValue,
    MissingField,
    UnsupportedField,
)
from bandari.wire.dialect import Dialect
from bandari.wire.messages.decode_request import decode_request
from bandari.wire.messages.encode_request import encode_request
from bandari.wire.messages.fields import REFUSED, ignored_fields


def refusal(request: bytes, **limits: int) -> CallerFault:
    with pytest.raises(CallerFault) as caught:
        decode_request(request, **limits)
    return caught.value


def outcome(request: bytes) -> ChatRequest | CallerFault:
    """What becomes of a request; anything but a fault of the caller's is a defect."""
    try:
        return decode_request(request)
    except CallerFault as fault:
        return fault


# -- refused: what would cost more ----------------------------------------------------------------

HOUR = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        (HOUR, "cache_control.ttl"),
        ({"system": [TEXT, TEXT | HOUR]}, "system[1].cache_control.ttl"),
        (user(TEXT | HOUR), "messages[0].content[0].cache_control.ttl"),
        (user(PIXEL | HOUR), "messages[0].content[0].cache_control.ttl"),
        (user(DOCUMENT | HOUR), "messages[0].content[0].cache_control.ttl"),
        (assistant(USE | HOUR), "messages[0].content[0].cache_control.ttl"),
        (
            {
                "messages": [
                    *assistant(USE)["messages"],
                    *user({"type": "tool_result", "tool_use_id": "t", "content": [TEXT | HOUR]})[
                        "messages"
                    ],
                ]
            },
            "messages[1].content[0].content[0].cache_control.ttl",
        ),
        (
            user({"type": "document", "source": {"type": "content", "content": [TEXT | HOUR]}}),
            "messages[0].content[0]",
        ),
        ({"tools": [WEATHER, WEATHER | HOUR]}, "tools[1].cache_control.ttl"),
        ({"tools": [BASH | HOUR]}, "tools[0].cache_control.ttl"),
    ],
)
def test_dearer_caching_is_refused_wherever_it_is_asked_for(fields: Any, param: str) -> None:
    fault = refusal(body(**fields))
    assert type(fault) is UnsupportedField
    assert fault.param == param
    assert "'5m'" in fault.message
    decode_request(body(**json.loads(json.dumps(fields).replace("1h", "5m"))))


def test_dearer_caching_cannot_be_hidden_in_escapes() -> None:
    blocks = (
        b'[{"role":"user","content":[{"type":"document","source":{"content":[{"type":"text",'
        b'"cache_control":{"\\u0074t\\u006c":"1\\u0068"}}]}}]}]'
    )
    assert type(refusal(raw_body("messages", blocks))) is UnsupportedField


def test_what_a_tool_is_called_with_is_no_caching() -> None:
    decode_request(body(**assistant(USE | {"input": HOUR})))
    decode_request(body(tools=[WEATHER | {"input_schema": {"type": "object", **HOUR}}]))


@pytest.mark.parametrize(
    "kind",
    [
        "web_search_20250305",
        "web_fetch_20260318",
        "code_execution_20250825",
        "tool_search_tool_bm25_20251119",
        "mcp_toolset",
        "advisor_20260301",
        "bash_code_execution_20250825",
        "bash_20250124x",
        "one of tomorrow's",
        pytest.param("x" * 5000, id="long"),
    ],
)
def test_tools_that_the_provider_runs_are_refused(kind: str) -> None:
    fault = refusal(body(tools=[WEATHER, {"type": kind, "name": "x"}]))
    assert type(fault) is UnsupportedField
    assert fault.param == "tools[1].type"
    assert fault.message == (
        f"'tools[1].type' is '{kind[:100]}': only tools that the client runs are supported."
    )


@pytest.mark.parametrize(
    ("block", "param"),
    [
        (
            {
                "type": "tool_addition",
                "tool": {"type": "tool_definition", "definition": {"type": "web_search_20250305"}},
            },
            "messages[0].content[0].tool.type",
        ),
        (
            {"type": "tool_addition", "tool": {"type": "mcp_toolset_reference"}},
            "messages[0].content[0].tool.type",
        ),
        (
            {"type": "compaction", "tool_changes": [{"type": "tool_addition"}]},
            "messages[0].content[0].tool_changes",
        ),
    ],
)
def test_tools_cannot_be_declared_in_the_conversation(block: Any, param: str) -> None:
    fault = refusal(body(messages=[{"role": "system", "content": [block]}]))
    assert type(fault) is UnsupportedField
    assert fault.param == param


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_the_model_would_lack_is_refused(name: str) -> None:
    fault = refusal(body(**{name: [{"type": "url", "url": "https://a.example"}]}))
    assert type(fault) is UnsupportedField
    assert fault.param == name
    decode_request(body(**{name: []}))


# -- refused: wrong values ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model": 5}, "'model' must be a string, and is an integer."),
        ({"model": ""}, "'model' must not be empty."),
        ({"model": "m" * 513}, "'model' may have at most 512 characters."),
        ({"model": "a\0"}, "'model' may not hold control characters."),
        ({"messages": "hi"}, "'messages' must be an array, and is a string."),
        ({"messages": []}, "'messages' must hold at least one message."),
        ({"messages": ["hi"]}, "'messages[0]' must be an object, and is a string."),
        (
            {"messages": [MINIMAL["messages"][0], {"role": "tool", "content": "x"}]},
            "'messages[1].role' must be one of user, assistant, system, and is 'tool'.",
        ),
        (
            {"messages": [{"role": "user", "content": 5}]},
            "'messages[0].content' must be a string or an array, and is an integer.",
        ),
        (
            {"messages": [{"role": "user", "content": None}]},
            "'messages[0].content' must be a string or an array, and is null.",
        ),
        (user("x"), "'messages[0].content[0]' must be an object, and is a string."),
        (user({"type": 5}), "'messages[0].content[0].type' must be a string, and is an integer."),
        (
            user({"type": "text", "text": None}),
            "'messages[0].content[0].text' must be a string, and is null.",
        ),
        (
            user({"type": "image", "source": "https://a"}),
            "'messages[0].content[0].source' must be an object, and is a string.",
        ),
        (
            user({"type": "image", "source": {"type": "url", "url": 5}}),
            "'messages[0].content[0].source.url' must be a string, and is an integer.",
        ),
        (
            user({"type": "image", "source": PIXEL["source"] | {"media_type": "png"}}),
            "'messages[0].content[0].source.media_type' must be a media type such as image/png.",
        ),
        (
            user({"type": "image", "source": PIXEL["source"] | {"media_type": "image/png\n"}}),
            "'messages[0].content[0].source.media_type' must be a media type such as image/png.",
        ),
        (
            user(TEXT | {"cache_control": "ephemeral"}),
            "'messages[0].content[0].cache_control' must be an object, and is a string.",
        ),
        (
            assistant(USE | {"input": "{}"}),
            "'messages[0].content[0].input' must be an object, and is a string.",
        ),
        (assistant(USE | {"id": ""}), "'messages[0].content[0].id' must not be empty."),
        (
            assistant({"type": "thinking", "thinking": 5}),
            "'messages[0].content[0].thinking' must be a string, and is an integer.",
        ),
        (
            user(USE),
            (
                "'messages[0].content[0]' is of type 'tool_use', which is only allowed where the "
                "role is assistant."
            ),
        ),
        (
            user({"type": "redacted_thinking", "data": "x"}),
            (
                "'messages[0].content[0]' is of type 'redacted_thinking', which is only allowed "
                "where the role is assistant."
            ),
        ),
        (
            assistant({"type": "tool_result", "tool_use_id": "t"}),
            (
                "'messages[0].content[0]' is of type 'tool_result', which is only allowed where "
                "the role is user."
            ),
        ),
        ({"system": 5}, "'system' must be a string or an array, and is an integer."),
        ({"system": [PIXEL]}, "'system[0].type' must be text, and is 'image'."),
        ({"system": ["x"]}, "'system[0]' must be an object, and is a string."),
        ({"max_tokens": 0}, "'max_tokens' must be at least 1."),
        ({"max_tokens": 1.5}, "'max_tokens' must be an integer, and is a number with a fraction"),
        ({"stream": "true"}, "'stream' must be true or false, and is a string."),
        ({"temperature": "hot"}, "'temperature' must be a number, and is a string."),
        ({"top_k": -1}, "'top_k' must be at least 0."),
        ({"stop_sequences": "x"}, "'stop_sequences' must be an array, and is a string."),
        ({"stop_sequences": [5]}, "'stop_sequences[0]' must be a string, and is an integer."),
        ({"tools": {}}, "'tools' must be an array, and is an object."),
        ({"tools": [5]}, "'tools[0]' must be an object, and is an integer."),
        ({"tools": [{"type": 5}]}, "'tools[0].type' must be a string, and is an integer."),
        (
            {"tools": [WEATHER | {"name": "a b"}]},
            "'tools[0].name' must be 1 to 128 letters, digits, '_', '.', ':' or '-'.",
        ),
        (
            {"tools": [WEATHER | {"input_schema": True}]},
            "'tools[0].input_schema' must be an object, and is a boolean.",
        ),
        (
            {"tool_choice": "auto"},
            "'tool_choice' must be an object, and is a string.",
        ),
        (
            {"tool_choice": {"type": "required"}},
            "'tool_choice.type' must be one of auto, any, tool, none, and is 'required'.",
        ),
        (
            {"thinking": {"type": "on"}},
            (
                "'thinking.type' must be one of enabled, disabled, adaptive, between_tools, and "
                "is 'on'."
            ),
        ),
        (
            {"thinking": {"type": "enabled", "budget_tokens": 0}},
            "'thinking.budget_tokens' must be at least 1.",
        ),
        (
            {"output_config": {"effort": "minimal"}},
            "'output_config.effort' must be one of low, medium, high, xhigh, max, and is 'minim",
        ),
        (
            {"output_config": {"format": {"type": "json_object"}}},
            "'output_config.format.type' must be json_schema, and is 'json_object'.",
        ),
        (
            {"output_config": {"format": {"type": "json_schema", "schema": []}}},
            "'output_config.format.schema' must be an object, and is an array.",
        ),
        ({"metadata": "u"}, "'metadata' must be an object, and is a string."),
        (
            {"metadata": {"user_id": "a\nb"}},
            "'metadata.user_id' may not hold control characters.",
        ),
    ],
)
def test_a_wrong_value_is_refused_by_name(fields: Any, message: str) -> None:
    fault = refusal(body(**fields))
    assert type(fault) is InvalidValue
    assert fault.message.startswith(message)
    assert fault.param == message.split("'")[1]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": ...}, "model"),
        ({"model": None}, "model"),
        ({"messages": ...}, "messages"),
        ({"messages": None}, "messages"),
        ({"max_tokens": ...}, "max_tokens"),
        ({"max_tokens": None}, "max_tokens"),
        ({"messages": [{"content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        (user({"text": "x"}), "messages[0].content[0].type"),
        (user({"type": "text"}), "messages[0].content[0].text"),
        (user({"type": "image"}), "messages[0].content[0].source"),
        (user({"type": "image", "source": {}}), "messages[0].content[0].source.type"),
        (
            user({"type": "image", "source": {"type": "base64", "media_type": "a/b"}}),
            "messages[0].content[0].source.data",
        ),
        (
            user({"type": "image", "source": {"type": "base64", "data": "AAAA"}}),
            "messages[0].content[0].source.media_type",
        ),
        (
            user({"type": "image", "source": {"type": "url", "url": ""}}),
            "messages[0].content[0].source.url",
        ),
        (assistant({"type": "tool_use", "id": "t"}), "messages[0].content[0].name"),
        (assistant({"type": "tool_use", "id": "t", "name": "f"}), "messages[0].content[0].input"),
        (user({"type": "tool_result"}), "messages[0].content[0].tool_use_id"),
        (assistant({"type": "thinking"}), "messages[0].content[0].thinking"),
        (assistant({"type": "redacted_thinking"}), "messages[0].content[0].data"),
        ({"tools": [{"name": "f"}]}, "tools[0].input_schema"),
        ({"tools": [{"input_schema": {}}]}, "tools[0].name"),
        ({"tool_choice": {}}, "tool_choice.type"),
        ({"tool_choice": {"type": "tool"}}, "tool_choice.name"),
        ({"thinking": {"type": "enabled"}}, "thinking.budget_tokens"),
        ({"output_config": {"format": {"type": "json_schema"}}}, "output_config.format.schema"),
    ],
)
def test_a_missing_field_is_refused_by_name(fields: Any, param: str) -> None:
    fault = refusal(body(**fields))
    assert type(fault) is MissingField
    assert fault.param == param
    assert fault.message.startswith(f"'{param}' is required")


def test_a_result_of_a_call_that_nobody_made_is_refused() -> None:
    def answering(*ids: str) -> dict[str, Any]:
        uses = [USE | {"id": name} for name in ("a", "b", "c", "d", "e", "f", "x" * 500)]
        results = [{"type": "tool_result", "tool_use_id": name} for name in ids]
        return {"messages": [*assistant(*uses)["messages"], *user(*results)["messages"]]}

    fault = refusal(body(**answering("b", "zzz")))
    assert type(fault) is InvalidValue
    assert fault.param == "messages[1].content[1].tool_use_id"
    assert fault.message == (
        "'messages[1].content[1].tool_use_id' names no call of an earlier turn; those that wait "
        "for their result: 'a', 'c', 'd', 'e', 'f'."
    )
    assert len(refusal(body(**answering("a", "b", "c", "d", "e", "zzz"))).message) < 300
    fault = refusal(body(**user({"type": "tool_result", "tool_use_id": "a"}, USE)))
    assert fault.message == (
        "'messages[0].content[0].tool_use_id' names no call of an earlier turn; none waits for "
        "its result."
    )


def test_too_many_messages() -> None:
    many = body(messages=[{"role": "user", "content": "x"}] * 20_000)
    fault = refusal(many)
    assert fault.param == "messages"
    assert fault.message == "'messages' may hold at most 10000 messages, and holds 20000."
    assert len(decode_request(many, max_messages=20_000).messages) == 20_000


# -- refused: hostile bodies ----------------------------------------------------------------------


PLACES = {
    "the body": "%b",
    "an unknown field": (
        '{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"x"}],"z":%b}'
    ),
    "messages": '{"model":"m","max_tokens":1,"messages":%b}',
    "content": '{"model":"m","max_tokens":1,"messages":[{"role":"user","content":%b}]}',
    "a document": (
        '{"model":"m","max_tokens":1,"messages":[{"role":"user","content":[{"type":"document",'
        '"ttl":1,"source":%b}]}]}'
    ),
    "input": (
        '{"model":"m","max_tokens":1,"messages":[{"role":"assistant","content":[{"type":"tool_use",'
        '"id":"t","name":"f","input":{"a":%b}}]}]}'
    ),
    "a thought": (
        '{"model":"m","max_tokens":1,"messages":[{"role":"assistant","content":[{"type":"thinking",'
        '"thinking":%b}]}]}'
    ),
    "input_schema": (
        '{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"x"}],"tools":[{"name":'
        '"f","input_schema":{"a":%b}}]}'
    ),
    "output_config": (
        '{"model":"m","max_tokens":1,"messages":[{"role":"user","content":"x"}],"output_config":%b}'
    ),
    "max_tokens": '{"model":"m","max_tokens":%b,"messages":[{"role":"user","content":"x"}]}',
}


@pytest.mark.parametrize(
    "hostile",
    [
        pytest.param(b"[" * 10_000 + b"]" * 10_000, id="deep array"),
        pytest.param(b'{"a":' * 10_000 + b"1" + b"}" * 10_000, id="deep object"),
        pytest.param(b"NaN", id="NaN"),
        pytest.param(b'"\\ud800"', id="half of a surrogate pair"),
        pytest.param(b'"\xed\xa0\x80"', id="a surrogate in UTF-8"),
        pytest.param(b'"\xff"', id="not UTF-8"),
        pytest.param(b'"a\0b"', id="NUL"),
        pytest.param(b"01", id="a leading zero"),
        pytest.param(b"[1,]", id="a trailing comma"),
    ],
)
@pytest.mark.parametrize("place", PLACES)
def test_what_is_not_json_is_refused_in_every_place(place: str, hostile: bytes) -> None:
    fault = refusal(PLACES[place].encode().replace(b"%b", hostile))
    assert isinstance(fault, InvalidJson)
    assert len(fault.message) < 300


@pytest.mark.parametrize("place", PLACES)
def test_at_no_depth_is_nesting_more_than_the_callers_fault(place: str) -> None:
    text = PLACES[place].encode()
    for depth in range(1, 1100, 9):
        outcome(text.replace(b"%b", b"[" * depth + b"]" * depth))


@pytest.mark.parametrize("number", ["1e999", "-1e999", "9" * 400, "9" * 100_000])
@pytest.mark.parametrize("place", PLACES)
def test_a_huge_number_is_refused_or_left_to_the_provider(place: str, number: str) -> None:
    read = outcome(PLACES[place].encode().replace(b"%b", number.encode()))
    if isinstance(read, CallerFault):
        assert len(read.message) < 300


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_by_name_and_never_break(text: bytes) -> None:
    refusal(text)


KEYS = ["type", "role", "content", "text", "source", "id", "input", "cache_control", "ttl", "tool"]
KINDS = ["text", "image", "tool_use", "tool_result", "thinking", "tool_addition", "zzz", "custom"]
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=5)
    | st.sampled_from(KINDS),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4)
    ),
    max_leaves=6,
)


def places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place of a JSON value, as its holder and its key."""
    keys = range(len(value)) if isinstance(value, list) else value
    if isinstance(value, list | dict):
        for key in keys:
            yield value, key
            yield from places(value[key])


@given(st.data())
def test_any_json_is_accepted_or_refused_by_name(data: st.DataObject) -> None:
    """And what is accepted can be sent on, to a provider of this protocol and from another's."""
    fields = json.loads(json.dumps(EVERYTHING))
    for _ in range(data.draw(st.integers(1, 3))):
        holder, key = data.draw(st.sampled_from(list(places(fields))))
        holder[key] = data.draw(json_values)
    read = outcome(json.dumps(fields).encode())
    if isinstance(read, CallerFault):
        assert read.message
        return
    for request in (read, ChatRequest(read.model, read.messages, tools=read.tools)):
        ignored_fields(request, Dialect())
        with suppress(CallerFault):
            encode_request(request, "up", Dialect(obeys_tool_choice=False))
