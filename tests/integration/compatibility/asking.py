"""What clients may ask for, in the words of each protocol, and how an upstream is told of it.

A row says only what is said and where it would arrive. What becomes of it is found out by asking.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

CHAT, MESSAGES, RESPONSES = "chat_completions", "messages", "responses"
PROTOCOLS = (CHAT, MESSAGES, RESPONSES)

Bodies = Sequence[dict[str, Any]]
Arrived = Callable[[Bodies], bool]

BASE: Mapping[str, dict[str, Any]] = {
    CHAT: {"messages": [{"role": "user", "content": "Hi"}]},
    MESSAGES: {"max_tokens": 100, "messages": [{"role": "user", "content": "Hi"}]},
    RESPONSES: {"input": [{"role": "user", "content": "Hi"}], "store": False},
}


class Feature(NamedTuple):
    """``says``: the fields of a request, by the client's protocol. ``arrives``: whether an upstream
    of a protocol was told, from the bodies that it got. ``names``: what the field may be called
    when it is refused or ignored. ``shown``: what an answer must hold that itself carries it.
    """

    title: str
    says: Mapping[str, dict[str, Any]]
    arrives: Mapping[str, Arrived]
    names: Sequence[str]
    shown: str = ""


def at(path: str, value: Any) -> Arrived:
    """Whether the first body has that value there, or one that begins with it as JSON does."""
    return lambda bodies: find(bodies[0], path) == value


def holds(path: str, *pieces: str) -> Arrived:
    """Whether what the first body has there holds all these pieces of JSON."""

    def arrived(bodies: Bodies) -> bool:
        text = json.dumps(find(bodies[0], path), separators=(",", ":"))
        return all(piece in text for piece in pieces)

    return arrived


def find(body: Any, path: str) -> Any:
    for step in path.split("."):
        if isinstance(body, list) and -len(body) <= int(step) < len(body):
            body = body[int(step)]
        elif isinstance(body, dict) and step in body:
            body = body[step]
        else:
            return None
    return body


def same(names: Mapping[str, str], value: Any) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """A field that each protocol spells by a name of its own, with one value for all."""
    says = {protocol: {name: value} for protocol, name in names.items()}
    return says, {protocol: at(name, value) for protocol, name in names.items()}


def talk(*turns: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        CHAT: {"messages": list(turns)},
        MESSAGES: {"messages": list(turns)},
        RESPONSES: {"input": list(turns)},
    }


USER = {"role": "user", "content": "Hi"}
ASSISTANT = {"role": "assistant", "content": "Ho"}
PNG = "iVBORw0KGgo="
DATA = f"data:image/png;base64,{PNG}"
LINK = "https://pictures.example/dhow.png"
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
SCHEMA |= {"additionalProperties": False}
TOOLS = {
    CHAT: {
        "type": "function",
        "function": {"name": "tide", "description": "When?", "parameters": SCHEMA},
    },
    MESSAGES: {"name": "tide", "description": "When?", "input_schema": SCHEMA},
    RESPONSES: {
        "type": "function",
        "name": "tide",
        "description": "When?",
        "parameters": SCHEMA,
        "strict": False,
    },
}


def tooled(**more: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {protocol: {"tools": [TOOLS[protocol]], **more.get(protocol, {})} for protocol in more}


def _strict() -> dict[str, dict[str, Any]]:
    function = TOOLS[CHAT]["function"] | {"strict": True}
    return {
        CHAT: {"tools": [{"type": "function", "function": function}]},
        MESSAGES: {"tools": [TOOLS[MESSAGES] | {"strict": True}]},
        RESPONSES: {"tools": [TOOLS[RESPONSES] | {"strict": True}]},
    }


def parts(**by_protocol: Any) -> dict[str, dict[str, Any]]:
    """A user's turn of such a part and a text."""
    texts = {CHAT: "text", MESSAGES: "text", RESPONSES: "input_text"}
    return {
        protocol: talk(
            {"role": "user", "content": [part, {"type": texts[protocol], "text": "What?"}]}
        )[protocol]
        for protocol, part in by_protocol.items()
    }


_CALLS = ({"a": 1}, {"a": 2})


def _results(**content: Any) -> dict[str, dict[str, Any]]:
    """Two calls at once and their results; the first result as given, where it is given."""
    first = {CHAT: "low", MESSAGES: "low", RESPONSES: "low"} | content
    said = [json.dumps(call, separators=(",", ":")) for call in _CALLS]
    made: dict[str, dict[str, Any]] = {
        CHAT: {
            "messages": [
                USER,
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [
                        {
                            "id": f"call_{n}",
                            "type": "function",
                            "function": {"name": "tide", "arguments": said[n]},
                        }
                        for n in (0, 1)
                    ],
                },
                {"role": "tool", "tool_call_id": "call_0", "content": first[CHAT]},
                {"role": "tool", "tool_call_id": "call_1", "content": "high"},
            ],
        },
        MESSAGES: {
            "messages": [
                USER,
                {
                    "role": "assistant",
                    "content": [
                        {
                            "type": "tool_use",
                            "id": f"call_{n}",
                            "name": "tide",
                            "input": _CALLS[n],
                        }
                        for n in (0, 1)
                    ],
                },
                {
                    "role": "user",
                    "content": [
                        first[MESSAGES]
                        if isinstance(first[MESSAGES], dict)
                        else {
                            "type": "tool_result",
                            "tool_use_id": "call_0",
                            "content": first[MESSAGES],
                        },
                        {"type": "tool_result", "tool_use_id": "call_1", "content": "high"},
                    ],
                },
            ],
        },
        RESPONSES: {
            "input": [
                USER,
                *(
                    {
                        "type": "function_call",
                        "call_id": f"call_{n}",
                        "name": "tide",
                        "arguments": said[n],
                    }
                    for n in (0, 1)
                ),
                {"type": "function_call_output", "call_id": "call_0", "output": first[RESPONSES]},
                {"type": "function_call_output", "call_id": "call_1", "output": "high"},
            ],
        },
    }
    return {
        protocol: {"tools": [TOOLS[protocol]], **made[protocol]} for protocol in (content or made)
    }


_IMAGE = {
    CHAT: {"type": "image_url", "image_url": {"url": LINK}},
    MESSAGES: {"type": "image", "source": {"type": "url", "url": LINK}},
    RESPONSES: {"type": "input_image", "image_url": LINK},
}
_SENT = {
    CHAT: {"type": "image_url", "image_url": {"url": DATA}},
    MESSAGES: {
        "type": "image",
        "source": {"type": "base64", "media_type": "image/png", "data": PNG},
    },
    RESPONSES: {"type": "input_image", "image_url": DATA},
}
_TURNS = {CHAT: "messages", MESSAGES: "messages", RESPONSES: "input"}
_CACHED = {"type": "text", "text": "Hi", "cache_control": {"type": "ephemeral"}}
_FOR_AN_HOUR = _CACHED | {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
_THOUGHT = "The moon pulls."


def everywhere(piece: str) -> dict[str, Arrived]:
    return turns_hold(**{protocol: [piece] for protocol in PROTOCOLS})


def turns_hold(**pieces: Sequence[str]) -> dict[str, Arrived]:
    return {protocol: holds(_TURNS[protocol], *found) for protocol, found in pieces.items()}


def _alike(title: str, names: Mapping[str, str], value: Any, *called: str) -> Feature:
    return Feature(title, *same(names, value), called or tuple(names.values()))


REQUESTS: tuple[Feature, ...] = (
    _alike("temperature", dict.fromkeys(PROTOCOLS, "temperature"), 0.5),
    _alike("top_p", dict.fromkeys(PROTOCOLS, "top_p"), 0.9),
    _alike("top_k", {CHAT: "top_k", MESSAGES: "top_k"}, 7),
    _alike(
        "length of the answer",
        {CHAT: "max_tokens", MESSAGES: "max_tokens", RESPONSES: "max_output_tokens"},
        50,
    ),
    _alike("stop sequences", {CHAT: "stop", MESSAGES: "stop_sequences"}, ["END"]),
    Feature(
        "several choices",
        {CHAT: {"n": 2}},
        {
            CHAT: at("n", 2),
            MESSAGES: lambda bodies: len(bodies) == 2,
            RESPONSES: lambda bodies: len(bodies) == 2,
        },
        ("n",),
    ),
    _alike("seed", {CHAT: "seed"}, 7),
    _alike("presence penalty", {CHAT: "presence_penalty"}, 0.5),
    _alike("frequency penalty", {CHAT: "frequency_penalty"}, 0.5),
    _alike("logit bias", {CHAT: "logit_bias"}, {"5": 10}),
    Feature(
        "log-probabilities",
        {
            CHAT: {"logprobs": True, "top_logprobs": 2},
            RESPONSES: {"include": ["message.output_text.logprobs"], "top_logprobs": 2},
        },
        {CHAT: at("top_logprobs", 2), RESPONSES: at("top_logprobs", 2)},
        ("logprobs", "include"),
    ),
    Feature(
        "system prompt",
        {
            CHAT: talk({"role": "system", "content": "Be brief."}, USER)[CHAT],
            MESSAGES: {"system": "Be brief."},
            RESPONSES: {"instructions": "Be brief."},
        },
        {
            CHAT: at("messages.0", {"role": "system", "content": "Be brief."}),
            MESSAGES: at("system", "Be brief."),
            RESPONSES: at("instructions", "Be brief."),
        },
        ("system", "instructions"),
    ),
    Feature(
        "system message between turns",
        talk(
            USER,
            {"role": "assistant", "content": "Ho"},
            {"role": "system", "content": "Mind!"},
            USER,
        ),
        {
            CHAT: at("messages.2.role", "system"),
            MESSAGES: at("messages.2.role", "system"),
            RESPONSES: at("input.2.role", "system"),
        },
        ("messages", "input"),
    ),
    Feature(
        "developer message",
        {
            protocol: talk({"role": "developer", "content": "Be brief."}, USER)[protocol]
            for protocol in (CHAT, RESPONSES)
        },
        {
            CHAT: at("messages.0.role", "developer"),
            MESSAGES: at("system", "Be brief."),
            RESPONSES: lambda bodies: (
                at("instructions", "Be brief.")(bodies) or at("input.0.role", "developer")(bodies)
            ),
        },
        ("messages", "input"),
    ),
    Feature(
        "speaker's name",
        {CHAT: {"messages": [USER | {"name": "Asha"}]}},
        {CHAT: at("messages.0.name", "Asha")},
        ("messages[].name",),
    ),
    Feature("image by URL", parts(**_IMAGE), everywhere(LINK), ()),
    Feature("image as data", parts(**_SENT), everywhere(PNG), ()),
    Feature(
        "detail of an image",
        parts(
            chat_completions={"type": "image_url", "image_url": {"url": LINK, "detail": "low"}},
            responses=_IMAGE[RESPONSES] | {"detail": "low"},
        ),
        turns_hold(chat_completions=['"detail":"low"'], responses=['"detail":"low"']),
        ("messages[].content[].image_url.detail",),
    ),
    Feature(
        "document",
        parts(
            chat_completions={"type": "file", "file": {"file_data": DATA, "filename": "a.pdf"}},
            messages={
                "type": "document",
                "source": {"type": "base64", "media_type": "application/pdf", "data": PNG},
            },
            responses={"type": "input_file", "file_data": DATA, "filename": "a.pdf"},
        ),
        everywhere(PNG),
        ("messages[0].content[0]", "input[0].content[0]"),
    ),
    Feature(
        "spoken input",
        parts(
            chat_completions={
                "type": "input_audio",
                "input_audio": {"data": PNG, "format": "wav"},
            }
        ),
        turns_hold(chat_completions=[PNG]),
        ("messages[0].content[0]",),
    ),
    Feature(
        "functions",
        tooled(chat_completions={}, messages={}, responses={}),
        {protocol: holds("tools", '"tide"', '"When?"', '"integer"') for protocol in PROTOCOLS},
        ("tools",),
    ),
    Feature(
        "strict functions",
        _strict(),
        {protocol: holds("tools", '"strict":true') for protocol in PROTOCOLS},
        ("tools[].strict",),
    ),
    Feature(
        "a call is required",
        tooled(
            chat_completions={"tool_choice": "required"},
            messages={"tool_choice": {"type": "any"}},
            responses={"tool_choice": "required"},
        ),
        {
            CHAT: at("tool_choice", "required"),
            MESSAGES: at("tool_choice.type", "any"),
            RESPONSES: at("tool_choice", "required"),
        },
        ("tool_choice",),
    ),
    Feature(
        "one function is required",
        tooled(
            chat_completions={"tool_choice": {"type": "function", "function": {"name": "tide"}}},
            messages={"tool_choice": {"type": "tool", "name": "tide"}},
            responses={"tool_choice": {"type": "function", "name": "tide"}},
        ),
        {protocol: holds("tool_choice", '"tide"') for protocol in PROTOCOLS},
        ("tool_choice",),
    ),
    Feature(
        "no call is allowed",
        tooled(
            chat_completions={"tool_choice": "none"},
            messages={"tool_choice": {"type": "none"}},
            responses={"tool_choice": "none"},
        ),
        {
            CHAT: at("tool_choice", "none"),
            MESSAGES: at("tool_choice.type", "none"),
            RESPONSES: at("tool_choice", "none"),
        },
        ("tool_choice",),
    ),
    Feature(
        "one call at a time",
        tooled(
            chat_completions={"parallel_tool_calls": False},
            messages={"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}},
            responses={"parallel_tool_calls": False},
        ),
        {
            CHAT: at("parallel_tool_calls", False),
            MESSAGES: at("tool_choice.disable_parallel_tool_use", True),
            RESPONSES: at("parallel_tool_calls", False),
        },
        ("parallel_tool_calls",),
    ),
    Feature(
        "calls at once, and their results",
        _results(),
        turns_hold(
            chat_completions=['"call_0"', '"call_1"', r"{\"a\":2}", '"low"', '"high"'],
            messages=['"call_0"', '"call_1"', '{"a":2}', '"low"', '"high"'],
            responses=['"call_0"', '"call_1"', r"{\"a\":2}", '"low"', '"high"'],
        ),
        (),
    ),
    Feature(
        "an image as a result",
        _results(
            messages={
                "type": "tool_result",
                "tool_use_id": "call_0",
                "content": [_IMAGE[MESSAGES]],
            },
            responses=[_IMAGE[RESPONSES]],
        ),
        everywhere(LINK),
        ("messages", "input", "image in a tool's result"),
    ),
    Feature(
        "a call that failed",
        _results(
            messages={
                "type": "tool_result",
                "tool_use_id": "call_0",
                "content": "no",
                "is_error": True,
            }
        ),
        turns_hold(messages=['"is_error":true']),
        ("messages[].content[].is_error",),
    ),
    Feature(
        "tools of the provider that the client runs",
        {MESSAGES: {"tools": [{"type": "bash_20250124", "name": "bash"}]}},
        {MESSAGES: holds("tools", "bash_20250124")},
        ("tools[0]",),
    ),
    Feature(
        "tools that the provider runs",
        {
            MESSAGES: {"tools": [{"type": "web_search_20250305", "name": "web_search"}]},
            RESPONSES: {"tools": [{"type": "web_search"}]},
        },
        {protocol: holds("tools", "web_search") for protocol in PROTOCOLS},
        ("tools[0].type", "tools[0]"),
    ),
    Feature(
        "earlier thoughts, sealed",
        {
            MESSAGES: talk(
                USER,
                {
                    "role": "assistant",
                    "content": [
                        {"type": "thinking", "thinking": _THOUGHT, "signature": "c2lnbmVk"},
                        {"type": "text", "text": "Ho"},
                    ],
                },
                USER,
            )[MESSAGES],
            RESPONSES: {
                "input": [
                    USER,
                    {
                        "type": "reasoning",
                        "summary": [{"type": "summary_text", "text": _THOUGHT}],
                        "encrypted_content": "c2VhbGVk",
                    },
                    {"role": "assistant", "content": "Ho"},
                    USER,
                ]
            },
        },
        turns_hold(messages=[_THOUGHT, "c2lnbmVk"], responses=[_THOUGHT, "c2VhbGVk"]),
        ("reasoning",),
    ),
    Feature(
        "earlier thoughts, open",
        {
            CHAT: talk(
                USER, {"role": "assistant", "content": "Ho", "reasoning_content": _THOUGHT}, USER
            )[CHAT]
        },
        turns_hold(chat_completions=[_THOUGHT]),
        ("reasoning",),
    ),
    Feature(
        "effort of reasoning",
        {
            CHAT: {"reasoning_effort": "high"},
            MESSAGES: {"output_config": {"effort": "high"}},
            RESPONSES: {"reasoning": {"effort": "high"}},
        },
        {
            CHAT: at("reasoning_effort", "high"),
            MESSAGES: at("output_config.effort", "high"),
            RESPONSES: at("reasoning.effort", "high"),
        },
        ("reasoning_effort", "output_config.effort", "reasoning.effort"),
    ),
    Feature(
        "no reasoning",
        {
            CHAT: {"reasoning_effort": "none"},
            MESSAGES: {"thinking": {"type": "disabled"}},
            RESPONSES: {"reasoning": {"effort": "none"}},
        },
        {
            CHAT: at("reasoning_effort", "none"),
            MESSAGES: at("thinking.type", "disabled"),
            RESPONSES: at("reasoning.effort", "none"),
        },
        ("reasoning_effort", "thinking", "reasoning.effort"),
    ),
    Feature(
        "budget of reasoning",
        {MESSAGES: {"max_tokens": 5000, "thinking": {"type": "enabled", "budget_tokens": 2000}}},
        {MESSAGES: at("thinking.budget_tokens", 2000)},
        ("thinking.budget_tokens",),
    ),
    Feature(
        "JSON by a schema",
        {
            CHAT: {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True},
                }
            },
            MESSAGES: {"output_config": {"format": {"type": "json_schema", "schema": SCHEMA}}},
            RESPONSES: {
                "text": {
                    "format": {
                        "type": "json_schema",
                        "name": "answer",
                        "schema": SCHEMA,
                        "strict": True,
                    }
                }
            },
        },
        {
            CHAT: holds("response_format", '"integer"'),
            MESSAGES: holds("output_config.format", '"integer"'),
            RESPONSES: holds("text.format", '"integer"'),
        },
        ("response_format",),
    ),
    Feature(
        "JSON without a schema",
        {
            CHAT: {"response_format": {"type": "json_object"}},
            RESPONSES: {"text": {"format": {"type": "json_object"}}},
        },
        {
            CHAT: at("response_format.type", "json_object"),
            RESPONSES: at("text.format.type", "json_object"),
        },
        ("response_format", "text.format"),
    ),
    Feature(
        "end user",
        {
            CHAT: {"user": "asha"},
            MESSAGES: {"metadata": {"user_id": "asha"}},
            RESPONSES: {"user": "asha"},
        },
        {
            CHAT: at("user", "asha"),
            MESSAGES: at("metadata.user_id", "asha"),
            RESPONSES: at("user", "asha"),
        },
        ("user",),
    ),
    Feature(
        "metadata",
        {CHAT: {"metadata": {"port": "lamu"}}, RESPONSES: {"metadata": {"port": "lamu"}}},
        {},
        ("metadata",),
        shown='"lamu"',
    ),
    Feature(
        "marks for the prompt cache",
        {MESSAGES: {"messages": [{"role": "user", "content": [_CACHED]}]}},
        turns_hold(messages=['"ephemeral"']),
        ("messages[].content[].cache_control",),
    ),
    Feature(
        "a prompt cache for an hour",
        {MESSAGES: {"messages": [{"role": "user", "content": [_FOR_AN_HOUR]}]}},
        turns_hold(messages=['"1h"']),
        ("messages[0].content[0].cache_control.ttl",),
    ),
    Feature(
        "key of the prompt cache",
        {CHAT: {"prompt_cache_key": "k"}, RESPONSES: {"prompt_cache_key": "k"}},
        {protocol: at("prompt_cache_key", "k") for protocol in PROTOCOLS},
        ("prompt_cache_key",),
    ),
    Feature(
        "tier of service",
        {
            CHAT: {"service_tier": "flex"},
            MESSAGES: {"service_tier": "standard_only"},
            RESPONSES: {"service_tier": "flex"},
        },
        {protocol: holds("service_tier", "f") for protocol in PROTOCOLS},
        ("service_tier",),
    ),
    Feature(
        "verbosity",
        {CHAT: {"verbosity": "low"}, RESPONSES: {"text": {"verbosity": "low"}}},
        {CHAT: at("verbosity", "low"), RESPONSES: at("text.verbosity", "low")},
        ("verbosity", "text.verbosity"),
    ),
    Feature(
        "truncation",
        {RESPONSES: {"truncation": "auto"}},
        {},
        ("truncation",),
        shown='"truncation":"auto"',
    ),
    Feature(
        "search of the web",
        {CHAT: {"web_search_options": {"search_context_size": "low"}}},
        {CHAT: at("web_search_options.search_context_size", "low")},
        ("web_search_options",),
    ),
    Feature(
        "limits beside our own",
        {CHAT: {"n_predict": 5}, RESPONSES: {"n_predict": 5}},
        {protocol: at("n_predict", 5) for protocol in PROTOCOLS},
        ("n_predict",),
    ),
    Feature(
        "fields that nobody knows",
        {protocol: {"zebra": 7} for protocol in PROTOCOLS},
        {protocol: at("zebra", 7) for protocol in PROTOCOLS},
        ("zebra",),
    ),
)
