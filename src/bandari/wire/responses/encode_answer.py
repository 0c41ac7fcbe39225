"""Responses answers, whole and streamed, from events to bytes.

Rule 1: no I/O. Rule 2: this file does not know whether we are the client or the server.
Rule 3: usage and the end wait for ``close``: the answer is paid for before it ends.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Struct

from bandari.domain.events import (
    ChoiceFinished,
    Counted,
    Event,
    FinishReason,
    InputCounted,
    TextDelta,
    UsageReported,
)
from bandari.domain.faults import Cancelled
from bandari.domain.problem import Problem
from bandari.domain.usage import Usage
from bandari.wire.envelope import Envelope
from bandari.wire.responses.errors import encode_error_event
from bandari.wire.responses.event_log import EventLog
from bandari.wire.responses.output_items import OutputItems
from bandari.wire.responses.response_object import (
    CANCELLED,
    COMPLETED,
    FAILED,
    IN_PROGRESS,
    INCOMPLETE,
    NO_ITEMS,
    QUEUED,
    ResponseFrame,
    ResponseObject,
    is_cut_short,
)


class Told(Struct, frozen=True):
    """A response at one moment: its object, and the array of its output items."""

    status: bytes
    body: bytes
    output: bytes


class _Answer:
    """What both encoders tell in the end, and can tell before it.

    ``now_s`` tells when the answer is complete, in seconds since 1970.
    """

    __slots__ = ("_is_background", "_items", "_now_s", "_object", "_reason", "_told")

    def __init__(
        self,
        envelope: Envelope,
        frame: ResponseFrame,
        now_s: Callable[[], int],
        log: EventLog | None = None,
    ) -> None:
        self._object = ResponseObject(envelope, frame)
        self._items = OutputItems(envelope.id, frame, log)
        self._is_background = frame.background
        self._now_s = now_s
        self._reason: FinishReason | None = None
        self._told: Told | None = None

    def snapshot(self) -> Told:
        """The response as it is now: as ``close`` or ``problem`` told it, once one of them has."""
        if self._told is not None:
            return self._told
        output = self._items.encode()
        is_queued = self._is_background and output == NO_ITEMS
        status = QUEUED if is_queued else IN_PROGRESS
        return Told(status, self._object.encode(status, output=output), output)

    def _finish(self, usage: Usage, finish: FinishReason | None) -> Told:
        reason = self._reason or finish or FinishReason.STOP
        status = INCOMPLETE if is_cut_short(reason) else COMPLETED
        self._items.close(status)
        output = self._items.encode()
        body = self._object.finished(reason, output=output, usage=usage, completed_at=self._now_s())
        self._told = Told(status, body, output)
        return self._told

    def _fail(self, problem: Problem) -> Told:
        self._items.break_off()
        output = self._items.encode()
        if problem.code == Cancelled.code:
            body = self._object.encode(CANCELLED, output=output)
            self._told = Told(CANCELLED, body, output)
        else:
            self._told = Told(FAILED, self._object.failed(problem, output=output), output)
        return self._told


class StreamEncoder(_Answer):
    """Writes a streamed answer: one SSE event per frame, in the order of the events."""

    __slots__ = ("_is_open", "_log")

    def __init__(
        self, envelope: Envelope, frame: ResponseFrame, *, now_s: Callable[[], int]
    ) -> None:
        self._log = EventLog()
        self._is_open = False
        super().__init__(envelope, frame, now_s, self._log)

    def opening(self) -> Sequence[bytes]:
        """The frames before the first item, unless they were written already."""
        self._open()
        return self._log.take()

    def events(self, events: Sequence[Event]) -> Sequence[bytes]:
        """The frames for what happened; usage and the end are held back for ``close``."""
        for event in events:
            if self._is_open and isinstance(event, TextDelta):  # most events of most streams
                self._items.add_text(event)
            elif isinstance(event, ChoiceFinished):
                self._reason = event.reason
            elif not isinstance(event, (Counted, InputCounted, UsageReported)):
                if not self._is_open:
                    self._open()
                self._items.add(event)
        return self._log.take()

    def close(self, usage: Usage, finish: FinishReason | None = None) -> Sequence[bytes]:
        """The frames that end a good answer, the one with the whole response last.

        ``finish`` says how it ended where the upstream did not, because we stopped it.
        """
        self._open()
        told = self._finish(usage, finish)
        self._log.say(b"response." + told.status, b'"response":' + told.body)
        return self._log.take()

    def problem(self, problem: Problem) -> Sequence[bytes]:
        """The in-stream error, and the response that failed. Nothing follows them."""
        error = encode_error_event(problem, self._log.next_number)
        self._log.say_data(b"error", error)
        self._log.say(b"response.failed", b'"response":' + self._fail(problem).body)
        return self._log.take()

    def _open(self) -> None:
        if self._is_open:
            return
        self._is_open = True
        begun = b'"response":' + self._object.encode(IN_PROGRESS)
        if self._is_background:
            queued = b'"response":' + self._object.encode(QUEUED)
            self._log.say(b"response.created", queued)
            self._log.say(b"response.queued", queued)
        else:
            self._log.say(b"response.created", begun)
        self._log.say(b"response.in_progress", begun)


class WholeEncoder(_Answer):
    """Writes an unstreamed answer: one JSON body, when all is known and paid."""

    __slots__ = ()

    def __init__(
        self, envelope: Envelope, frame: ResponseFrame, *, now_s: Callable[[], int]
    ) -> None:
        super().__init__(envelope, frame, now_s)

    def opening(self) -> Sequence[bytes]:
        """None: all of it comes at once."""
        return ()

    def events(self, events: Sequence[Event]) -> Sequence[bytes]:
        for event in events:
            if isinstance(event, ChoiceFinished):
                self._reason = event.reason
            else:
                self._items.add(event)
        return ()

    def close(self, usage: Usage, finish: FinishReason | None = None) -> Sequence[bytes]:
        return (self._finish(usage, finish).body,)

    def problem(self, problem: Problem) -> Sequence[bytes]:
        """No frame: an unstreamed answer has a status to say it with."""
        self._fail(problem)
        return ()
