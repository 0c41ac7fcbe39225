"""Items of a conversation: which turns they are, and what becomes of them on the way upstream."""

from __future__ import annotations

import json
from typing import Any

import pytest
from msgspec import Raw
from tests.unit.wire.responses.requests import assistant, call, raw, read, result, thought, user

from bandari.domain.chat import (
    ImagePart,
    Message,
    OtherPart,
    ReasoningPart,
    Role,
    Seal,
    TextPart,
    ToolCall,
)
from bandari.domain.faults import CallerFault, InvalidValue, MissingField, UnsupportedField
from bandari.wire.responses import PROTOCOL
from bandari.wire.responses.encode_items import (
    relayed_items,
    split_instructions,
    written_items,
)
from bandari.wire.responses.items import Conversation, read_conversation, referred_id, spelled_out
from bandari.wire.seals import wrap

FOREIGN = Seal("messages", "c2ln", is_thought=False)
OURS = Seal(PROTOCOL, "gAAA", is_thought=True)


def conversation(*items: Any, is_whole: bool = True) -> Conversation:
    placed = [(f"input[{index}]", raw(item)) for index, item in enumerate(items)]
    return read_conversation(placed, is_whole=is_whole)


def turns(*items: Any) -> tuple[Message, ...]:
    return conversation(*items).messages


def refusal(*items: Any) -> CallerFault:
    with pytest.raises(CallerFault) as caught:
        conversation(*items)
    return caught.value


# -- reading --------------------------------------------------------------------------------------


@pytest.mark.parametrize("role", ["user", "system", "developer", "assistant"])
def test_a_message_is_a_turn(role: str) -> None:
    item = {"type": "message", "role": role, "content": "hi", "id": "msg_1", "status": "completed"}
    assert turns(item) == (Message(Role(role), (TextPart("hi"),)),)


@pytest.mark.parametrize(
    ("part", "expected"),
    [
        ({"type": "input_text", "text": "a"}, TextPart("a")),
        ({"type": "output_text", "text": "a", "annotations": [], "logprobs": []}, TextPart("a")),
        ({"type": "summary_text", "text": "a"}, TextPart("a")),
        ({"type": "reasoning_text", "text": "a"}, TextPart("a")),
        ({"type": "refusal", "refusal": "No."}, TextPart("No.")),
        ({"type": "input_image", "image_url": "data:,", "detail": None}, ImagePart("data:,")),
        (
            {"type": "input_image", "image_url": "https://a", "detail": "low", "file_id": "f"},
            ImagePart("https://a", "low"),
        ),
        (
            {"type": "input_image", "image_url": "https://a", "detail": "original"},
            ImagePart("https://a", "original"),
        ),
        (
            {"type": "input_image", "file_id": "f", "detail": "auto"},
            OtherPart(
                PROTOCOL,
                "input_image",
                Raw(b'{"type":"input_image","detail":"auto","file_id":"f"}'),
                "input[0].content[0]",
            ),
        ),
        (
            {"type": "input_file", "filename": "a.pdf", "file_data": "data:,"},
            OtherPart(
                PROTOCOL,
                "input_file",
                Raw(b'{"type":"input_file","filename":"a.pdf","file_data":"data:,"}'),
                "input[0].content[0]",
            ),
        ),
    ],
)
def test_parts_of_a_message(part: dict[str, Any], expected: Any) -> None:
    assert turns(user([part])) == (Message(Role.USER, (expected,)),)


def test_what_an_assistant_says_thinks_and_calls_is_one_turn() -> None:
    sealed = thought(
        id="rs_1",
        summary=[{"type": "summary_text", "text": "Hm."}, {"type": "summary_text", "text": "Ah."}],
        encrypted_content="gAAA",
    )
    read_turns = turns(
        user("hi"),
        sealed,
        assistant([{"type": "output_text", "text": "Wait."}]),
        call("c1"),
        call("c2", arguments='{"a":1}'),
        result("c1"),
        result("c2", [{"type": "input_text", "text": "sun"}]),
        assistant("Rain."),
        assistant("And sun."),
        user("ok"),
    )
    assert read_turns == (
        Message(Role.USER, (TextPart("hi"),)),
        Message(
            Role.ASSISTANT,
            (ReasoningPart("Hm.\n\nAh.", OURS), TextPart("Wait.")),
            tool_calls=(ToolCall("c1", "weather", "{}"), ToolCall("c2", "weather", '{"a":1}')),
        ),
        Message(Role.TOOL, (TextPart("rain"),), tool_call_id="c1"),
        Message(Role.TOOL, (TextPart("sun"),), tool_call_id="c2"),
        Message(Role.ASSISTANT, (TextPart("Rain."), TextPart("And sun."))),
        Message(Role.USER, (TextPart("ok"),)),
    )


def test_calls_one_after_the_other_are_turns_of_their_own() -> None:
    roles = [turn.role for turn in turns(call("c1"), result("c1"), call("c2"), result("c2"))]
    assert roles == [Role.ASSISTANT, Role.TOOL, Role.ASSISTANT, Role.TOOL]


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (thought(content=[{"type": "reasoning_text", "text": "a"}]), ReasoningPart("a")),
        (
            thought(
                summary=[{"type": "summary_text", "text": "b"}],
                content=[
                    {"type": "reasoning_text", "text": "a"},
                    {"type": "reasoning_text", "text": "c"},
                ],
            ),
            ReasoningPart("a\n\nc"),
        ),
        (
            thought(summary=[{"type": "summary_text", "text": "b"}], content=[]),
            ReasoningPart("b"),
        ),
        ({"type": "reasoning", "encrypted_content": "gAAA"}, ReasoningPart("", OURS)),
        (thought(encrypted_content=wrap(FOREIGN)), ReasoningPart("", FOREIGN)),
    ],
)
def test_a_thought(item: dict[str, Any], expected: ReasoningPart) -> None:
    assert turns(item) == (Message(Role.ASSISTANT, (expected,)),)


@pytest.mark.parametrize("empty", [thought(), thought(encrypted_content=None, content=[])])
def test_a_thought_of_nothing_is_nothing(empty: dict[str, Any]) -> None:
    assert turns(user("a"), empty, user("b")) == turns(user("a"), user("b"))


def test_a_result_may_show_images_and_files() -> None:
    parts = [
        {"type": "input_image", "image_url": "data:,"},
        {"type": "input_file", "file_id": "f"},
    ]
    assert turns(call(), result(output=parts))[1].parts == (
        ImagePart("data:,"),
        OtherPart(
            PROTOCOL,
            "input_file",
            Raw(b'{"type":"input_file","file_id":"f"}'),
            "input[1].output[1]",
        ),
    )


@pytest.mark.parametrize(
    "items",
    [
        (result("c1"),),
        (result("c1"), call("c1")),
        (call("c2"), result("c1")),
    ],
)
def test_a_result_needs_its_call_before_it(items: tuple[Any, ...]) -> None:
    index = next(i for i, item in enumerate(items) if item["type"] == "function_call_output")
    fault = refusal(*items)
    assert type(fault) is InvalidValue
    assert fault.param == f"input[{index}].call_id"
    assert fault.message == (
        f"No tool call with that id comes before it: 'input[{index}].call_id' is 'c1'."
    )


def test_a_long_id_is_told_in_short() -> None:
    fault = refusal(result("x" * 5000))
    assert fault.message.endswith(f" is '{'x' * 100}'.")


def test_a_stored_item_without_a_type_is_a_message() -> None:
    assert turns({"role": "user", "content": "a"}) == turns(user("a"))


def test_a_result_whose_call_was_made_before_is_let_through_until_that_is_known() -> None:
    assert conversation(result("c1"), is_whole=False).messages[0].tool_call_id == "c1"


def test_what_only_this_protocol_says_is_named_once() -> None:
    breakpoint_ = {"mode": "explicit"}
    read_all = conversation(
        {"role": "assistant", "content": "x", "phase": "commentary", "type": "message"},
        call(namespace="n", caller={"type": "direct"}),
        result(output=[{"type": "input_text", "text": "", "prompt_cache_breakpoint": breakpoint_}]),
        user([{"type": "input_file", "file_id": "f", "prompt_cache_breakpoint": breakpoint_}]),
    )
    assert read_all.untold == {
        "input[].caller",
        "input[].content[].prompt_cache_breakpoint",
        "input[].namespace",
        "input[].output[].prompt_cache_breakpoint",
        "input[].phase",
    }


def test_null_is_nothing_to_name() -> None:
    nothing = {"type": "input_text", "text": "", "prompt_cache_breakpoint": None}
    items = ({**assistant("x"), "phase": None}, call(namespace=None), user([nothing]))
    assert conversation(*items).untold == frozenset()


@pytest.mark.parametrize(
    "kind", ["web_search_call", "file_search_call", "custom_tool_call", "compaction", "x" * 5000]
)
def test_an_item_that_is_not_carried_is_refused_by_name(kind: str) -> None:
    fault = refusal(user("a"), {"type": kind})
    assert type(fault) is UnsupportedField
    assert fault.param == "input[1].type"
    assert fault.message == (
        f"'input[1].type' is '{kind[:100]}', which is not supported: message, reasoning, "
        "function_call, function_call_output are."
    )


def test_an_item_may_refer_to_another() -> None:
    reference = raw({"type": "item_reference", "id": "msg_1"})
    assert referred_id(reference, "input[1]") == "msg_1"
    assert referred_id(raw(user("a")), "input[1]") is None


@pytest.mark.parametrize("name", [None, "", 5, "x" * 300])
def test_a_reference_names_an_item(name: Any) -> None:
    with pytest.raises(CallerFault) as caught:
        referred_id(raw({"type": "item_reference", "id": name}), "input[1]")
    assert caught.value.param == "input[1].id"


@pytest.mark.parametrize(
    ("item", "message"),
    [
        (5, "'input[0]' must be an object, and is an integer."),
        ({"type": 5}, "'input[0].type' must be a string, and is an integer."),
        (
            {"type": "message", "role": "tool", "content": "x"},
            "'input[0].role' must be one of user, assistant, system, developer, and is 'tool'.",
        ),
        (user(5), "'input[0].content' must be a string or an array, and is an integer."),
        (user(None), "'input[0].content' must be a string or an array, and is null."),
        (user(["x"]), "'input[0].content[0]' must be an object, and is a string."),
        (
            user([{"type": "text", "text": "x"}]),
            (
                "'input[0].content[0].type' must be one of input_text, input_image, input_file, "
                "output_text, refusal, reasoning_text, summary_text, and is 'text'."
            ),
        ),
        (
            user([{"type": "input_text", "text": None}]),
            "'input[0].content[0].text' must be a string, and is null.",
        ),
        (
            user([{"type": "input_image", "image_url": {"url": "x"}}]),
            "'input[0].content[0].image_url' must be a string, and is an object.",
        ),
        (
            user([{"type": "input_image", "image_url": ""}]),
            "'input[0].content[0].image_url' must not be empty.",
        ),
        (
            user([{"type": "input_image", "image_url": "x", "detail": "max"}]),
            (
                "'input[0].content[0].detail' must be one of auto, low, high, original, and is "
                "'max'."
            ),
        ),
        (
            result(output={}),
            "'input[0].output' must be a string or an array, and is an object.",
        ),
        (
            result(output=[{"type": "output_text", "text": "x"}]),
            (
                "'input[0].output[0].type' must be one of input_text, input_image, input_file, "
                "and is 'output_text'."
            ),
        ),
        (call(arguments={}), "'input[0].arguments' must be a string, and is an object."),
        (call(""), "'input[0].call_id' must not be empty."),
        (thought(summary="x"), "'input[0].summary' must be an array, and is a string."),
        (
            thought(encrypted_content=5),
            "'input[0].encrypted_content' must be a string, and is an integer.",
        ),
    ],
)
def test_a_wrong_item_is_named_with_what_it_must_be(item: Any, message: str) -> None:
    fault = refusal(item)
    assert type(fault) is InvalidValue
    assert fault.message == message
    assert fault.param == message.split("'")[1]


@pytest.mark.parametrize(
    ("item", "param"),
    [
        ({"type": "message", "content": "x"}, "input[0].role"),
        ({"type": "message", "role": "user"}, "input[0].content"),
        (user([{}]), "input[0].content[0].type"),
        (user([{"type": "input_text"}]), "input[0].content[0].text"),
        (user([{"type": "input_image"}]), "input[0].content[0].image_url"),
        ({"type": "function_call", "name": "f", "arguments": ""}, "input[0].call_id"),
        ({"type": "function_call", "call_id": "c", "arguments": ""}, "input[0].name"),
        ({"type": "function_call", "call_id": "c", "name": "f"}, "input[0].arguments"),
        ({"type": "function_call_output", "output": "x"}, "input[0].call_id"),
        ({"type": "function_call_output", "call_id": "c"}, "input[0].output"),
        (thought(content=[{}]), "input[0].content[0].text"),
    ],
)
def test_what_an_item_lacks_is_named(item: Any, param: str) -> None:
    fault = refusal(item)
    assert type(fault) is MissingField
    assert (fault.param, fault.message) == (param, f"'{param}' is required.")


# -- spelling out ---------------------------------------------------------------------------------


def test_an_item_that_says_its_type_stays_as_it_is() -> None:
    item = Raw(b'{ "type" : "message", "role":"user" }')
    assert spelled_out(item, "input[0]") is item


@pytest.mark.parametrize("no_type", [{}, {"type": None}])
def test_a_role_makes_an_item_a_message(no_type: dict[str, Any]) -> None:
    item = spelled_out(raw(no_type | {"role": "user", "content": "x", "zzz": [1]}), "input[0]")
    assert read(item) == {"type": "message", "role": "user", "content": "x", "zzz": [1]}


def test_an_item_of_an_id_alone_is_a_reference() -> None:
    item = spelled_out(raw({"id": "msg_1"}), "input[2]")
    assert referred_id(item, "input[2]") == "msg_1"


@pytest.mark.parametrize("nothing", [{}, {"role": None}, {"content": "x"}])
def test_an_item_that_may_be_anything_needs_a_type(nothing: dict[str, Any]) -> None:
    with pytest.raises(MissingField) as caught:
        spelled_out(raw(nothing), "input[2]")
    assert caught.value.param == "input[2].type"


# -- relaying -------------------------------------------------------------------------------------


def relayed(*items: Any) -> list[dict[str, Any]]:
    return [
        {name: read(value) for name, value in item.items()} for item in relayed_items(raw(items))
    ]


def test_a_relay_keeps_everything_but_ids() -> None:
    items = [user("a"), call(zzz={"a": [1.5]}), result(), assistant([])]
    assert relayed(*[item | {"id": f"x{i}"} for i, item in enumerate(items)]) == items


def test_a_relay_keeps_the_bytes_of_what_it_relays() -> None:
    (item,) = relayed_items(Raw(b'[{"type":"message","content":[ {"text":"\\u0041", "a":1.50} ]}]'))
    assert bytes(item["content"]) == b'[ {"text":"\\u0041", "a":1.50} ]'


@pytest.mark.parametrize(
    "unreadable",
    [
        thought(summary=[{"type": "summary_text", "text": "x"}]),
        thought(encrypted_content=None),
        thought(encrypted_content=""),
        thought(encrypted_content=wrap(FOREIGN)),
    ],
)
def test_thoughts_that_an_upstream_cannot_read_stay_behind(unreadable: dict[str, Any]) -> None:
    assert relayed(user("a"), unreadable, user("b")) == [user("a"), user("b")]


def test_a_thought_comes_back_as_it_was_sealed() -> None:
    item = thought(encrypted_content="gAAA", id="rs_1")
    expected = thought(encrypted_content="gAAA")
    assert relayed(item) == [expected]
    assert relayed(item | {"encrypted_content": wrap(OURS)}) == [expected]


# -- writing --------------------------------------------------------------------------------------


def written(*messages: Message) -> list[Any]:
    items: list[Any] = json.loads(json.dumps(list(written_items(messages)), default=read))
    return items


def test_each_role_is_written_in_its_own_way() -> None:
    assert written(
        Message(Role.USER, (TextPart("a"), ImagePart("https://b", "low"), ImagePart("https://c"))),
        Message(Role.SYSTEM, (TextPart("d"),)),
        Message(
            Role.ASSISTANT,
            (ReasoningPart("Hm.", OURS), TextPart("e"), TextPart("f")),
            tool_calls=(ToolCall("c1", "weather", "{}"),),
        ),
        Message(Role.TOOL, (TextPart("g"), TextPart("h")), tool_call_id="c1"),
        Message(Role.TOOL, (TextPart("i"), ImagePart("https://j")), tool_call_id="c1"),
    ) == [
        user(
            [
                {"type": "input_text", "text": "a"},
                {"type": "input_image", "image_url": "https://b", "detail": "low"},
                {"type": "input_image", "image_url": "https://c"},
            ]
        ),
        {
            "type": "message",
            "role": "system",
            "content": [{"type": "input_text", "text": "d"}],
        },
        thought(summary=[{"type": "summary_text", "text": "Hm."}], encrypted_content="gAAA"),
        assistant([{"type": "output_text", "text": "e"}, {"type": "output_text", "text": "f"}]),
        call("c1"),
        result("c1", "g\n\nh"),
        result(
            "c1",
            [
                {"type": "input_text", "text": "i"},
                {"type": "input_image", "image_url": "https://j"},
            ],
        ),
    ]


def test_thoughts_and_words_keep_their_order() -> None:
    parts = (TextPart("a"), ReasoningPart("", OURS), TextPart("b"))
    items = written(Message(Role.ASSISTANT, parts))
    assert items == [
        assistant([{"type": "output_text", "text": "a"}]),
        thought(encrypted_content="gAAA"),
        assistant([{"type": "output_text", "text": "b"}]),
    ]


@pytest.mark.parametrize("seal", [None, FOREIGN])
def test_only_thoughts_that_the_upstream_sealed_are_written(seal: Seal | None) -> None:
    message = Message(Role.ASSISTANT, (ReasoningPart("Hm.", seal), TextPart("a")))
    assert written(message) == [assistant([{"type": "output_text", "text": "a"}])]


@pytest.mark.parametrize("parts", [(), (ReasoningPart("Hm."),)])
def test_a_turn_of_which_nothing_is_left_stays_a_turn(parts: tuple[ReasoningPart, ...]) -> None:
    message = Message(Role.ASSISTANT, parts)
    assert written(message) == [assistant([{"type": "output_text", "text": ""}])]
    calling = Message(Role.ASSISTANT, parts, tool_calls=(ToolCall("c1", "weather", "{}"),))
    assert written(calling) == [call("c1")]


def test_nothing_said_is_an_empty_text() -> None:
    assert written(Message(Role.USER)) == [user([{"type": "input_text", "text": ""}])]


def test_a_file_of_this_protocol_is_written_as_it_was_read() -> None:
    part = OtherPart(PROTOCOL, "input_file", Raw(b'{"type":"input_file","file_id":"f"}'), "x")
    message = Message(Role.USER, (part,))
    assert written(message) == [user([{"type": "input_file", "file_id": "f"}])]


@pytest.mark.parametrize(
    ("message", "param"),
    [
        (Message(Role.USER, (OtherPart("messages", "document", Raw(b"{}"), "m[0]"),)), "m[0]"),
        (Message(Role.TOOL, (OtherPart("messages", "document", Raw(b"{}"), "m[1]"),)), "m[1]"),
        (Message(Role.ASSISTANT, (OtherPart("messages", "x", Raw(b"{}"), "m[2]"),)), "m[2]"),
        (Message(Role.ASSISTANT, (ImagePart("https://a"),)), "messages"),
    ],
)
def test_what_cannot_be_written_is_refused_by_name(message: Message, param: str) -> None:
    with pytest.raises(UnsupportedField, match="cannot be carried") as caught:
        written(message)
    assert caught.value.param == param


def instruction(*parts: Any, role: Role = Role.SYSTEM) -> Message:
    return Message(role, parts)


USER = Message(Role.USER, (TextPart("hi"),))


@pytest.mark.parametrize(
    ("messages", "text", "left"),
    [
        ((USER,), "", 1),
        ((instruction(TextPart("a")), USER), "a", 1),
        (
            (
                instruction(TextPart("a"), TextPart("b")),
                instruction(TextPart("c"), role=Role.DEVELOPER),
                USER,
                instruction(TextPart("d")),
            ),
            "a\n\nb\n\nc",
            2,
        ),
        ((instruction(TextPart("a")), instruction(ImagePart("https://b")), USER), "a", 2),
        ((instruction(TextPart("")), USER), "", 1),
        ((instruction(TextPart("a")), instruction(TextPart("b"))), "", 2),
    ],
)
def test_instructions_are_the_texts_that_come_first(
    messages: tuple[Message, ...], text: str, left: int
) -> None:
    assert split_instructions(messages) == (text, messages[len(messages) - left :])
