"""The JSON of Responses answers, as far as it is read: shapes only, all of it tolerant.

What a server may leave out is optional here; what an item of an unknown kind holds is not looked
at, so that no new kind breaks the reading of those that are known.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Raw, Struct

Tokens = Annotated[int, Meta(ge=0, le=1_000_000_000)]
_Byte = Annotated[int, Meta(ge=0, le=255)]


class WireTopLogprob(Struct):
    token: str | None = None
    logprob: float | None = None
    bytes: list[_Byte] | None = None


class WireLogprob(Struct):
    token: str
    logprob: float
    bytes: list[_Byte] | None = None
    top_logprobs: list[WireTopLogprob] | None = None


class WireTimings(Struct):
    """llama.cpp's running counts; ``prompt_n`` leaves out what came from the cache."""

    prompt_n: Tokens = 0
    cache_n: Tokens = 0
    predicted_n: Tokens = 0


class WireEvent(Struct):
    """Any event of a stream; which fields it has, its type says."""

    type: str = ""
    item_id: str | None = None
    output_index: int | None = None
    content_index: int | None = None
    summary_index: int | None = None
    delta: str | None = None
    text: str | None = None
    refusal: str | None = None
    arguments: str | None = None
    logprobs: list[WireLogprob] | None = None
    item: Raw = Raw()
    response: Raw = Raw()
    error: Raw = Raw()
    timings: WireTimings | None = None


class WireEventType(Struct):
    type: str


class WireKind(Struct):
    """What kind of item it is, and what events call it."""

    type: str = ""
    id: str | None = None
    call_id: str | None = None


class WirePart(Struct):
    type: str = ""
    text: str | None = None
    refusal: str | None = None
    logprobs: list[WireLogprob] | None = None


class WireMessage(Struct):
    content: list[WirePart] | None = None


class WireReasoning(Struct):
    summary: list[WirePart] | None = None
    content: list[WirePart] | None = None
    encrypted_content: str | None = None


class WireCall(Struct):
    name: str
    id: str | None = None
    call_id: str | None = None
    arguments: str | None = None


class WireIncompleteDetails(Struct):
    reason: str | None = None


class WireInputDetails(Struct):
    cached_tokens: Tokens | None = None
    cache_write_tokens: Tokens | None = None


class WireOutputDetails(Struct):
    reasoning_tokens: Tokens | None = None


class WireUsage(Struct):
    input_tokens: Tokens | None = None
    output_tokens: Tokens | None = None
    input_tokens_details: WireInputDetails | None = None
    output_tokens_details: WireOutputDetails | None = None


class WireResponse(Struct):
    status: str | None = None
    output: list[Raw] | None = None
    usage: WireUsage | None = None
    error: Raw = Raw()
    incomplete_details: WireIncompleteDetails | None = None
    timings: WireTimings | None = None
