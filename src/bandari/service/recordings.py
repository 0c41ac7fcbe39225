"""Which recordings there are in this server: found again by those whose they are, for as long as
they may be.

Owns the resume window: what becomes of an answer that nobody reads. Knows no protocol, no store and
no money; how a generation is stopped it is told.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final, Protocol

from msgspec import Struct

from bandari.domain.ledger import Ending
from bandari.service.recording import Recording, Space

LONGEST_KEPT_S: Final = 3_600.0
"""How long a finished recording is kept at most, however often it is read again: so long, or for
its window, where that is longer.
"""

LOOK_AGAIN_S: Final = 0.25
"""How often it is asked whether somebody waits for an answer that nobody reads any more."""


class Answer(Protocol):
    """What makes a recording. While it ``is_awaited``, requests like it wait for its answer."""

    @property
    def recording(self) -> Recording: ...

    @property
    def is_awaited(self) -> bool: ...

    def stop(self, ending: Ending) -> None:
        """End it early. Harmless when it has ended."""
        ...


class Terms(Struct, frozen=True, kw_only=True):
    """Whose an answer is, and how its client may find it again.

    ``digest`` is that of the canonical request: None where nobody may come back with nothing else.
    ``window_s`` is the resume window: None where it is generated to its end, whoever reads.
    """

    account_id: int
    key_id: int
    end_user: str | None
    surface: str
    digest: bytes | None
    window_s: int | None
    idempotency_key: str | None = None


class Entry:
    """One recording that can be found, and what makes it: None once that has ended."""

    __slots__ = ("answer", "kept_until", "recording", "terms", "timer")

    def __init__(self, answer: Answer, terms: Terms) -> None:
        self.answer: Answer | None = answer
        self.recording = answer.recording
        self.terms = terms
        self.timer: asyncio.TimerHandle | None = None
        self.kept_until = 0.0


class Recordings:
    """``space`` is what all of them may take: finished ones that nobody reads go first, the oldest
    of them first.
    """

    def __init__(self, space: Space) -> None:
        self.space = space
        space.make_room = self._make_room
        self._entries: dict[str, Entry] = {}
        self._keyed: dict[tuple[int, str], Entry] = {}
        self._alike: dict[tuple[int, str | None, str, bytes], list[Entry]] = {}
        self._spare: dict[str, Entry] = {}
        """Those that are finished, and that nobody reads, oldest first."""

    @property
    def count(self) -> int:
        return len(self._entries)

    def open(self, answer: Answer, terms: Terms) -> None:
        """From here on it can be found. It may have ended already."""
        recording = answer.recording
        if recording.ended and not terms.window_s:  # as most of those from the cache
            recording.let_go()
            return
        entry = Entry(answer, terms)
        self._entries[recording.id] = entry
        if terms.idempotency_key is not None:
            self._keyed[terms.account_id, terms.idempotency_key] = entry
        if terms.digest is not None:
            self._alike.setdefault(_likeness(terms, terms.digest), []).append(entry)
        recording.when_unread = lambda: self._unread(entry)
        recording.when_ended = lambda: self._ended(entry)
        if recording.ended:
            self._ended(entry)

    def find(self, account_id: int, recording_id: str) -> Entry | None:
        entry = self._entries.get(recording_id)
        return entry if entry is not None and entry.terms.account_id == account_id else None

    def find_keyed(self, account_id: int, idempotency_key: str) -> Entry | None:
        entry = self._keyed.get((account_id, idempotency_key))
        if entry is not None and entry.recording.ended and _is_free(entry):
            # Found to be free only after its end: its hold could not be ended at once.
            self.forget(entry)
            return None
        return entry

    def find_alike(self, terms: Terms, digest: bytes, after: int) -> Sequence[Entry]:
        """Those that the same key has asked for by the same request, and that have that frame.

        Only those that nobody reads, if there are any: who comes back has left before.
        """
        found = [
            entry
            for entry in self._alike.get(_likeness(terms, digest), ())
            if after < entry.recording.frame_count
        ]
        return [entry for entry in found if not entry.recording.readers] or found

    def forget(self, entry: Entry) -> None:
        """Nobody can find it any more. Those who read it read on."""
        recording, terms = entry.recording, entry.terms
        if self._entries.get(recording.id) is not entry:
            return
        del self._entries[recording.id]
        self._spare.pop(recording.id, None)
        if terms.idempotency_key is not None:
            key = terms.account_id, terms.idempotency_key
            if self._keyed.get(key) is entry:
                del self._keyed[key]
        if terms.digest is not None:
            self._forget_likeness(entry, _likeness(terms, terms.digest))
        self._stop_timer(entry)
        recording.when_unread = recording.when_ended = None
        recording.let_go()

    def _forget_likeness(self, entry: Entry, likeness: tuple[int, str | None, str, bytes]) -> None:
        alike = self._alike[likeness]
        alike.remove(entry)
        if not alike:
            del self._alike[likeness]

    def _ended(self, entry: Entry) -> None:
        """What costs nothing has failed: who comes back for it has it made anew."""
        entry.answer = None  # and all that it was made from
        if _is_free(entry):
            self.forget(entry)
        else:
            self._unread(entry)

    def _unread(self, entry: Entry) -> None:
        """The last reader has left, or it has ended: the window begins, if nobody reads."""
        recording = entry.recording
        if recording.readers:
            return
        self._stop_timer(entry)
        window_s = entry.terms.window_s
        loop = asyncio.get_running_loop()
        if recording.ended:
            self._keep(entry, loop, window_s or 0)
        elif window_s == 0:
            self._stop(entry)
        elif window_s is not None:
            entry.timer = loop.call_later(window_s, self._give_up, entry)

    def _keep(self, entry: Entry, loop: asyncio.AbstractEventLoop, window_s: int) -> None:
        """It is finished, and nobody reads it: keep it for its window."""
        now = loop.time()
        if not entry.kept_until:
            entry.kept_until = now + max(LONGEST_KEPT_S, window_s)
        rest_s = min(window_s, entry.kept_until - now)
        if rest_s <= 0:
            self.forget(entry)
            return
        self._spare[entry.recording.id] = entry
        entry.timer = loop.call_later(rest_s, self._give_up, entry)

    def _give_up(self, entry: Entry) -> None:
        """The window has passed."""
        entry.timer = None
        if entry.recording.readers:
            return
        if entry.recording.ended:
            self.forget(entry)
        else:
            self._stop(entry)

    def _stop(self, entry: Entry) -> None:
        """Its window has passed. Those who wait for its answer are let have it."""
        answer = entry.answer
        if answer is None:
            return
        if answer.is_awaited:
            loop = asyncio.get_running_loop()
            entry.timer = loop.call_later(LOOK_AGAIN_S, self._give_up, entry)
        else:
            answer.stop(Ending.CLIENT_LEFT)

    def _stop_timer(self, entry: Entry) -> None:
        if entry.timer is not None:
            entry.timer.cancel()
            entry.timer = None

    def _make_room(self) -> None:
        while self.space.is_full:
            spare = next(
                (each for each in self._spare.values() if not each.recording.readers), None
            )
            if spare is None:
                return
            self.forget(spare)


def _is_free(entry: Entry) -> bool:
    return entry.recording.about.receipt_id is None


def _likeness(terms: Terms, digest: bytes) -> tuple[int, str | None, str, bytes]:
    return terms.key_id, terms.end_user, terms.surface, digest
