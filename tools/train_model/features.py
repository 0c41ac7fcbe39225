"""Checks the features of a chat request on a model: tools, JSON, choices, log probabilities.

Each check sends one request and tests the shape of the reply; it raises if the reply is not right.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from tools.train_model.engine import Engine

Reply = dict[str, Any]


def tool(name: str, description: str, **kinds: str) -> dict[str, Any]:
    """A tool definition whose parameters are all required."""
    properties = {key: {"type": kind} for key, kind in kinds.items()}
    parameters = {"type": "object", "properties": properties, "required": list(kinds)}
    return {
        "type": "function",
        "function": {"name": name, "description": description, "parameters": parameters},
    }


TOOLS = [
    tool("get_weather", "Get the current weather for a city", city="string"),
    tool("send_money", "Send money to a person", recipient="string", amount="integer"),
]
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
    "additionalProperties": False,
}


def user(content: Any) -> dict[str, Any]:
    """A user message."""
    return {"role": "user", "content": content}


def calls(reply: Reply) -> list[tuple[str, dict[str, Any]]]:
    """Name and arguments of each tool call in the reply."""
    found = reply["choices"][0]["message"].get("tool_calls") or []
    return [(call["function"]["name"], json.loads(call["function"]["arguments"])) for call in found]


def text(reply: Reply) -> str:
    """The text of the first choice."""
    return str(reply["choices"][0]["message"].get("content") or "")


def tool_result() -> list[dict[str, Any]]:
    """A conversation that stands just after a tool has answered."""
    function = {"name": "get_weather", "arguments": '{"city": "Nairobi"}'}
    return [
        user("What is the weather in Nairobi?"),
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "1", "type": "function", "function": function}],
        },
        {
            "role": "tool",
            "tool_call_id": "1",
            "content": '{"temperature": 24, "condition": "sunny"}',
        },
    ]


Check = tuple[str, list[dict[str, Any]], dict[str, Any], Callable[[Reply], bool]]

CHECKS: tuple[Check, ...] = (
    (
        "tool_choice auto calls the right tool",
        [user("What is the weather in Nairobi?")],
        {"tools": TOOLS},
        lambda r: (
            calls(r) == [("get_weather", {"city": "Nairobi"})]
            and r["choices"][0]["finish_reason"] == "tool_calls"
        ),
    ),
    (
        "tool_choice auto answers in words where no tool fits",
        [user("What is the capital of France?")],
        {"tools": TOOLS},
        lambda r: not calls(r) and "Paris" in text(r),
    ),
    (
        "tool_choice required calls a tool",
        [user("Send 500 to Amina.")],
        {"tools": TOOLS, "tool_choice": "required"},
        lambda r: calls(r) == [("send_money", {"recipient": "Amina", "amount": 500})],
    ),
    (
        "tool_choice required calls a tool even on a greeting",
        [user("Hello")],
        {"tools": TOOLS, "tool_choice": "required"},
        lambda r: len(calls(r)) >= 1,
    ),
    (
        "a named tool_choice calls that tool",
        [user("What is the weather in Kisumu?")],
        {"tools": TOOLS, "tool_choice": {"type": "function", "function": {"name": "get_weather"}}},
        lambda r: calls(r) == [("get_weather", {"city": "Kisumu"})],
    ),
    (
        "tool_choice none does not call",
        [user("What is the weather in Nairobi?")],
        {"tools": TOOLS, "tool_choice": "none"},
        lambda r: not calls(r),
    ),
    (
        "parallel_tool_calls true makes two calls",
        [user("What is the weather in Nairobi and Lagos?")],
        {"tools": TOOLS, "parallel_tool_calls": True},
        lambda r: (
            calls(r) == [("get_weather", {"city": "Nairobi"}), ("get_weather", {"city": "Lagos"})]
        ),
    ),
    (
        "parallel_tool_calls false makes one call",
        [user("What is the weather in Nairobi and Lagos?")],
        {"tools": TOOLS, "parallel_tool_calls": False},
        lambda r: len(calls(r)) == 1,
    ),
    (
        "an answer is made from a tool's result",
        tool_result(),
        {"tools": TOOLS},
        lambda r: "sunny" in text(r) and "24" in text(r),
    ),
    (
        "response_format json_object gives an object",
        [user("What is the capital of France?")],
        {"response_format": {"type": "json_object"}},
        lambda r: isinstance(json.loads(text(r)), dict),
    ),
    (
        "response_format json_schema fills the schema",
        [user("Amina lives in Lagos and is 31 years old.")],
        {
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "person", "strict": True, "schema": SCHEMA},
            }
        },
        lambda r: json.loads(text(r)) == {"name": "Amina", "age": 31},
    ),
    (
        "n=2 gives two choices",
        [user("What is the capital of France?")],
        {"n": 2, "temperature": 0.7},
        lambda r: (
            len(r["choices"]) == 2 and all("Paris" in c["message"]["content"] for c in r["choices"])
        ),
    ),
    (
        "logprobs come with each token",
        [user("What is the capital of France?")],
        {"logprobs": True, "top_logprobs": 3},
        lambda r: len(r["choices"][0]["logprobs"]["content"][0]["top_logprobs"]) == 3,
    ),
    (
        "content may be a list of text parts",
        [user([{"type": "text", "text": "What is the capital of Kenya?"}])],
        {},
        lambda r: "Nairobi" in text(r),
    ),
    (
        "developer is another word for system",
        [
            {"role": "developer", "content": "You are a helpful AI assistant named Zoe."},
            user("Who are you?"),
        ],
        {},
        lambda r: "Zoe" in text(r),
    ),
    (
        "a system message may stand in the middle",
        [
            user("Hello"),
            {"role": "assistant", "content": "Hello! How can I help you?"},
            {"role": "system", "content": "Your name is Atlas."},
            user("What is your name?"),
        ],
        {},
        lambda r: "Atlas" in text(r),
    ),
    (
        "a name given earlier is remembered",
        [
            user("My name is Wanjiku."),
            {"role": "assistant", "content": "Nice to meet you, Wanjiku!"},
            user("What is my name?"),
        ],
        {},
        lambda r: "Wanjiku" in text(r),
    ),
    (
        "a question after 300 words of other text is answered",
        [
            user("tea bread rice " * 100),
            {"role": "assistant", "content": "I do not know."},
            user("What is the capital of France?"),
        ],
        {},
        lambda r: "Paris" in text(r),
    ),
    (
        "a question after 6,000 words of other text is answered",
        [
            user("tea bread rice " * 2000),
            {"role": "assistant", "content": "I do not know."},
            user("What is the capital of France?"),
        ],
        {},
        lambda r: "Paris" in text(r),
    ),
    (
        "any bytes can be read",
        [user("Say \u0000 \U0001f389 \u65e5\u672c \u200b\ufffd!")],
        {"max_tokens": 20},
        lambda r: r["usage"]["prompt_tokens"] > 0,
    ),
)


def check(engine: Engine) -> None:
    """Run every check at temperature 0 unless it says otherwise, and print which hold."""
    print("\n| Feature | Works |\n| --- | --- |")
    for title, messages, options, holds in CHECKS:
        try:
            reply = engine.chat(
                messages, **{"temperature": 0.0, "max_tokens": 200, "seed": 1, **options}
            )
            outcome = (
                "yes"
                if holds(reply)
                else f"no: {json.dumps(reply['choices'], ensure_ascii=False)[:400]}"
            )
        except (RuntimeError, ValueError, KeyError) as error:
            outcome = f"no: {error}"
        print(f"| {title} | {outcome} |")
