"""From a client's bytes to a ``ChatRequest``: what is accepted, and how the rest is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw
from tests.unit.wire.chat_completions.requests import MINIMAL, body, raw_body

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
from bandari.domain.faults import (
    CallerFault,
    InvalidJson,
    InvalidRequest,
    InvalidValue,
    MissingField,
    UnsupportedField,
)
from bandari.wire.bodies import MAX_FIELDS
from bandari.wire.chat_completions import PROTOCOL
from bandari.wire.chat_completions.decode_request import TOOLS_OVERHEAD_BYTES, decode_request
from bandari.wire.chat_completions.fields import CARRIED, REFUSED

WEATHER = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}

EVERYTHING: dict[str, Any] = {
    "model": "m",
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "developer", "content": [{"type": "text", "text": "Be kind."}]},
        {
            "role": "user",
            "name": "Asha",
            "content": [
                {"type": "text", "text": "What is this?"},
                {"type": "image_url", "image_url": {"url": "https://a.example/b", "detail": "low"}},
                {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
                {"type": "file", "file": {"file_id": "f"}},
            ],
        },
        {
            "role": "assistant",
            "content": None,
            "refusal": None,
            "tool_calls": [
                {
                    "id": "call_1",
                    "type": "function",
                    "function": {"name": "weather", "arguments": "{}"},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
        {"role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]},
    ],
    "audio": {"voice": "alloy", "format": "wav"},
    "frequency_penalty": -1.5,
    "function_call": "auto",
    "functions": [{"name": "old"}],
    "logit_bias": {"5": -100, "17": 2.5},
    "logprobs": True,
    "max_completion_tokens": 50,
    "max_tokens": 60,
    "metadata": {"a": "b"},
    "modalities": ["text"],
    "moderation": {"mode": "auto"},
    "n": 2,
    "parallel_tool_calls": False,
    "prediction": {"type": "content", "content": "x"},
    "presence_penalty": 1,
    "prompt_cache_key": "k",
    "prompt_cache_options": {"a": 1},
    "prompt_cache_retention": "24h",
    "reasoning_effort": "max",
    "response_format": {
        "type": "json_schema",
        "json_schema": {"name": "s", "schema": {"type": "object"}, "strict": True},
    },
    "safety_identifier": "s",
    "seed": -7,
    "service_tier": "auto",
    "stop": ["a", "b"],
    "store": False,
    "stream": True,
    "stream_options": {"include_usage": True, "include_obfuscation": False},
    "temperature": 0.2,
    "tool_choice": {"type": "function", "function": {"name": "weather"}},
    "tools": [WEATHER],
    "top_logprobs": 3,
    "top_p": 0.9,
    "user": "u",
    "verbosity": "low",
    "web_search_options": {},
}


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


# -- accepted -------------------------------------------------------------------------------------


def test_every_parameter_at_once() -> None:
    text = json.dumps(EVERYTHING).encode()
    request = decode_request(text)
    assert request.model == "m"
    assert request.messages == (
        Message(Role.SYSTEM, (TextPart("Be brief."),)),
        Message(Role.DEVELOPER, (TextPart("Be kind."),)),
        Message(
            Role.USER,
            (
                TextPart("What is this?"),
                ImagePart("https://a.example/b", "low"),
                OtherPart(
                    "chat_completions",
                    "input_audio",
                    Raw(b'{"type":"input_audio","input_audio":{"data":"AAAA","format":"wav"}}'),
                    "messages[2].content[2]",
                ),
                OtherPart(
                    "chat_completions",
                    "file",
                    Raw(b'{"type":"file","file":{"file_id":"f"}}'),
                    "messages[2].content[3]",
                ),
            ),
            name="Asha",
        ),
        Message(Role.ASSISTANT, tool_calls=(ToolCall("call_1", "weather", "{}"),)),
        Message(Role.TOOL, (TextPart("rain"),), tool_call_id="call_1"),
        Message(Role.ASSISTANT, (TextPart("No."),)),
    )
    assert request.sampling == Sampling(
        temperature=0.2,
        top_p=0.9,
        max_tokens=50,
        stop=("a", "b"),
        n=2,
        seed=-7,
        logit_bias={"5": -100, "17": 2.5},
        logprobs=True,
        top_logprobs=3,
        presence_penalty=1,
        frequency_penalty=-1.5,
    )
    assert request.stream
    assert request.include_usage
    assert request.tools == (Tool("weather", parameters=Raw(b'{"type":"object"}')),)
    assert request.tool_choice == ToolChoice("named", "weather")
    assert request.parallel_tool_calls is False
    assert request.response_format == ResponseFormat(
        "json_schema", "s", Raw(b'{"type":"object"}'), True
    )
    assert request.user == "u"
    assert request.reasoning_effort == "max"
    assert request.images == 1
    assert request.original is not None
    assert request.original.protocol == PROTOCOL
    assert {
        name: json.loads(bytes(raw)) for name, raw in request.original.fields.items()
    } == EVERYTHING


def test_the_least_request() -> None:
    request = decode_request(body())
    assert request.messages == (Message(Role.USER, (TextPart("hi"),)),)
    assert request.sampling == Sampling()
    assert not request.stream
    assert not request.include_usage
    assert request.tool_choice is None
    assert request.response_format is None
    assert request.user is None


@pytest.mark.parametrize("name", sorted((CARRIED | REFUSED | {"anything"}) - MINIMAL.keys()))
def test_null_means_absent(name: str) -> None:
    given_null, absent = decode_request(body(**{name: None})), decode_request(body())
    for field in absent.__struct_fields__:
        if field not in ("original", "input_bytes"):
            assert getattr(given_null, field) == getattr(absent, field), field


@pytest.mark.parametrize(
    "message",
    [
        {"role": "user", "content": "x", "name": None, "tool_calls": None, "tool_call_id": None},
        {"role": "user", "content": "x", "tool_calls": []},
        {"role": "assistant", "content": None},
        {"role": "assistant"},
        {
            "role": "assistant",
            "tool_calls": [{"id": "1", "type": None, "function": {"name": "f", "arguments": None}}],
        },
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]},
        {"role": "tool", "tool_call_id": "1", "content": []},
    ],
)
def test_null_means_absent_inside_of_messages(message: dict[str, Any]) -> None:
    (read,) = decode_request(body(messages=[message])).messages
    assert read.name is None
    assert all(call == ToolCall("1", "f", "") for call in read.tool_calls)


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ({"max_tokens": 5}, 5),
        ({"max_completion_tokens": 5}, 5),
        ({"max_tokens": 5, "max_completion_tokens": 6}, 5),
        ({"max_tokens": 6, "max_completion_tokens": 5}, 5),
        ({"max_tokens": None, "max_completion_tokens": 5}, 5),
        ({"max_tokens": 5, "max_completion_tokens": None}, 5),
        ({}, None),
    ],
)
def test_of_two_limits_the_smaller_counts(limits: dict[str, Any], expected: int | None) -> None:
    assert decode_request(body(**limits)).sampling.max_tokens == expected


@pytest.mark.parametrize(
    ("stop", "expected"), [("a", ("a",)), (["a", "b"], ("a", "b")), ([], ()), ("", ("",))]
)
def test_stop_is_one_or_many(stop: Any, expected: tuple[str, ...]) -> None:
    assert decode_request(body(stop=stop)).sampling.stop == expected


@pytest.mark.parametrize("mode", ["none", "auto", "required"])
def test_tool_choice_as_a_word(mode: str) -> None:
    assert decode_request(body(tool_choice=mode)).tool_choice == ToolChoice(mode)


@pytest.mark.parametrize("kind", ["text", "json_object"])
def test_response_formats_without_a_schema(kind: str) -> None:
    read = decode_request(body(response_format={"type": kind})).response_format
    assert read == ResponseFormat(kind)


def test_a_json_schema_may_lack_its_schema() -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "s", "schema": None}}
    read = decode_request(body(response_format=wanted)).response_format
    assert read == ResponseFormat("json_schema", "s")


@pytest.mark.parametrize(
    ("options", "wanted"),
    [({}, False), ({"include_usage": None}, False), ({"include_usage": True}, True), (None, False)],
)
def test_usage_is_included_where_it_is_asked_for(options: Any, wanted: bool) -> None:
    request = decode_request(body(stream=True, stream_options=options))
    assert request.include_usage is wanted


def test_a_byte_order_mark_is_skipped() -> None:
    assert decode_request(b"\xef\xbb\xbf" + body()).model == "m"


def test_of_duplicate_keys_the_last_counts_for_us_and_for_the_upstream() -> None:
    request = decode_request(b'{"model":"a","messages":5,' + body()[1:])
    assert request.model == "m"
    assert request.original is not None
    assert bytes(request.original.fields["model"]) == b'"m"'
    duplicate = b'{"model":"m","messages":[{"role":"tool","role":"user","content":"x"}]}'
    assert decode_request(duplicate).messages[0].role is Role.USER


def test_escaped_nul_and_surrogate_pairs_are_text() -> None:
    text = b'{"model":"m","messages":[{"role":"user","content":"a\\u0000\\ud83c\\udf0d"}]}'
    assert decode_request(text).messages[0].parts == (TextPart("a\0🌍"),)


# -- the bound of the prompt ----------------------------------------------------------------------


@given(st.lists(st.text(st.characters(codec="utf-8")), min_size=1, max_size=5), st.booleans())
def test_input_bytes_bound_the_text(texts: list[str], ascii_only: bool) -> None:
    fields = MINIMAL | {"messages": [{"role": "user", "content": text} for text in texts]}
    request = decode_request(json.dumps(fields, ensure_ascii=ascii_only).encode())
    assert request.input_bytes >= sum(len(text.encode()) for text in texts)


def test_tools_and_schema_are_part_of_the_prompt() -> None:
    plain = decode_request(body()).input_bytes
    schema = {"type": "json_schema", "json_schema": {"name": "s", "schema": {"a": "x" * 500}}}
    assert decode_request(body(response_format=schema)).input_bytes >= plain + 500
    assert decode_request(body(tools=[WEATHER])).input_bytes == (
        plain + len(json.dumps([WEATHER])) + TOOLS_OVERHEAD_BYTES
    )
    assert decode_request(body(user="u" * 500)).input_bytes == plain, "no part of the prompt"


def test_an_image_is_counted_by_itself_and_not_by_its_bytes() -> None:
    def shown(url: str) -> list[dict[str, Any]]:
        part = {"type": "image_url", "image_url": {"url": url}}
        return [{"role": "user", "content": [part, part]}]

    small = decode_request(body(messages=shown("data:,")))
    large = decode_request(body(messages=shown("data:," + "A" * 100_000)))
    assert small.images == large.images == 2
    assert small.input_bytes == large.input_bytes


# -- refused: wrong values ------------------------------------------------------------------------


def user(content: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": content}]}


def calling(call: Any) -> dict[str, Any]:
    return {"messages": [{"role": "assistant", "tool_calls": [call]}]}


def schema(described: Any) -> dict[str, Any]:
    return {"response_format": {"type": "json_schema", "json_schema": described}}


def function(described: Any) -> dict[str, Any]:
    return {"tools": [{"type": "function", "function": described}]}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model": 5}, "'model' must be a string, and is an integer."),
        ({"model": ["m"]}, "'model' must be a string, and is an array."),
        ({"model": ""}, "'model' must not be empty."),
        ({"model": "m" * 513}, "'model' may have at most 512 characters."),
        ({"messages": "hi"}, "'messages' must be an array, and is a string."),
        ({"messages": {}}, "'messages' must be an array, and is an object."),
        ({"messages": ["hi"]}, "'messages[0]' must be an object, and is a string."),
        ({"messages": [None]}, "'messages[0]' must be an object, and is null."),
        ({"messages": [{"role": 5}]}, "'messages[0].role' must be a string, and is an integer."),
        (
            {"messages": [MINIMAL["messages"][0], {"role": "bot", "content": "x"}]},
            (
                "'messages[1].role' must be one of system, developer, user, assistant, tool, "
                "and is 'bot'."
            ),
        ),
        (
            {"messages": [{"role": "x" * 5000}]},
            (
                "'messages[0].role' must be one of system, developer, user, assistant, tool, "
                f"and is '{'x' * 100}'."
            ),
        ),
        (user(5), "'messages[0].content' must be a string or an array, and is an integer."),
        (user({}), "'messages[0].content' must be a string or an array, and is an object."),
        (user(["x"]), "'messages[0].content[0]' must be an object, and is a string."),
        (
            user([{"type": "video"}]),
            (
                "'messages[0].content[0].type' must be one of text, image_url, input_audio, file, "
                "refusal, and is 'video'."
            ),
        ),
        (user([{"type": 5}]), "'messages[0].content[0].type' must be a string."),
        (
            user([{"type": "text", "text": None}]),
            "'messages[0].content[0].text' must be a string, and is null.",
        ),
        (
            user([{"type": "image_url", "image_url": "https://a.example"}]),
            "'messages[0].content[0].image_url' must be an object, and is a string.",
        ),
        (
            user([{"type": "image_url", "image_url": {"url": ""}}]),
            "'messages[0].content[0].image_url.url' must not be empty.",
        ),
        (
            user([{"type": "image_url", "image_url": {"url": "x", "detail": "max"}}]),
            (
                "'messages[0].content[0].image_url.detail' must be one of auto, low, high, "
                "original, and is 'max'."
            ),
        ),
        (
            calling({"id": "1", "function": {"name": "f", "arguments": {}}}),
            "'messages[0].tool_calls[0].function.arguments' must be a string, and is an object.",
        ),
        (
            calling({"id": "1", "type": "custom", "function": {"name": "f"}}),
            "'messages[0].tool_calls[0].type' must be function, and is 'custom'.",
        ),
        ({"stream": "true"}, "'stream' must be true or false, and is a string."),
        ({"stream": 1}, "'stream' must be true or false, and is an integer."),
        ({"logprobs": 5}, "'logprobs' must be true or false, and is an integer."),
        (
            {"parallel_tool_calls": []},
            "'parallel_tool_calls' must be true or false, and is an array.",
        ),
        (
            {"stream": True, "stream_options": 5},
            "'stream_options' must be an object, and is an integer.",
        ),
        (
            {"stream": True, "stream_options": {"include_usage": 1}},
            "'stream_options.include_usage' must be true or false, and is an integer.",
        ),
        ({"temperature": "1"}, "'temperature' must be a number, and is a string."),
        ({"temperature": True}, "'temperature' must be a number, and is a boolean."),
        ({"top_p": []}, "'top_p' must be a number, and is an array."),
        ({"presence_penalty": {}}, "'presence_penalty' must be a number, and is an object."),
        ({"frequency_penalty": "x"}, "'frequency_penalty' must be a number, and is a string."),
        ({"max_tokens": "5"}, "'max_tokens' must be an integer, and is a string."),
        (
            {"max_tokens": 1.5},
            "'max_tokens' must be an integer, and is a number with a fraction or an exponent.",
        ),
        (
            {"max_completion_tokens": True},
            "'max_completion_tokens' must be an integer, and is a boolean.",
        ),
        ({"max_tokens": 0}, "'max_tokens' must be at least 1."),
        ({"max_completion_tokens": 0}, "'max_completion_tokens' must be at least 1."),
        (
            {"max_completion_tokens": 2**53},
            "'max_completion_tokens' must be at most 9007199254740991.",
        ),
        ({"n": "1"}, "'n' must be an integer, and is a string."),
        ({"seed": "1"}, "'seed' must be an integer, and is a string."),
        ({"top_logprobs": []}, "'top_logprobs' must be an integer, and is an array."),
        ({"stop": 5}, "'stop' must be a string or an array, and is an integer."),
        ({"stop": ["a", 5]}, "'stop[1]' must be a string, and is an integer."),
        ({"logit_bias": [[5, 1]]}, "'logit_bias' must be an object, and is an array."),
        ({"logit_bias": {"a": 1}}, "'logit_bias' may only have token ids as its keys."),
        ({"logit_bias": {"-1": 1}}, "'logit_bias' may only have token ids as its keys."),
        ({"logit_bias": {"5": "x"}}, "A value in 'logit_bias' must be a number, and is a string."),
        ({"logit_bias": {"5": 101}}, "A value in 'logit_bias' must be at most 100."),
        ({"logit_bias": {"5": -100.5}}, "A value in 'logit_bias' must be at least -100."),
        ({"response_format": "text"}, "'response_format' must be an object, and is a string."),
        (
            {"response_format": {"type": "xml"}},
            "'response_format.type' must be one of text, json_object, json_schema, and is 'xml'.",
        ),
        (
            schema({"name": "a b"}),
            "'response_format.json_schema.name' must be 1 to 64 letters, digits, '_' or '-'.",
        ),
        (
            schema({"name": "a", "schema": 5}),
            "'response_format.json_schema.schema' must be an object, and is an integer.",
        ),
        ({"tools": {}}, "'tools' must be an array, and is an object."),
        (
            {"tools": [{"type": "web_search"}]},
            "'tools[0].type' must be function, and is 'web_search'.",
        ),
        (
            function({"name": "a b"}),
            "'tools[0].function.name' must be 1 to 128 letters, digits, '_', '.', ':' or '-'.",
        ),
        (
            function({"name": "a", "parameters": "x"}),
            "'tools[0].function.parameters' must be an object, and is a string.",
        ),
        ({"tool_choice": 5}, "'tool_choice' must be a string or an object, and is an integer."),
        (
            {"tool_choice": "any"},
            "'tool_choice' must be one of none, auto, required, and is 'any'.",
        ),
        (
            {"tool_choice": {"type": "allowed_tools"}},
            "'tool_choice.type' must be function, and is 'allowed_tools'.",
        ),
        ({"user": 5}, "'user' must be a string, and is an integer."),
        ({"user": "u" * 513}, "'user' may have at most 512 characters."),
        (
            {"reasoning_effort": "huge"},
            (
                "'reasoning_effort' must be one of none, minimal, low, medium, high, xhigh, max, "
                "and is 'huge'."
            ),
        ),
    ],
)
def test_a_wrong_value_is_named_with_what_it_must_be(fields: dict[str, Any], message: str) -> None:
    fault = refusal(body(**fields))
    assert type(fault) is InvalidValue
    assert fault.message == message
    assert fault.param == message.split("'")[1]


@pytest.mark.parametrize("name", sorted(CARRIED))
@pytest.mark.parametrize("value", [5, "x", True, 1.5, [], {}, [[]], {"a": 1}, "", -1])
def test_whatever_a_field_holds_the_error_is_the_callers_and_speaks_no_python(
    name: str, value: Any
) -> None:
    fault = outcome(body(**{name: value}))
    if isinstance(fault, CallerFault):
        assert fault.param is not None
        assert fault.param.startswith(name)
        for word in ("str", "int", "bool", "`", "$", "regex", "not valid", "enum"):
            assert word not in fault.message.replace("'", " ").split()


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": ...}, "model"),
        ({"model": None}, "model"),
        ({"messages": ...}, "messages"),
        ({"messages": None}, "messages"),
        ({"messages": [{}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "system", "content": None}]}, "messages[0].content"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].tool_call_id"),
        (
            {"messages": [{"role": "tool", "content": "x", "tool_call_id": ""}]},
            "messages[0].tool_call_id",
        ),
        ({"messages": [{"role": "tool", "tool_call_id": "1"}]}, "messages[0].content"),
        (user([{}]), "messages[0].content[0].type"),
        (user([{"type": "text"}]), "messages[0].content[0].text"),
        (
            user([{"type": "image_url", "image_url": {}}]),
            "messages[0].content[0].image_url.url",
        ),
        (calling({"id": "1"}), "messages[0].tool_calls[0].function"),
        (calling({"function": {"name": "f"}}), "messages[0].tool_calls[0].id"),
        ({"response_format": {}}, "response_format.type"),
        ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
        (schema({}), "response_format.json_schema.name"),
        ({"tools": [{}]}, "tools[0].type"),
        ({"tools": [{"type": "function"}]}, "tools[0].function"),
        (function({}), "tools[0].function.name"),
        ({"tool_choice": {}}, "tool_choice.type"),
        ({"tool_choice": {"type": "function", "function": {}}}, "tool_choice.function.name"),
    ],
)
def test_what_is_missing_is_named(fields: dict[str, Any], param: str) -> None:
    fault = refusal(body(**fields))
    assert type(fault) is MissingField
    assert fault.param == param
    assert fault.message.startswith(f"'{param}' is required")


def test_only_the_assistant_calls_tools() -> None:
    call = {"id": "1", "function": {"name": "f"}}
    fault = refusal(body(messages=[{"role": "user", "content": "x", "tool_calls": [call]}]))
    assert fault.param == "messages[0].tool_calls"
    assert fault.message == (
        "'messages[0].tool_calls' is only allowed where the role is assistant."
    )


@pytest.mark.parametrize("fields", [{}, {"stream": False}, {"stream": None}])
def test_stream_options_only_with_stream(fields: dict[str, Any]) -> None:
    fault = refusal(body(stream_options={}, **fields))
    assert isinstance(fault, InvalidRequest)
    assert fault.param == "stream_options"


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_fields_that_change_the_cost_unseen_are_refused(name: str) -> None:
    fault = refusal(body(**{name: 1}))
    assert isinstance(fault, UnsupportedField)
    assert fault.param == name
    assert "n_predict" in REFUSED
    assert "best_of" in REFUSED


# -- refused: hostile -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "The request body is empty; it must be a JSON object."),
        (b" \r\n\t", "The request body is empty; it must be a JSON object."),
        (b"\xef\xbb\xbf", "The request body is empty; it must be a JSON object."),
        (b"[]", "The request body must be a JSON object, and is an array."),
        (b"null", "The request body must be a JSON object, and is null."),
        (b"5", "The request body must be a JSON object, and is an integer."),
        (b'"x"', "The request body must be a JSON object, and is a string."),
        (b"model=m", "The request body is not valid JSON: invalid character (byte 0)."),
        (
            b"{",
            (
                "The request body is not valid JSON: it ends too early, or holds half of a "
                "surrogate pair."
            ),
        ),
        (b'{"a"}', "The request body is not valid JSON: expected ':' (byte 4)."),
        (b"\xff\xfe{\0}\0", "The request body is not valid JSON: it is not UTF-8 (byte 0)."),
        (b'{"model":"\xff"}', "The request body is not valid JSON: it is not UTF-8 (byte 10)."),
    ],
)
def test_a_body_that_is_no_json_object(text: bytes, message: str) -> None:
    fault = refusal(text)
    assert type(fault) is InvalidJson
    assert (fault.message, fault.param) == (message, None)


PLACES = {
    "the body": "%b",
    "an unknown field": '{"model":"m","messages":[{"role":"user","content":"hi"}],"zzz":%b}',
    "a field's name": '{"model":"m","messages":[{"role":"user","content":"hi"}],%b:1}',
    "model": '{"model":%b,"messages":[{"role":"user","content":"hi"}]}',
    "messages": '{"model":"m","messages":%b}',
    "content": '{"model":"m","messages":[{"role":"user","content":%b}]}',
    "text": '{"model":"m","messages":[{"role":"user","content":[{"type":"text","text":%b}]}]}',
    "a file": (
        '{"model":"m","messages":[{"role":"user","content":[{"type":"file","file":{"a":%b}}]}]}'
    ),
    "an unknown field of a message": (
        '{"model":"m","messages":[{"role":"user","content":"hi","zzz":%b}]}'
    ),
    "parameters": (
        '{"model":"m","messages":[{"role":"user","content":"hi"}],"tools":[{"type":"function",'
        '"function":{"name":"a","parameters":{"a":%b}}}]}'
    ),
    "stop": '{"model":"m","messages":[{"role":"user","content":"hi"}],"stop":[%b]}',
    "response_format": (
        '{"model":"m","messages":[{"role":"user","content":"hi"}],"response_format":%b}'
    ),
    "logit_bias": '{"model":"m","messages":[{"role":"user","content":"hi"}],"logit_bias":{"5":%b}}',
    "temperature": '{"model":"m","messages":[{"role":"user","content":"hi"}],"temperature":%b}',
    "max_tokens": '{"model":"m","messages":[{"role":"user","content":"hi"}],"max_tokens":%b}',
    "seed": '{"model":"m","messages":[{"role":"user","content":"hi"}],"seed":%b}',
}


@pytest.mark.parametrize("place", ["an unknown field", "a file", "parameters", "logit_bias"])
def test_at_no_depth_is_nesting_more_than_the_callers_fault(place: str) -> None:
    text = PLACES[place].encode()
    kinds = {
        type(outcome(text.replace(b"%b", b"[" * depth + b"]" * depth)))
        for depth in range(1, 1100, 3)
    }
    assert InvalidJson in kinds
    assert kinds <= {InvalidJson, InvalidValue, ChatRequest}


NUMBERS_OF_ANY_SIZE = {
    "an unknown field",
    "an unknown field of a message",
    "a file",
    "parameters",
    "seed",
}
"""Passed on as they are, or refused by ``bounds``."""


@pytest.mark.parametrize(
    "hostile",
    [
        pytest.param(b"[" * 10_000 + b"]" * 10_000, id="deep array"),
        pytest.param(b'{"a":' * 10_000 + b"1" + b"}" * 10_000, id="deep object"),
        pytest.param(b"[" * 10_000, id="deep and open"),
        pytest.param(b"NaN", id="NaN"),
        pytest.param(b"Infinity", id="Infinity"),
        pytest.param(b"-Infinity", id="-Infinity"),
        pytest.param(b'"\\ud800"', id="half of a surrogate pair"),
        pytest.param(b'"\\udc00\\ud800"', id="a surrogate pair the wrong way round"),
        pytest.param(b'"\xed\xa0\x80"', id="a surrogate in UTF-8"),
        pytest.param(b'"\xff"', id="not UTF-8"),
        pytest.param(b'"\xc0\x80"', id="NUL in two bytes"),
        pytest.param(b'"a\0b"', id="NUL"),
        pytest.param(b'"a\nb"', id="a line break in a string"),
        pytest.param(b"01", id="a leading zero"),
        pytest.param(b"'x'", id="single quotes"),
        pytest.param(b"[1,]", id="a trailing comma"),
    ],
)
@pytest.mark.parametrize("place", PLACES)
def test_what_is_not_json_is_refused_in_every_place(place: str, hostile: bytes) -> None:
    fault = refusal(PLACES[place].encode().replace(b"%b", hostile))
    assert isinstance(fault, InvalidJson)
    assert len(fault.message) < 300


@pytest.mark.parametrize("number", ["1e999", "-1e999", "9" * 400, "-" + "9" * 5000, "9" * 100_000])
@pytest.mark.parametrize("place", PLACES)
def test_a_huge_number_is_refused_or_left_to_the_bounds(place: str, number: str) -> None:
    read = outcome(PLACES[place].encode().replace(b"%b", number.encode()))
    if isinstance(read, CallerFault):
        assert len(read.message) < 300
    else:
        assert place in NUMBERS_OF_ANY_SIZE


def test_a_number_too_large_is_told_so() -> None:
    fault = refusal(raw_body("temperature", b"1e999"))
    assert (fault.message, fault.param) == (
        "'temperature' is a number too large to be read.",
        "temperature",
    )
    fault = refusal(raw_body("logit_bias", b'{"5":1e999}'))
    assert fault.message == "A value in 'logit_bias' is a number too large to be read."


def test_too_many_messages() -> None:
    many = body(messages=[{"role": "user", "content": "x"}] * 100_000)
    fault = refusal(many)
    assert fault.param == "messages"
    assert fault.message == "'messages' may hold at most 10000 messages, and holds 100000."
    assert len(decode_request(many, max_messages=100_000).messages) == 100_000
    assert refusal(many, max_messages=99_999).param == "messages"


def test_too_many_fields() -> None:
    names = [f"f{number}" for number in range(MAX_FIELDS - 2)]
    decode_request(body(**dict.fromkeys(names, 1)))
    fault = refusal(body(**dict.fromkeys([*names, "one more"], 1)))
    assert fault.message == "The request has 201 fields; 200 are allowed."


def test_the_name_of_an_unknown_field_is_told_in_short() -> None:
    fault = refusal(raw_body("x" * 10_000, b"1e999"))
    assert fault.param == "x" * 100
    assert len(fault.message) < 200


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_by_name_and_never_break(text: bytes) -> None:
    refusal(text)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["type", "role", "content", "text", "name"]), inner)
    ),
    max_leaves=6,
)


@given(st.dictionaries(st.sampled_from(sorted(CARRIED)), json_values))
def test_any_json_is_accepted_or_refused_by_name(fields: dict[str, Any]) -> None:
    read = outcome(body(**fields))
    assert isinstance(read, ChatRequest) or read.message


@pytest.mark.parametrize("name", ["model", "user"])
def test_names_that_are_kept_in_the_books_hold_no_control_characters(name: str) -> None:
    with pytest.raises(InvalidValue) as raised:
        decode_request(body(**{name: "a\x00b"}))
    assert raised.value.param == name
    assert raised.value.message == f"'{name}' may not hold control characters."


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"user": "u"}, "u"),
        ({"safety_identifier": "s"}, "s"),
        ({"user": "u", "safety_identifier": "s"}, "u"),
        ({"user": None, "safety_identifier": "s"}, "s"),
        ({"user": "", "safety_identifier": "s"}, ""),
    ],
)
def test_the_user_has_two_names(fields: dict[str, Any], expected: str) -> None:
    assert decode_request(json.dumps(MINIMAL | fields).encode()).user == expected


@pytest.mark.parametrize("name", ["user", "safety_identifier"])
@pytest.mark.parametrize("value", ["x" * 513, "a\0b", 5])
def test_neither_is_any_text(name: str, value: object) -> None:
    with pytest.raises(InvalidValue) as caught:
        decode_request(json.dumps(MINIMAL | {name: value}).encode())
    assert caught.value.param == name
