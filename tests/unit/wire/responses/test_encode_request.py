"""From a ``ChatRequest`` to an upstream's bytes: what it gets, and what it never sees."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from msgspec import Raw
from msgspec.structs import replace
from tests.unit.wire.responses.requests import (
    TIME,
    WEATHER,
    assistant,
    body,
    call,
    chat_requests,
    raw,
    result,
    thought,
    turns_without_places,
    user,
)

from bandari.domain.chat import (
    ChatRequest,
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
    ToolChoice,
)
from bandari.domain.faults import UnsupportedField
from bandari.wire.dialect import Dialect
from bandari.wire.responses.decode_request import decode_request
from bandari.wire.responses.encode_request import encode_request
from bandari.wire.responses.fields import (
    CARRIED,
    COSTLY,
    ENCRYPTED_THOUGHTS,
    LOGPROBS,
    ignored_fields,
)

PLAIN = Dialect()
WHOLE = Dialect(streams=False)
HINTED = Dialect(obeys_tool_choice=False)
EAGER = Dialect(extra_fields=CARRIED | COSTLY)
HI = user([{"type": "input_text", "text": "hi"}])
USER = Message(Role.USER, (TextPart("hi"),))
PLAIN_REQUEST = ChatRequest("m", (USER,))


def relayed(dialect: Dialect = PLAIN, **fields: Any) -> dict[str, Any]:
    """What an upstream of the same protocol gets of a client's request."""
    request = decode_request(body(**fields)).chat
    read: dict[str, Any] = json.loads(encode_request(request, "up", dialect))
    return read


def written(request: ChatRequest, dialect: Dialect = WHOLE) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(encode_request(request, "up", dialect))
    return read


# -- the same protocol ----------------------------------------------------------------------------


def test_a_relay_byte_for_byte() -> None:
    request = decode_request(body(instructions="Be brief.")).chat
    assert encode_request(request, "up", PLAIN) == (
        b'{"model":"up","input":[{"type":"message","role":"user","content":[{"type":"input_text",'
        b'"text":"hi"}]}],"instructions":"Be brief.","store":false,"stream":true}'
    )
    assert "stream" not in relayed(WHOLE)


@pytest.mark.parametrize(
    ("name", "spelled"),
    [
        ("instructions", b'"\\u0041"'),
        ("parallel_tool_calls", b"false"),
        ("safety_identifier", b'"\\u0041sha"'),
        ("text", b'{"verbosity":"low", "format":{"type":"text"}}'),
        ("tools", b'[{"type":"function","name":"f","parameters":{"b":1,"a":2.0},"z":1}]'),
        ("tool_choice", b'{"name":"f","z":1, "type":"function"}'),
        ("truncation", b'"auto"'),
        ("user", b'"\\u0041sha"'),
    ],
)
def test_the_clients_own_json_is_passed_on_verbatim(name: str, spelled: bytes) -> None:
    text = b'{"model":"m","input":"x","%b":%b}' % (name.encode(), spelled)
    request = decode_request(text).chat
    assert b'"%b":%b' % (name.encode(), spelled) in encode_request(request, "up", PLAIN)


def test_items_are_passed_on_but_for_what_means_nothing_to_the_upstream() -> None:
    items = [
        user("a") | {"id": "msg_1", "zzz": [1]},
        thought(id="rs_1", encrypted_content="gAAA"),
        thought(id="rs_2", summary=[{"type": "summary_text", "text": "Hm."}]),
        call() | {"id": "fc_1", "status": "completed"},
        result() | {"id": "fco_1"},
    ]
    assert relayed(input=items)["input"] == [
        user("a") | {"zzz": [1]},
        thought(encrypted_content="gAAA"),
        call() | {"status": "completed"},
        result(),
    ]


def test_what_was_said_before_is_sent_along() -> None:
    request = decode_request(body(previous_response_id="resp_1"))
    history = [raw(item) for item in (user("a"), assistant("b") | {"id": "msg_1"})]
    assert written(request.with_history(history))["input"] == [user("a"), assistant("b"), HI]


def test_an_upstream_is_asked_to_keep_nothing() -> None:
    kept = relayed(
        EAGER,
        store=True,
        background=True,
        previous_response_id="resp_1",
        metadata={"a": "b"},
        stream=True,
        stream_options={"include_obfuscation": True},
    )
    assert kept == relayed()
    assert kept["store"] is False


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", 0.5),
        ("top_p", 0.5),
        ("max_output_tokens", 5),
    ],
)
def test_sampling_is_passed_on(name: str, value: Any) -> None:
    assert relayed(**{name: value}) == relayed() | {name: value}


def test_a_model_s_default_reaches_the_upstream() -> None:
    request = decode_request(body(max_output_tokens=1000)).chat
    edited = replace(request, sampling=Sampling(temperature=0.7, max_tokens=100))
    read = written(edited)
    assert (read["temperature"], read["max_output_tokens"]) == (0.7, 100)


def test_reasoning_is_passed_on_but_for_what_costs_more() -> None:
    asked = {"effort": "low", "summary": "auto", "context": "all_turns", "mode": "pro", "zzz": 1}
    read = relayed(reasoning=asked)
    assert read["reasoning"] == {"effort": "low", "summary": "auto", "context": "all_turns"}
    for name in ("summary", "generate_summary"):
        assert relayed(reasoning={name: "auto"})["reasoning"] == {name: "auto"}
    assert "reasoning" not in relayed(reasoning=None)


def test_a_changed_effort_is_the_one_that_is_sent() -> None:
    request = decode_request(body(reasoning={"effort": "low", "summary": "auto"})).chat
    read = written(replace(request, reasoning_effort="high"))
    assert read["reasoning"] == {"effort": "high", "summary": "auto"}


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, None),
        ({"include": None}, None),
        ({"include": ["file_search_call.results"]}, None),
        ({"include": [ENCRYPTED_THOUGHTS]}, [ENCRYPTED_THOUGHTS]),
        ({"include": [LOGPROBS, ENCRYPTED_THOUGHTS]}, [ENCRYPTED_THOUGHTS, LOGPROBS]),
        ({"reasoning": {"effort": "low"}}, [ENCRYPTED_THOUGHTS]),
        ({"reasoning": {"effort": "low"}, "include": [ENCRYPTED_THOUGHTS]}, [ENCRYPTED_THOUGHTS]),
        ({"reasoning": {"effort": "none"}}, None),
        ({"top_logprobs": 2}, [LOGPROBS]),
    ],
)
def test_what_an_answer_shall_hold_besides(
    fields: dict[str, Any], expected: list[str] | None
) -> None:
    assert relayed(**fields).get("include") == expected


UNKNOWN: dict[str, Any] = {
    "prompt_cache_key": "k",
    "service_tier": "priority",
    "context_management": [],
    "stop": ["a"],
    "zzz": 1,
}


def test_fields_beyond_the_common_ones_are_kept_back_and_named() -> None:
    assert relayed(**UNKNOWN) == relayed()
    request = decode_request(body(**UNKNOWN, nothing=None)).chat
    assert ignored_fields(request, PLAIN) == tuple(sorted(UNKNOWN))


def test_a_dialect_names_the_fields_that_it_is_given() -> None:
    dialect = Dialect(extra_fields=frozenset({"prompt_cache_key", "stop", "service_tier"}))
    assert relayed(dialect, **UNKNOWN) == relayed() | {"prompt_cache_key": "k", "stop": ["a"]}
    request = decode_request(body(**UNKNOWN)).chat
    assert ignored_fields(request, dialect) == ("context_management", "service_tier", "zzz")


def test_the_clients_own_stop_goes_before_a_model_s_default() -> None:
    request = decode_request(body(stop=["a"])).chat
    edited = replace(request, sampling=Sampling(stop=("b",)))
    assert written(edited, Dialect(extra_fields=frozenset({"stop"})))["stop"] == ["a"]


@pytest.mark.parametrize("name", sorted(COSTLY))
def test_what_changes_the_cost_is_never_passed_on(name: str) -> None:
    request = PLAIN_REQUEST
    fields = {"input": raw([HI]), name: Raw(b'"x"')}
    kept = replace(request, original=Original("responses", fields, (name,)))
    assert name not in written(kept, EAGER)
    assert ignored_fields(kept, EAGER) == (name,)


def test_tools_that_are_left_out_are_not_passed_on() -> None:
    tools = [WEATHER, {"type": "web_search"}]
    assert relayed(tools=tools)["tools"] == [WEATHER]
    request = decode_request(body(tools=tools)).chat
    assert ignored_fields(request, PLAIN) == ignored_fields(request, EAGER) == ("tools[1]",)


def test_null_is_not_passed_on() -> None:
    nothing = dict.fromkeys(CARRIED - {"model", "input"})
    extra = Dialect(extra_fields=frozenset({"zzz"}))
    assert relayed(extra, zzz=None, **nothing) == relayed()


def test_what_is_carried_is_never_named_as_ignored() -> None:
    everything = {
        "stream": True,
        "store": True,
        "metadata": {},
        "truncation": "auto",
        "text": {"verbosity": "low"},
        "include": [LOGPROBS],
        "reasoning": {"summary": "auto"},
    }
    assert ignored_fields(decode_request(body(**everything)).chat, PLAIN) == ()
    assert ignored_fields(PLAIN_REQUEST, PLAIN) == ()


def test_a_thought_that_stays_behind_is_named() -> None:
    sealed, plain = thought(encrypted_content="gAAA"), thought(content=[{"text": "Hm."}])
    assert ignored_fields(decode_request(body(input=[sealed])).chat, PLAIN) == ()
    assert ignored_fields(decode_request(body(input=[plain])).chat, PLAIN) == ("reasoning",)


# -- dialects -------------------------------------------------------------------------------------


def test_constants_are_added_to_every_request() -> None:
    dialect = Dialect(constants={"zzz": Raw(b"1"), "truncation": Raw(b'"disabled"')})
    assert relayed(dialect, truncation="auto") == relayed() | {"zzz": 1, "truncation": "disabled"}


@pytest.mark.parametrize("strict", [True, None])
def test_a_hinted_dialect_is_shown_only_the_tool_that_was_named(strict: bool | None) -> None:
    tools = [WEATHER, TIME | {"zzz": 1, "strict": strict}]
    read = relayed(HINTED, tools=tools, tool_choice={"type": "function", "name": "time"})
    assert (read["tools"], read["tool_choice"]) == ([tools[1]], "required")


def test_a_hinted_dialect_is_shown_no_tools_where_it_may_not_call() -> None:
    read = relayed(HINTED, tools=[WEATHER, TIME], tool_choice="none")
    assert not {"tools", "tool_choice"} & read.keys()


@pytest.mark.parametrize("mode", ["auto", "required", None])
def test_a_hinted_dialect_is_shown_all_tools_otherwise(mode: str | None) -> None:
    read = relayed(HINTED, tools=[WEATHER, TIME], tool_choice=mode)
    assert (read["tools"], read.get("tool_choice")) == ([WEATHER, TIME], mode)


def test_a_hinted_dialect_is_hinted_across_protocols_too() -> None:
    request = replace(
        PLAIN_REQUEST,
        tools=(Tool("weather"), Tool("time")),
        tool_choice=ToolChoice("named", "time"),
    )
    read = written(request, HINTED)
    assert [tool["name"] for tool in read["tools"]] == ["time"]
    assert read["tool_choice"] == "required"
    assert written(request)["tool_choice"] == {"type": "function", "name": "time"}


def test_logprobs_with_tools_are_asked_for_whole_where_they_cannot_be_streamed() -> None:
    dialect = Dialect(streams_logprobs_with_tools=False)
    assert "stream" not in relayed(dialect, tools=[WEATHER], top_logprobs=1)
    assert relayed(dialect, tools=[WEATHER])["stream"] is True


# -- from another protocol ------------------------------------------------------------------------


def test_without_an_original_everything_is_spelled() -> None:
    request = ChatRequest(
        "m",
        (Message(Role.SYSTEM, (TextPart("a"),)), USER),
        tools=(Tool("f", "d", Raw(b'{"type":"object"}'), True), Tool("g")),
        tool_choice=ToolChoice("auto"),
        parallel_tool_calls=False,
        response_format=ResponseFormat("json_schema", "s", Raw(b"{}"), False),
        user="u",
        reasoning_effort="low",
        sampling=Sampling(temperature=0.5, max_tokens=7, logprobs=True, top_logprobs=2),
    )
    assert written(request) == {
        "model": "up",
        "instructions": "a",
        "input": [HI],
        "tools": [
            {
                "type": "function",
                "name": "f",
                "description": "d",
                "parameters": {"type": "object"},
                "strict": True,
            },
            {
                "type": "function",
                "name": "g",
                "parameters": {"type": "object", "properties": {}, "additionalProperties": False},
                "strict": False,
            },
        ],
        "tool_choice": "auto",
        "parallel_tool_calls": False,
        "text": {"format": {"type": "json_schema", "name": "s", "schema": {}, "strict": False}},
        "user": "u",
        "reasoning": {"effort": "low"},
        "include": [ENCRYPTED_THOUGHTS, LOGPROBS],
        "temperature": 0.5,
        "max_output_tokens": 7,
        "top_logprobs": 2,
        "store": False,
    }


def test_the_least_is_spelled_with_the_least() -> None:
    assert written(PLAIN_REQUEST) == {"model": "up", "input": [HI], "store": False}


def test_another_protocols_fields_are_not_this_ones_spelling() -> None:
    fields = {"input": Raw(b'"x"'), "truncation": Raw(b'"auto"'), "zzz": Raw(b"1")}
    original = Original("messages", {**fields, "include": Raw(b"5")}, ("zzz",))
    request = replace(PLAIN_REQUEST, original=original)
    assert written(request, Dialect(streams=False, extra_fields=frozenset({"zzz"}))) == written(
        PLAIN_REQUEST
    )
    assert ignored_fields(request, Dialect(extra_fields=frozenset({"zzz"}))) == ("zzz",)


def test_what_is_lost_on_the_way_is_named() -> None:
    lost = Original("messages", {}, ("container",), ("messages[].content[].cache_control",))
    thoughtful = Message(Role.ASSISTANT, (ReasoningPart("Hm.", Seal("messages", "c2ln")),))
    request = ChatRequest(
        "m",
        (replace(USER, name="Asha"), thoughtful),
        sampling=Sampling(seed=1, top_k=2),
        original=lost,
    )
    assert ignored_fields(request, PLAIN) == (
        "container",
        "messages[].content[].cache_control",
        "messages[].name",
        "reasoning",
        "seed",
        "top_k",
    )


@pytest.mark.parametrize("name", ["seed", "top_k"])
def test_what_only_tunes_goes_to_those_who_know_it(name: str) -> None:
    request = replace(PLAIN_REQUEST, sampling=Sampling(**{name: 0}))
    knowing = Dialect(streams=False, extra_fields=frozenset({name}))
    assert written(request, knowing) == written(PLAIN_REQUEST) | {name: 0}
    assert written(PLAIN_REQUEST, knowing) == written(PLAIN_REQUEST)
    assert ignored_fields(request, knowing) == ()
    assert written(request) == written(PLAIN_REQUEST)
    assert ignored_fields(request, PLAIN) == (name,)


@pytest.mark.parametrize(
    ("name", "value", "nothing"),
    [
        ("stop", ("a",), ()),
        ("logit_bias", {"5": 1.0}, {}),
        ("presence_penalty", 0.5, 0.0),
        ("frequency_penalty", -0.5, 0.0),
    ],
)
def test_what_the_protocol_cannot_say_goes_to_those_who_know_it_only(
    name: str, value: Any, nothing: Any
) -> None:
    request = replace(PLAIN_REQUEST, sampling=Sampling(**{name: value}))
    knowing = Dialect(extra_fields=frozenset({name}))
    assert written(request, knowing)[name] == json.loads(json.dumps(value))
    with pytest.raises(UnsupportedField, match="cannot be carried") as caught:
        written(request)
    assert caught.value.param == name
    silent = replace(PLAIN_REQUEST, sampling=Sampling(**{name: nothing}))
    assert written(silent) == written(PLAIN_REQUEST)


def test_a_request_gets_one_answer() -> None:
    with pytest.raises(UnsupportedField) as caught:
        written(replace(PLAIN_REQUEST, sampling=Sampling(n=2)), EAGER)
    assert caught.value.param == "n"


@pytest.mark.parametrize(
    ("request_", "where"),
    [
        (
            ChatRequest(
                "m", (Message(Role.USER, (OtherPart("messages", "document", Raw(b"{}"), "m[0]"),)),)
            ),
            "m[0]",
        ),
        (
            replace(PLAIN_REQUEST, tools=(OtherTool("messages", "bash", Raw(b"{}"), "tools[0]"),)),
            "tools[0]",
        ),
    ],
)
def test_what_cannot_be_carried_is_refused_by_name(request_: ChatRequest, where: str) -> None:
    with pytest.raises(UnsupportedField, match="cannot be carried") as caught:
        written(request_)
    assert caught.value.param == where


# -- there and back -------------------------------------------------------------------------------


def meaning(request: ChatRequest) -> dict[str, Any]:
    """Everything that a request asks for, where two spellings of the same are one.

    The instructions that come first are one text, and so is a result without images; a tool is not
    strict unless it says so, and one without parameters has none.
    """
    fields = {name: getattr(request, name) for name in request.__struct_fields__}
    for name in ("original", "input_bytes", "images", "stream", "include_usage"):
        del fields[name]
    fields["messages"] = _joined_instructions(
        [_plain(turn) for turn in turns_without_places(request)]
    )
    none = Raw(b'{"type":"object","properties":{},"additionalProperties":false}')
    fields["tools"] = [
        replace(tool, strict=tool.strict is True, parameters=tool.parameters or none)
        for tool in request.tools
        if isinstance(tool, Tool)
    ]
    return fields


def _plain(turn: Message) -> Message:
    texts = [part.text for part in turn.parts if isinstance(part, TextPart)]
    if turn.role is Role.TOOL and len(texts) == len(turn.parts):
        return replace(turn, parts=(TextPart("\n\n".join(texts)),))
    if turn.role is Role.ASSISTANT:
        heard = tuple(part for part in turn.parts if part != ReasoningPart(""))
        nothing = () if turn.tool_calls else (TextPart(""),)
        return replace(turn, parts=heard or nothing)
    return turn


def _joined_instructions(turns: list[Message]) -> list[Message]:
    texts: list[str] = []
    for index, turn in enumerate(turns):
        said = [part.text for part in turn.parts if isinstance(part, TextPart)]
        if turn.role not in (Role.SYSTEM, Role.DEVELOPER) or len(said) < len(turn.parts):
            text = "\n\n".join(filter(None, texts))
            return [Message(Role.SYSTEM, (TextPart(text),))] * bool(text) + turns[index:]
        texts += said
    return turns


@given(chat_requests)
def test_what_is_spelled_is_read_back_with_the_same_meaning(request: ChatRequest) -> None:
    read = decode_request(encode_request(request, "public", PLAIN))
    assert meaning(read.chat) == meaning(request)
    assert read.chat.stream
    assert not read.store


@given(chat_requests)
def test_a_relay_keeps_the_meaning_and_the_items(request: ChatRequest) -> None:
    """Once more, this time from the client's own JSON."""
    encoded = encode_request(request, "public", WHOLE)
    read = decode_request(encoded).chat
    again = encode_request(read, "public", WHOLE)
    assert meaning(decode_request(again).chat) == meaning(request)
    assert json.loads(again)["input"] == json.loads(encoded)["input"]
