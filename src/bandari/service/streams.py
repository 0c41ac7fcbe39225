"""Answers that can be asked for again: the use case between a request and its recording.

A client that comes back is given the recording that is there, by its Idempotency-Key, its id, or
the same request; only who asks for something new has anything generated. Knows no protocol.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Final

from msgspec import Struct

from bandari.domain import problem
from bandari.domain.faults import (
    IdempotencyKeyReused,
    Interrupted,
    Overloaded,
    RunningElsewhere,
    StreamNotFound,
    StreamNotResumable,
)
from bandari.domain.keys import Principal
from bandari.domain.ledger import Ending
from bandari.domain.outcome import Deny
from bandari.domain.problem import Problem
from bandari.domain.recordings import PREFIX, RecordingState, StoredRecording
from bandari.service.answer_terms import AnswerTerms
from bandari.service.books import IdempotencyKeyTaken
from bandari.service.caching import Cache
from bandari.service.durable import frames_of
from bandari.service.generation import Generation
from bandari.service.open_requests import RETRY_AFTER_MS
from bandari.service.ports import Clock, KeptRecordings, Metrics
from bandari.service.recording import About, Recording
from bandari.service.recordings import Recordings, Terms
from bandari.service.repeating import Repeated
from bandari.service.stream_terms import Asked, StreamSettings, terms_of

MAX_CLAIMS: Final = 4
"""How often an Idempotency-Key is looked up again because another server was first."""

_ID = re.compile(PREFIX + r"[A-Za-z0-9]{1,64}")

Begin = Callable[[AnswerTerms], Awaitable[Generation | Repeated | Deny]]
"""Has the answer made: ``Inference.begin`` with all but the terms."""

SpellProblem = Callable[[Problem, int], Sequence[bytes]]
"""A surface's in-stream error, which is the frame of that 0-based index."""


class Answered(Struct, frozen=True):
    """A recording to read behind the frame of index ``after``.

    ``is_replay``: it was there before it was asked for.
    """

    recording: Recording
    after: int = -1
    is_replay: bool = False


class NoSuchFrame(Exception):
    """The recording has no such frame by now: it has ``count``."""

    def __init__(self, count: int) -> None:
        self.count = count
        super().__init__(count)


class Streams:
    """``spell_problem`` is by surface, for answers whose server died."""

    def __init__(
        self,
        *,
        recordings: Recordings,
        kept: KeptRecordings,
        cache: Cache,
        clock: Clock,
        metrics: Metrics,
        settings: StreamSettings,
        spell_problem: Mapping[str, SpellProblem],
    ) -> None:
        self._recordings = recordings
        self._kept = kept
        self._cache = cache
        self._clock = clock
        self._metrics = metrics
        self._settings = settings
        self._spell_problem = spell_problem
        self._claims: dict[tuple[int, str], asyncio.Future[None]] = {}

    @property
    def keeps_answers(self) -> bool:
        """Whether what is told to clients is kept for them at all."""
        return self._settings.keeps_answers

    async def answer(self, principal: Principal, asked: Asked, begin: Begin) -> Answered | Deny:
        """The recording that the client comes back for, or a new one that ``begin`` makes.

        Raises ``StreamNotResumable`` where it comes back for one that is not there,
        ``NoSuchFrame``, ``IdempotencyKeyReused``, ``RunningElsewhere``, and what ``begin`` raises.
        """
        if asked.stream_id is not None:
            return await self._by_id(principal, asked, asked.stream_id)
        if asked.idempotency_key is not None:
            return await self._by_key(principal, asked, asked.idempotency_key, begin)
        if asked.after is not None:
            return self._alike(principal, asked, asked.after)
        return await self._new(principal, asked, begin)

    async def find(self, principal: Principal, stream_id: str, after: int = -1) -> Answered:
        """The recording of that id, if it is of the principal's account.

        Who asks for an end user finds that end user's only. Raises ``StreamNotFound`` and
        ``NoSuchFrame``.
        """
        if not _ID.fullmatch(stream_id):
            raise StreamNotFound
        entry = self._recordings.find(principal.account_id, stream_id)
        owner = await self._owner(principal, stream_id)
        if entry is not None and owner is not None:
            return self._replayed(entry.recording, after)
        if isinstance(owner, StoredRecording) and self.keeps_answers:
            return self._restored(owner, after)
        raise StreamNotFound

    async def delete(self, principal: Principal, stream_id: str) -> None:
        """Keep it no longer, in no form; one that runs is stopped. Raises ``StreamNotFound``."""
        if not _ID.fullmatch(stream_id) or not await self.drop(principal, stream_id):
            raise StreamNotFound

    async def drop(self, principal: Principal, stream_id: str) -> bool:
        """The same; whether there was anything."""
        account_id, end_user = principal.account_id, principal.end_user
        was_there = self._cache.forget_recording(account_id, stream_id, end_user)
        whose = await self._owner(principal, stream_id)
        if whose is None:
            return was_there
        entry = self._recordings.find(account_id, stream_id)
        await self._kept.delete(account_id, stream_id, self._clock.now_ms())
        if entry is not None:
            self._recordings.forget(entry)
            if entry.answer is not None:
                entry.answer.stop(Ending.CANCELLED)
        return True

    async def surface_of(self, principal: Principal, stream_id: str) -> str | None:
        """At which surface it was asked for; None where there is none, or only in the cache."""
        if not _ID.fullmatch(stream_id):
            return None
        owner = await self._owner(principal, stream_id)
        return None if owner is None else owner.surface

    async def _owner(self, principal: Principal, stream_id: str) -> Terms | StoredRecording | None:
        """What is known of the recording of that id, if it is one that the principal may see."""
        account_id, end_user = principal.account_id, principal.end_user
        entry = self._recordings.find(account_id, stream_id)
        owner: Terms | StoredRecording | None = None
        if entry is not None:
            owner = entry.terms
        else:
            owner = await self._kept.find(account_id, stream_id, self._clock.now_ms())
        return owner if owner is not None and end_user in (None, owner.end_user) else None

    async def tidy(self) -> None:
        """Beside the answers: forget what has expired in the cache, and tell what is kept."""
        self._cache.forget_expired()
        space = self._recordings.space
        self._metrics.recordings_kept(self._recordings.count, space.used)
        self._metrics.answers_cached(self._cache.count, self._cache.size)

    # By its id, by its key, by the same request.

    async def _by_id(self, principal: Principal, asked: Asked, stream_id: str) -> Answered:
        try:
            found = await self.find(principal, stream_id, _after(asked))
        except StreamNotFound:
            raise StreamNotResumable from None
        if found.recording.about.surface != asked.surface:
            raise StreamNotResumable("The stream of that id is another API's.")
        return found

    def _alike(self, principal: Principal, asked: Asked, after: int) -> Answered:
        _, terms = terms_of(self._settings, principal, asked)
        found = self._recordings.find_alike(terms, asked.digest(), after)
        if not found:
            raise StreamNotResumable
        if len(found) > 1:
            raise StreamNotResumable(
                "Several streams fit this request. Name the one in the header 'x-bandari-stream', "
                "or give each request an Idempotency-Key."
            )
        return self._replayed(found[0].recording, after)

    async def _by_key(
        self, principal: Principal, asked: Asked, key: str, begin: Begin
    ) -> Answered | Deny:
        whose = principal.account_id, key
        for _ in range(MAX_CLAIMS):
            while (claim := self._claims.get(whose)) is not None:
                await asyncio.wait({claim})
            entry = self._recordings.find_keyed(*whose)
            if entry is not None:
                terms = entry.terms
                _check_same(asked, principal, terms.surface, terms.digest, terms.end_user)
                return self._replayed(entry.recording, _after(asked))
            self._claims[whose] = claim = asyncio.get_running_loop().create_future()
            try:
                stored = await self._kept.find_keyed(*whose, self._clock.now_ms())
                if stored is not None:
                    _check_same(asked, principal, stored.surface, stored.digest, stored.end_user)
                    return self._restored(stored, _after(asked))
                if asked.after is not None:
                    raise StreamNotResumable
                return await self._new(principal, asked, begin)
            except IdempotencyKeyTaken:
                continue
            finally:
                del self._claims[whose]
                claim.set_result(None)
        raise _running_elsewhere()

    # A new one.

    async def _new(self, principal: Principal, asked: Asked, begin: Begin) -> Answered | Deny:
        how, terms = terms_of(self._settings, principal, asked)
        begun = await begin(how)
        if isinstance(begun, Deny):
            return begun
        self._recordings.open(begun, terms)
        return Answered(begun.recording)

    def _replayed(self, recording: Recording, after: int) -> Answered:
        is_streaming = recording.about.is_streaming
        _check_place(after, recording.frame_count, is_streaming=is_streaming)
        self._metrics.replayed()
        return Answered(recording, after, is_replay=True)

    # From the database.

    def _restored(self, stored: StoredRecording, after: int) -> Answered:
        """What is durable of it, to be read like any other. Raises ``RunningElsewhere``."""
        if stored.state is RecordingState.RUNNING:
            raise _running_elsewhere()
        if not self.keeps_answers:
            raise IdempotencyKeyReused(
                "A request with this Idempotency-Key was answered before, and its answer is not "
                f"kept here. Its receipt is '{stored.receipt_id}'."
            )
        space = self._recordings.space
        if space.is_full:
            raise Overloaded(retry_after_ms=RETRY_AFTER_MS)
        frames = frames_of(stored.frames, is_streaming=stored.is_streaming)
        what, told = stored.problem, tuple[bytes, ...]()
        if stored.state is RecordingState.INTERRUPTED:
            what = problem.of_fault(Interrupted())
            if stored.is_streaming:
                told = tuple(self._spell_problem[stored.surface](what, len(frames)))
        _check_place(after, len(frames) + len(told), is_streaming=stored.is_streaming)
        self._metrics.replayed()
        recording = Recording(stored.id, len(stored.frames), about=_about(stored))
        recording.append(frames)
        if what is None:
            recording.finish()
        else:
            recording.fail(what, told)
        # It takes room while it is read. (What is told this must not hold the recording.)
        recording.when_read = partial(space.add, recording.size)
        recording.when_unread = partial(space.give, recording.size)
        return Answered(recording, after, is_replay=True)


def _about(stored: StoredRecording) -> About:
    return About(
        surface=stored.surface,
        is_streaming=stored.is_streaming,
        receipt_id=stored.receipt_id,
        max_tokens=stored.max_tokens,
        ignored=stored.ignored,
        window_s=None,
    )


def _check_place(after: int, count: int, *, is_streaming: bool) -> None:
    """There is nothing behind a frame that is not there, nor behind the one of a whole answer."""
    if after >= 0 and (after >= count or not is_streaming):
        raise NoSuchFrame(count if is_streaming else 0)


def _after(asked: Asked) -> int:
    return -1 if asked.after is None else asked.after


def _check_same(
    asked: Asked, principal: Principal, surface: str, digest: bytes | None, end_user: str | None
) -> None:
    is_same = (
        surface == asked.surface and end_user == principal.end_user and digest == asked.digest()
    )
    if not is_same:
        raise IdempotencyKeyReused(param="Idempotency-Key")


def _running_elsewhere() -> RunningElsewhere:
    return RunningElsewhere(
        "The answer is being generated by another server, and cannot be read here before its end.",
        retry_after_ms=RETRY_AFTER_MS,
    )
