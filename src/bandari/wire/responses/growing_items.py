"""The items of a growing answer: their JSON, and what a stream is told as they grow.

Rule: which event belongs to which item is ``output_items``' business.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Final

import msgspec

from bandari.domain.events import TokenLogprob
from bandari.wire.responses.event_log import EventLog
from bandari.wire.responses.response_object import IN_PROGRESS

TEXT: Final = b"output_text"
REFUSAL: Final = b"refusal"
"""The kinds of a message's parts."""

_NO_ARGUMENTS: Final = "{}"

_encode = msgspec.json.Encoder().encode


class Item:
    """``place`` is what events name it by. ``encoded`` is its JSON from when it was closed."""

    __slots__ = ("encoded", "id", "index", "place", "status")
    kind: ClassVar[str]

    def __init__(self, suffix: str, index: int) -> None:
        self.index = index
        self.id = _encode(f"{self.kind}_{suffix}_{index}")
        self.place = b'"item_id":%b,"output_index":%d' % (self.id, index)
        self.status = IN_PROGRESS
        self.encoded: bytes | None = None

    def encode(self) -> bytes:
        """Its JSON as it is now."""
        raise NotImplementedError

    def say_end(self, log: EventLog) -> None:
        """Say that what is in it is complete."""
        raise NotImplementedError

    def open(self, log: EventLog) -> None:
        fields = b'"output_index":%d,"item":%b' % (self.index, self.encode())
        log.say(b"response.output_item.added", fields)

    def close(self, status: bytes, log: EventLog) -> None:
        self.say_end(log)
        self.status = status
        self.encoded = self.encode()
        fields = b'"output_index":%d,"item":%b' % (self.index, self.encoded)
        log.say(b"response.output_item.done", fields)


class Part:
    __slots__ = ("kind", "logprobs", "pieces", "place")

    def __init__(self, kind: bytes, place: bytes) -> None:
        self.kind = kind
        self.place = place
        self.pieces: list[str] = []
        self.logprobs: list[TokenLogprob] = []

    def encode(self) -> bytes:
        text = _encode("".join(self.pieces))
        if self.kind is REFUSAL:
            return b'{"type":"refusal","refusal":%b}' % text
        return b'{"type":"output_text","text":%b,"annotations":[],"logprobs":%b}' % (
            text,
            encode_logprobs(self.logprobs),
        )

    def say_end(self, log: EventLog) -> None:
        text = _encode("".join(self.pieces))
        if self.kind is REFUSAL:
            log.say(b"response.refusal.done", b'%b,"refusal":%b' % (self.place, text))
        else:
            logprobs = encode_logprobs(self.logprobs)
            fields = b'%b,"text":%b,"logprobs":%b' % (self.place, text, logprobs)
            log.say(b"response.output_text.done", fields)
        log.say(b"response.content_part.done", b'%b,"part":%b' % (self.place, self.encode()))


class Message(Item):
    __slots__ = ("parts",)
    kind = "msg"

    def __init__(self, suffix: str, index: int) -> None:
        super().__init__(suffix, index)
        self.parts: list[Part] = []

    def encode(self) -> bytes:
        return b'{"id":%b,"type":"message","status":"%b","role":"assistant","content":[%b]}' % (
            self.id,
            self.status,
            b",".join(part.encode() for part in self.parts),
        )

    def add_part(self, kind: bytes, log: EventLog | None) -> Part:
        if self.parts and log is not None:
            self.parts[-1].say_end(log)
        part = Part(kind, b'%b,"content_index":%d' % (self.place, len(self.parts)))
        self.parts.append(part)
        if log is not None:
            fields = b'%b,"part":%b' % (part.place, part.encode())
            log.say(b"response.content_part.added", fields)
        return part

    def say_end(self, log: EventLog) -> None:
        self.parts[-1].say_end(log)


class Thought(Item):
    __slots__ = ("pieces", "sealed")
    kind = "rs"

    def __init__(self, suffix: str, index: int) -> None:
        super().__init__(suffix, index)
        self.place += b',"summary_index":0'
        self.pieces: list[str] = []
        self.sealed: str | None = None

    def encode(self) -> bytes:
        summary = self._part() if self.pieces else b""
        return (
            b'{"id":%b,"type":"reasoning","status":"%b","summary":[%b],"encrypted_content":%b}'
        ) % (self.id, self.status, summary, _encode(self.sealed))

    def _part(self) -> bytes:
        return b'{"type":"summary_text","text":%b}' % _encode("".join(self.pieces))

    def add(self, text: str, log: EventLog | None) -> None:
        if log is not None:
            if not self.pieces:
                fields = b'%b,"part":%b' % (self.place, self._part())
                log.say(b"response.reasoning_summary_part.added", fields)
            fields = b'%b,"delta":%b' % (self.place, _encode(text))
            log.say(b"response.reasoning_summary_text.delta", fields)
        self.pieces.append(text)

    def say_end(self, log: EventLog) -> None:
        if self.pieces:
            text = _encode("".join(self.pieces))
            log.say(b"response.reasoning_summary_text.done", b'%b,"text":%b' % (self.place, text))
            fields = b'%b,"part":%b' % (self.place, self._part())
            log.say(b"response.reasoning_summary_part.done", fields)


class Call(Item):
    """It is shown when its name is known, which is in its first piece but for odd servers."""

    __slots__ = ("call_id", "is_shown", "name", "pieces")
    kind = "fc"

    def __init__(self, suffix: str, index: int) -> None:
        super().__init__(suffix, index)
        self.call_id = ""
        self.name = ""
        self.pieces: list[str] = []
        self.is_shown = False

    def encode(self) -> bytes:
        return self._encode("".join(self.pieces) or _NO_ARGUMENTS)

    def _encode(self, arguments: str) -> bytes:
        return (
            b'{"id":%b,"type":"function_call","status":"%b","call_id":%b,"name":%b,"arguments":%b}'
        ) % (self.id, self.status, _encode(self.call_id), _encode(self.name), _encode(arguments))

    def open(self, log: EventLog) -> None:
        fields = b'"output_index":%d,"item":%b' % (self.index, self._encode(""))
        log.say(b"response.output_item.added", fields)
        self.is_shown = True
        if self.pieces:
            self._say_piece("".join(self.pieces), log)

    def add(self, arguments: str, log: EventLog | None) -> None:
        self.pieces.append(arguments)
        if log is not None and self.is_shown:
            self._say_piece(arguments, log)

    def _say_piece(self, arguments: str, log: EventLog) -> None:
        fields = b'%b,"delta":%b' % (self.place, _encode(arguments))
        log.say(b"response.function_call_arguments.delta", fields)

    def say_end(self, log: EventLog) -> None:
        if not self.is_shown:
            self.open(log)
        arguments = _encode("".join(self.pieces) or _NO_ARGUMENTS)
        fields = b'%b,"name":%b,"arguments":%b' % (self.place, _encode(self.name), arguments)
        log.say(b"response.function_call_arguments.done", fields)


def encode_logprobs(logprobs: Sequence[TokenLogprob]) -> bytes:
    """Clients want a list of bytes, also where they are not known."""
    return _encode(
        [
            {
                "token": entry.token,
                "logprob": entry.logprob,
                "bytes": entry.bytes or [],
                "top_logprobs": [
                    {"token": top.token, "logprob": top.logprob, "bytes": top.bytes or []}
                    for top in entry.top
                ],
            }
            for entry in logprobs
        ]
    )
