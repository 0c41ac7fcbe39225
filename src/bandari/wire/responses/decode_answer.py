"""Responses answers, whole and streamed, from bytes to events.

Rule 1: no I/O. Rule 2: this file does not know whether we are the client or the server.
Rule 3: a decoder's answer has ended only when it saw the protocol's own end, the terminal event;
the caller asks ``ended`` when the bytes stop.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import msgspec
from msgspec import Raw

from bandari.domain.events import ChoiceFinished, Counted, Event, FinishReason, UsageReported
from bandari.domain.faults import UpstreamMalformed
from bandari.wire.reported import reported_usage
from bandari.wire.responses.answer_shapes import (
    WireEvent,
    WireEventType,
    WireInputDetails,
    WireOutputDetails,
    WireResponse,
    WireTimings,
    WireUsage,
)
from bandari.wire.responses.errors import read_stream_error
from bandari.wire.responses.read_items import EVENT_TYPES, ItemReader, decode
from bandari.wire.sse import SseEvent

_DONE: Final = b"[DONE]"
"""What some servers send after the end, from habit."""

_ENDS: Final = frozenset({"response.completed", "response.incomplete", "response.failed"})
_ERROR: Final = "error"
_KNOWN: Final = EVENT_TYPES | _ENDS | {_ERROR, ""}

_read_event = msgspec.json.Decoder(WireEvent).decode
_read_type = msgspec.json.Decoder(WireEventType).decode
_read_response = msgspec.json.Decoder(WireResponse).decode


class AnswerDecoder:
    """Reads one upstream's answer, as a stream of SSE events or as one body."""

    __slots__ = ("_is_over", "_items")

    def __init__(self, top_logprobs: int = 0, *, single_call: bool = False) -> None:
        """What was asked for; what an upstream gives beyond is cut.

        ``single_call``: the answer ends with its first tool call (``parallel_tool_calls`` is
        false).
        """
        self._items = ItemReader(top_logprobs, single_call=single_call)
        self._is_over = False

    @property
    def ended(self) -> bool:
        """Whether the upstream said that it is done, or all that was asked for has come."""
        return self._is_over or self._items.is_cut

    @property
    def is_over(self) -> bool:
        """Whether the protocol's last event has come: nothing follows but the end of the body."""
        return self._is_over

    @property
    def has_enough(self) -> bool:
        """Whether the rest of the stream would be cut away, so that it need not be read."""
        return self._items.is_cut

    def stream_event(self, event: SseEvent) -> Sequence[Event]:
        """What one SSE event says. An error event raises the ``Fault`` that it stands for."""
        if self._is_over or event.data == _DONE:
            return ()
        if event.name == _ERROR:
            raise read_stream_error(event.data)
        wire = _parse(event)
        if wire.type == _ERROR or (not wire.type and _is_given(wire.error)):
            raise read_stream_error(event.data)
        events: list[Event] = []
        if wire.type in _ENDS:
            self._end(events, decode(_read_response, wire.response), wire.type)
            return events
        was_cut = self._items.is_cut
        self._items.read(events, wire)
        if self._items.is_cut and not was_cut:
            self._finish(events, FinishReason.TOOL_CALLS)
        if wire.timings is not None:
            events.append(_counted(wire.timings))
        return events

    def body(self, body: bytes) -> Sequence[Event]:
        """What a whole, unstreamed answer says."""
        response = decode(_read_response, body)
        if _is_given(response.error):
            raise read_stream_error(body)
        if response.status not in (None, "completed", "incomplete", "failed"):
            raise UpstreamMalformed("The model's provider sent an answer that has not ended.")
        if response.output is None and response.status != "failed":
            raise UpstreamMalformed("The model's provider sent an answer without output.")
        events: list[Event] = []
        self._end(events, response, "response.completed")
        if response.timings is not None:
            events.append(_counted(response.timings))
        return events

    def _end(self, events: list[Event], response: WireResponse, event_type: str) -> None:
        if "failed" in (response.status, event_type.removeprefix("response.")):
            raise read_stream_error(bytes(response.error))
        self._is_over = True
        was_cut = self._items.is_cut
        if not self._items.has_seen_items:
            self._items.read_output(events, response.output or ())
        if not was_cut:
            self._finish(events, self._reason(response, event_type))
        if response.usage is not None:
            events.extend(_read_usage(response.usage))

    def _reason(self, response: WireResponse, event_type: str) -> FinishReason:
        """vLLM's last event is ``completed`` for an incomplete response, too."""
        if self._items.is_cut:
            return FinishReason.TOOL_CALLS
        if "incomplete" in (response.status, event_type.removeprefix("response.")):
            details = response.incomplete_details
            if details is not None and details.reason == "content_filter":
                return FinishReason.CONTENT_FILTER
            return FinishReason.LENGTH
        return FinishReason.TOOL_CALLS if self._items.calls else FinishReason.STOP

    def _finish(self, events: list[Event], reason: FinishReason) -> None:
        if reason is FinishReason.TOOL_CALLS:
            self._items.end_calls(events)
        events.append(ChoiceFinished(0, reason))


def _parse(event: SseEvent) -> WireEvent:
    """The event, typed by its data or else by its name; one of an unknown type is empty."""
    try:
        wire = _read_event(event.data)
    except msgspec.ValidationError:
        kind = decode(_read_type, event.data).type
        if kind in _KNOWN:
            raise UpstreamMalformed from None
        return WireEvent(kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise UpstreamMalformed from None
    wire.type = wire.type or event.name
    return wire


def _is_given(raw: Raw) -> bool:
    return bytes(raw) not in (b"", b"null")


def _counted(wire: WireTimings) -> Counted:
    return Counted(0, wire.prompt_n + wire.cache_n, wire.cache_n, wire.predicted_n)


def _read_usage(wire: WireUsage) -> Sequence[UsageReported]:
    """What was reported; half a report is none, or the other half would be free of charge."""
    if wire.input_tokens is None or wire.output_tokens is None:
        return ()
    given = wire.input_tokens_details or WireInputDetails()
    made = wire.output_tokens_details or WireOutputDetails()
    return (
        reported_usage(
            wire.input_tokens,
            wire.output_tokens,
            cached=given.cached_tokens,
            cache_write=given.cache_write_tokens,
            reasoning=made.reasoning_tokens,
        ),
    )
