"""A request for an answer, in no protocol's spelling.

Codecs build a ``ChatRequest`` from a client's bytes and spell it again for an upstream. What a
field means is defined here; its bounds are ``bounds``' business.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from msgspec import Raw, Struct


class Role(StrEnum):
    SYSTEM = "system"
    DEVELOPER = "developer"
    USER = "user"
    ASSISTANT = "assistant"
    TOOL = "tool"


class TextPart(Struct, frozen=True, gc=False):
    text: str


class ImagePart(Struct, frozen=True, gc=False):
    """An image by https or data URL; ``detail`` is low, high or auto."""

    url: str
    detail: str | None = None


class OtherPart(Struct, frozen=True, gc=False):
    """A part that only its own protocol can spell (audio, a file); ``encoded`` is its JSON."""

    kind: str
    encoded: Raw


Part = TextPart | ImagePart | OtherPart


class ToolCall(Struct, frozen=True):
    """A call that the assistant made; ``arguments`` is the JSON text the model wrote."""

    id: str
    name: str
    arguments: str


class Message(Struct, frozen=True):
    """One turn. ``parts`` is empty where the client sent null or nothing."""

    role: Role
    parts: tuple[Part, ...] = ()
    name: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None


class Tool(Struct, frozen=True):
    """A function the model may call; ``parameters`` is its JSON schema as JSON text."""

    name: str
    description: str | None = None
    parameters: Raw | None = None
    strict: bool | None = None


class ToolChoice(Struct, frozen=True):
    """``none``, ``auto``, ``required``, or the name of the one tool to call."""

    mode: str
    name: str | None = None

    @property
    def forces_call(self) -> bool:
        return self.mode in ("required", "named")


class ResponseFormat(Struct, frozen=True):
    """``text``, ``json_object`` or ``json_schema`` with its schema as JSON text."""

    kind: str
    name: str | None = None
    schema: Raw | None = None
    strict: bool | None = None


class Sampling(Struct, frozen=True):
    """How the answer is drawn.

    ``None`` is "not said"; the model's default, then the upstream's, applies.
    """

    temperature: float | None = None
    top_p: float | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
    n: int = 1
    seed: int | None = None
    logit_bias: Mapping[str, float] | None = None
    logprobs: bool = False
    top_logprobs: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None


class Original(Struct, frozen=True):
    """The client's own JSON, field by field, for an upstream that speaks the same protocol."""

    protocol: str
    fields: Mapping[str, Raw]


class ChatRequest(Struct, frozen=True):
    """What the client asks for. ``stream`` and ``include_usage`` say how it wants the answer.

    ``input_bytes`` is the UTF-8 size of everything that becomes prompt (text, tools, schema): an
    upper bound of the prompt's tokens, because no tokenizer makes two tokens of one byte.
    """

    model: str
    messages: tuple[Message, ...]
    sampling: Sampling = Sampling()
    stream: bool = False
    include_usage: bool = False
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    user: str | None = None
    reasoning_effort: str | None = None
    input_bytes: int = 0
    images: int = 0
    original: Original | None = None
