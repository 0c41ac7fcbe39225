"""Answers of upstreams as they are on the wire, whole and streamed, read as events."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from tests.unit.wire.feeding import cuts, dressed, sse_events, transcript

from bandari.domain.chat import Seal
from bandari.domain.events import (
    ChoiceFinished,
    Event,
    FinishReason,
    InputCounted,
    ReasoningDelta,
    ReasoningSealed,
    TextDelta,
    ToolCallDelta,
    UsageReported,
)
from bandari.domain.faults import ContextLengthExceeded, UpstreamOverloaded
from bandari.domain.usage import Usage
from bandari.wire.messages import PROTOCOL
from bandari.wire.messages.decode_answer import AnswerDecoder
from bandari.wire.sse import SseDecoder

STOP = ChoiceFinished(0, FinishReason.STOP)
CALLS = ChoiceFinished(0, FinishReason.TOOL_CALLS)


def read_stream(pieces: Iterable[bytes]) -> tuple[list[Event], AnswerDecoder]:
    sse, decoder = SseDecoder(), AnswerDecoder()
    events: list[Event] = []
    for piece in pieces:
        for event in sse.feed(piece):
            events.extend(decoder.stream_event(event))
    return events, decoder


def texts(pieces: str) -> list[TextDelta]:
    return [TextDelta(0, piece) for piece in pieces.split("|")]


def signature(data: str) -> ReasoningSealed:
    return ReasoningSealed(0, Seal(PROTOCOL, data))


TRANSCRIPTS: dict[str, list[Event]] = {
    "anthropic.sse": [
        InputCounted(2172, cached_tokens=2048, cache_write_tokens=120),
        TextDelta(0, "Habari"),
        TextDelta(0, ", dunia 🌍"),
        ChoiceFinished(0, FinishReason.STOP, "END"),
        UsageReported(Usage(2172, 12, cached_tokens=2048, cache_write_tokens=120)),
    ],
    "anthropic_thinking.sse": [
        InputCounted(25),
        ReasoningDelta(0, "They greet"),
        ReasoningDelta(0, " me."),
        signature("EqQBCgIYAhIM1gbcDa9GJwZA2b3hGgxBdjrkzLoky3dl1pk="),
        ReasoningSealed(
            0, Seal(PROTOCOL, "EmwKAhgBEgy3va3pzix/LafPsn4aDFIT2Xlxh0L5L8rLVyIw", is_thought=True)
        ),
        signature("ErUBCkYICBACGAIiQG=="),
        TextDelta(0, "Jambo!"),
        STOP,
        UsageReported(Usage(25, 40, reasoning_tokens=33)),
    ],
    "anthropic_tools.sse": [
        InputCounted(472),
        TextDelta(0, "Let me look."),
        ToolCallDelta(0, 0, "", "toolu_01T1x1fJ34qAmk2tNTrN7Up6", "get_weather"),
        ToolCallDelta(0, 0, '{"city":'),
        ToolCallDelta(0, 0, ' "Nairobi"}'),
        ToolCallDelta(0, 1, "", "toolu_01Bq2n9cW7", "get_time"),
        ToolCallDelta(0, 1, "{}"),
        CALLS,
        UsageReported(Usage(472, 89)),
    ],
    "anthropic_web_search.sse": [
        InputCounted(2679),
        TextDelta(0, "Warm"),
        TextDelta(0, " today."),
        STOP,
        UsageReported(Usage(10682, 510)),
    ],
    "llama_cpp.sse": [
        InputCounted(9),
        *texts("Hello|!| How| can| I| help| you|?"),
        STOP,
        UsageReported(Usage(9, 9)),
    ],
    "llama_cpp_stop.sse": [
        InputCounted(9, cached_tokens=8),
        *texts("Hello|!| How| c"),
        ChoiceFinished(0, FinishReason.STOP, "a"),
        UsageReported(Usage(9, 4, cached_tokens=8)),
    ],
    "llama_cpp_tools.sse": [
        InputCounted(168),
        ToolCallDelta(0, 0, "", "WCH1QwwPojalccTUr7ynVdIeU1gzOulU", "get_weather"),
        *(ToolCallDelta(0, 0, delta.text) for delta in texts('{|"|city|":| "|N|airo|bi|"}')),
        CALLS,
        UsageReported(Usage(168, 32)),
    ],
    "llama_cpp_cut_tool.sse": [
        InputCounted(168, cached_tokens=167),
        ToolCallDelta(0, 0, "", "ddPg9wsb1lGxp5HuqdIBHlo3mU7QVqNH", "get_weather"),
        ToolCallDelta(0, 0, "{"),
        ChoiceFinished(0, FinishReason.LENGTH),
        UsageReported(Usage(168, 14, cached_tokens=167)),
    ],
}


@pytest.mark.parametrize("name", TRANSCRIPTS)
def test_a_transcript_says_the_same_however_it_is_cut(name: str) -> None:
    data = transcript(PROTOCOL, name)
    events, decoder = read_stream([data])
    assert events == TRANSCRIPTS[name]
    assert decoder.ended
    assert decoder.is_over
    frames = sse_events([data])
    assert all(sse_events(pieces) == frames for pieces in cuts(data))


@pytest.mark.parametrize("name", TRANSCRIPTS)
def test_a_transcript_says_the_same_however_it_is_written(name: str) -> None:
    for data in dressed(transcript(PROTOCOL, name)):
        assert read_stream([data])[0] == TRANSCRIPTS[name]
        assert read_stream(data[at : at + 1] for at in range(len(data)))[0] == TRANSCRIPTS[name]


def test_one_that_is_written_otherwise_may_be_cut_anywhere_too() -> None:
    for data in dressed(transcript(PROTOCOL, "llama_cpp_cut_tool.sse")):
        for pieces in cuts(data):
            assert read_stream(pieces)[0] == TRANSCRIPTS["llama_cpp_cut_tool.sse"]


def test_an_error_in_a_stream_is_raised_however_it_is_cut() -> None:
    data = transcript(PROTOCOL, "anthropic_error.sse")
    for pieces in [*cuts(data), *([other] for other in dressed(data))]:
        with pytest.raises(UpstreamOverloaded):
            read_stream(pieces)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "anthropic.json",
            [
                ReasoningDelta(0, "They greet me."),
                signature("EqQBCgIYAhIM1gbc"),
                ReasoningSealed(0, Seal(PROTOCOL, "EmwKAhgBEgy3va3p", is_thought=True)),
                TextDelta(0, "Let me look."),
                ToolCallDelta(0, 0, "", "toolu_01T1x1fJ34qAmk2tNTrN7Up6", "get_weather"),
                ToolCallDelta(0, 0, '{"city": "Nairobi", "days": 1.0}'),
                ToolCallDelta(0, 1, "", "toolu_01Bq2n9cW7", "get_time"),
                ToolCallDelta(0, 1, "{}"),
                CALLS,
                UsageReported(
                    Usage(
                        2172,
                        103,
                        cached_tokens=2048,
                        cache_write_tokens=120,
                        reasoning_tokens=33,
                    )
                ),
            ],
        ),
        (
            "llama_cpp.json",
            [
                TextDelta(0, "Hello! How can I help you?"),
                STOP,
                UsageReported(Usage(9, 9, cached_tokens=8)),
            ],
        ),
        (
            "llama_cpp_tools.json",
            [
                ToolCallDelta(0, 0, "", "aengyBzYIgWXJ0YpOyqNz55mJN1pccUh", "get_weather"),
                ToolCallDelta(0, 0, '{"city":"Nairobi"}'),
                CALLS,
                UsageReported(Usage(168, 32, cached_tokens=167)),
            ],
        ),
        (
            "llama_cpp_cut_tool.json",
            [
                ToolCallDelta(0, 0, "", "BxuGCt6Pxow9aAuoeuFyCueXNIVdaVwA", "get_weather"),
                ToolCallDelta(0, 0, "{}"),
                ChoiceFinished(0, FinishReason.LENGTH),
                UsageReported(Usage(168, 14, cached_tokens=167)),
            ],
        ),
    ],
)
def test_a_whole_answer(name: str, expected: list[Event]) -> None:
    decoder = AnswerDecoder()
    assert list(decoder.body(transcript(PROTOCOL, name))) == expected
    assert decoder.ended


@pytest.mark.parametrize("name", ["anthropic_error.json", "llama_cpp_too_long.json"])
def test_a_body_may_be_an_error_under_a_good_status(name: str) -> None:
    with pytest.raises(ContextLengthExceeded):
        AnswerDecoder().body(transcript(PROTOCOL, name))


def test_a_stream_that_was_cut_off_has_not_ended() -> None:
    data = transcript(PROTOCOL, "anthropic.sse")
    assert not read_stream([data[: data.index(b"event: message_delta")]])[1].ended
