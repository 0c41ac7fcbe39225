"""What providers may answer, in the words of each protocol, and what clients see of it.

An upstream's answer is written by hand here, whole and as a stream; ``sees`` says what a client of
a protocol must find in its bytes to have been told.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tests.integration.compatibility.asking import CHAT, MESSAGES, RESPONSES

Fields = dict[str, Any]


class Said(NamedTuple):
    """What an upstream says: ``blocks`` in order, how it ends, what was used."""

    text: str = ""
    thought: str = ""
    seal: str = ""
    redacted: str = ""
    refusal: str = ""
    calls: Sequence[tuple[str, str, str]] = ()
    finish: str = "stop"
    stop_sequence: str | None = None
    cached: int = 0
    written: int = 0
    reasoned: int = 0
    logprob: float | None = None
    choices: int = 1


class Feature(NamedTuple):
    """``by``: the protocols of upstreams that can say it. ``sees``: by the client's protocol."""

    title: str
    said: Said
    by: Sequence[str]
    sees: Mapping[str, Sequence[str]]


PROMPT, OUTPUT = 5000, 900


# -- in the words of each protocol ----------------------------------------------------------------


def _dumps(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"))


def _sse(named: bool, events: Sequence[Fields], end: str = "") -> bytes:
    lines = []
    for event in events:
        name = f"event: {event['type']}\n" if named else ""
        lines.append(f"{name}data: {_dumps(event)}\n\n")
    return ("".join(lines) + end).encode()


def _chat_usage(said: Said) -> Fields:
    return {
        "prompt_tokens": PROMPT,
        "completion_tokens": OUTPUT,
        "total_tokens": PROMPT + OUTPUT,
        "prompt_tokens_details": {"cached_tokens": said.cached},
        "completion_tokens_details": {"reasoning_tokens": said.reasoned},
    }


def _chat_calls(said: Said) -> list[Fields]:
    return [
        {
            "index": index,
            "id": call_id,
            "type": "function",
            "function": {"name": name, "arguments": arguments},
        }
        for index, (call_id, name, arguments) in enumerate(said.calls)
    ]


def _chat_logprobs(said: Said) -> Fields | None:
    if said.logprob is None:
        return None
    entry = {"token": said.text, "logprob": said.logprob, "bytes": None, "top_logprobs": []}
    return {"content": [entry], "refusal": None}


def _chat_whole(said: Said) -> bytes:
    message: Fields = {"role": "assistant", "content": said.text or None}
    message |= {"reasoning_content": said.thought} if said.thought else {}
    message |= {"refusal": said.refusal} if said.refusal else {}
    message |= {"tool_calls": _chat_calls(said)} if said.calls else {}
    choice = {"message": message, "finish_reason": said.finish, "logprobs": _chat_logprobs(said)}
    choices = [{"index": index} | choice for index in range(said.choices)]
    return _dumps({"id": "x", "choices": choices, "usage": _chat_usage(said)}).encode()


def _chat_stream(said: Said) -> bytes:
    deltas: list[Fields] = [{"delta": {"role": "assistant", "content": ""}}]
    deltas += [{"delta": {"reasoning_content": said.thought}}] if said.thought else []
    deltas += [{"delta": {"refusal": said.refusal}}] if said.refusal else []
    if said.text:
        deltas.append({"delta": {"content": said.text}, "logprobs": _chat_logprobs(said)})
    deltas += [{"delta": {"tool_calls": [call]}} for call in _chat_calls(said)]
    deltas.append({"delta": {}, "finish_reason": said.finish})
    chunks: list[Fields] = [
        {"id": "x", "choices": [{"index": index} | delta]}
        for index in range(said.choices)
        for delta in deltas
    ]
    chunks.append({"id": "x", "choices": [], "usage": _chat_usage(said)})
    return _sse(named=False, events=chunks, end="data: [DONE]\n\n")


_STOP_REASONS = {
    "stop": "end_turn",
    "length": "max_tokens",
    "tool_calls": "tool_use",
    "content_filter": "refusal",
}


def _messages_usage(said: Said) -> Fields:
    return {
        "input_tokens": PROMPT - said.cached - said.written,
        "cache_creation_input_tokens": said.written,
        "cache_read_input_tokens": said.cached,
        "output_tokens": OUTPUT,
    }


def _messages_blocks(said: Said) -> list[Fields]:
    blocks: list[Fields] = []
    if said.thought:
        blocks.append({"type": "thinking", "thinking": said.thought, "signature": said.seal})
    if said.redacted:
        blocks.append({"type": "redacted_thinking", "data": said.redacted})
    if said.text:
        blocks.append({"type": "text", "text": said.text})
    blocks += [
        {"type": "tool_use", "id": call_id, "name": name, "input": json.loads(arguments)}
        for call_id, name, arguments in said.calls
    ]
    return blocks


def _messages_head(said: Said) -> Fields:
    return {"id": "msg_x", "type": "message", "role": "assistant", "model": "m"}


def _messages_end(said: Said) -> Fields:
    reason = "stop_sequence" if said.stop_sequence else _STOP_REASONS[said.finish]
    return {"stop_reason": reason, "stop_sequence": said.stop_sequence}


def _messages_whole(said: Said) -> bytes:
    body = _messages_head(said) | _messages_end(said)
    body |= {"content": _messages_blocks(said), "usage": _messages_usage(said)}
    return _dumps(body).encode()


_OPENED = {
    "text": {"text": ""},
    "thinking": {"thinking": "", "signature": ""},
    "tool_use": {"input": {}},
    "redacted_thinking": {},
}


def _messages_deltas(block: Fields) -> list[Fields]:
    match block["type"]:
        case "text":
            return [{"type": "text_delta", "text": block["text"]}]
        case "thinking":
            return [
                {"type": "thinking_delta", "thinking": block["thinking"]},
                {"type": "signature_delta", "signature": block["signature"]},
            ]
        case "tool_use":
            said = _dumps(block["input"])
            return [{"type": "input_json_delta", "partial_json": said}]
        case _:
            return []


def _messages_stream(said: Said) -> bytes:
    begun = _messages_usage(said) | {"output_tokens": 1}
    head = _messages_head(said) | {"content": [], "stop_reason": None, "usage": begun}
    events: list[Fields] = [{"type": "message_start", "message": head}]
    for index, block in enumerate(_messages_blocks(said)):
        opened = block | _OPENED[block["type"]]
        events.append({"type": "content_block_start", "index": index, "content_block": opened})
        events += [
            {"type": "content_block_delta", "index": index, "delta": delta}
            for delta in _messages_deltas(block)
        ]
        events.append({"type": "content_block_stop", "index": index})
    usage = _messages_usage(said)
    events.append({"type": "message_delta", "delta": _messages_end(said), "usage": usage})
    return _sse(named=True, events=[*events, {"type": "message_stop"}])


def _responses_items(said: Said) -> list[Fields]:
    items: list[Fields] = []
    if said.thought or said.seal:
        items.append(
            {
                "type": "reasoning",
                "id": "rs_1",
                "summary": [{"type": "summary_text", "text": said.thought}],
                "encrypted_content": said.seal or None,
            }
        )
    parts: list[Fields] = []
    if said.text:
        logprobs = (_chat_logprobs(said) or {"content": []})["content"]
        part = {"type": "output_text", "text": said.text, "annotations": []}
        parts.append(part | {"logprobs": logprobs})
    if said.refusal:
        parts.append({"type": "refusal", "refusal": said.refusal})
    if parts:
        message = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed"}
        items.append(message | {"content": parts})
    items += [
        {
            "type": "function_call",
            "id": f"fc_{call_id}",
            "call_id": call_id,
            "name": name,
            "arguments": arguments,
            "status": "completed",
        }
        for call_id, name, arguments in said.calls
    ]
    return items


_INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}


def _responses_object(said: Said) -> Fields:
    why = _INCOMPLETE.get(said.finish)
    return {
        "id": "resp_x",
        "object": "response",
        "status": "incomplete" if why else "completed",
        "incomplete_details": {"reason": why} if why else None,
        "output": _responses_items(said),
        "usage": {
            "input_tokens": PROMPT,
            "input_tokens_details": {"cached_tokens": said.cached},
            "output_tokens": OUTPUT,
            "output_tokens_details": {"reasoning_tokens": said.reasoned},
            "total_tokens": PROMPT + OUTPUT,
        },
    }


def _responses_stream(said: Said) -> bytes:
    begun = {"id": "resp_x", "object": "response", "status": "in_progress", "output": []}
    events: list[Fields] = [{"type": "response.created", "response": begun}]
    for index, item in enumerate(_responses_items(said)):
        where = {"output_index": index, "item_id": item["id"]}
        opened = item | {"content": []} if item["type"] == "message" else dict(item)
        opened |= {"arguments": ""} if item["type"] == "function_call" else {}
        opened |= {"summary": [], "encrypted_content": None} if item["type"] == "reasoning" else {}
        events.append({"type": "response.output_item.added", "output_index": index, "item": opened})
        for number, part in enumerate(item.get("content", ())):
            name = "output_text" if part["type"] == "output_text" else "refusal"
            said_now = {"delta": part.get("text") or part.get("refusal")}
            said_now |= {"logprobs": part["logprobs"]} if part.get("logprobs") else {}
            place = where | {"content_index": number}
            events.append({"type": f"response.{name}.delta", **place, **said_now})
        for number, part in enumerate(item.get("summary", ())):
            place = where | {"summary_index": number}
            kind = "response.reasoning_summary_text.delta"
            events.append({"type": kind, **place, "delta": part["text"]})
        if item["type"] == "function_call":
            kind = "response.function_call_arguments.delta"
            events.append({"type": kind, **where, "delta": item["arguments"]})
        events.append({"type": "response.output_item.done", "output_index": index, "item": item})
    whole = _responses_object(said)
    events.append({"type": f"response.{whole['status']}", "response": whole})
    return _sse(
        named=True,
        events=[event | {"sequence_number": at} for at, event in enumerate(events)],
    )


WHOLE = {
    CHAT: _chat_whole,
    MESSAGES: _messages_whole,
    RESPONSES: lambda said: _dumps(_responses_object(said)).encode(),
}
STREAM = {CHAT: _chat_stream, MESSAGES: _messages_stream, RESPONSES: _responses_stream}


# -- the rows -------------------------------------------------------------------------------------


def everywhere(*pieces: str) -> dict[str, Sequence[str]]:
    return dict.fromkeys((CHAT, MESSAGES, RESPONSES), pieces)


ALL = (CHAT, MESSAGES, RESPONSES)
TWO_CALLS = (("call_a", "tide", '{"a":1}'), ("call_b", "wind", '{"a":2}'))
_QUOTED = (r"{\"a\":1}", r"{\"a\":2}")

ANSWERS: tuple[Feature, ...] = (
    Feature("text", Said("Jambo"), ALL, everywhere("Jambo")),
    Feature(
        "calls at once",
        Said(calls=TWO_CALLS, finish="tool_calls"),
        ALL,
        {
            CHAT: ("call_a", "call_b", "tide", "wind", *_QUOTED, '"tool_calls"'),
            MESSAGES: ("call_a", "call_b", "tide", "wind", '"tool_use"'),
            RESPONSES: ("call_a", "call_b", "tide", "wind", *_QUOTED, '"function_call"'),
        },
    ),
    Feature("thoughts", Said("Jambo", "PONDER", "c2VhbA=="), ALL, everywhere("PONDER")),
    Feature(
        "seals of thoughts",
        Said("Jambo", "PONDER", "c2VhbA=="),
        (MESSAGES, RESPONSES),
        everywhere("c2VhbA=="),
    ),
    Feature(
        "thoughts that only their maker reads",
        Said("Jambo", redacted="c2VjcmV0"),
        (MESSAGES,),
        everywhere("c2VjcmV0"),
    ),
    Feature("refusal", Said(refusal="WONTDO"), (CHAT, RESPONSES), everywhere("WONTDO")),
    Feature(
        "ended by its length",
        Said("Jambo", finish="length"),
        ALL,
        {
            CHAT: ('"length"',),
            MESSAGES: ('"max_tokens"',),
            RESPONSES: ('"incomplete"', '"max_output_tokens"'),
        },
    ),
    Feature(
        "ended by a filter",
        Said("Jambo", finish="content_filter"),
        ALL,
        {
            CHAT: ('"content_filter"',),
            MESSAGES: ('"stop_reason":"refusal"',),
            RESPONSES: ('"incomplete"', '"content_filter"'),
        },
    ),
    Feature(
        "which stop sequence ended it",
        Said("Jambo", stop_sequence="END"),
        (MESSAGES,),
        everywhere('"END"'),
    ),
    Feature(
        "tokens of prompt and answer",
        Said("Jambo"),
        ALL,
        everywhere(f":{PROMPT}", f":{OUTPUT}"),
    ),
    Feature("cached tokens", Said("Jambo", cached=4321), ALL, everywhere(":4321")),
    Feature(
        "tokens written to a cache", Said("Jambo", written=678), (MESSAGES,), everywhere(":678")
    ),
    Feature(
        "tokens of thoughts", Said("Jambo", reasoned=777), (CHAT, RESPONSES), everywhere(":777")
    ),
    Feature(
        "log-probabilities",
        Said("Jambo", logprob=-0.125),
        (CHAT, RESPONSES),
        everywhere("-0.125"),
    ),
)
