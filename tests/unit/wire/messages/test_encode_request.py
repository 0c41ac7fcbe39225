"""From a ``ChatRequest`` to an upstream's bytes: what it gets, and what it never sees."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw
from msgspec.json import decode
from msgspec.structs import replace
from tests.unit.wire.messages.requests import MINIMAL, body, chat_requests, raw_body

from bandari.domain.chat import (
    ChatRequest,
    ImagePart,
    Message,
    Original,
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
from bandari.domain.faults import InvalidValue, UnsupportedField
from bandari.wire.dialect import Dialect
from bandari.wire.messages.decode_request import decode_request
from bandari.wire.messages.encode_request import DEFAULT_MAX_TOKENS, encode_request
from bandari.wire.messages.fields import CARRIED, COSTLY, ignored_fields

PLAIN = Dialect()
WHOLE = Dialect(streams=False)
HINTED = Dialect(obeys_tool_choice=False)

WEATHER = {"name": "weather", "input_schema": {"type": "object"}, "cache_control": {"type": "x"}}
TIME = {"name": "time", "input_schema": {"type": "object"}, "x-note": 1}
BASH = {"type": "bash_20250124", "name": "bash"}
CONTENT = (
    "system",
    "messages",
    "tools",
    "tool_choice",
    "thinking",
    "output_config",
    "metadata",
    "cache_control",
)


def spelled(request: ChatRequest, dialect: Dialect = WHOLE) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(encode_request(request, "up", dialect))
    return read


def relayed(dialect: Dialect = WHOLE, **fields: Any) -> dict[str, Any]:
    """What an upstream of the same protocol gets of a client's request."""
    return spelled(decode_request(body(**fields)), dialect)


def asking(*messages: Message, **fields: Any) -> ChatRequest:
    """A request from another protocol."""
    original = fields.pop("original", Original("chat_completions", {}))
    return ChatRequest("m", messages or (USER,), original=original, **fields)


def said(role: Role, *parts: Any, **fields: Any) -> Message:
    return Message(role, tuple(TextPart(p) if isinstance(p, str) else p for p in parts), **fields)


def refusal(request: ChatRequest) -> UnsupportedField | InvalidValue:
    with pytest.raises((UnsupportedField, InvalidValue)) as caught:
        encode_request(request, "up", PLAIN)
    return caught.value


USER = said(Role.USER, "hi")
OWN = ReasoningPart("Hm.", Seal("messages", "c2lnbmVk"))
OWN_SEALED = ReasoningPart("", Seal("messages", "ZW5j", is_thought=True))
FOREIGN = ReasoningPart("Hm.", Seal("responses", "ZW5j", is_thought=True))
UNSEALED = ReasoningPart("Hm.")
CALL = ToolCall("c1", "weather", '{"city": "Nairobi", "n": 1.50}')
CALLED = said(Role.ASSISTANT, tool_calls=(CALL,))
RESULT = said(Role.TOOL, "rain", tool_call_id="c1")


# -- the same protocol ----------------------------------------------------------------------------


def test_a_relay_byte_for_byte() -> None:
    assert encode_request(decode_request(body()), "up", PLAIN) == (
        b'{"model":"up","messages":[{"role": "user", "content": "hi"}],"max_tokens":9,'
        b'"stream":true}'
    )
    assert encode_request(decode_request(body(stream=True)), "up", WHOLE) == (
        b'{"model":"up","messages":[{"role": "user", "content": "hi"}],"max_tokens":9}'
    )


@pytest.mark.parametrize(
    ("name", "raw"),
    [
        ("system", b'[ {"type":"text","text":"\\u0041","cache_control": {"type":"ephemeral"} } ]'),
        (
            "messages",
            (
                b'[ {"content":[{"text":"\\u0041\\/","type":"text","zzz":[1e3]},'
                b'{"type":"document","title":null,"source":{"type":"url","url":"https:\\/\\/a"}}],'
                b'"role":"user","zzz":{"a" : 1.50}} ]'
            ),
        ),
        ("tools", b'[{"name":"f","input_schema":{"b":1,"a":2.0},"z":1,"defer_loading" :true}]'),
        ("tool_choice", b'{"type":"any" ,"z":1}'),
        ("thinking", b'{ "budget_tokens":5, "type":"enabled","display":"omitted"}'),
        ("thinking", b'{"type":"disabled" }'),
        ("output_config", b'{"effort":"max" , "task_budget":{"type":"tokens","total":5}}'),
        ("metadata", b'{"user_id": "\\u0041sha"}'),
        ("cache_control", b'{"type":"ephemeral" }'),
    ],
)
def test_the_clients_own_json_is_passed_on_verbatim(name: str, raw: bytes) -> None:
    request = decode_request(raw_body(name, raw))
    assert b'"%b":%b' % (name.encode(), raw) in encode_request(request, "up", PLAIN)


@pytest.mark.parametrize(
    ("name", "value"),
    [("temperature", 0.5), ("top_p", 0.5), ("top_k", 5), ("stop_sequences", ["a"])],
)
def test_sampling_is_passed_on(name: str, value: Any) -> None:
    assert relayed(**{name: value}) == relayed() | {name: value}


def test_what_was_decided_on_the_way_is_written_anew() -> None:
    request = decode_request(body(temperature=0.1, max_tokens=1000, stop_sequences=["x"]))
    sampling = Sampling(temperature=0.7, top_k=3, max_tokens=100)
    assert spelled(replace(request, sampling=sampling)) == {
        "model": "up",
        "messages": MINIMAL["messages"],
        "max_tokens": 100,
        "temperature": 0.7,
        "top_k": 3,
    }


def test_a_counted_prompt_is_spelled_with_a_limit() -> None:
    request = decode_request(body(max_tokens=...), needs_max_tokens=False)
    assert spelled(request)["max_tokens"] == DEFAULT_MAX_TOKENS


def test_null_is_not_passed_on() -> None:
    nothing = dict.fromkeys(CARRIED - MINIMAL.keys())
    assert relayed(Dialect(streams=False, extra_fields=frozenset({"x"})), x=None, **nothing) == (
        relayed()
    )


UNKNOWN: dict[str, Any] = {
    "context_management": {"edits": []},
    "diagnostics": {},
    "service_tier": "auto",
    "speed": "fast",
    "seed": 5,
    "zzz": 1,
}


def test_fields_beyond_the_common_ones_are_kept_back_and_named() -> None:
    assert relayed(**UNKNOWN) == relayed()
    request = decode_request(body(**UNKNOWN, nothing=None))
    assert ignored_fields(request, PLAIN) == tuple(sorted(UNKNOWN))


def test_a_dialect_names_the_fields_that_it_is_given() -> None:
    named = {"context_management", "zzz"}
    dialect = Dialect(streams=False, extra_fields=frozenset(named))
    assert relayed(dialect, **UNKNOWN) == relayed() | {name: UNKNOWN[name] for name in named}
    request = decode_request(body(**UNKNOWN))
    assert ignored_fields(request, dialect) == tuple(sorted(UNKNOWN.keys() - named))


@pytest.mark.parametrize("name", sorted(COSTLY - {"mcp_servers", "thread"}))
def test_what_changes_the_cost_is_never_passed_on(name: str) -> None:
    dialect = Dialect(streams=False, extra_fields=frozenset(COSTLY))
    assert relayed(dialect, **{name: "x"}) == relayed()
    assert ignored_fields(decode_request(body(**{name: "x"})), dialect) == (name,)


def test_no_field_is_both_carried_and_costly() -> None:
    assert not CARRIED & COSTLY


def test_what_is_carried_is_never_named_as_ignored() -> None:
    request = decode_request(
        body(
            system="s",
            tools=[WEATHER],
            thinking={"type": "enabled", "budget_tokens": 5, "display": "omitted"},
            metadata={"user_id": "u"},
            cache_control={"type": "ephemeral"},
            top_k=3,
        )
    )
    assert request.original is not None
    assert request.original.untold
    assert ignored_fields(request, PLAIN) == ()


def test_a_dialect_cannot_take_back_what_was_decided() -> None:
    dialect = Dialect(streams=False, extra_fields=frozenset({"stream", "max_tokens"}))
    assert "stream" not in relayed(dialect, stream=True)


def test_constants_are_in_every_request() -> None:
    constants = {"timings": Raw(b"true")}
    assert relayed(Dialect(streams=False, constants=constants)) == relayed() | {"timings": True}
    assert spelled(asking(), Dialect(constants=constants))["timings"] is True


# -- thoughts that go back to where they came from ------------------------------------------------

THINKING = {"type": "thinking", "thinking": "Hm.", "signature": "c2lnbmVk"}
REDACTED = {"type": "redacted_thinking", "data": "ZW5j"}
FOREIGN_THINKING = THINKING | {"signature": "bandari:responses:signature:abc"}
FOREIGN_REDACTED = REDACTED | {"data": "bandari:responses:thought:abc"}
UNSIGNED = THINKING | {"signature": ""}
USE = {"type": "tool_use", "id": "c1", "name": "weather", "input": {}}
USED = {"type": "tool_result", "tool_use_id": "c1"}
ENABLED = {"type": "enabled", "budget_tokens": 5000}


def turns(*blocks: Any) -> list[dict[str, Any]]:
    """A conversation in which the assistant said these blocks."""
    return [MINIMAL["messages"][0], {"role": "assistant", "content": list(blocks), "zzz": 1}]


def test_own_thoughts_are_passed_on_verbatim() -> None:
    messages = turns(THINKING, REDACTED, {"type": "text", "text": "ho"})
    assert relayed(messages=messages)["messages"] == messages
    assert ignored_fields(decode_request(body(messages=messages)), PLAIN) == ()


@pytest.mark.parametrize("foreign", [FOREIGN_THINKING, FOREIGN_REDACTED, UNSIGNED])
def test_thoughts_that_another_sealed_are_taken_out_and_named(foreign: dict[str, Any]) -> None:
    text = {"type": "text", "text": "ho", "cache_control": {"type": "ephemeral"}}
    request = decode_request(body(messages=turns(foreign, THINKING, text)))
    assert spelled(request)["messages"] == turns(THINKING, text)
    assert ignored_fields(request, PLAIN) == ("reasoning",)


def test_only_what_has_to_be_taken_out_is_written_anew() -> None:
    raw = (
        b'[{"role":"user","content":"\\u0041"},{"role":"assistant","content":['
        b'{"type":"thinking","thinking":"","signature":""},{"type":"text","text":"\\u0041" }]}]'
    )
    assert (
        b'"messages":[{"role":"user","content":"\\u0041"},{"role":"assistant","content":['
        b'{"type":"text","text":"\\u0041" }]}]'
    ) in encode_request(decode_request(raw_body("messages", raw)), "up", PLAIN)


def test_a_turn_of_nothing_but_foreign_thoughts_is_left_out() -> None:
    messages = [*turns(FOREIGN_THINKING), {"role": "user", "content": "so?"}]
    assert relayed(messages=messages)["messages"] == [messages[0], messages[2]]


def test_a_turn_that_said_nothing_from_the_start_is_the_clients_business() -> None:
    messages = [{"role": "user", "content": []}, *turns(FOREIGN_THINKING, THINKING)]
    assert relayed(messages=messages)["messages"] == [messages[0], *turns(THINKING)]


@pytest.mark.parametrize("thinking", [ENABLED, {"type": "adaptive"}])
def test_without_its_thought_a_call_is_gone_on_from_without_thinking(thinking: Any) -> None:
    messages = [*turns(FOREIGN_THINKING, USE), {"role": "user", "content": [USED]}]
    request = decode_request(body(messages=messages, thinking=thinking, max_tokens=9000))
    assert "thinking" not in spelled(request)
    assert ignored_fields(request, PLAIN) == ("reasoning", "thinking")


@pytest.mark.parametrize(
    ("messages", "thinking"),
    [
        ([*turns(THINKING, FOREIGN_THINKING, USE), {"role": "user", "content": [USED]}], ENABLED),
        ([*turns(USE), {"role": "user", "content": [USED]}], ENABLED),
        (
            [
                *turns(FOREIGN_THINKING, USE),
                {"role": "user", "content": [USED, {"type": "text", "text": "go on"}]},
            ],
            ENABLED,
        ),
        (
            [*turns(FOREIGN_THINKING, USE), {"role": "user", "content": [USED]}],
            {"type": "disabled"},
        ),
    ],
)
def test_otherwise_thinking_stands_as_the_client_wrote_it(messages: Any, thinking: Any) -> None:
    request = decode_request(body(messages=messages, thinking=thinking, max_tokens=9000))
    assert spelled(request)["thinking"] == thinking
    assert "thinking" not in ignored_fields(request, PLAIN)


@pytest.mark.parametrize(
    ("limit", "budget"), [(9000, 5000), (5001, 5000), (5000, 4999), (1025, 1024), (1024, None)]
)
def test_an_answer_that_was_shortened_is_thought_of_for_less(
    limit: int, budget: int | None
) -> None:
    request = decode_request(body(thinking=ENABLED | {"display": "omitted"}, max_tokens=9000))
    shortened = replace(request, sampling=Sampling(max_tokens=limit))
    expected = None if budget is None else ENABLED | {"display": "omitted", "budget_tokens": budget}
    assert spelled(shortened).get("thinking") == expected
    assert ignored_fields(shortened, PLAIN) == (("thinking",) if budget is None else ())


def test_a_budget_that_the_client_itself_set_too_high_is_left_to_the_provider() -> None:
    assert relayed(thinking=ENABLED, max_tokens=3000)["thinking"] == ENABLED


# -- a provider that takes the choice of a tool for a hint ----------------------------------------


def test_a_hinted_dialect_is_shown_only_the_tool_that_was_named() -> None:
    named = {"type": "tool", "name": "time", "disable_parallel_tool_use": True}
    fields: dict[str, Any] = {"tools": [WEATHER, BASH, TIME], "tool_choice": named}
    assert relayed(**fields)["tool_choice"] == named
    read = relayed(HINTED, **fields)
    assert read["tools"] == [TIME]
    assert read["tool_choice"] == {"type": "any", "disable_parallel_tool_use": True}


def test_a_hinted_dialect_is_shown_no_tools_where_it_may_not_call() -> None:
    fields: dict[str, Any] = {"tools": [TIME], "tool_choice": {"type": "none"}}
    assert relayed(**fields)["tools"] == [TIME]
    assert not {"tools", "tool_choice"} & relayed(HINTED, **fields).keys()


@pytest.mark.parametrize("choice", [{"type": "auto"}, {"type": "any"}, None])
def test_a_hinted_dialect_is_shown_all_tools_otherwise(choice: Any) -> None:
    fields: dict[str, Any] = {"tools": [TIME, WEATHER], "tool_choice": choice}
    assert relayed(HINTED, **fields) == relayed(PLAIN, **fields)


@pytest.mark.parametrize("choice", [{"type": "none"}, {"type": "tool", "name": "time"}])
def test_a_hinted_dialect_needs_no_tools_for_a_choice(choice: Any) -> None:
    assert relayed(HINTED, tool_choice=choice) == relayed(PLAIN, tool_choice=choice)


def test_a_hinted_dialect_is_hinted_across_protocols_too() -> None:
    request = asking(tools=(Tool("weather"), Tool("time")), tool_choice=ToolChoice("named", "time"))
    read = spelled(request, HINTED)
    assert [tool["name"] for tool in read["tools"]] == ["time"]
    assert read["tool_choice"] == {"type": "any"}


# -- from another protocol ------------------------------------------------------------------------


def test_without_an_original_everything_is_spelled() -> None:
    request = asking(
        said(Role.SYSTEM, "a"),
        USER,
        said(Role.ASSISTANT, OWN, OWN_SEALED, "b", tool_calls=(CALL, ToolCall("c2", "f", ""))),
        RESULT,
        said(Role.TOOL, "x", "y", tool_call_id="c2", is_error=True),
        said(Role.USER, "c"),
        sampling=Sampling(temperature=0.5, top_p=0.6, top_k=7, max_tokens=8, stop=("x",)),
        tools=(
            Tool("weather", "Tells it.", Raw(b'{"type":"object","a":1.50}'), strict=True),
            Tool("f"),
        ),
        tool_choice=ToolChoice("auto"),
        parallel_tool_calls=False,
        response_format=ResponseFormat("json_schema", "s", Raw(b'{"b":1.0}')),
        user="Asha",
        reasoning_effort="high",
    )
    assert encode_request(request, "up", WHOLE) == (
        b'{"model":"up","system":"a","messages":['
        b'{"role":"user","content":"hi"},'
        b'{"role":"assistant","content":['
        b'{"type":"thinking","thinking":"Hm.","signature":"c2lnbmVk"},'
        b'{"type":"redacted_thinking","data":"ZW5j"},'
        b'{"type":"text","text":"b"},'
        b'{"type":"tool_use","id":"c1","name":"weather","input":{"city": "Nairobi", "n": 1.50}},'
        b'{"type":"tool_use","id":"c2","name":"f","input":{}}]},'
        b'{"role":"user","content":['
        b'{"type":"tool_result","tool_use_id":"c1","content":"rain"},'
        b'{"type":"tool_result","tool_use_id":"c2","content":['
        b'{"type":"text","text":"x"},{"type":"text","text":"y"}],"is_error":true},'
        b'{"type":"text","text":"c"}]}],'
        b'"tools":[{"name":"weather","description":"Tells it.",'
        b'"input_schema":{"type":"object","a":1.50},"strict":true},'
        b'{"name":"f","input_schema":{"type":"object"}}],'
        b'"tool_choice":{"type":"auto","disable_parallel_tool_use":true},'
        b'"thinking":{"type":"adaptive"},'
        b'"output_config":{"format":{"type":"json_schema","schema":{"b":1.0}},"effort":"high"},'
        b'"metadata":{"user_id":"Asha"},'
        b'"max_tokens":8,"temperature":0.5,"top_p":0.6,"top_k":7,"stop_sequences":["x"]}'
    )
    assert ignored_fields(request, PLAIN) == ()


def test_an_answer_whose_length_was_not_said_gets_a_limit() -> None:
    assert spelled(asking())["max_tokens"] == DEFAULT_MAX_TOKENS


def test_instructions_before_the_conversation_are_the_system_prompt() -> None:
    image = said(Role.USER, ImagePart("https://a.example/b"))
    read = spelled(
        asking(
            said(Role.DEVELOPER, "a"),
            said(Role.SYSTEM, "b", ""),
            image,
            said(Role.DEVELOPER, "c"),
            said(Role.SYSTEM, "d", "e"),
        )
    )
    assert read["system"] == [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    source = {"type": "url", "url": "https://a.example/b"}
    assert read["messages"] == [
        {"role": "user", "content": [{"type": "image", "source": source}]},
        {"role": "system", "content": "c"},
        {"role": "system", "content": [{"type": "text", "text": t} for t in "de"]},
    ]


@pytest.mark.parametrize("blank", ["", " ", "\n\t"])
def test_text_that_says_nothing_is_left_out(blank: str) -> None:
    read = spelled(
        asking(
            said(Role.SYSTEM, blank),
            said(Role.USER, "hi", blank),
            said(Role.ASSISTANT, blank),
            said(Role.ASSISTANT),
            said(Role.ASSISTANT, blank, tool_calls=(CALL,)),
            said(Role.TOOL, blank, tool_call_id="c1"),
        )
    )
    assert "system" not in read
    assert [turn["role"] for turn in read["messages"]] == ["user", "assistant", "user"]
    assert read["messages"][0]["content"] == "hi"
    assert [block["type"] for block in read["messages"][1]["content"]] == ["tool_use"]
    assert read["messages"][2]["content"] == [{"type": "tool_result", "tool_use_id": "c1"}]


@pytest.mark.parametrize(
    "messages", [(said(Role.SYSTEM, "a"),), (said(Role.USER, ""),), (said(Role.ASSISTANT),)]
)
def test_a_conversation_in_which_nothing_is_said_is_refused(messages: Any) -> None:
    fault = refusal(asking(*messages))
    assert type(fault) is InvalidValue
    assert fault.param == "messages"


def test_results_stand_alone_where_no_user_speaks_after_them() -> None:
    read = spelled(asking(USER, CALLED, RESULT, said(Role.ASSISTANT, "ho"), said(Role.USER, "x")))
    assert [turn["role"] for turn in read["messages"]] == [
        "user",
        "assistant",
        "user",
        "assistant",
        "user",
    ]
    read = spelled(asking(USER, CALLED, RESULT, said(Role.USER, "")))
    assert len(read["messages"]) == 3


@pytest.mark.parametrize("arguments", ["", "  "])
def test_a_call_without_arguments_has_an_empty_input(arguments: str) -> None:
    called = said(Role.ASSISTANT, tool_calls=(ToolCall("c1", "f", arguments),))
    read = spelled(asking(USER, called, RESULT))
    assert read["messages"][1]["content"][0]["input"] == {}


@pytest.mark.parametrize(
    "arguments",
    [
        "[]",
        "5",
        "null",
        '"{}"',
        "{",
        '{"a":01}',
        pytest.param('{"a":' * 9999, id="deep"),
        '{"a":"\ud800"}',
    ],
)
def test_arguments_that_are_no_object_are_refused(arguments: str) -> None:
    called = said(Role.ASSISTANT, tool_calls=(ToolCall("c1", "f", arguments),))
    fault = refusal(asking(USER, called, RESULT))
    assert type(fault) is InvalidValue
    assert fault.param == "messages"
    assert fault.message == (
        "The arguments of the call 'c1' in 'messages' are no JSON object, which this model's "
        "provider needs."
    )


@pytest.mark.parametrize(
    ("url", "source"),
    [
        ("https://a.example/é", {"type": "url", "url": "https://a.example/é"}),
        ("HTTP://a.example", {"type": "url", "url": "HTTP://a.example"}),
        (
            "data:image/png;base64,iVB+/w==",
            {"type": "base64", "media_type": "image/png", "data": "iVB+/w=="},
        ),
        (
            "data:image/svg+xml;charset=utf-8;base64,AAAA",
            {"type": "base64", "media_type": "image/svg+xml", "data": "AAAA"},
        ),
    ],
)
def test_images_are_spelled_by_url_or_by_their_bytes(url: str, source: Any) -> None:
    read = spelled(asking(said(Role.USER, ImagePart(url))))
    assert read["messages"][0]["content"] == [{"type": "image", "source": source}]
    read = spelled(asking(USER, CALLED, said(Role.TOOL, ImagePart(url), tool_call_id="c1")))
    assert read["messages"][2]["content"][0]["content"] == [{"type": "image", "source": source}]


@pytest.mark.parametrize(
    "url",
    [
        "x",
        "",
        "data:",
        "data:image/png",
        "data:image/png,AAAA",
        "data:image/png;base64",
        "data:image/png;base64,",
        "data:image/png;base64,AA AA",
        "data:image/png;base64,=A",
        "data:image/png;base64,AAAA%3D",
        "data:;base64,AAAA",
        "data:png;base64,AAAA",
        "file:///etc/passwd",
        "blob:image/png;base64,AAAA",
        pytest.param("data:" + "x" * 5000, id="long"),
    ],
)
def test_an_image_that_is_neither_is_refused(url: str) -> None:
    fault = refusal(asking(said(Role.USER, ImagePart(url))))
    assert type(fault) is InvalidValue
    assert fault.param == "messages"
    assert len(fault.message) < 250


@pytest.mark.parametrize(
    ("parameters", "expected"),
    [
        (None, b'{"type":"object"}'),
        (b"{}", b'{"type":"object"}'),
        (b'{"properties":{"a": 1.0}}', b'{"type":"object","properties":{"a": 1.0}}'),
        (b'{ "type": "object"}', b'{ "type": "object"}'),
    ],
)
def test_a_schema_of_arguments_says_that_they_are_an_object(
    parameters: bytes | None, expected: bytes
) -> None:
    tool = Tool("f", parameters=None if parameters is None else Raw(parameters))
    assert b'{"name":"f","input_schema":%b}' % expected in (
        encode_request(asking(tools=(tool,)), "up", PLAIN)
    )


def test_a_schema_of_arguments_that_is_no_object_is_refused() -> None:
    fault = refusal(asking(tools=(Tool("f", parameters=Raw(b"true")),)))
    assert type(fault) is InvalidValue
    assert fault.param == "tools"


@pytest.mark.parametrize(
    ("choice", "parallel", "expected"),
    [
        (None, None, None),
        (None, True, None),
        (None, False, {"type": "auto", "disable_parallel_tool_use": True}),
        (ToolChoice("auto"), True, {"type": "auto"}),
        (ToolChoice("required"), False, {"type": "any", "disable_parallel_tool_use": True}),
        (ToolChoice("named", "f"), None, {"type": "tool", "name": "f"}),
        (ToolChoice("none"), False, {"type": "none"}),
    ],
)
def test_the_choice_of_a_tool_is_spelled(choice: Any, parallel: Any, expected: Any) -> None:
    fields: dict[str, Any] = {"tool_choice": choice, "parallel_tool_calls": parallel}
    assert spelled(asking(tools=(Tool("f"),), **fields)).get("tool_choice") == expected
    assert "tool_choice" not in spelled(asking(**fields)), "only with tools may there be a choice"


@pytest.mark.parametrize(
    ("effort", "thinking", "config"),
    [
        (None, None, None),
        ("none", {"type": "disabled"}, None),
        ("minimal", {"type": "adaptive"}, {"effort": "low"}),
        ("low", {"type": "adaptive"}, {"effort": "low"}),
        ("max", {"type": "adaptive"}, {"effort": "max"}),
    ],
)
def test_effort_is_spelled(effort: str | None, thinking: Any, config: Any) -> None:
    read = spelled(asking(reasoning_effort=effort))
    assert (read.get("thinking"), read.get("output_config")) == (thinking, config)


@pytest.mark.parametrize(
    ("request_", "thinks"),
    [
        (asking(USER, CALLED, RESULT), False),
        (asking(USER, said(Role.ASSISTANT, FOREIGN, tool_calls=(CALL,)), RESULT), False),
        (asking(USER, said(Role.ASSISTANT, UNSEALED, tool_calls=(CALL,)), RESULT), False),
        (asking(USER, CALLED, RESULT, said(Role.ASSISTANT, OWN, "ho")), False),
        (asking(USER, said(Role.ASSISTANT, OWN, tool_calls=(CALL,)), RESULT), True),
        (asking(USER, said(Role.ASSISTANT, OWN_SEALED, tool_calls=(CALL,)), RESULT), True),
        (asking(USER, CALLED, RESULT, said(Role.USER, "so?")), True),
        (asking(USER, said(Role.ASSISTANT, UNSEALED, "ho")), True),
        (asking(tools=(Tool("f"),), tool_choice=ToolChoice("required")), False),
        (asking(tools=(Tool("f"),), tool_choice=ToolChoice("named", "f")), False),
        (asking(tools=(Tool("f"),), tool_choice=ToolChoice("none")), True),
    ],
)
def test_a_model_thinks_where_its_provider_would_let_it(
    request_: ChatRequest, thinks: bool
) -> None:
    request = replace(request_, reasoning_effort="high")
    read = spelled(request)
    assert ("thinking" in read, "output_config" in read) == (thinks, thinks)
    assert ("reasoning_effort" in ignored_fields(request, PLAIN)) is not thinks
    unthinking = replace(request_, reasoning_effort="none")
    assert spelled(unthinking)["thinking"] == {"type": "disabled"}
    assert "reasoning_effort" not in ignored_fields(unthinking, PLAIN)


def test_only_own_thoughts_are_sent_and_the_others_named() -> None:
    request = asking(USER, said(Role.ASSISTANT, FOREIGN, UNSEALED, OWN, "ho"))
    kinds = [block["type"] for block in spelled(request)["messages"][1]["content"]]
    assert kinds == ["thinking", "text"]
    assert ignored_fields(request, PLAIN) == ("reasoning",)
    own = asking(USER, said(Role.ASSISTANT, OWN, "ho"))
    assert ignored_fields(own, PLAIN) == ()


def test_what_is_lost_on_the_way_is_named() -> None:
    shown = said(Role.USER, ImagePart("https://a.b", "low"), name="Asha")
    request = asking(
        shown,
        shown,
        sampling=Sampling(seed=0),
        original=Original("chat_completions", {}, ("store",), ("verbosity",)),
    )
    named = ("messages[].content[].image_url.detail", "messages[].name", "seed")
    assert ignored_fields(request, PLAIN) == (*named, "store", "verbosity")
    assert ignored_fields(request, Dialect(extra_fields=frozenset({"store"}))) == (
        *named,
        "store",
        "verbosity",
    )


def test_a_field_of_another_protocol_is_not_this_ones_of_the_same_name() -> None:
    original = Original("chat_completions", {"metadata": Raw(b"{}"), "zzz": Raw(b"1")}, ("zzz",))
    request = asking(original=original)
    read = spelled(request, Dialect(extra_fields=frozenset({"zzz"})))
    assert not {"metadata", "zzz"} & read.keys()


def test_nothing_is_ignored_of_a_request_that_no_client_wrote() -> None:
    assert ignored_fields(ChatRequest("m", ()), PLAIN) == ()


OTHER_PART = OtherPart("chat_completions", "file", Raw(b"{}"), "messages[0].content[1]")
OTHER_TOOL = OtherTool("responses", "shell", Raw(b"{}"), "tools[3]")


@pytest.mark.parametrize(
    ("request_", "param"),
    [
        (asking(sampling=Sampling(n=2)), "n"),
        (asking(sampling=Sampling(logit_bias={"5": 1})), "logit_bias"),
        (asking(sampling=Sampling(logprobs=True)), "logprobs"),
        (asking(sampling=Sampling(top_logprobs=0)), "top_logprobs"),
        (asking(sampling=Sampling(presence_penalty=0.5)), "presence_penalty"),
        (asking(sampling=Sampling(frequency_penalty=-0.5)), "frequency_penalty"),
        (asking(response_format=ResponseFormat("json_object")), "response_format"),
        (asking(response_format=ResponseFormat("json_schema", "s")), "response_format"),
        (asking(said(Role.USER, OTHER_PART)), "messages[0].content[1]"),
        (asking(USER, said(Role.TOOL, OTHER_PART, tool_call_id="1")), "messages[0].content[1]"),
        (asking(USER, said(Role.SYSTEM, ImagePart("https://a.b"))), "messages"),
        (asking(said(Role.SYSTEM, ImagePart("https://a.b")), USER), "messages"),
        (asking(tools=(OTHER_TOOL,)), "tools[3]"),
    ],
)
def test_what_cannot_be_carried_is_refused_by_name(request_: ChatRequest, param: str) -> None:
    fault = refusal(request_)
    assert type(fault) is UnsupportedField
    assert fault.param == param
    assert "cannot be carried" in fault.message


@pytest.mark.parametrize(
    "sampling",
    [Sampling(presence_penalty=0, frequency_penalty=0.0), Sampling(logit_bias={}), Sampling()],
)
def test_what_changes_nothing_is_no_reason_to_refuse(sampling: Sampling) -> None:
    read = spelled(asking(sampling=sampling, response_format=ResponseFormat("text")))
    assert read.keys() == {"model", "messages", "max_tokens"}


# -- nothing is lost ------------------------------------------------------------------------------


def meaning(request: ChatRequest) -> dict[str, Any]:
    """Everything that a request asks for; its sizes and the client's own JSON are no part of it."""
    fields = {name: getattr(request, name) for name in request.__struct_fields__}
    for name in ("original", "input_bytes", "images", "stream"):
        del fields[name]
    fields["messages"] = [
        replace(turn, parts=tuple(map(without_its_place, turn.parts))) for turn in request.messages
    ]
    fields["tools"] = list(map(without_its_place, request.tools))
    return fields


def without_its_place(value: Any) -> Any:
    return replace(value, where="") if isinstance(value, OtherPart | OtherTool) else value


@given(chat_requests())
def test_what_is_spelled_is_read_back_with_the_same_meaning(request: ChatRequest) -> None:
    assert ignored_fields(request, PLAIN) == ()
    read = decode_request(encode_request(request, "public", PLAIN))
    assert meaning(read) == meaning(request)
    assert read.stream


@given(chat_requests(), st.sampled_from([None, 1, "\t"]), st.booleans())
def test_a_relay_keeps_the_content_byte_for_byte(
    request: ChatRequest, indent: int | str | None, ascii_only: bool
) -> None:
    fields = json.loads(encode_request(request, "public", WHOLE))
    text = json.dumps(fields, indent=indent, ensure_ascii=ascii_only).encode()
    read = decode_request(text)
    sent = encode_request(read, "public", PLAIN)
    written, relayed = decode(text, type=dict[str, Raw]), decode(sent, type=dict[str, Raw])
    for name in CONTENT:
        assert bytes(relayed.get(name, b"")) == bytes(written.get(name, b"")), name
    assert meaning(decode_request(sent)) == meaning(read)
