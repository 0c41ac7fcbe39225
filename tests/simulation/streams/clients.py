"""Clients: they ask, read, are cut off, come back in every way there is, and put together what they
got.

Rule: a visit's work at the server is a task of the server's process, as the endpoints of ``web``
are, and ends with it; the client goes on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from random import Random
from typing import Any

from tests.simulation.books_model import expect
from tests.simulation.streams.answers import split
from tests.simulation.streams.draws import SURFACES, Wish
from tests.simulation.streams.servers import StreamServer
from tests.simulation.streams.upstreams import making
from tests.simulation.streams.visits import DELETE, FAR_BEYOND, FIND, POST, Copy, Visit, Watch
from tests.simulation.trace import Trace, Violation

from bandari.domain.faults import Fault
from bandari.domain.keys import Principal
from bandari.domain.outcome import Deny
from bandari.service.answer_terms import AnswerTerms
from bandari.service.generation import Generation
from bandari.service.inference import Opening
from bandari.service.ports import FrameEncoder
from bandari.service.recording import Reader, Recording
from bandari.service.repeating import Repeated
from bandari.service.stream_terms import Asked
from bandari.service.streams import Answered, NoSuchFrame

KEEPALIVE_S = 5.0


class Client:
    """One client with one wish. ``serving`` are the servers that there are when it asks."""

    def __init__(
        self,
        number: int,
        wish: Wish,
        draws: Random,
        *,
        serving: Callable[[], Sequence[StreamServer]],
        strangers: Sequence[Principal],
        watch: Watch,
        trace: Trace,
    ) -> None:
        self.name = f"c{number}"
        self._wish = wish
        self._draws = draws
        self._serving = serving
        self._strangers = strangers
        self._watch = watch
        self._trace = trace
        self._server: StreamServer | None = None
        self._copy: Copy | None = None
        self._visits = 0
        self._was_cut = False
        """Whether its server has died while it read."""
        self._aside: list[asyncio.Task[None]] = []

    async def live(self) -> None:
        """Ask, and come back as often as the wish says, and then no more."""
        draws, wish = self._draws, self._wish
        if wish.comes_along:
            self._also(self._post())
        if wish.deletes_after_s is not None:
            self._also(self._soon(wish.deletes_after_s, self._delete))
        if wish.reads_along_after_s is not None:
            self._also(self._soon(wish.reads_along_after_s, self._read_along))
        await self._post()
        visits = wish.visits + self._was_cut
        while visits > 0:
            await asyncio.sleep(draws.expovariate(1 / wish.pauses_s))
            if not self._serving():
                await asyncio.sleep(1.0)
                continue
            visits -= 1
            await self._come_back()
            if self._was_cut:
                self._was_cut = False
                visits += 1
            if self._copy is not None and self._copy.is_over and draws.random() < 0.5:
                break
        if self._aside:
            await asyncio.wait(self._aside)
            for task in self._aside:
                task.result()

    def _also(self, work: Coroutine[Any, Any, None]) -> None:
        self._aside.append(asyncio.get_running_loop().create_task(work))

    async def _come_back(self) -> None:
        """In one of the ways there are, and sometimes in one that leads nowhere."""
        draws, copy = self._draws, self._copy
        if copy is None:
            await self._post()
            return
        chance = draws.random()
        if chance < 0.30:
            await self._resume()
        elif chance < 0.45 and copy.frames:
            await self._post(after=copy.last)
        elif chance < 0.60 and copy.frames:
            index = draws.randrange(copy.first, copy.last + 1)
            await self._post(after=index, stream_id=copy.recording_id)
        elif chance < 0.75:
            await self._post()
        elif chance < 0.85:
            self._also(self._read_along())
            await self._resume()
        elif chance < 0.90:
            await self._delete()
        else:
            await self._err(copy)

    async def _err(self, copy: Copy) -> None:
        """Ask for what is not there, or not one's own."""
        draws = self._draws
        chance = draws.random()
        if chance < 0.3:
            await self._resume(FAR_BEYOND)
        elif chance < 0.5:
            await self._post(after=FAR_BEYOND, stream_id=copy.recording_id)
        elif chance < 0.65:
            stranger = draws.choice(self._strangers)
            await self._visit(FIND, "of a stranger", stream_id=copy.recording_id, who=stranger)
        elif chance < 0.8:
            stranger = draws.choice(self._strangers)
            await self._visit(DELETE, "of a stranger", stream_id=copy.recording_id, who=stranger)
        elif chance < 0.9:
            await self._visit(FIND, "mangled", stream_id=copy.recording_id[:-1] + "?")
        else:
            await self._visit(
                POST, "of a stranger", stream_id=copy.recording_id, after=0, who=self._strangers[0]
            )

    def _some_index(self, copy: Copy) -> int:
        return self._draws.randrange(copy.first - 1, copy.last + 1)

    async def _post(self, after: int | None = None, stream_id: str | None = None) -> None:
        how = "again" if self._copy is not None else "first"
        if stream_id is not None:
            how = "by header"
        elif after is not None:
            how = "by body"
        await self._visit(POST, how, after=after, stream_id=stream_id)

    async def _resume(self, after: int | None = None) -> None:
        copy = self._copy
        assert copy is not None
        if after is None:
            after = copy.last
        await self._visit(FIND, "by id", stream_id=copy.recording_id, after=after)

    async def _soon(self, after_s: float, act: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """While it is being generated, perhaps."""
        await asyncio.sleep(after_s)
        if self._copy is not None:
            await act()

    async def _read_along(self) -> None:
        assert self._copy is not None
        await self._resume(self._some_index(self._copy))

    async def _delete(self) -> None:
        assert self._copy is not None
        await self._visit(DELETE, "its own", stream_id=self._copy.recording_id)

    async def _visit(
        self,
        what: str,
        how: str,
        *,
        stream_id: str | None = None,
        after: int | None = None,
        who: Principal | None = None,
    ) -> None:
        server = self._server
        serving = self._serving()
        if not serving:
            self._trace.count("no server")
            return
        if server not in serving or self._draws.random() < 0.1:
            server = self._draws.choice(serving)
        assert server is not None
        self._server = server
        self._visits += 1
        visit = Visit(
            f"{self.name}.{self._visits}",
            what,
            how,
            self._wish,
            server,
            who or self._wish.principal,
            asyncio.get_running_loop().time(),
            stream_id,
            after,
            self._wish.key if what == POST else None,
            self._copy,
        )
        of = f"of {server.name}: {stream_id or ''} after {after}"
        self._trace.tell("asks", f"{visit.name} {what} {how} {of}")
        self._watch.begins(visit)
        work = self._delete_at(visit) if what == DELETE else self._read_at(visit)
        handler = server.process.start(work)
        given_up_after_s = self._draws.random() * 0.2 if self._draws.random() < 0.03 else None
        done, _ = await asyncio.wait({handler}, timeout=given_up_after_s)
        if not done:
            if not visit.is_reading:
                # Whoever hangs up while nothing has come yet.
                visit.outcome = "given up"
                handler.cancel()
            await asyncio.wait({handler})
        error = None if handler.cancelled() else handler.exception()
        if error is not None:
            raise Violation(f"{visit.name} {visit.what} {visit.how} failed: {error!r}") from error
        self._trace.tell("is told", f"{visit.name} {visit.outcome} {visit.recording_id or ''}")
        self._watch.ended(visit)
        self._was_cut = visit.outcome == "server lost"
        if visit.outcome == "invalid_value" and self._copy is visit.copy is not None:
            self._copy = Copy(visit.copy.recording_id)  # not all that it has is there any more

    async def _delete_at(self, visit: Visit) -> None:
        assert visit.stream_id is not None
        try:
            await visit.server.streams.delete(visit.principal, visit.stream_id)
        except Fault as fault:
            visit.outcome = fault.code
        else:
            visit.outcome = "deleted"

    async def _read_at(self, visit: Visit) -> None:
        """What ``web`` does: find or make the answer, and read it until one of the two ends."""
        try:
            answered = await (self._posted(visit) if visit.what == POST else self._found(visit))
        except Fault as fault:
            visit.outcome = fault.code
            return
        except NoSuchFrame:
            visit.outcome = "invalid_value"  # as the edge says it
            return
        if isinstance(answered, Deny):
            visit.outcome = answered.reason.value
            return
        recording = answered.recording
        visit.recording_id, visit.is_replay = recording.id, answered.is_replay
        after = answered.after
        reader = recording.reader(after)
        visit.is_reading = True
        self._watch.answered(visit, recording)
        try:
            await self._read(visit, recording, reader, after)
        finally:
            reader.close()
            self._forget_error(visit, recording)
            if visit.server.process.alive:
                self._watch.left(visit)

    def _forget_error(self, visit: Visit, recording: Recording) -> None:
        """It is nothing to go on from."""
        copy = visit.copy
        if copy is None or recording.problem is None or not copy.frames:
            return
        if copy.last == recording.frame_count - 1:
            copy.frames.pop()

    async def _posted(self, visit: Visit) -> Answered | Deny:
        wish = self._wish
        surface = SURFACES[wish.scope]
        inference = visit.server.inference

        def make_encoder(opening: Opening) -> FrameEncoder:
            making.set(opening.id)
            visit.openings.append(opening.id)
            self._watch.opened(visit, opening)
            return surface.encoder(wish.request, opening)

        async def begin(terms: AnswerTerms) -> Generation | Repeated | Deny:
            return await inference.begin(visit.principal, wish.request, make_encoder, terms=terms)

        asked = Asked(
            surface=surface.name,
            scope=wish.scope,
            digest=lambda: wish.digest,
            after=visit.after,
            stream_id=visit.stream_id,
            idempotency_key=wish.key,
            window_s=wish.window_s,
            cache=wish.cache,
            is_stored=wish.is_stored,
            is_background=wish.is_background,
        )
        return await visit.server.streams.answer(visit.principal, asked, begin)

    async def _found(self, visit: Visit) -> Answered:
        assert visit.stream_id is not None
        after = -1 if visit.after is None else visit.after
        return await visit.server.streams.find(visit.principal, visit.stream_id, after)

    async def _read(self, visit: Visit, recording: Recording, reader: Reader, after: int) -> None:
        draws, wish = self._draws, self._wish
        former = visit.copy
        if former is not None and former.recording_id == recording.id and after >= former.first:
            copy = former.up_to(after)
        else:
            copy = Copy(recording.id, after + 1)
        expect(copy.last == after, f"{visit.name} going on with what it has", (copy, after))
        visit.copy = copy
        if visit.principal is wish.principal:
            self._copy = copy
        leaves_after = draws.randrange(30) if draws.random() < wish.leaves * 3 else None

        def take(data: bytes) -> bool:
            if draws.random() < 0.2:
                return False
            copy.frames += split(data, streams=recording.about.is_streaming)
            return True

        takes = draws.random() < 0.6
        while True:
            data = await reader.read_within(KEEPALIVE_S, take if takes else None)
            copy.frames += split(data or b"", streams=recording.about.is_streaming)
            self._watch.read(visit, recording)
            if data == b"":
                copy.is_over = True
                visit.outcome = "read"
                return
            if leaves_after is not None and copy.last >= leaves_after:
                visit.outcome = "left"
                return
            if draws.random() < wish.leaves / 4:
                visit.outcome = "left"
                return
            if wish.reads_slowly:
                await asyncio.sleep(2.0 * draws.random())
