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
    """A part that only its own protocol can spell (audio, a file); ``encoded`` is its JSON.

    ``where`` is its place in the client's request (``messages[2].content[0]``).
    """

    protocol: str
    kind: str
    encoded: Raw
    where: str


class Seal(Struct, frozen=True, gc=False):
    """What the maker of a thought wants back unchanged, and only a server of ``protocol`` reads.

    ``is_thought``: the thought itself, encrypted; else a signature over its text.
    """

    protocol: str
    data: str
    is_thought: bool = False


class ReasoningPart(Struct, frozen=True, gc=False):
    """What the model thought before it answered, as the assistant's turn carries it."""

    text: str
    seal: Seal | None = None


Part = TextPart | ImagePart | ReasoningPart | OtherPart


class ToolCall(Struct, frozen=True):
    """A call that the assistant made; ``arguments`` is the JSON text the model wrote."""

    id: str
    name: str
    arguments: str


class Message(Struct, frozen=True):
    """One turn. ``parts`` is empty where the client sent null or nothing.

    The result of one tool call is a turn of its own (``Role.TOOL``); ``is_error`` says that the
    call failed. An assistant's ``tool_calls`` come after its parts.
    """

    role: Role
    parts: tuple[Part, ...] = ()
    name: str | None = None
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None
    is_error: bool = False


class Tool(Struct, frozen=True):
    """A function the model may call; ``parameters`` is its JSON schema as JSON text."""

    name: str
    description: str | None = None
    parameters: Raw | None = None
    strict: bool | None = None


class OtherTool(Struct, frozen=True):
    """A tool that only its own protocol knows, and that the client runs; ``encoded`` is its JSON.

    ``where`` is its place in the client's request (``tools[3]``).
    """

    protocol: str
    name: str
    encoded: Raw
    where: str


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
    top_k: int | None = None
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
    """The client's own JSON, field by field, for an upstream that speaks the same protocol.

    ``unknown`` names the fields that no value of the request stands for: they go to those providers
    of the same protocol whose row names them. ``untold`` names what a request has no words for and
    its own protocol does (``messages[].content[].cache_control``): it is lost on the way to
    another. Both are sorted; a null is not a field.

    ``words`` tells what else in there no value stands for: any key that is not named there. It is
    the protocol's: the keys that values stand for, by the key whose value has them (the request's
    own by ``""``), and None where a value stands for whatever there is.
    """

    protocol: str
    fields: Mapping[str, Raw]
    unknown: tuple[str, ...] = ()
    untold: tuple[str, ...] = ()
    words: Mapping[str, frozenset[str] | None] | None = None


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
    tools: tuple[Tool | OtherTool, ...] = ()
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    response_format: ResponseFormat | None = None
    user: str | None = None
    reasoning_effort: str | None = None
    input_bytes: int = 0
    images: int = 0
    original: Original | None = None
