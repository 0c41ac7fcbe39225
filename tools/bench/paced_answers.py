"""What the streaming upstream says, in each protocol: the frames of one answer, by path.

Each answer has the same text in as many pieces. A piece's frame is put together from a template,
because writing them must not take what the reader of the same core needs.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tools.bench import question

PROMPT_TOKENS: Final = 10


@dataclass(frozen=True)
class PacedAnswer:
    """The frames before the text; that of a piece, by its number and text; those after them all.

    The text is plain: nothing in it is escaped in JSON.
    """

    opening: Sequence[bytes]
    event: Callable[[int, bytes], bytes]
    ending: Callable[[Sequence[bytes]], Sequence[bytes]]


def text_of(now_ns: int) -> bytes:
    """The text of a piece that is sent at that time."""
    return b" @%019d;" % now_ns


def _data(fields: Mapping[str, Any]) -> bytes:
    return b"data: " + json.dumps(fields, separators=(",", ":")).encode() + b"\n\n"


def _named(kind: str, **fields: Any) -> bytes:
    return b"event: %b\n%b" % (kind.encode(), _data({"type": kind, **fields}))


# -- Chat Completions ------------------------------------------------------------------------------


def _chat_chunk(choices: list[dict[str, Any]], **more: Any) -> bytes:
    envelope = {
        "id": "chatcmpl-bench",
        "object": "chat.completion.chunk",
        "created": 1_700_000_000,
        "model": "paced",
        "choices": choices,
    }
    return _data({**envelope, **more})


def _chat_delta(delta: dict[str, str], finish: str | None = None) -> list[dict[str, Any]]:
    return [{"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}]


_CHAT_EVENT: Final = _chat_chunk(_chat_delta({"content": "%b"}))


def _chat_ending(texts: Sequence[bytes]) -> Sequence[bytes]:
    usage = {
        "prompt_tokens": PROMPT_TOKENS,
        "completion_tokens": len(texts),
        "total_tokens": PROMPT_TOKENS + len(texts),
    }
    finish = _chat_chunk(_chat_delta({}, "stop"))
    return (finish, _chat_chunk([], usage=usage), b"data: [DONE]\n\n")


# -- Messages --------------------------------------------------------------------------------------

_MESSAGE: Final[dict[str, Any]] = {
    "id": "msg_bench",
    "type": "message",
    "role": "assistant",
    "model": "paced",
    "content": [],
    "stop_reason": None,
    "stop_sequence": None,
    "usage": {"input_tokens": PROMPT_TOKENS, "output_tokens": 1},
}
_MESSAGES_EVENT: Final = _named(
    "content_block_delta", index=0, delta={"type": "text_delta", "text": "%b"}
)


def _messages_ending(texts: Sequence[bytes]) -> Sequence[bytes]:
    usage = {"input_tokens": PROMPT_TOKENS, "output_tokens": len(texts)}
    stop = {"stop_reason": "end_turn", "stop_sequence": None}
    return (
        _named("content_block_stop", index=0),
        _named("message_delta", delta=stop, usage=usage),
        _named("message_stop"),
    )


# -- Responses -------------------------------------------------------------------------------------

_RESPONSE: Final = {
    "id": "resp_bench",
    "object": "response",
    "created_at": 1_700_000_000,
    "status": "in_progress",
    "error": None,
    "incomplete_details": None,
    "model": "paced",
    "output": [],
    "usage": None,
}
_ITEM: Final = {
    "id": "msg_bench",
    "type": "message",
    "status": "in_progress",
    "content": [],
    "role": "assistant",
}
_OF_PART: Final = {"item_id": "msg_bench", "output_index": 0, "content_index": 0}
_OPENING_EVENTS: Final = 4
_RESPONSES_EVENT: Final = (
    b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta",'
    b'"sequence_number":%d,"item_id":"msg_bench","output_index":0,"content_index":0,'
    b'"delta":"%b","logprobs":[]}\n\n'
)


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "annotations": [], "logprobs": [], "text": text}


def _responses_ending(texts: Sequence[bytes]) -> Sequence[bytes]:
    """The whole text comes four times more, as from the servers that speak this."""
    text = b"".join(texts).decode()
    number = _OPENING_EVENTS + len(texts)
    item = {**_ITEM, "status": "completed", "content": [_part(text)]}
    usage = {
        "input_tokens": PROMPT_TOKENS,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": len(texts),
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": PROMPT_TOKENS + len(texts),
    }
    whole = {**_RESPONSE, "status": "completed", "output": [item], "usage": usage}
    said: Sequence[tuple[str, dict[str, Any]]] = (
        ("response.output_text.done", {**_OF_PART, "text": text, "logprobs": []}),
        ("response.content_part.done", {**_OF_PART, "part": _part(text)}),
        ("response.output_item.done", {"output_index": 0, "item": item}),
        ("response.completed", {"response": whole}),
    )
    return [
        _named(kind, sequence_number=number + at, **fields)
        for at, (kind, fields) in enumerate(said)
    ]


ANSWERS: Final[Mapping[str, PacedAnswer]] = {
    question.PATH: PacedAnswer(
        opening=(_chat_chunk(_chat_delta({"role": "assistant", "content": ""})),),
        event=lambda _, text: _CHAT_EVENT % text,
        ending=_chat_ending,
    ),
    question.MESSAGES_PATH: PacedAnswer(
        opening=(
            _named("message_start", message=_MESSAGE),
            _named("content_block_start", index=0, content_block={"type": "text", "text": ""}),
            _named("ping"),
        ),
        event=lambda _, text: _MESSAGES_EVENT % text,
        ending=_messages_ending,
    ),
    question.RESPONSES_PATH: PacedAnswer(
        opening=(
            _named("response.created", sequence_number=0, response=_RESPONSE),
            _named("response.in_progress", sequence_number=1, response=_RESPONSE),
            _named("response.output_item.added", sequence_number=2, output_index=0, item=_ITEM),
            _named("response.content_part.added", sequence_number=3, **_OF_PART, part=_part("")),
        ),
        event=lambda number, text: _RESPONSES_EVENT % (_OPENING_EVENTS + number, text),
        ending=_responses_ending,
    ),
}
"""By the path behind the base URL."""
