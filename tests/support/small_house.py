"""The use cases put together over doubles: an account with money, a model, scripted upstreams."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tests.support.books_in_memory import BooksInMemory
from tests.support.clock import SetClock
from tests.support.plain_encoder import PlainEncoder
from tests.support.recorded_metrics import RecordedMetrics
from tests.support.samples import FREE_OUTPUT, PER_REQUEST, SHILLINGS, TOKENS, a_model, a_principal
from tests.support.scripted_upstream import ScriptedUpstream

from bandari.domain.catalogue import Model
from bandari.domain.chat import ChatRequest
from bandari.domain.keys import Principal
from bandari.domain.ledger import Receipt
from bandari.domain.outcome import Deny
from bandari.domain.problem import Problem
from bandari.service.books import Books
from bandari.service.caching import Cache
from bandari.service.estimates import Estimates
from bandari.service.generation import Generation
from bandari.service.inference import Inference, Settings
from bandari.service.limiting import Limiter
from bandari.service.models import Models
from bandari.service.open_requests import OpenRequests
from bandari.service.ports import Reports
from bandari.service.recording import Space
from bandari.service.recordings import Recordings
from bandari.service.stream_terms import StreamSettings
from bandari.service.streams import SpellProblem, Streams


def _plain_problem(problem: Problem, index: int) -> Sequence[bytes]:
    return (b"%d:problem:%b\n\n" % (index, problem.code.encode()),)


class SmallHouse:
    """``upstreams`` is one upstream, which becomes ``acme``, or several by name."""

    def __init__(
        self,
        upstreams: ScriptedUpstream | Mapping[str, ScriptedUpstream] | None = None,
        *,
        balance: int = 1_000_000,
        model: Model | None = None,
        settings: Settings | None = None,
        open_requests: OpenRequests | None = None,
        reports: Reports | None = None,
        refresh_ms: int | None = None,
        max_recorded_bytes: int = 1_000_000,
        max_cached_bytes: int = 1_000_000,
    ) -> None:
        if upstreams is None or isinstance(upstreams, ScriptedUpstream):
            upstreams = {"acme": upstreams or ScriptedUpstream()}
        self.clock = SetClock()
        self.metrics = RecordedMetrics()
        self.books = BooksInMemory(TOKENS, FREE_OUTPUT, PER_REQUEST, SHILLINGS)
        if balance:
            self.books.credit(1, "TOKEN", balance)
        self.estimates = Estimates()
        self.upstreams = upstreams
        self.models = Models([model or a_model()])
        self._drawn = 0
        self.service_books = Books(self.books)
        self.limiter = Limiter(clock=self.clock, reports=reports, refresh_ms=refresh_ms)
        self.space = Space(max_recorded_bytes)
        self.cache = Cache(self.clock, max_bytes=max_cached_bytes, max_answer_bytes=100_000)
        self.recordings = Recordings(self.space)
        self.inference = Inference(
            models=self.models,
            books=self.service_books,
            upstreams=upstreams,
            clock=self.clock,
            metrics=self.metrics,
            estimates=self.estimates,
            epoch=1,
            random_bytes=self._random_bytes,
            settings=settings or Settings(),
            open_requests=open_requests,
            limiter=self.limiter,
            space=self.space,
            cache=self.cache,
        )

    def _random_bytes(self, count: int) -> bytes:
        self._drawn += 1
        return bytes([self._drawn // 32 % 32, self._drawn % 32]).rjust(count, b"\0")

    def streams(
        self,
        settings: StreamSettings | None = None,
        *,
        recordings: Recordings | None = None,
        spell_problem: Mapping[str, SpellProblem] | None = None,
    ) -> Streams:
        """The use case over this house. With other ``recordings`` it is another server's."""
        return Streams(
            recordings=recordings or self.recordings,
            kept=self.books.recordings,
            cache=self.cache,
            clock=self.clock,
            metrics=self.metrics,
            settings=settings or StreamSettings(),
            spell_problem=spell_problem or {"plain": _plain_problem},
        )

    async def begin(
        self,
        request: ChatRequest,
        *,
        principal: Principal | None = None,
        encoder: PlainEncoder | None = None,
    ) -> Generation:
        begun = await self.inference.begin(
            principal or a_principal(),
            request,
            lambda opening: encoder or PlainEncoder(streams=request.stream),
        )
        assert not isinstance(begun, Deny), begun
        return begun

    async def answer(
        self, request: ChatRequest, *, encoder: PlainEncoder | None = None
    ) -> Answered:
        """Begin, and wait for the end."""
        return await ended(await self.begin(request, encoder=encoder), self.books)


class Answered:
    """An answer that has ended: its frames as lines, and what became of its hold."""

    def __init__(self, generation: Generation, lines: list[str], books: BooksInMemory) -> None:
        self.generation = generation
        self.lines = lines
        self.receipt: Receipt | None = books.receipts.get(generation.receipt_id)
        self.was_voided = generation.receipt_id in books.voided
        self.problem = generation.recording.problem


async def ended(generation: Generation, books: BooksInMemory) -> Answered:
    """Read the recording to its end; the hold must have ended exactly once, or still be open."""
    reader = generation.recording.reader()
    data = b""
    while piece := await reader.read():
        data += piece
    ends = [what for what, hold, _ in books.log if hold == generation.receipt_id]
    assert ends.count("post") + ends.count("void") <= 1
    assert ends.count("post") + ends.count("void") + len(books.holds) >= 1
    return Answered(generation, data.decode().splitlines(), books)
