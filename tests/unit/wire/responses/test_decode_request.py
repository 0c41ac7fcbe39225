"""From a client's bytes to a ``ResponsesRequest``: what is accepted, how the rest is refused."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw
from tests.unit.wire.responses.requests import (
    MINIMAL,
    TIME,
    WEATHER,
    assistant,
    body,
    call,
    chat_requests,
    raw,
    read,
    result,
    thought,
    turns_without_places,
    user,
)

from bandari.domain.chat import (
    ChatRequest,
    Message,
    Original,
    ResponseFormat,
    Role,
    Sampling,
    TextPart,
    Tool,
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
from bandari.wire.dialect import Dialect
from bandari.wire.responses import PROTOCOL
from bandari.wire.responses.decode_request import (
    TOOLS_OVERHEAD_BYTES,
    ResponsesRequest,
    decode_request,
)
from bandari.wire.responses.encode_request import encode_request
from bandari.wire.responses.fields import CARRIED, COSTLY, ECHOED, NAMES, REFUSED

HI = user([{"type": "input_text", "text": "hi"}])

EVERYTHING: dict[str, Any] = {
    "model": "m",
    "input": [
        {"role": "developer", "content": "Be kind."},
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "What is this?"},
                {"type": "input_image", "image_url": "https://a.example/b", "detail": "low"},
            ],
        },
    ],
    "background": False,
    "context_management": [{"type": "compaction"}],
    "include": [
        "reasoning.encrypted_content",
        "message.output_text.logprobs",
        "file_search_call.results",
    ],
    "instructions": "Be brief.",
    "max_output_tokens": 50,
    "max_tool_calls": 3,
    "metadata": {"a": "b"},
    "moderation": {"model": "x"},
    "parallel_tool_calls": False,
    "previous_response_id": "resp_1",
    "prompt_cache_key": "k",
    "prompt_cache_retention": "24h",
    "reasoning": {"effort": "high", "summary": "auto", "mode": "pro", "context": "auto"},
    "safety_identifier": "s",
    "service_tier": "flex",
    "store": True,
    "stream": True,
    "stream_options": {"include_obfuscation": True},
    "temperature": 0.2,
    "text": {
        "format": {
            "type": "json_schema",
            "name": "s",
            "schema": {"type": "object"},
            "strict": True,
            "description": "d",
        },
        "verbosity": "low",
    },
    "tool_choice": {"type": "function", "name": "weather"},
    "tools": [WEATHER, {"type": "web_search"}],
    "top_logprobs": 3,
    "top_p": 0.9,
    "truncation": "auto",
    "user": "u",
}


def chat(**fields: Any) -> ChatRequest:
    return decode_request(body(**fields)).chat


def original(request: ChatRequest) -> Original:
    assert request.original is not None
    return request.original


def refusal(request: bytes, **limits: int) -> CallerFault:
    with pytest.raises(CallerFault) as caught:
        decode_request(request, **limits)
    return caught.value


def outcome(request: bytes) -> ResponsesRequest | CallerFault:
    """What becomes of a request; anything but a fault of the caller's is a defect."""
    try:
        return decode_request(request)
    except CallerFault as fault:
        return fault


# -- accepted -------------------------------------------------------------------------------------


def test_every_parameter_at_once() -> None:
    request = decode_request(json.dumps(EVERYTHING).encode())
    assert request.chat.model == "m"
    assert [turn.role for turn in request.chat.messages] == ["system", "developer", "user"]
    assert request.chat.messages[0] == Message(Role.SYSTEM, (TextPart("Be brief."),))
    assert request.chat.sampling == Sampling(
        temperature=0.2, top_p=0.9, max_tokens=50, logprobs=True, top_logprobs=3
    )
    assert request.chat.stream
    assert request.chat.include_usage
    assert request.chat.tools == (Tool("weather", parameters=Raw(b'{"type":"object"}')),)
    assert request.chat.tool_choice == ToolChoice("named", "weather")
    assert request.chat.parallel_tool_calls is False
    assert request.chat.response_format == ResponseFormat(
        "json_schema", "s", Raw(b'{"type":"object"}'), True
    )
    assert request.chat.user == "u"
    assert request.chat.reasoning_effort == "high"
    assert request.chat.images == 1
    assert [read(item) for item in request.items] == [
        item | {"type": "message"} for item in EVERYTHING["input"]
    ]
    assert request.previous_response_id == "resp_1"
    assert request.store
    assert not request.background
    assert request.instructions == "Be brief."
    assert request.metadata == {"a": "b"}
    assert request.truncation == "auto"
    assert request.includes == set(EVERYTHING["include"])
    assert original(request.chat).protocol == PROTOCOL
    assert original(request.chat).unknown == (
        "context_management",
        "include[2]",
        "max_tool_calls",
        "moderation",
        "prompt_cache_key",
        "prompt_cache_retention",
        "reasoning.mode",
        "service_tier",
        "stream_options.include_obfuscation",
        "tools[1]",
    )
    assert original(request.chat).untold == (
        "reasoning.context",
        "reasoning.summary",
        "text.format.description",
        "text.verbosity",
    )


def test_an_answer_repeats_what_the_client_wrote() -> None:
    request = decode_request(json.dumps(EVERYTHING).encode())
    assert {name: read(value) for name, value in request.echo.items()} == {
        name: EVERYTHING[name] for name in EVERYTHING if name in ECHOED
    }
    assert "tools" in request.echo
    assert decode_request(body(temperature=None)).echo == {}


def test_the_least_request() -> None:
    request = decode_request(body())
    assert request.chat.messages == (Message(Role.USER, (TextPart("hi"),)),)
    assert request.chat.sampling == Sampling()
    assert request.chat.include_usage
    assert not request.chat.stream
    assert request.chat.tool_choice is None
    assert request.chat.response_format is None
    assert request.chat.user is None
    assert [read(item) for item in request.items] == [HI]
    assert read(original(request.chat).fields["input"]) == [HI]
    assert request.store
    assert not request.background
    assert request.previous_response_id is None
    assert request.truncation == "disabled"
    assert request.includes == frozenset()
    assert request.metadata == {}


@pytest.mark.parametrize("name", sorted((CARRIED | REFUSED | {"anything"}) - MINIMAL.keys()))
def test_null_means_absent(name: str) -> None:
    given_null, absent = decode_request(body(**{name: None})), decode_request(body())
    for field in ("store", "background", "truncation", "metadata", "includes", "instructions"):
        assert getattr(given_null, field) == getattr(absent, field), field
    for field in absent.chat.__struct_fields__:
        if field not in ("original", "input_bytes"):
            assert getattr(given_null.chat, field) == getattr(absent.chat, field), field
    assert original(given_null.chat).unknown == ()


@pytest.mark.parametrize("text", ["", 'a"b\\\n\0🌍'])
def test_a_text_is_what_the_user_says(text: str) -> None:
    assert chat(input=text).messages == (Message(Role.USER, (TextPart(text),)),)


def test_what_does_not_exist_in_this_protocol_is_named_and_has_no_effect() -> None:
    strange = {
        "n": 3,
        "stop": ["x"],
        "seed": 5,
        "presence_penalty": 1,
        "max_tokens": 5,
        "messages": [],
    }
    assert chat(**strange).sampling == Sampling()
    assert original(chat(**strange)).unknown == tuple(sorted(strange))


@pytest.mark.parametrize("tier", ["auto", "default"])
def test_the_usual_service_is_what_everybody_gets(tier: str) -> None:
    assert original(chat(service_tier=tier)).unknown == ()


@pytest.mark.parametrize(
    ("reasoning", "unknown", "untold"),
    [
        ({"effort": "low"}, (), ()),
        ({"mode": "standard"}, (), ()),
        ({"mode": "pro"}, ("reasoning.mode",), ()),
        ({"generate_summary": "auto"}, (), ("reasoning.generate_summary",)),
        ({"summary": None, "zzz": 1}, (), ()),
    ],
)
def test_parts_of_reasoning(
    reasoning: dict[str, Any], unknown: tuple[str, ...], untold: tuple[str, ...]
) -> None:
    kept = original(chat(reasoning=reasoning))
    assert (kept.unknown, kept.untold) == (unknown, untold)


@pytest.mark.parametrize(("given_value", "unknown"), [(True, 1), (False, 0), (None, 0)])
def test_obfuscation_is_not_given_to_those_who_want_it(given_value: Any, unknown: int) -> None:
    kept = original(chat(stream=True, stream_options={"include_obfuscation": given_value}))
    assert kept.unknown == ("stream_options.include_obfuscation",) * unknown


@pytest.mark.parametrize("effort", ["none", "minimal", "low", "medium", "high", "xhigh", "max"])
def test_every_effort_is_taken(effort: str) -> None:
    assert chat(reasoning={"effort": effort}).reasoning_effort == effort


@pytest.mark.parametrize("word", ["auto", "disabled"])
def test_a_conversation_may_be_shortened_or_not(word: str) -> None:
    assert decode_request(body(truncation=word)).truncation == word


def test_a_schema_without_a_description_says_nothing_more() -> None:
    kept = original(chat(**schema({"name": "s", "schema": {}})))
    assert kept.untold == ()


@pytest.mark.parametrize("kind", ["text", "json_object"])
def test_formats_without_a_schema(kind: str) -> None:
    assert chat(text={"format": {"type": kind}}).response_format == ResponseFormat(kind)
    assert original(chat(text={"format": {"type": kind}})).untold == ()


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, (False, None)),
        ({"top_logprobs": 0}, (False, None)),
        ({"top_logprobs": 2}, (True, 2)),
        ({"include": ["message.output_text.logprobs"]}, (True, None)),
        ({"include": ["message.output_text.logprobs"], "top_logprobs": 0}, (True, 0)),
        ({"include": ["reasoning.encrypted_content"]}, (False, None)),
    ],
)
def test_logprobs_are_asked_for_in_two_ways(
    fields: dict[str, Any], expected: tuple[bool, int | None]
) -> None:
    sampling = chat(**fields).sampling
    assert (sampling.logprobs, sampling.top_logprobs) == expected


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"user": "u"}, "u"),
        ({"safety_identifier": "s"}, "s"),
        ({"user": "u", "safety_identifier": "s"}, "u"),
        ({"user": None, "safety_identifier": "s"}, "s"),
    ],
)
def test_the_user_has_two_names(fields: dict[str, Any], expected: str) -> None:
    assert chat(**fields).user == expected
    assert original(chat(**fields)).unknown == ()


def test_metadata_has_bounds() -> None:
    most = {f"{index:064}": "v" * 512 for index in range(16)}
    assert decode_request(body(metadata=most)).metadata == most


@pytest.mark.parametrize(
    ("metadata", "param", "message"),
    [
        (
            {str(index): "" for index in range(17)},
            "metadata",
            "'metadata' may hold at most 16 pairs, and holds 17.",
        ),
        (
            {"k" * 65: ""},
            "metadata",
            "A key of 'metadata' may have at most 64 characters.",
        ),
        ({"a": "v" * 513}, "metadata.a", "'metadata.a' may have at most 512 characters."),
        ({"a": 5}, "metadata", "A value in 'metadata' must be a string, and is an integer."),
    ],
)
def test_metadata_beyond_its_bounds_is_refused(metadata: Any, param: str, message: str) -> None:
    fault = refusal(body(metadata=metadata))
    assert type(fault) is InvalidValue
    assert (fault.param, fault.message) == (param, message)


def test_what_a_fault_in_the_domain_is_called_here() -> None:
    assert NAMES["max_tokens"] == "max_output_tokens"
    assert {name.split(".", maxsplit=1)[0] for name in NAMES.values()} <= CARRIED


def test_no_field_is_both_carried_and_kept_back() -> None:
    assert not CARRIED & COSTLY
    assert {"service_tier", "max_tokens", "n", "n_predict", "web_search_options"} <= COSTLY


# -- the bound of the prompt ----------------------------------------------------------------------


@given(st.lists(st.text(st.characters(codec="utf-8")), min_size=1, max_size=5), st.booleans())
def test_input_bytes_bound_the_text(texts: list[str], ascii_only: bool) -> None:
    fields = MINIMAL | {"input": [user(text) for text in texts], "instructions": texts[0]}
    request = decode_request(json.dumps(fields, ensure_ascii=ascii_only).encode()).chat
    assert request.input_bytes >= sum(len(text.encode()) for text in [*texts, texts[0]])


def test_all_that_becomes_prompt_is_measured() -> None:
    plain = chat().input_bytes
    assert plain == len(json.dumps([HI], separators=(",", ":")))
    assert chat(instructions="x" * 500).input_bytes == plain + 502
    schema = {"format": {"type": "json_schema", "name": "s", "schema": {"a": "x" * 500}}}
    assert chat(text=schema).input_bytes == plain + len(json.dumps(schema))
    assert chat(tools=[WEATHER]).input_bytes == (
        plain + len(json.dumps([WEATHER])) + TOOLS_OVERHEAD_BYTES
    )
    assert chat(tools=[{"type": "web_search", "x": "y" * 500}]).input_bytes == plain
    assert chat(user="u" * 500).input_bytes == plain, "no part of the prompt"


def test_an_image_is_counted_by_itself_and_not_by_its_bytes() -> None:
    def shown(url: str) -> ChatRequest:
        part = {"type": "input_image", "image_url": url}
        return chat(input=[user([part, part])])

    small, large = shown("data:,"), shown("data:," + "A" * 100_000)
    assert small.images == large.images == 2
    assert small.input_bytes == large.input_bytes


# -- what was said before -------------------------------------------------------------------------

BEFORE = [
    user([{"type": "input_image", "image_url": "data:,AAAA"}]),
    thought(encrypted_content="gAAA"),
    call("c1", namespace="n"),
]


def test_a_conversation_goes_on() -> None:
    request = decode_request(
        body(input=[result("c1")], instructions="Be brief.", previous_response_id="resp_1")
    )
    assert [turn.role for turn in request.chat.messages] == ["system", "tool"]
    whole = request.with_history([raw(item) for item in BEFORE])
    assert [turn.role for turn in whole.messages] == ["system", "user", "assistant", "tool"]
    assert whole.messages[0] == Message(Role.SYSTEM, (TextPart("Be brief."),))
    assert read(original(whole).fields["input"]) == [*BEFORE, result("c1")]
    assert original(whole).untold == ("input[].namespace",)
    assert whole.images == 1
    assert request.previous_response_id == "resp_1"


def test_an_assistant_s_turn_goes_on_over_the_border() -> None:
    request = decode_request(body(input=[call("c2"), result("c2")], previous_response_id="r"))
    whole = request.with_history([raw(call("c1"))])
    assert [turn.role for turn in whole.messages] == ["assistant", "tool"]
    assert [made.id for made in whole.messages[0].tool_calls] == ["c1", "c2"]


def test_a_result_whose_call_is_nowhere_is_refused_once_all_is_known() -> None:
    alone = body(input=[user("a"), result("c9")])
    assert refusal(alone).param == "input[1].call_id"
    request = decode_request(body(input=[user("a"), result("c9")], previous_response_id="r"))
    for history in ([], [raw(item) for item in BEFORE]):
        with pytest.raises(InvalidValue, match="No tool call with that id") as caught:
            request.with_history(history)
        assert caught.value.param == "input[1].call_id"


def test_a_conversation_has_a_bound() -> None:
    text = body(input=[user("a"), user("b")], previous_response_id="r")
    request = decode_request(text, max_messages=3)
    assert len(request.with_history([raw(user("c"))]).messages) == 3
    with pytest.raises(InvalidValue) as caught:
        request.with_history([raw(user("c"))] * 2)
    assert caught.value.param == "previous_response_id"
    assert caught.value.message == "The conversation may hold at most 3 items, and holds 4."


def items_of(request: ChatRequest) -> list[Raw]:
    """The items of a request, as an upstream gets them."""
    fields = msgspec.json.decode(encode_request(request, "m", Dialect()), type=dict[str, Raw])
    return msgspec.json.decode(fields["input"], type=list[Raw])


@given(chat_requests, st.data())
def test_it_makes_no_difference_where_a_conversation_was_cut(
    request: ChatRequest, data: st.DataObject
) -> None:
    items = items_of(request)
    at = data.draw(st.integers(0, len(items) - 1))
    whole = decode_request(
        msgspec.json.encode({"model": "m", "input": items, "instructions": "x", "tools": [TIME]})
    )
    rest = decode_request(
        msgspec.json.encode(
            {
                "model": "m",
                "input": items[at:],
                "instructions": "x",
                "tools": [TIME],
                "previous_response_id": "resp_1",
            }
        )
    )
    joined = rest.with_history(items[:at])
    assert turns_without_places(joined) == turns_without_places(whole.chat)
    assert joined.input_bytes == whole.chat.input_bytes
    assert original(joined).fields["input"] == original(whole.chat).fields["input"]
    assert whole.with_history(()) == whole.chat


# -- refused: wrong values ------------------------------------------------------------------------


def schema(described: Any) -> dict[str, Any]:
    return {"text": {"format": {"type": "json_schema"} | described}}


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"model": 5}, "'model' must be a string, and is an integer."),
        ({"model": ""}, "'model' must not be empty."),
        ({"model": "m" * 513}, "'model' may have at most 512 characters."),
        ({"model": "a\0b"}, "'model' may not hold control characters."),
        ({"input": 5}, "'input' must be a string or an array, and is an integer."),
        ({"input": {}}, "'input' must be a string or an array, and is an object."),
        ({"input": []}, "'input' must not be empty."),
        ({"input": ["hi"]}, "'input[0]' must be an object, and is a string."),
        ({"instructions": []}, "'instructions' must be a string, and is an array."),
        (
            {"previous_response_id": ""},
            "'previous_response_id' must not be empty.",
        ),
        (
            {"previous_response_id": "a\nb"},
            "'previous_response_id' may not hold control characters.",
        ),
        ({"store": 1}, "'store' must be true or false, and is an integer."),
        ({"background": "x"}, "'background' must be true or false, and is a string."),
        ({"metadata": []}, "'metadata' must be an object, and is an array."),
        ({"include": "x"}, "'include' must be an array, and is a string."),
        ({"include": [5]}, "'include[0]' must be a string, and is an integer."),
        ({"stream": "true"}, "'stream' must be true or false, and is a string."),
        (
            {"stream": True, "stream_options": {"include_obfuscation": 1}},
            "'stream_options.include_obfuscation' must be true or false, and is an integer.",
        ),
        ({"temperature": "1"}, "'temperature' must be a number, and is a string."),
        ({"top_p": []}, "'top_p' must be a number, and is an array."),
        ({"top_logprobs": -1}, "'top_logprobs' must be at least 0."),
        ({"top_logprobs": 21}, "'top_logprobs' must be at most 20."),
        ({"max_output_tokens": 0}, "'max_output_tokens' must be at least 1."),
        (
            {"max_output_tokens": 1.5},
            (
                "'max_output_tokens' must be an integer, and is a number with a fraction or an "
                "exponent."
            ),
        ),
        ({"max_tool_calls": "x"}, "'max_tool_calls' must be an integer, and is a string."),
        ({"text": "x"}, "'text' must be an object, and is a string."),
        (
            {"text": {"format": {"type": "xml"}}},
            "'text.format.type' must be one of text, json_object, json_schema, and is 'xml'.",
        ),
        (
            schema({"name": "a b"}),
            "'text.format.name' must be 1 to 64 letters, digits, '_' or '-'.",
        ),
        (
            schema({"name": "a", "schema": 5}),
            "'text.format.schema' must be an object, and is an integer.",
        ),
        ({"text": {"verbosity": 5}}, "'text.verbosity' must be a string, and is an integer."),
        (
            {"reasoning": {"effort": "huge"}},
            (
                "'reasoning.effort' must be one of none, minimal, low, medium, high, xhigh, max, "
                "and is 'huge'."
            ),
        ),
        ({"truncation": "some"}, "'truncation' must be one of auto, disabled, and is 'some'."),
        ({"user": 5}, "'user' must be a string, and is an integer."),
        ({"user": "a\0b"}, "'user' may not hold control characters."),
        ({"safety_identifier": "a\0b"}, "'safety_identifier' may not hold control characters."),
        ({"prompt_cache_key": 5}, "'prompt_cache_key' must be a string, and is an integer."),
        ({"service_tier": 5}, "'service_tier' must be a string, and is an integer."),
        ({"background": True, "store": False}, "'background' needs 'store' to be true."),
    ],
)
def test_a_wrong_value_is_named_with_what_it_must_be(fields: dict[str, Any], message: str) -> None:
    fault = refusal(body(**fields))
    assert type(fault) is InvalidValue
    assert fault.message == message
    assert fault.param == message.split("'")[1]


@pytest.mark.parametrize("store", [True, None, ...])
def test_what_runs_in_the_background_is_kept(store: Any) -> None:
    assert decode_request(body(background=True, store=store)).background


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
        ({"input": ...}, "input"),
        ({"input": None}, "input"),
        ({"input": [{}]}, "input[0].type"),
        ({"text": {"format": {}}}, "text.format.type"),
        (schema({}), "text.format.name"),
    ],
)
def test_what_is_missing_is_named(fields: dict[str, Any], param: str) -> None:
    fault = refusal(body(**fields))
    assert type(fault) is MissingField
    assert fault.param == param
    assert fault.message.startswith(f"'{param}' is required")


@pytest.mark.parametrize("fields", [{}, {"stream": False}, {"stream": None}])
def test_stream_options_only_with_stream(fields: dict[str, Any]) -> None:
    fault = refusal(body(stream_options={}, **fields))
    assert type(fault) is InvalidRequest
    assert fault.param == "stream_options"


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_is_refused_is_named_with_what_to_use_instead(name: str) -> None:
    fault = refusal(body(**{name: "x"}))
    assert type(fault) is UnsupportedField
    assert fault.param == name
    assert fault.message.startswith(f"'{name}' is not supported")


def test_a_conversation_goes_by_its_last_answer() -> None:
    fault = refusal(body(conversation={"id": "conv_1"}))
    assert fault.message == ("'conversation' is not supported yet: use 'previous_response_id'.")


# -- refused: hostile -----------------------------------------------------------------------------

PLACES = {
    "the body": "%b",
    "an unknown field": '{"model":"m","input":"x","zzz":%b}',
    "a field's name": '{"model":"m","input":"x",%b:1}',
    "model": '{"model":%b,"input":"x"}',
    "input": '{"model":"m","input":%b}',
    "an item": '{"model":"m","input":[%b]}',
    "an item's type": '{"model":"m","input":[{"type":%b,"role":"user","content":"x"}]}',
    "an item's role": '{"model":"m","input":[{"role":%b,"content":"x"}]}',
    "content": '{"model":"m","input":[{"role":"user","content":%b}]}',
    "text": '{"model":"m","input":[{"role":"user","content":[{"type":"input_text","text":%b}]}]}',
    "phase": '{"model":"m","input":[{"role":"user","content":"x","phase":%b}]}',
    "an unknown field of an item": (
        '{"model":"m","input":[{"role":"user","content":"hi","zzz":%b}]}'
    ),
    "parameters": (
        '{"model":"m","input":"x","tools":[{"type":"function","name":"a","parameters":{"a":%b}}]}'
    ),
    "a tool": '{"model":"m","input":"x","tools":[%b]}',
    "a tool left out": '{"model":"m","input":"x","tools":[{"type":"x","zzz":%b}]}',
    "tool_choice": '{"model":"m","input":"x","tool_choice":%b}',
    "reasoning": '{"model":"m","input":"x","reasoning":{"zzz":%b}}',
    "schema": (
        '{"model":"m","input":"x","text":{"format":{"type":"json_schema","name":"a","schema":'
        '{"a":%b}}}}'
    ),
    "metadata": '{"model":"m","input":"x","metadata":{"a":%b}}',
    "include": '{"model":"m","input":"x","include":[%b]}',
    "temperature": '{"model":"m","input":"x","temperature":%b}',
    "max_output_tokens": '{"model":"m","input":"x","max_output_tokens":%b}',
    "max_tool_calls": '{"model":"m","input":"x","max_tool_calls":%b}',
}


@pytest.mark.parametrize(
    "place", ["an unknown field", "an unknown field of an item", "parameters", "a tool left out"]
)
def test_at_no_depth_is_nesting_more_than_the_callers_fault(place: str) -> None:
    text = PLACES[place].encode()
    kinds = {
        type(outcome(text.replace(b"%b", b"[" * depth + b"]" * depth)))
        for depth in range(1, 1100, 3)
    }
    assert InvalidJson in kinds
    assert kinds <= {InvalidJson, ResponsesRequest}


@pytest.mark.parametrize(
    "hostile",
    [
        pytest.param(b"[" * 10_000 + b"]" * 10_000, id="deep array"),
        pytest.param(b'{"a":' * 10_000 + b"1" + b"}" * 10_000, id="deep object"),
        pytest.param(b"[" * 10_000, id="deep and open"),
        pytest.param(b"NaN", id="NaN"),
        pytest.param(b"-Infinity", id="-Infinity"),
        pytest.param(b'"\\ud800"', id="half of a surrogate pair"),
        pytest.param(b'"\\udc00\\ud800"', id="a surrogate pair the wrong way round"),
        pytest.param(b'"\xed\xa0\x80"', id="a surrogate in UTF-8"),
        pytest.param(b'"\xff"', id="not UTF-8"),
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


NUMBERS_OF_ANY_SIZE = {
    "an unknown field",
    "an unknown field of an item",
    "phase",
    "parameters",
    "a tool left out",
    "reasoning",
    "schema",
    "max_tool_calls",
}
"""Passed on as they are, or never looked at."""


@pytest.mark.parametrize("number", ["1e999", "-1e999", "9" * 400, "-" + "9" * 5000, "9" * 100_000])
@pytest.mark.parametrize("place", PLACES)
def test_a_huge_number_is_refused_or_left_alone(place: str, number: str) -> None:
    request = outcome(PLACES[place].encode().replace(b"%b", number.encode()))
    if isinstance(request, CallerFault):
        assert len(request.message) < 300
    else:
        assert place in NUMBERS_OF_ANY_SIZE


def test_too_many_items() -> None:
    many = body(input=[{"role": "user", "content": "x"}] * 10_001)
    fault = refusal(many)
    assert fault.param == "input"
    assert fault.message == "'input' may hold at most 10000 items, and holds 10001."
    assert len(decode_request(many, max_messages=10_001).chat.messages) == 10_001


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_by_name_and_never_break(text: bytes) -> None:
    refusal(text)


KINDS = ["message", "reasoning", "function_call", "function_call_output", "input_text", "function"]
WORDS = st.sampled_from([*KINDS, "user", "assistant", "allowed_tools", "auto", "c1", "json_schema"])
KEYS = st.sampled_from(
    [
        "type",
        "role",
        "content",
        "text",
        "name",
        "call_id",
        "output",
        "summary",
        "id",
        "tools",
        "arguments",
        "encrypted_content",
        "mode",
        "format",
        "schema",
        "parameters",
        "image_url",
    ]
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(-1e9, 1e9) | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(sorted(CARRIED)), json_values))
def test_any_json_is_accepted_or_refused_by_name(fields: dict[str, Any]) -> None:
    request = outcome(body(**fields))
    assert isinstance(request, ResponsesRequest) or request.message


any_items = st.fixed_dictionaries(
    {"type": st.sampled_from(KINDS)},
    optional={
        "role": st.sampled_from(["user", "assistant", "system", "x"]),
        "content": st.sampled_from(["x", [], None]) | json_values,
        "call_id": st.sampled_from(["c1", "c2", "", 5]),
        "name": st.just("f"),
        "arguments": WORDS,
        "output": WORDS | json_values,
        "summary": json_values,
        "encrypted_content": WORDS | st.none(),
        "id": WORDS,
    },
)


@given(st.lists(any_items, min_size=1, max_size=4))
def test_any_items_are_accepted_or_refused_by_name_and_can_be_sent_on(items: list[Any]) -> None:
    request = outcome(body(input=items))
    if isinstance(request, ResponsesRequest):
        encode_request(request.chat, "m", Dialect())
    else:
        assert (request.param or "").startswith("input")


def test_turns_are_counted_as_they_are_joined() -> None:
    request = chat(input=[assistant("a"), assistant("b"), user("c")])
    assert [len(turn.parts) for turn in request.messages] == [2, 1]
