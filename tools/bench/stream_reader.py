"""Reads many streams at once and says how late their events were.

    python -m tools.bench.stream_reader < task.json

A process of its own, so that the load's core has it. The task comes as one line of JSON on stdin,
the outcome as one on stdout. Asked to ``hold`` the streams, it says when each has sent its first
event, and keeps them open until its stdin ends.
"""

from __future__ import annotations

import asyncio
import dataclasses
import itertools
import json
import re
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import urlsplit

import httptools
import uvloop

_SENT = re.compile(rb"@(\d{19});")
_OPENING_AT_ONCE = 50
"""Streams that are being opened at a time, so that nobody's backlog overflows."""

ANSWER_TIMEOUT_S = 60.0


class StreamFailed(Exception):
    """A stream was refused, broke off, or lacked events."""


@dataclass(frozen=True)
class Task:
    """``streams`` connections, each of which asks for ``rounds`` answers, one after the other.

    They begin evenly over ``stagger_s``, so that not all end at once, and no more than ``at_once``
    at a time. An answer has ``events`` events that carry a time; ``hold`` waits for no more. Where
    there is a ``mark`` in headers and body, the number of the answer takes its place, in as many
    digits, so that no two are asked alike.
    """

    url: str
    headers: dict[str, str]
    body: str
    streams: int
    rounds: int = 1
    stagger_s: float = 0.0
    events: int = 1
    hold: bool = False
    at_once: int | None = None
    mark: str = ""


@dataclass
class Outcome:
    """All events that were read, in how many reads and bytes they came, and how old they were."""

    events: int = 0
    reads: int = 0
    size: int = 0
    answers: int = 0
    delays_ns: list[int] = field(default_factory=list)

    def as_sample(self) -> dict[str, float]:
        """The figures."""
        cuts = percentiles(self.delays_ns)
        return {
            "events": self.events,
            "events_per_read": self.events / self.reads,
            "bytes": self.size,
            "answers": self.answers,
            "delay_p50_ms": cuts[49] / 1e6,
            "delay_p99_ms": cuts[98] / 1e6,
        }


def percentiles(values: Sequence[float]) -> list[float]:
    """The 99 cuts between hundredths."""
    return statistics.quantiles(values, n=100, method="inclusive")


class EventScanner:
    """Finds the times in a text that comes in pieces, wherever they are cut.

    A time that is not later than the last one is said again: some protocols repeat the whole text
    at its end.
    """

    _KEPT = 20
    """One byte less than a time has with its marks."""

    def __init__(self) -> None:
        self._rest = b""
        self._last = 0

    def feed(self, piece: bytes) -> list[int]:
        """The times that this piece completes."""
        text = self._rest + piece
        end = 0
        found = []
        for match in _SENT.finditer(text):
            end = match.end()
            sent_ns = int(match[1])
            if sent_ns > self._last:
                self._last = sent_ns
                found.append(sent_ns)
        self._rest = text[max(end, len(text) - self._KEPT) :]
        return found


class _Reading(asyncio.Protocol):
    """One connection. ``come`` is set when as many events as are ``awaited`` have come, and
    ``ended`` when an answer is complete, or never will be.
    """

    def __init__(self, outcome: Outcome, awaited: int) -> None:
        self._outcome = outcome
        self._awaited = awaited
        self._parser = httptools.HttpResponseParser(self)
        self._scanner = EventScanner()
        self._now_ns = 0
        self._found = 0
        self._problem = b""
        self.failure: str | None = None
        self.seen = 0
        self.come = asyncio.Event()
        self.ended = asyncio.Event()
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is not derived from it

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail("the connection was closed")

    def begin(self) -> None:
        """Expect another answer."""
        self.seen = 0
        self.come.clear()
        self.ended.clear()

    def data_received(self, data: bytes) -> None:
        self._now_ns = time.monotonic_ns()
        self._found = 0
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(f"not HTTP: {error}")
        if self._found:
            self._outcome.reads += 1

    def on_body(self, piece: bytes) -> None:
        status = self._parser.get_status_code()
        if status != 200:
            self._problem += piece
            return
        self._outcome.size += len(piece)
        for sent_ns in self._scanner.feed(piece):
            self._outcome.delays_ns.append(self._now_ns - sent_ns)
            self._outcome.events += 1
            self._found += 1
            self.seen += 1
        if self.seen >= self._awaited:
            self.come.set()

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if status != 200:
            self._fail(f"status {status}: {self._problem[:300].decode('utf-8', 'replace')}")
            return
        self._parser = httptools.HttpResponseParser(self)
        self._scanner = EventScanner()
        self.ended.set()

    def _fail(self, why: str) -> None:
        if self.failure is None:
            self.failure = why
        self.come.set()
        self.ended.set()


async def read(task: Task, on_open: Any = None) -> Outcome:
    """Do the task. Raises ``StreamFailed``. ``on_open`` is awaited when held streams are open."""
    outcome = Outcome()
    at_once = task.at_once or (_OPENING_AT_ONCE if task.hold else task.streams)
    opening = asyncio.Semaphore(at_once)
    mark, numbers = task.mark.encode(), itertools.count()
    parts = urlsplit(task.url)
    assert parts.hostname is not None
    assert parts.port is not None
    host, port = parts.hostname, parts.port
    body = task.body.encode()
    lines = [f"POST {parts.path} HTTP/1.1", f"host: {parts.netloc}"]
    lines += [f"{name}: {value}" for name, value in task.headers.items()]
    request = "\r\n".join([*lines, f"content-length: {len(body)}", "", ""]).encode() + body
    loop = asyncio.get_running_loop()

    async def stream(number: int) -> asyncio.Transport:
        await asyncio.sleep(number * task.stagger_s / task.streams)
        async with opening:
            _, reading = await loop.create_connection(
                lambda: _Reading(outcome, task.events), host, port
            )
            assert reading.transport is not None
            for _ in range(task.rounds):
                reading.begin()
                number_told = b"%0*d" % (len(mark), next(numbers))
                reading.transport.write(request.replace(mark, number_told) if mark else request)
                awaited = reading.come if task.hold else reading.ended
                try:
                    async with asyncio.timeout(ANSWER_TIMEOUT_S):
                        await awaited.wait()
                except TimeoutError:
                    raise StreamFailed(
                        f"nothing came for {ANSWER_TIMEOUT_S:.0f} s, after {outcome.answers} of "
                        f"{task.streams * task.rounds} answers"
                    ) from None
                if reading.failure is not None:
                    raise StreamFailed(reading.failure)
                if reading.seen != task.events:
                    raise StreamFailed(f"{reading.seen} of {task.events} events came")
                outcome.answers += 1
        if not task.hold:
            reading.transport.close()
        return reading.transport

    held = await asyncio.gather(*map(stream, range(task.streams)))
    if task.hold and on_open is not None:
        await on_open()
        broken = sum(1 for transport in held if transport.is_closing())
        if broken:
            raise StreamFailed(f"{broken} of {task.streams} streams did not stay open")
    for transport in held:
        transport.close()
    return outcome


async def _main() -> dict[str, Any]:
    task = Task(**json.loads(sys.stdin.readline()))

    async def hold() -> None:
        print(json.dumps({"open": task.streams}), flush=True)
        await asyncio.to_thread(sys.stdin.read)

    try:
        return (await read(task, hold)).as_sample()
    except (StreamFailed, OSError) as failure:
        return {"failed": str(failure) or type(failure).__name__}


def spell(task: Task) -> str:
    """The line that a reader is given."""
    return json.dumps(dataclasses.asdict(task)) + "\n"


if __name__ == "__main__":
    print(json.dumps(uvloop.run(_main())), flush=True)
