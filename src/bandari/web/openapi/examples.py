"""Examples that are true: what a surface's own codec makes of a request and of one short answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from bandari.domain.events import ChoiceFinished, Event, FinishReason, TextDelta, ToolCallDelta
from bandari.domain.usage import Usage
from bandari.service.inference import Opening
from bandari.service.ports import FrameEncoder
from bandari.web.surface import ChatSurface

OPENING: Final = Opening("01m7z9ezq8pz5cqwp2zt3ttm1q", 1_795_272_703, "bandari-tiny", 17)
USAGE: Final = Usage(input_tokens=17, output_tokens=12)
TEXT: Final[Sequence[Event]] = (
    TextDelta(0, "The capital of Kenya"),
    TextDelta(0, " is Nairobi."),
    ChoiceFinished(0, FinishReason.STOP),
)
CALL: Final[Sequence[Event]] = (
    ToolCallDelta(0, 0, '{"city": "Nairobi"}', "call_01m7z9f0k3", "get_weather"),
    ChoiceFinished(0, FinishReason.TOOL_CALLS),
)


def answered(surface: ChatSurface, request: Any, events: Sequence[Event] = TEXT) -> Any:
    """The whole answer to a request, as JSON has it."""
    return msgspec.json.decode(spelled(_encoder(surface, request), events))


def streamed(surface: ChatSurface, request: Any, events: Sequence[Event] = TEXT) -> str:
    """The streamed answer to a request, as it is sent."""
    return (surface.opening + spelled(_encoder(surface, request), events)).decode()


def spelled(encoder: FrameEncoder, events: Sequence[Event]) -> bytes:
    """All that an encoder makes of an answer."""
    return b"".join([*encoder.events(events), *encoder.close(USAGE)])


def _encoder(surface: ChatSurface, request: Any) -> FrameEncoder:
    decoded = surface.decode(msgspec.json.encode(request), max_messages=100)
    return surface.encoder(decoded, OPENING)
