"""The tools of a request: functions are offered, the others left out and named."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import Raw
from tests.unit.wire.responses.requests import TIME, WEATHER, body, read

from bandari.domain.chat import ChatRequest, Tool, ToolChoice
from bandari.domain.faults import CallerFault, InvalidValue, MissingField, UnsupportedField
from bandari.wire.responses.decode_request import decode_request

SEARCH = {"type": "web_search", "search_context_size": "high"}
OTHERS = [
    SEARCH,
    {"type": "namespace", "name": "n", "description": "", "tools": [WEATHER]},
    {"type": "custom", "name": "c"},
    {"type": "local_shell"},
    {"type": "mcp", "server_label": "s"},
]


def request(**fields: Any) -> ChatRequest:
    return decode_request(body(**fields)).chat


def original(**fields: Any) -> dict[str, Any]:
    kept = request(**fields).original
    assert kept is not None
    return {name: read(raw) for name, raw in kept.fields.items()}


def unknown(**fields: Any) -> tuple[str, ...]:
    kept = request(**fields).original
    assert kept is not None
    return kept.unknown


def refusal(**fields: Any) -> CallerFault:
    with pytest.raises(CallerFault) as caught:
        decode_request(body(**fields))
    return caught.value


def test_functions_are_offered() -> None:
    described = WEATHER | {"description": "d", "strict": True, "parameters": {"a": 1.50}}
    assert request(tools=[described, TIME]).tools == (
        Tool("weather", "d", Raw(b'{"a":1.5}'), True),
        Tool("time"),
    )


def test_every_other_tool_is_left_out_and_named() -> None:
    tools = [WEATHER, *OTHERS, TIME]
    assert [tool.name for tool in request(tools=tools).tools] == ["weather", "time"]
    assert original(tools=tools)["tools"] == [WEATHER, TIME]
    assert unknown(tools=tools) == ("tools[1]", "tools[2]", "tools[3]", "tools[4]", "tools[5]")


def test_of_a_type_that_is_said_twice_the_last_counts_for_us_and_for_the_upstream() -> None:
    twice = (
        b'{"model":"m","input":"x","tools":[{"type":"function","name":"f","type":"web_search"}]}'
    )
    chat = decode_request(twice).chat
    assert chat.tools == ()
    assert chat.original is not None
    assert "tools" not in chat.original.fields


def test_what_a_tool_says_in_this_protocol_only_is_named() -> None:
    special = {
        "async": True,
        "allowed_callers": ["direct"],
        "defer_loading": True,
        "output_schema": {},
    }
    kept = request(tools=[WEATHER | special, WEATHER | special]).original
    assert kept is not None
    assert kept.untold == tuple(sorted(f"tools[].{name}" for name in special))
    silent = {"async": False, "allowed_callers": None, "defer_loading": False}
    kept = request(tools=[WEATHER | silent]).original
    assert kept is not None
    assert kept.untold == ()


@pytest.mark.parametrize("mode", ["none", "auto", "required"])
def test_a_choice_as_a_word(mode: str) -> None:
    assert request(tools=[WEATHER], tool_choice=mode).tool_choice == ToolChoice(mode)
    assert original(tools=[WEATHER], tool_choice=mode)["tool_choice"] == mode


def test_one_function_may_be_chosen() -> None:
    chosen = {"type": "function", "name": "time"}
    fields = {"tools": [WEATHER, TIME], "tool_choice": chosen}
    assert request(**fields).tool_choice == ToolChoice("named", "time")
    assert original(**fields)["tool_choice"] == chosen
    assert original(**fields)["tools"] == [WEATHER, TIME]


@pytest.mark.parametrize("mode", ["auto", "required"])
def test_tools_that_are_not_allowed_are_not_offered(mode: str) -> None:
    allowed = {
        "type": "allowed_tools",
        "mode": mode,
        "tools": [{"type": "web_search"}, {"type": "function", "name": "time"}],
    }
    fields = {"tools": [WEATHER, SEARCH, TIME], "tool_choice": allowed}
    assert request(**fields).tools == (Tool("time"),)
    assert request(**fields).tool_choice == ToolChoice(mode)
    assert original(**fields)["tools"] == [TIME]
    assert original(**fields)["tool_choice"] == mode
    assert unknown(**fields) == ("tools[1]",)


@pytest.mark.parametrize("mode", ["auto", "none"])
def test_where_no_tool_is_left_there_is_nothing_to_choose(mode: str) -> None:
    fields = {"tools": [SEARCH], "tool_choice": mode, "parallel_tool_calls": True}
    assert request(**fields).tool_choice is None
    assert request(**fields).parallel_tool_calls is None
    assert not {"tools", "tool_choice", "parallel_tool_calls"} & original(**fields).keys()
    assert unknown(**fields) == ("tools[0]",)


@pytest.mark.parametrize("tools", [None, [], [WEATHER], [WEATHER, SEARCH]])
def test_otherwise_the_choice_stays(tools: list[dict[str, Any]] | None) -> None:
    read_request = request(tools=tools, tool_choice="auto", parallel_tool_calls=False)
    assert read_request.tool_choice == ToolChoice("auto")
    assert read_request.parallel_tool_calls is False


@pytest.mark.parametrize(
    ("choice", "param"),
    [
        ("required", "tool_choice"),
        ({"type": "web_search_preview"}, "tool_choice.type"),
        ({"type": "custom", "name": "c"}, "tool_choice.type"),
        ({"type": "mcp", "server_label": "s"}, "tool_choice.type"),
        (
            {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "web_search"}]},
            "tool_choice.tools",
        ),
        ({"type": "allowed_tools", "mode": "auto", "tools": []}, "tool_choice.tools"),
    ],
)
def test_a_tool_that_was_left_out_cannot_be_chosen(choice: Any, param: str) -> None:
    fault = refusal(tools=OTHERS, tool_choice=choice)
    assert type(fault) is UnsupportedField
    assert fault.param == param
    assert fault.message.startswith(f"'{param}")


def test_a_call_may_be_forced_where_a_function_is_left() -> None:
    read_request = request(tools=[SEARCH, WEATHER], tool_choice="required")
    assert read_request.tool_choice == ToolChoice("required")


def test_only_tools_that_are_offered_can_be_allowed() -> None:
    allowed = {
        "type": "allowed_tools",
        "mode": "auto",
        "tools": [{"type": "function", "name": "x"}],
    }
    fault = refusal(tools=[WEATHER], tool_choice=allowed)
    assert type(fault) is InvalidValue
    assert fault.param == "tool_choice.tools"
    assert fault.message == ("'tool_choice.tools' names the tool 'x', which is not among 'tools'.")


@pytest.mark.parametrize(
    "choice",
    [
        {"type": "x" * 5000},
        {
            "type": "allowed_tools",
            "mode": "auto",
            "tools": [{"type": "function", "name": "x" * 5000}],
        },
    ],
)
def test_what_is_long_is_told_in_short(choice: Any) -> None:
    message = refusal(tools=[WEATHER], tool_choice=choice).message
    assert f"'{'x' * 100}'" in message


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"tools": {}}, "'tools' must be an array, and is an object."),
        ({"tools": ["x"]}, "'tools[0]' must be an object, and is a string."),
        ({"tools": [{"type": 5}]}, "'tools[0].type' must be a string, and is an integer."),
        (
            {"tools": [SEARCH, TIME | {"name": "a b"}]},
            "'tools[1].name' must be 1 to 128 letters, digits, '_', '.', ':' or '-'.",
        ),
        (
            {"tools": [TIME | {"parameters": "x"}]},
            "'tools[0].parameters' must be an object, and is a string.",
        ),
        (
            {"tools": [TIME | {"strict": 1}]},
            "'tools[0].strict' must be true or false, and is an integer.",
        ),
        ({"tool_choice": 5}, "'tool_choice' must be a string or an object, and is an integer."),
        (
            {"tool_choice": "any"},
            "'tool_choice' must be one of none, auto, required, and is 'any'.",
        ),
        (
            {"tool_choice": {"type": "allowed_tools", "mode": "none", "tools": []}},
            "'tool_choice.mode' must be one of auto, required, and is 'none'.",
        ),
    ],
)
def test_a_wrong_value_is_named_with_what_it_must_be(fields: dict[str, Any], message: str) -> None:
    fault = refusal(**fields)
    assert type(fault) is InvalidValue
    assert fault.message == message
    assert fault.param == message.split("'")[1]


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"tools": [{}]}, "tools[0].type"),
        ({"tools": [{"type": "function"}]}, "tools[0].name"),
        ({"tools": [{"type": "function", "function": {"name": "f"}}]}, "tools[0].name"),
        ({"tool_choice": {}}, "tool_choice.type"),
        ({"tool_choice": {"type": "function"}}, "tool_choice.name"),
        ({"tool_choice": {"type": "allowed_tools", "tools": []}}, "tool_choice.mode"),
        ({"tool_choice": {"type": "allowed_tools", "mode": "auto"}}, "tool_choice.tools"),
        (
            {"tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{}]}},
            "tool_choice.tools[0].type",
        ),
        (
            {
                "tool_choice": {
                    "type": "allowed_tools",
                    "mode": "auto",
                    "tools": [{"type": "function"}],
                }
            },
            "tool_choice.tools[0].name",
        ),
    ],
)
def test_what_is_missing_is_named(fields: dict[str, Any], param: str) -> None:
    fault = refusal(**fields)
    assert type(fault) is MissingField
    assert (fault.param, fault.message) == (param, f"'{param}' is required.")
