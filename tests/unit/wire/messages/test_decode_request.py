"""From a client's bytes to a ``ChatRequest``: what is accepted, and what is made of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw
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

from bandari.domain.chat import (
    ChatRequest,
    ImagePart,
    Message,
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
from bandari.wire.dialect import Dialect
from bandari.wire.messages import PROTOCOL
from bandari.wire.messages.decode_request import TOOLS_OVERHEAD_BYTES, decode_request
from bandari.wire.messages.fields import CARRIED, COSTLY, ignored_fields


def untold(**fields: Any) -> tuple[str, ...]:
    original = decode_request(body(**fields)).original
    assert original is not None
    return original.untold


# -- accepted -------------------------------------------------------------------------------------


def test_every_parameter_at_once() -> None:
    request = decode_request(json.dumps(EVERYTHING).encode())
    assert request.model == "m"
    file = b'{"type": "image", "source": {"type": "file", "file_id": "f"}}'
    document = json.dumps(DOCUMENT).encode()
    assert request.messages == (
        Message(Role.SYSTEM, (TextPart("Be brief."), TextPart("Be kind."))),
        Message(
            Role.USER,
            (
                TextPart("What is this?"),
                ImagePart("data:image/png;base64,AAAA"),
                ImagePart("https://a.example/b"),
                OtherPart("messages", "image", Raw(file), "messages[0].content[3]"),
                OtherPart("messages", "document", Raw(document), "messages[0].content[4]"),
            ),
        ),
        Message(
            Role.ASSISTANT,
            (
                ReasoningPart("Hm.", Seal("messages", "c2ln")),
                ReasoningPart("", Seal("messages", "ZW5j", is_thought=True)),
                TextPart("Let me see."),
            ),
            tool_calls=(ToolCall("t1", "weather", '{"n": 1.5}'), ToolCall("t2", "bash", "{}")),
        ),
        Message(Role.TOOL, (), tool_call_id="t2", is_error=True),
        Message(
            Role.TOOL,
            (
                TextPart("rain"),
                ImagePart("data:image/png;base64,AAAA"),
                OtherPart(
                    "messages", "document", Raw(document), "messages[2].content[2].content[2]"
                ),
            ),
            tool_call_id="t1",
        ),
        Message(Role.USER, (TextPart("Here:"),)),
        Message(Role.SYSTEM, (TextPart("The date is set."),)),
        Message(Role.USER, (TextPart("Go on."),)),
    )
    assert request.sampling == Sampling(
        temperature=0.2, top_p=0.9, top_k=40, max_tokens=9000, stop=("a", "b", "c", "d", "e")
    )
    assert request.stream
    assert request.tools == (
        Tool("weather", "Tells it.", Raw(b'{"type": "object"}')),
        OtherTool("messages", "bash", Raw(json.dumps(BASH).encode()), "tools[1]"),
        OtherTool(
            "messages",
            "computer_toolset_20260801",
            Raw(b'{"type": "computer_toolset_20260801"}'),
            "tools[2]",
        ),
    )
    assert request.tool_choice == ToolChoice("named", "weather")
    assert request.parallel_tool_calls is False
    assert request.response_format == ResponseFormat(
        "json_schema", "answer", Raw(b'{"type": "object"}'), True
    )
    assert request.user == "Asha"
    assert request.reasoning_effort == "xhigh"
    assert request.images == 4
    assert request.original is not None
    assert request.original.protocol == PROTOCOL
    assert request.original.unknown == (
        "container",
        "context_management",
        "mcp_servers",
        "service_tier",
    )
    assert request.original.untold == (
        "cache_control",
        "messages[].content[].content[].title",
        "messages[].content[].is_error",
        "messages[].content[].title",
        "output_config.task_budget",
        "system[].cache_control",
        "thinking.budget_tokens",
        "thinking.display",
    )
    assert {
        name: json.loads(bytes(raw)) for name, raw in request.original.fields.items()
    } == EVERYTHING


def test_the_least_request() -> None:
    request = decode_request(body())
    assert request.messages == (Message(Role.USER, (TextPart("hi"),)),)
    assert request.sampling == Sampling(max_tokens=9)
    assert not request.stream
    assert request.tools == ()
    assert request.tool_choice is None
    assert request.parallel_tool_calls is None
    assert request.response_format is None
    assert request.user is None
    assert request.reasoning_effort is None
    assert request.original is not None
    assert (request.original.unknown, request.original.untold) == ((), ())


def test_a_body_such_as_claude_code_sends() -> None:
    """Many tools, adaptive thinking, context management, and an instruction mid-conversation."""
    cached = {"cache_control": {"type": "ephemeral"}}
    fields = {
        "system": [
            {"type": "text", "text": "You are an agent."},
            {"type": "text", "text": "x" * 26_000, **cached},
        ],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "run it"}]},
            {"role": "system", "content": [{"type": "text", "text": "Take care.", **cached}]},
            {
                "role": "assistant",
                "content": [{"type": "tool_use", "id": "t", "name": "t0", "input": {"a": "b"}}],
            },
            {
                "role": "user",
                "content": [
                    {
                        "tool_use_id": "t",
                        "type": "tool_result",
                        "content": "hi",
                        "is_error": False,
                        **cached,
                    }
                ],
            },
        ],
        "tools": [
            {
                "name": f"t{number}",
                "description": "d" * 2000,
                "input_schema": {
                    "$schema": "https://json-schema.org/draft/2020-12/schema",
                    "type": "object",
                    "properties": {"cache_control": {"ttl": {"type": "string"}}},
                    "additionalProperties": False,
                },
                "eager_input_streaming": True,
            }
            for number in range(24)
        ],
        "metadata": {"user_id": '{"device_id":"5","account_uuid":"","session_id":"b"}'},
        "thinking": {"type": "adaptive"},
        "output_config": {"effort": "high"},
        "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        "stream": True,
    }
    text = body(**fields)
    assert len(text) > 76_000
    request = decode_request(text)
    assert [message.role for message in request.messages] == [
        Role.SYSTEM,
        Role.USER,
        Role.SYSTEM,
        Role.ASSISTANT,
        Role.TOOL,
    ]
    assert request.reasoning_effort == "high"
    assert ignored_fields(request, Dialect()) == ("context_management",)
    assert request.original is not None
    assert request.original.untold == (
        "messages[].content[].cache_control",
        "system[].cache_control",
        "tools[].eager_input_streaming",
    )


@pytest.mark.parametrize("name", sorted((CARRIED | COSTLY | {"anything"}) - MINIMAL.keys()))
def test_null_means_absent(name: str) -> None:
    given_null, absent = decode_request(body(**{name: None})), decode_request(body())
    for field in absent.__struct_fields__:
        if field not in ("original", "input_bytes"):
            assert getattr(given_null, field) == getattr(absent, field), field
    assert given_null.original is not None
    assert (given_null.original.unknown, given_null.original.untold) == ((), ())


def test_a_prompt_that_is_only_counted_needs_no_limit() -> None:
    request = decode_request(body(max_tokens=...), needs_max_tokens=False)
    assert request.sampling.max_tokens is None
    assert decode_request(body(), needs_max_tokens=False).sampling.max_tokens == 9


@pytest.mark.parametrize("system", ["", [], None])
def test_no_instructions_are_no_turn(system: Any) -> None:
    assert [turn.role for turn in decode_request(body(system=system)).messages] == [Role.USER]


def test_instructions_may_be_a_string() -> None:
    first = decode_request(body(system="Be kind.")).messages[0]
    assert first == Message(Role.SYSTEM, (TextPart("Be kind."),))


def test_consecutive_turns_of_one_role_stay_apart() -> None:
    roles = ["user", "user", "assistant", "assistant"]
    messages = [{"role": role, "content": "x"} for role in roles]
    assert [turn.role for turn in decode_request(body(messages=messages)).messages] == roles


def test_a_turn_of_no_blocks_is_a_turn() -> None:
    assert decode_request(body(**user())).messages == (Message(Role.USER),)


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (..., ()),
        (None, ()),
        ([], ()),
        ("rain", (TextPart("rain"),)),
        ([{"type": "text", "text": "a"}], (TextPart("a"),)),
    ],
)
def test_a_result_is_a_turn_of_its_own(content: Any, parts: Any) -> None:
    use = {"type": "tool_use", "id": "t", "name": "f", "input": {}}
    result = {"type": "tool_result", "tool_use_id": "t"}
    if content is not ...:
        result["content"] = content
    messages = [
        {"role": "assistant", "content": [use]},
        {"role": "user", "content": [result]},
    ]
    assert decode_request(body(messages=messages)).messages == (
        Message(Role.ASSISTANT, tool_calls=(ToolCall("t", "f", "{}"),)),
        Message(Role.TOOL, parts, tool_call_id="t"),
    )


def test_the_input_of_a_call_is_kept_as_it_was_written() -> None:
    raw = b'[{"role":"assistant","content":[{"type":"tool_use","id":"t","name":"f","input":%b}]}]'
    for text in (b'{ "a" : 1.50, "b":1e3,"\\u0041":[ ] }', b"{}", '{"é":123456789012345678901}'):
        encoded = text if isinstance(text, bytes) else text.encode()
        (turn,) = decode_request(raw_body("messages", raw % encoded)).messages
        assert turn.tool_calls[0].arguments == encoded.decode()


@pytest.mark.parametrize(
    ("block", "part"),
    [
        (
            {"type": "thinking", "thinking": "a", "signature": "c2ln"},
            ReasoningPart("a", Seal("messages", "c2ln")),
        ),
        ({"type": "thinking", "thinking": "a", "signature": ""}, ReasoningPart("a")),
        ({"type": "thinking", "thinking": "a"}, ReasoningPart("a")),
        (
            {"type": "thinking", "thinking": "a", "signature": "bandari:responses:thought:x:y"},
            ReasoningPart("a", Seal("responses", "x:y", is_thought=True)),
        ),
        (
            {"type": "redacted_thinking", "data": "ZW5j"},
            ReasoningPart("", Seal("messages", "ZW5j", is_thought=True)),
        ),
        (
            {"type": "redacted_thinking", "data": "bandari:responses:thought:x"},
            ReasoningPart("", Seal("responses", "x", is_thought=True)),
        ),
        ({"type": "redacted_thinking", "data": ""}, ReasoningPart("")),
    ],
)
def test_thoughts_keep_their_seal(block: Any, part: Any) -> None:
    assert decode_request(body(**assistant(block))).messages[0].parts == (part,)


@pytest.mark.parametrize(
    "block",
    [
        {"type": "search_result", "source": "a", "title": "b", "content": []},
        {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
        {"type": "web_search_tool_result", "tool_use_id": "s", "content": []},
        {"type": "container_upload", "file_id": "f"},
        {"type": "image", "source": {"type": "one of tomorrow's"}},
        {"type": "one of tomorrow's", "text": 5},
        {"type": "tool_addition", "tool": {"type": "tool_reference", "name": "f"}},
        {"type": "compaction", "content": "x", "tool_changes": []},
    ],
)
@pytest.mark.parametrize("role", ["user", "assistant", "system"])
def test_blocks_that_only_this_protocol_knows_are_kept(role: str, block: dict[str, Any]) -> None:
    request = decode_request(body(messages=[{"role": role, "content": [block]}]))
    (part,) = request.messages[0].parts
    raw = Raw(json.dumps(block).encode())
    assert part == OtherPart("messages", block["type"], raw, "messages[0].content[0]")


def test_the_type_of_a_block_is_told_in_short() -> None:
    (part,) = decode_request(body(**user({"type": "x" * 5000}))).messages[0].parts
    assert isinstance(part, OtherPart)
    assert part.kind == "x" * 100


@pytest.mark.parametrize(
    ("thinking", "config", "effort", "lost"),
    [
        ({"type": "enabled", "budget_tokens": 1024}, {}, "low", ["thinking.budget_tokens"]),
        ({"type": "enabled", "budget_tokens": 4095}, {}, "low", ["thinking.budget_tokens"]),
        ({"type": "enabled", "budget_tokens": 4096}, {}, "medium", ["thinking.budget_tokens"]),
        ({"type": "enabled", "budget_tokens": 16383}, {}, "medium", ["thinking.budget_tokens"]),
        ({"type": "enabled", "budget_tokens": 16384}, None, "high", ["thinking.budget_tokens"]),
        (
            {"type": "enabled", "budget_tokens": 16384},
            {"effort": "low"},
            "low",
            ["thinking.budget_tokens"],
        ),
        ({"type": "disabled"}, {}, "none", []),
        ({"type": "disabled"}, {"effort": "max"}, "none", ["output_config.effort"]),
        ({"type": "adaptive"}, {}, None, ["thinking"]),
        ({"type": "adaptive"}, {"effort": "max"}, "max", []),
        (
            {"type": "adaptive", "display": "omitted", "block_binding": {"a": 1}},
            {"effort": "low"},
            "low",
            ["thinking.block_binding", "thinking.display"],
        ),
        ({"type": "between_tools"}, {"effort": "low"}, "low", ["thinking"]),
        (None, {"effort": "medium"}, "medium", []),
        (None, {"effort": None, "format": None}, None, []),
    ],
)
def test_how_much_is_thought(thinking: Any, config: Any, effort: Any, lost: list[str]) -> None:
    fields: dict[str, Any] = {"thinking": thinking, "output_config": config}
    assert decode_request(body(**fields)).reasoning_effort == effort
    assert untold(**fields) == tuple(lost)


@pytest.mark.parametrize(
    ("choice", "expected", "parallel"),
    [
        ({"type": "auto"}, ToolChoice("auto"), None),
        ({"type": "auto", "disable_parallel_tool_use": False}, ToolChoice("auto"), None),
        ({"type": "any", "disable_parallel_tool_use": True}, ToolChoice("required"), False),
        ({"type": "tool", "name": "f"}, ToolChoice("named", "f"), None),
        ({"type": "none"}, ToolChoice("none"), None),
        ({"type": "none", "name": None}, ToolChoice("none"), None),
    ],
)
def test_the_choice_of_a_tool(choice: Any, expected: Any, parallel: Any) -> None:
    request = decode_request(body(tool_choice=choice))
    assert (request.tool_choice, request.parallel_tool_calls) == (expected, parallel)


@pytest.mark.parametrize("kind", [None, "custom"])
def test_a_function_is_a_tool(kind: str | None) -> None:
    tool = WEATHER | {"type": kind, "strict": True}
    schema = Raw(b'{"type": "object"}')
    expected = Tool("weather", "Tells it.", schema, strict=True)
    assert decode_request(body(tools=[tool])).tools == (expected,)


@pytest.mark.parametrize(
    "kind",
    [
        "bash_20250124",
        "text_editor_20250728",
        "computer_20251124",
        "computer_toolset_20260801",
        "browser_toolset_20260801",
        "memory_20250818",
    ],
)
def test_tools_that_the_client_runs_are_kept(kind: str) -> None:
    tool = {"type": kind, "name": "x", "max_characters": 5}
    expected = OtherTool("messages", "x", Raw(json.dumps(tool).encode()), "tools[0]")
    assert decode_request(body(tools=[tool])).tools == (expected,)


# -- what has no words -----------------------------------------------------------------------------


CACHED = {"cache_control": {"type": "ephemeral"}}
CITED = {"citations": [{"type": "char_location"}]}


@pytest.mark.parametrize(
    ("fields", "names"),
    [
        ({"cache_control": CACHED["cache_control"]}, ["cache_control"]),
        ({"system": [TEXT | CACHED]}, ["system[].cache_control"]),
        (
            {"system": [TEXT | CITED, TEXT | CACHED]},
            ["system[].cache_control", "system[].citations"],
        ),
        (user(TEXT | CACHED, TEXT | CACHED), ["messages[].content[].cache_control"]),
        (user(TEXT | CITED), ["messages[].content[].citations"]),
        (user(PIXEL | CACHED), ["messages[].content[].cache_control"]),
        (
            user(PIXEL | {"transformations": {"oversized_image": "error"}}),
            ["messages[].content[].transformations"],
        ),
        (
            user(DOCUMENT | {"context": "c"}),
            [f"messages[].content[].{n}" for n in ("context", "title")],
        ),
        (
            assistant(USE | {"caller": {"type": "direct"}, "toolset_name": "computer"}),
            [f"messages[].content[].{name}" for name in ("caller", "toolset_name")],
        ),
        (
            {
                "messages": [
                    {
                        "role": "system",
                        "content": "x",
                        "clear_at": "never",
                        "output_config": {"effort": "low"},
                    }
                ]
            },
            ["messages[].clear_at", "messages[].output_config"],
        ),
        ({"tools": [WEATHER | CACHED]}, ["tools[].cache_control"]),
        (
            {
                "tools": [
                    WEATHER
                    | {
                        "defer_loading": True,
                        "eager_input_streaming": True,
                        "input_examples": [{}],
                        "allowed_callers": ["direct"],
                    }
                ]
            },
            [
                "tools[].allowed_callers",
                "tools[].defer_loading",
                "tools[].eager_input_streaming",
                "tools[].input_examples",
            ],
        ),
        ({"output_config": {"task_budget": {"total": 5}}}, ["output_config.task_budget"]),
    ],
)
def test_what_a_request_has_no_words_for_is_named(fields: Any, names: list[str]) -> None:
    assert untold(**fields) == tuple(names)


@pytest.mark.parametrize(
    "fields",
    [
        {"cache_control": None},
        user(TEXT | {"cache_control": None, "citations": None, "zzz": 1}),
        user(TEXT | {"citations": []}),
        user(DOCUMENT | {"title": None, "citations": {}}),
        {"tools": [WEATHER | {"defer_loading": False, "input_examples": [], "zzz": 1}]},
        {"system": [TEXT | {"cache_control": None}]},
    ],
)
def test_what_is_not_there_is_not_named(fields: Any) -> None:
    assert untold(**fields) == ()


def test_only_a_failed_call_is_named() -> None:
    def answered(failed: Any) -> Any:
        result = {"type": "tool_result", "tool_use_id": "t", "is_error": failed}
        return [*assistant(USE)["messages"], *user(result)["messages"]]

    assert untold(messages=answered(failed=True)) == ("messages[].content[].is_error",)
    assert untold(messages=answered(failed=False)) == ()
    assert not decode_request(body(messages=answered(None))).messages[1].is_error


# -- the bound of the prompt ----------------------------------------------------------------------


@given(st.lists(st.text(st.characters(codec="utf-8")), min_size=1, max_size=5), st.booleans())
def test_input_bytes_bound_the_text(texts: list[str], ascii_only: bool) -> None:
    messages = [{"role": "user", "content": text} for text in texts]
    fields = MINIMAL | {"messages": messages, "system": texts[0]}
    request = decode_request(json.dumps(fields, ensure_ascii=ascii_only).encode())
    assert request.input_bytes >= sum(len(text.encode()) for text in [texts[0], *texts])


def test_everything_that_becomes_prompt_counts() -> None:
    plain = decode_request(body()).input_bytes
    assert plain == len(json.dumps(MINIMAL["messages"]))
    config = {"format": {"type": "json_schema", "schema": {"a": "x" * 500}}}
    assert decode_request(body(system="s" * 500)).input_bytes == plain + 502
    assert decode_request(body(output_config=config)).input_bytes == plain + len(json.dumps(config))
    assert decode_request(body(tools=[WEATHER])).input_bytes == (
        plain + len(json.dumps([WEATHER])) + TOOLS_OVERHEAD_BYTES
    )
    assert decode_request(body(tools=[WEATHER, BASH])).input_bytes == (
        plain + len(json.dumps([WEATHER, BASH])) + 2 * TOOLS_OVERHEAD_BYTES
    ), "what such a tool adds to a prompt is not written in the request"
    assert decode_request(body(tools=[])).input_bytes == plain + 2
    assert decode_request(body(metadata={"user_id": "u" * 500})).input_bytes == plain


def test_an_image_is_counted_by_itself_and_not_by_its_bytes() -> None:
    def shown(data: str) -> ChatRequest:
        image = {"type": "image", "source": PIXEL["source"] | {"data": data}}
        result = {"type": "tool_result", "tool_use_id": "t", "content": [image]}
        return decode_request(
            body(messages=[*assistant(USE)["messages"], *user(image, result)["messages"]])
        )

    small, large = shown("AAAA"), shown("A" * 100_000)
    assert small.images == large.images == 2
    assert small.input_bytes == large.input_bytes
    assert decode_request(body(**user(DOCUMENT))).images == 0
