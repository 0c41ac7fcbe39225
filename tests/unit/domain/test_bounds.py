"""Every bound: the value at it passes, just outside it is refused by name."""

from __future__ import annotations

import math

import pytest
from msgspec import convert, json
from msgspec.structs import replace

from bandari.domain.bounds import MAX_INTEGER, Bounds, check
from bandari.domain.chat import (
    ChatRequest,
    Message,
    Role,
    Sampling,
    TextPart,
    Tool,
    ToolCall,
    ToolChoice,
)
from bandari.domain.faults import CallerFault, InvalidRequest, InvalidValue, MissingField

HELLO = Message(Role.USER, (TextPart("hello"),))
WEATHER = Tool("weather")


def request(**fields: object) -> ChatRequest:
    return replace(ChatRequest("m", (HELLO,)), **fields)


def sampled(**fields: object) -> ChatRequest:
    if "top_logprobs" in fields:
        fields = {"logprobs": True} | fields
    return request(sampling=replace(Sampling(), **fields))


def refusal(asked: ChatRequest, bounds: Bounds | None = None) -> CallerFault:
    with pytest.raises(CallerFault) as caught:
        check(asked, bounds or Bounds())
    return caught.value


@pytest.mark.parametrize(
    ("name", "low", "high", "below", "above"),
    [
        ("temperature", 0, 2, -0.0001, 2.0001),
        ("top_p", 0, 1, -0.0001, 1.0001),
        ("presence_penalty", -2, 2, -2.0001, 2.0001),
        ("frequency_penalty", -2, 2, -2.0001, 2.0001),
        ("top_logprobs", 0, 20, -1, 21),
        ("n", 1, 128, 0, 129),
        ("max_tokens", 1, 9007199254740991, 0, 9007199254740992),
        ("seed", -9007199254740991, 9007199254740991, -9007199254740992, 9007199254740992),
    ],
)
def test_bounds_of_every_system(
    name: str, low: float, high: float, below: float, above: float
) -> None:
    check(sampled(**{name: low}), Bounds())
    check(sampled(**{name: high}), Bounds())
    for outside in (below, above):
        fault = refusal(sampled(**{name: outside}))
        assert type(fault) is InvalidValue
        assert fault.param == name
        assert fault.message == f"'{name}' must be between {low} and {high}, and is {outside}."


@pytest.mark.parametrize("name", ["temperature", "top_p", "presence_penalty", "frequency_penalty"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_in_no_bounds(name: str, value: float) -> None:
    assert refusal(sampled(**{name: value})).param == name


def test_what_is_not_said_is_in_bounds() -> None:
    check(request(), Bounds())


def test_a_value_just_outside_is_not_told_as_the_bound_itself() -> None:
    fault = refusal(sampled(temperature=2.0000001))
    assert fault.message == "'temperature' must be between 0 and 2, and is 2.0000001."


def test_a_huge_value_is_told_in_short() -> None:
    for name in ("n", "top_logprobs", "max_tokens", "seed"):
        fault = refusal(sampled(**{name: 10**4000}))
        assert fault.message.endswith("and is 10000000000000000000….")


def test_a_model_narrows_its_bounds() -> None:
    narrow = Bounds(temperature=(0, 1), max_tokens=(1, 1_234_567))
    check(sampled(temperature=1.0, max_tokens=1_234_567), narrow)
    assert refusal(sampled(temperature=1.5), narrow).message == (
        "'temperature' must be between 0 and 1, and is 1.5."
    )
    assert refusal(sampled(max_tokens=1_234_568), narrow).message == (
        "'max_tokens' must be between 1 and 1234567, and is 1234568."
    )


def test_a_conversation_has_a_message() -> None:
    fault = refusal(request(messages=()))
    assert (fault.param, fault.message) == (
        "messages",
        "'messages' must hold at least one message.",
    )


def test_at_most_four_stop_sequences() -> None:
    check(sampled(stop=("a", "b", "c", "d")), Bounds())
    fault = refusal(sampled(stop=("a", "b", "c", "d", "e")))
    assert fault.param == "stop"
    assert fault.message == "'stop' may hold at most 4 sequences, and holds 5."


def test_no_empty_stop_sequence() -> None:
    fault = refusal(sampled(stop=("a", "")))
    assert (fault.param, fault.message) == ("stop", "'stop' may not hold an empty sequence.")


def test_top_logprobs_needs_logprobs() -> None:
    check(sampled(top_logprobs=5, logprobs=True), Bounds())
    fault = refusal(sampled(top_logprobs=5, logprobs=False))
    assert isinstance(fault, InvalidRequest)
    assert fault.param == "top_logprobs"


def test_a_model_may_narrow_the_roles() -> None:
    narrow = Bounds(roles=(Role.SYSTEM, Role.USER, Role.ASSISTANT))
    check(request(messages=(HELLO, Message(Role.ASSISTANT), Message(Role.SYSTEM))), narrow)
    fault = refusal(request(messages=(HELLO, Message(Role.TOOL, tool_call_id="1"))), narrow)
    assert fault.param == "messages[1].role"
    assert fault.message == (
        "Role must be one of system, user, assistant; 'messages[1].role' is 'tool'."
    )


@pytest.mark.parametrize("role", list(Role))
def test_every_role_is_allowed_by_default(role: Role) -> None:
    called = Message(Role.ASSISTANT, tool_calls=(ToolCall("c1", "weather", "{}"),))
    check(request(messages=(called, Message(role, tool_call_id="c1"))), Bounds())


@pytest.mark.parametrize("call_id", [None, "", "c2"])
def test_a_result_needs_its_call(call_id: str | None) -> None:
    called = Message(Role.ASSISTANT, tool_calls=(ToolCall("c1", "weather", "{}"),))
    result = Message(Role.TOOL, tool_call_id=call_id)
    fault = refusal(request(messages=(called, result)))
    assert isinstance(fault, InvalidValue)
    assert fault.param == "messages[1].tool_call_id"
    assert "names no call of an earlier message" in fault.message


def test_a_result_comes_after_its_call() -> None:
    called = Message(Role.ASSISTANT, tool_calls=(ToolCall("c1", "weather", "{}"),))
    fault = refusal(request(messages=(Message(Role.TOOL, tool_call_id="c1"), called)))
    assert fault.param == "messages[0].tool_call_id"


@pytest.mark.parametrize("choice", [ToolChoice("required"), ToolChoice("named", "weather")])
def test_a_call_can_be_forced_only_where_there_are_tools(choice: ToolChoice) -> None:
    check(request(tool_choice=choice, tools=(WEATHER,)), Bounds())
    fault = refusal(request(tool_choice=choice))
    assert isinstance(fault, MissingField)
    assert fault.param == "tools"


@pytest.mark.parametrize("mode", ["none", "auto"])
def test_a_choice_that_forces_nothing_needs_no_tools(mode: str) -> None:
    assert not ToolChoice(mode).forces_call
    check(request(tool_choice=ToolChoice(mode)), Bounds())


def test_a_named_tool_is_among_the_tools() -> None:
    check(request(tool_choice=ToolChoice("named", "time"), tools=(WEATHER, Tool("time"))), Bounds())
    fault = refusal(request(tool_choice=ToolChoice("named", "time"), tools=(WEATHER,)))
    assert fault.param == "tool_choice"
    assert "'time'" in fault.message


def test_bounds_are_read_from_configuration_and_unknown_names_refused() -> None:
    read = json.decode(b'{"temperature": [0, 1], "roles": ["user"]}', type=Bounds)
    assert read == Bounds(temperature=(0, 1), roles=(Role.USER,))
    with pytest.raises(ValueError, match="temprature"):
        convert({"temprature": [0, 1]}, Bounds)


def test_integers_are_bounded_so_that_every_client_can_read_them() -> None:
    assert MAX_INTEGER == 2**53 - 1 == int(float(2**53 - 1))
