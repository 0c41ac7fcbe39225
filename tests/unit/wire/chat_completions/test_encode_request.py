"""From a ``ChatRequest`` to an upstream's bytes: what it gets, and what it never sees."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from msgspec import Raw
from msgspec.structs import replace
from tests.unit.wire.chat_completions.requests import body, chat_requests

from bandari.domain.chat import (
    ChatRequest,
    ImagePart,
    Message,
    Original,
    OtherPart,
    OtherTool,
    Part,
    ReasoningPart,
    Role,
    Sampling,
    Seal,
    TextPart,
    Tool,
    ToolChoice,
)
from bandari.domain.faults import UnsupportedField
from bandari.wire.chat_completions.decode_request import decode_request
from bandari.wire.chat_completions.encode_request import encode_request
from bandari.wire.chat_completions.fields import CARRIED, REFUSED, ignored_fields
from bandari.wire.dialect import Dialect

PLAIN = Dialect()
WHOLE = Dialect(streams=False)
HINTED = Dialect(obeys_tool_choice=False)
TOOLS = [
    {"type": "function", "function": {"name": "weather", "x-note": 1}},
    {"type": "function", "function": {"name": "time"}},
]


def relayed(dialect: Dialect = PLAIN, **fields: Any) -> dict[str, Any]:
    """What an upstream of the same protocol gets of a client's request."""
    request = decode_request(body(**fields))
    read: dict[str, Any] = json.loads(encode_request(request, "upstream-model", dialect))
    return read


# -- the same protocol ----------------------------------------------------------------------------


def test_a_relay_byte_for_byte() -> None:
    assert encode_request(decode_request(body()), "up", PLAIN) == (
        b'{"model":"up","messages":[{"role": "user", "content": "hi"}],'
        b'"stream":true,"stream_options":{"include_usage":true}}'
    )
    assert encode_request(decode_request(body()), "up", WHOLE) == (
        b'{"model":"up","messages":[{"role": "user", "content": "hi"}]}'
    )


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        (
            "messages",
            (
                b'[ {"content":[{"text":"\\u0041\\/","type":"text","cache_control":{"a":1.50}}],'
                b'"role":"user","zzz":[1e3, {"a" : null}]} ]'
            ),
        ),
        (
            "tools",
            b'[{"type":"function","function":{"name":"f","parameters":{"b":1,"a":2.0}},"z":1}]',
        ),
        ("tool_choice", b'{"function":{"name":"f","z":1},"type":"function"}'),
        (
            "response_format",
            b'{"json_schema":{"name":"s","schema":{"b":1,"a":2}},"type":"json_schema"}',
        ),
        ("logit_bias", b'{ "5":-100, "17":2.50 }'),
        ("parallel_tool_calls", b"false"),
        ("user", b'"\\u0041sha"'),
        ("reasoning_effort", b'"low"'),
    ],
)
def test_the_clients_own_json_is_passed_on_verbatim(name: str, raw: bytes) -> None:
    fields = {"model": b'"m"', "messages": b'[{"role":"user","content":"x"}]', name: raw}
    text = b"{" + b",".join(b'"%b":%b' % (key.encode(), fields[key]) for key in fields) + b"}"
    assert b'"%b":%b' % (name.encode(), raw) in encode_request(decode_request(text), "up", PLAIN)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", 0.5),
        ("top_p", 0.5),
        ("seed", 5),
        ("top_logprobs", 0),
        ("presence_penalty", 0.5),
        ("frequency_penalty", -0.5),
        ("n", 2),
        ("logprobs", True),
        ("stop", ["a"]),
        ("max_tokens", 5),
        ("max_completion_tokens", 5),
    ],
)
def test_sampling_is_passed_on(name: str, value: Any) -> None:
    assert relayed(WHOLE, **{name: value}) == relayed(WHOLE) | {name: value}


def test_a_model_s_default_reaches_the_upstream() -> None:
    request = decode_request(body())
    edited = replace(request, sampling=replace(request.sampling, temperature=0.7, max_tokens=100))
    read = json.loads(encode_request(edited, "up", WHOLE))
    assert (read["temperature"], read["max_tokens"]) == (0.7, 100)


def test_a_shortened_answer_is_asked_for_under_the_clients_own_name() -> None:
    for name in ("max_tokens", "max_completion_tokens"):
        request = decode_request(body(**{name: 1000}))
        edited = replace(request, sampling=replace(request.sampling, max_tokens=7))
        read = json.loads(encode_request(edited, "up", WHOLE))
        assert {key: read[key] for key in read if key.startswith("max")} == {name: 7}


def test_of_two_limits_one_is_sent() -> None:
    read = relayed(max_tokens=5, max_completion_tokens=9)
    assert "max_tokens" not in read
    assert read["max_completion_tokens"] == 5


def test_a_limit_that_is_null_is_not_the_clients_spelling() -> None:
    read = relayed(max_tokens=5, max_completion_tokens=None)
    assert read["max_tokens"] == 5
    assert "max_completion_tokens" not in read


@pytest.mark.parametrize("field", ["max_tokens", "max_completion_tokens"])
def test_a_dialect_names_the_limit(field: Any) -> None:
    read = relayed(Dialect(max_tokens_field=field), max_tokens=5, max_completion_tokens=9)
    assert {key: read[key] for key in read if key.startswith("max")} == {field: 5}


def test_another_protocols_fields_are_not_this_ones_spelling() -> None:
    request = decode_request(body(max_tokens=5))
    original = Original("other", {"max_completion_tokens": Raw(b"9"), "zzz": Raw(b"1")})
    read = json.loads(encode_request(replace(request, original=original), "up", PLAIN))
    assert read["max_tokens"] == 5
    assert "zzz" not in read
    assert ignored_fields(replace(request, original=original), PLAIN) == ()


UNKNOWN: dict[str, Any] = {
    "service_tier": "priority",
    "web_search_options": {},
    "store": True,
    "metadata": {"a": "b"},
    "prediction": {},
    "top_k": 5,
    "ignore_eos": True,
    "zzz": 1,
}


def test_fields_beyond_the_common_ones_are_kept_back_and_named() -> None:
    assert relayed(**UNKNOWN) == relayed()
    request = decode_request(body(**UNKNOWN, nothing=None))
    assert ignored_fields(request, PLAIN) == tuple(sorted(UNKNOWN))


def test_a_dialect_names_the_fields_that_it_is_given() -> None:
    dialect = Dialect(extra_fields=frozenset({"top_k", "store"}))
    assert relayed(dialect, **UNKNOWN) == relayed() | {"top_k": 5, "store": True}
    request = decode_request(body(**UNKNOWN))
    assert ignored_fields(request, dialect) == tuple(sorted(UNKNOWN.keys() - {"top_k", "store"}))


def test_what_is_carried_is_never_named_as_ignored() -> None:
    everything = {
        "stream": True,
        "stream_options": {"include_obfuscation": True},
        "user": "u",
        "temperature": 1,
    }
    assert ignored_fields(decode_request(body(**everything)), PLAIN) == ()
    assert not CARRIED & REFUSED


def test_nothing_is_ignored_of_a_request_that_no_client_wrote() -> None:
    assert ignored_fields(ChatRequest("m", ()), PLAIN) == ()


@pytest.mark.parametrize("name", sorted(REFUSED))
def test_what_changes_the_cost_is_never_passed_on(name: str) -> None:
    assert name not in relayed(Dialect(extra_fields=frozenset({name})), **{name: None})


def test_null_is_not_passed_on() -> None:
    nothing = dict.fromkeys(CARRIED - {"model", "messages"})
    assert relayed(Dialect(extra_fields=frozenset({"top_k"})), top_k=None, **nothing) == relayed()


# -- dialects -------------------------------------------------------------------------------------


@pytest.mark.parametrize("asked", [True, False, None])
def test_a_stream_with_usage_is_asked_for_whatever_the_client_wants(asked: bool | None) -> None:
    read = relayed(stream=asked)
    assert read["stream"] is True
    assert read["stream_options"] == {"include_usage": True}
    assert not {"stream", "stream_options"} & relayed(WHOLE, stream=asked).keys()


def test_constants_are_in_every_request() -> None:
    read = relayed(Dialect(constants={"timings_per_token": Raw(b"true")}))
    assert read == relayed() | {"timings_per_token": True}


def test_a_dialect_that_obeys_gets_the_choice_as_it_is() -> None:
    named = {"type": "function", "function": {"name": "time"}}
    read = relayed(tools=TOOLS, tool_choice=named)
    assert (read["tools"], read["tool_choice"]) == (TOOLS, named)
    assert relayed(tools=TOOLS, tool_choice="none")["tools"] == TOOLS


def test_a_hinted_dialect_is_shown_only_the_tool_that_was_named() -> None:
    named = {"type": "function", "function": {"name": "time"}}
    read = relayed(HINTED, tools=TOOLS, tool_choice=named)
    assert (read["tools"], read["tool_choice"]) == ([TOOLS[1]], "required")


def test_a_hinted_dialect_is_shown_no_tools_where_it_may_not_call() -> None:
    read = relayed(HINTED, tools=TOOLS, tool_choice="none")
    assert not {"tools", "tool_choice"} & read.keys()


@pytest.mark.parametrize("mode", ["auto", "required"])
def test_a_hinted_dialect_is_shown_all_tools_otherwise(mode: str) -> None:
    read = relayed(HINTED, tools=TOOLS, tool_choice=mode)
    assert (read["tools"], read["tool_choice"]) == (TOOLS, mode)
    assert relayed(HINTED, tools=TOOLS)["tools"] == TOOLS


def test_a_hinted_dialect_is_hinted_across_protocols_too() -> None:
    request = ChatRequest(
        "m",
        (Message(Role.USER, (TextPart("x"),)),),
        tools=(Tool("weather"), Tool("time")),
        tool_choice=ToolChoice("named", "time"),
    )
    read = json.loads(encode_request(request, "up", HINTED))
    assert [tool["function"]["name"] for tool in read["tools"]] == ["time"]
    assert read["tool_choice"] == "required"


@pytest.mark.parametrize(
    ("streams", "with_tools", "fields", "expected"),
    [
        (True, False, {"logprobs": True, "tools": TOOLS}, False),
        (True, False, {"logprobs": True}, True),
        (True, False, {"tools": TOOLS}, True),
        (True, True, {"logprobs": True, "tools": TOOLS}, True),
        (False, True, {"logprobs": True, "tools": TOOLS}, False),
        (False, True, {}, False),
    ],
)
def test_logprobs_with_tools_are_asked_for_whole_where_they_cannot_be_streamed(
    streams: bool, with_tools: bool, fields: dict[str, Any], expected: bool
) -> None:
    dialect = Dialect(streams=streams, streams_logprobs_with_tools=with_tools)
    assert dialect.streams_answer_to(decode_request(body(**fields))) is expected
    assert ("stream" in relayed(dialect, **fields)) is expected


# -- across protocols -----------------------------------------------------------------------------


def test_without_an_original_everything_is_spelled() -> None:
    request = ChatRequest(
        "m",
        (
            Message(Role.SYSTEM, (TextPart("a"),)),
            Message(Role.USER, (TextPart("b"), TextPart("c")), name="Asha"),
            Message(Role.ASSISTANT),
        ),
    )
    assert encode_request(request, "up", WHOLE) == (
        b'{"model":"up","messages":['
        b'{"role":"system","content":"a"},'
        b'{"role":"user","content":[{"type":"text","text":"b"},{"type":"text","text":"c"}],'
        b'"name":"Asha"},'
        b'{"role":"assistant","content":null}]}'
    )


@pytest.mark.parametrize("role", [role for role in Role if role is not Role.ASSISTANT])
def test_only_an_assistants_content_may_be_null(role: Role) -> None:
    request = ChatRequest("m", (Message(role, tool_call_id="1"),))
    assert json.loads(encode_request(request, "up", PLAIN))["messages"][0]["content"] == ""


def meaning(request: ChatRequest) -> dict[str, Any]:
    """Everything that a request asks for; its sizes and the client's own JSON are no part of it."""
    fields = {name: getattr(request, name) for name in request.__struct_fields__}
    for name in ("original", "input_bytes", "images", "stream", "include_usage"):
        del fields[name]
    fields["messages"] = [
        replace(turn, parts=tuple(map(without_its_place, turn.parts))) for turn in request.messages
    ]
    return fields


def without_its_place(part: Part) -> Part:
    return replace(part, where="") if isinstance(part, OtherPart) else part


@given(chat_requests)
def test_what_is_spelled_is_read_back_with_the_same_meaning(request: ChatRequest) -> None:
    read = decode_request(encode_request(request, "public", PLAIN))
    assert meaning(read) == meaning(request)
    assert read.stream
    assert read.include_usage


@given(chat_requests)
def test_a_relay_keeps_the_meaning(request: ChatRequest) -> None:
    """Once more, this time from the client's own JSON."""
    read = decode_request(encode_request(request, "public", WHOLE))
    again = decode_request(encode_request(read, "public", PLAIN))
    assert meaning(again) == meaning(request)


# -- from another protocol ------------------------------------------------------------------------

THOUGHT = ReasoningPart("Hm.", Seal("messages", "c2lnbmVk"))
THOUGHTFUL = ChatRequest(
    "m",
    (Message(Role.USER, (TextPart("hi"),)), Message(Role.ASSISTANT, (THOUGHT, TextPart("ho")))),
    original=Original("messages", {}, ("container",), ("messages[].content[].cache_control",)),
)
REMEMBERS = Dialect(extra_fields=frozenset({"reasoning_content", "container", "top_k"}))


def test_thoughts_go_to_those_who_read_them() -> None:
    told, untold = (
        json.loads(encode_request(THOUGHTFUL, "up", dialect))["messages"][1]
        for dialect in (REMEMBERS, PLAIN)
    )
    assert told == {"role": "assistant", "content": "ho", "reasoning_content": "Hm."}
    assert untold == {"role": "assistant", "content": "ho"}


def test_what_is_lost_on_the_way_is_named() -> None:
    lost = ("container", "messages[].content[].cache_control")
    assert ignored_fields(THOUGHTFUL, PLAIN) == (*lost, "reasoning")
    assert ignored_fields(THOUGHTFUL, REMEMBERS) == lost


def test_a_field_of_another_protocol_is_not_this_ones_of_the_same_name() -> None:
    fields = {"container": Raw(b'"c"')}
    request = replace(THOUGHTFUL, original=Original("messages", fields, ("container",)))
    assert "container" not in json.loads(encode_request(request, "up", REMEMBERS))


@pytest.mark.parametrize("protocol", ["chat_completions", "messages"])
def test_top_k_goes_to_those_who_know_it(protocol: str) -> None:
    request = replace(THOUGHTFUL, sampling=Sampling(top_k=7), original=Original(protocol, {}))
    assert json.loads(encode_request(request, "up", REMEMBERS))["top_k"] == 7
    assert "top_k" not in ignored_fields(request, REMEMBERS)
    assert "top_k" not in json.loads(encode_request(request, "up", PLAIN))
    assert "top_k" in ignored_fields(request, PLAIN)


OTHER_PART = OtherPart("messages", "document", Raw(b"{}"), "messages[0].content[1]")
OTHER_TOOL = OtherTool("messages", "bash", Raw(b"{}"), "tools[0]")


def test_images_of_results_follow_as_if_the_user_showed_them() -> None:
    """Results are text here; two calls at once must have their results before anything else."""
    results = [
        Message(Role.TOOL, (TextPart("a"), ImagePart("https://a.b/1")), tool_call_id="c1"),
        Message(Role.TOOL, (ImagePart("https://a.b/2", "low"),), tool_call_id="c2"),
    ]
    request = ChatRequest("m", (*results, Message(Role.USER, (TextPart("Well?"),))))
    one, other, shown, user = json.loads(encode_request(request, "up", PLAIN))["messages"]
    assert (one["role"], one["content"], one["tool_call_id"]) == ("tool", "a", "c1")
    assert (other["role"], other["tool_call_id"]) == ("tool", "c2")
    assert isinstance(other["content"], str)
    assert shown["role"] == "user"
    images = [part["image_url"] for part in shown["content"] if part["type"] == "image_url"]
    assert images == [{"url": "https://a.b/1"}, {"url": "https://a.b/2", "detail": "low"}]
    assert user["content"] == "Well?"
    alone = replace(request, messages=tuple(results))
    assert json.loads(encode_request(alone, "up", PLAIN))["messages"][2] == shown


@pytest.mark.parametrize(
    ("request_", "where"),
    [
        (ChatRequest("m", (Message(Role.USER, (OTHER_PART,)),)), "messages[0].content[1]"),
        (ChatRequest("m", (Message(Role.USER),), tools=(OTHER_TOOL,)), "tools[0]"),
    ],
)
def test_what_cannot_be_carried_is_refused_by_name(request_: ChatRequest, where: str) -> None:
    with pytest.raises(UnsupportedField, match="cannot be carried") as caught:
        encode_request(request_, "up", PLAIN)
    assert caught.value.param == where
