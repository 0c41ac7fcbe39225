"""What clients may be told: by what was said and done, and by the model of the books.

Rule 1: the service is asked nothing. Where nobody could know better (a store that did not answer, a
server that is killed, memory that is full), both is allowed, and that is written out here.
Rule 2: a reader's window, what is found again, and what a key gives are worked out from when who
read what.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from tests.simulation.books_model import expect
from tests.simulation.streams.answers import Answer, split
from tests.simulation.streams.record import SLACK_S, Record
from tests.simulation.streams.repetitions import Repetitions
from tests.simulation.streams.upstreams import Call
from tests.simulation.streams.visits import DELETE, FAR_BEYOND, FIND, POST, Visit
from tests.simulation.trace import Violation

from bandari.domain.ledger import Receipt
from bandari.domain.problem import Problem
from bandari.domain.recordings import PREFIX, CacheUse
from bandari.domain.usage import CountRule
from bandari.service.inference import Opening
from bandari.service.recording import Recording, RecordingFull

NOT_THERE = ("stream_not_found", "stream_not_resumable")
UNSURE = ("server lost", "given up", "store_unavailable", "overloaded", "draining")
"""Outcomes that say nothing of what there is."""


@dataclass(slots=True)
class Presence:
    """One recording at one server: who reads it, and since when nobody does."""

    window_s: float
    left_at: float
    live: Recording | None = None
    """The one that was made here; any other is read from the store."""
    readers: int = 0
    over_at: float | None = None
    """When somebody saw that it had ended."""


class Oracle:
    """The ``Watch`` of all visits. ``is_alive`` is of servers, by name."""

    def __init__(self, record: Record, is_alive: Callable[[str], bool]) -> None:
        self._record = record
        self._terms = record.terms
        self._count = record.trace.count
        self._now = record.now
        self._is_alive = is_alive
        self._answers = record.answers
        self._deleting = record.deleting
        self._repetitions = Repetitions(record)
        self._presences: dict[tuple[str, str], Presence] = {}

    # What upstreams say.

    def begun(self, call: Call) -> None:
        self._of(call).asks(call)

    def said(self, call: Call) -> None:
        answer, now = self._of(call), self._now()
        answer.said(call)
        if answer.deleted_at is not None and now > answer.deleted_at + SLACK_S:
            raise Violation(f"{answer.recording_id} is generated, and was deleted")
        if not self._is_wanted(answer):
            raise Violation(f"{answer.recording_id} is generated for nobody")

    def over(self, call: Call) -> None:
        """The call was left, by whomever."""
        answer = self._of(call)
        presence = self._presences.get((answer.server, answer.recording_id))
        if presence is not None:
            answer.unread_s = -math.inf if presence.readers else self._now() - presence.left_at

    def _of(self, call: Call) -> Answer:
        return self._answers[PREFIX + call.opening_id]

    def _is_wanted(self, answer: Answer) -> bool:
        """Whether somebody reads it or may come back for it, or another one waits for it."""
        if self._is_here(answer):
            return True
        here = [other for other in self._answers.values() if self._is_here(other)]
        return self._repetitions.is_awaited(answer, here)

    def _is_here(self, answer: Answer) -> bool:
        presence = self._presences.get((answer.server, answer.recording_id))
        if presence is None:
            return True  # its client is still about to read
        away_s = self._now() - presence.left_at
        return presence.readers > 0 or away_s <= presence.window_s + SLACK_S

    # What clients see.

    def opened(self, visit: Visit, opening: Opening) -> None:
        answer = Answer(opening, visit.wish, visit.principal, visit.server.name, self._now())
        self._answers[answer.recording_id] = answer

    def begins(self, visit: Visit) -> None:
        visit.expected = self._expected(visit)

    def answered(self, visit: Visit, recording: Recording) -> None:
        """A recording was found or made. Its reader, if it can have one, reads from here on."""
        answer = self._answers.get(recording.id)
        if answer is None:
            raise Violation(f"{visit.name} is given {recording.id}, which nobody made")
        is_new = answer.opening.id in visit.openings
        self._judge_found(visit, answer, is_new)
        if is_new:
            self._judge_new(visit, answer, recording)
        place = (visit.server.name, recording.id)
        presence = self._presences.get(place)
        if presence is None:
            window_s = self._terms.window_s(answer) if is_new else 0.0
            live = recording if is_new else None
            presence = self._presences[place] = Presence(window_s, self._now(), live)
        if visit.is_reading:
            presence.readers += 1
        expect(
            recording.about.is_streaming == answer.streams,
            f"{recording.id} in the form that was asked for",
            recording.about,
        )

    def left(self, visit: Visit) -> None:
        presence = self._presences[visit.server.name, str(visit.recording_id)]
        presence.readers -= 1
        presence.left_at = self._now()

    def read(self, visit: Visit, recording: Recording) -> None:
        """A reader has been given frames."""
        assert visit.copy is not None
        answer = self._answers[recording.id]
        if recording.ended:
            self._read_end(visit, answer, recording)
        answer.was_read = answer.was_read or bool(visit.copy.frames)
        copy = visit.copy
        if answer.end is None and answer.late_end is None and copy.frames and not answer.calls:
            self._repetitions.judge_part(answer, copy.frames, copy.first)
        else:
            answer.check(copy.frames, copy.first)

    def _read_end(self, visit: Visit, answer: Answer, recording: Recording) -> None:
        """In the instant in which it can be read: it was paid for, and it is as it should be."""
        presence = self._presences[visit.server.name, recording.id]
        if presence.over_at is None:
            presence.over_at = self._now()
        frames = split(recording.bytes_from(0), streams=answer.streams)
        if answer.knows(frames):
            return
        is_late = recording is not presence.live
        ended = self._record.ended(answer)
        receipt = None if ended is None else ended.receipt
        is_settled = ended is not None and ended.is_known and ended.by == answer.server
        if recording.problem is None:
            if ended is None or receipt is None:
                raise Violation(f"{recording.id} was acknowledged before it was paid")
            expect(is_late or is_settled, f"{recording.id} known to be paid", ended)
        if not is_late:
            answer.is_settled = is_settled
        what = "whole" if recording.problem is None else recording.problem.code
        self._count(f"{'late' if is_late else 'live'} end: {what}")
        if answer.calls:
            usage = None if receipt is None else receipt.usage
            batches = answer.over(frames, recording.problem, usage, is_late=is_late)
            if answer.streams and receipt is not None and receipt.rule is CountRule.COUNTED:
                self._expect_tokens(answer, batches, receipt, recording.problem)
        elif recording.problem is None:
            self._repetitions.judge_all(answer, frames, is_late=is_late)
        else:
            body = answer.without_problem(frames, recording.problem)
            if body:
                self._repetitions.judge_part(answer, body)
            answer.take_end(frames, is_late=is_late)

    def _expect_tokens(
        self, answer: Answer, batches: int, receipt: Receipt, problem: Problem | None
    ) -> None:
        """What can be read is what was charged."""
        # What broke the bound was generated, and cannot be read.
        more = int(problem is not None and problem.code == RecordingFull.code)
        right = [answer.tokens_behind(batches + each) for each in range(more + 1)]
        said = receipt.usage.output_tokens
        ended = self._record.ended(answer)
        if ended is not None and ended.hold.epoch in self._record.disk.lost_epochs:
            # Others took its server for dead, and settled by an earlier count.
            self._count("settled for a server without a session")
            return
        expect(said in right, f"{answer.recording_id} charged for one of {right} tokens", receipt)

    def ended(self, visit: Visit) -> None:
        """What the visit came to is what it could come to."""
        self._count(f"{visit.what} {visit.how}: {visit.outcome}")
        if visit.outcome == "deleted":
            self._deleted(visit)
        if visit.outcome == "not_cached":
            for opening_id in visit.openings:
                asked = self._answers[PREFIX + opening_id]
                self._repetitions.expect_none_kept(asked, visit.began_at, visit.name)
        if "stranger" in visit.how or "mangled" in visit.how:
            allowed: tuple[str, ...] = (*NOT_THERE, *UNSURE)
            expect(visit.outcome in allowed, f"nothing for {visit.name}, {visit.how}", visit)
            return
        if visit.after == FAR_BEYOND:
            allowed = ("invalid_value", *NOT_THERE, "running_elsewhere", *UNSURE)
            expect(visit.outcome in allowed, f"a refusal for {visit.name}, {visit.how}", visit)
            return
        again = self._expected(visit)
        if visit.expected == again == "found" and visit.outcome in NOT_THERE:
            raise Violation(f"{visit.name} could come back, and {visit.stream_id} is not there")
        if visit.expected == again == "gone" and visit.outcome in ("read", "left", "deleted"):
            raise Violation(f"{visit.name} finds {visit.stream_id}, which should be gone")
        if visit.expected == again == "reused" and visit.outcome in ("read", "left"):
            raise Violation(f"{visit.name} is answered, and its key was for another request")
        if visit.expected == again == "replay":
            allowed = ("read", "left", "running_elsewhere", *UNSURE)
            if visit.after is not None:
                allowed += ("invalid_value",)  # of what it has read, not all was durable
            expect(
                visit.outcome in allowed,
                f"the answer of its key for {visit.name}, not {visit.outcome}",
                visit,
            )
        if visit.what == POST and visit.stream_id is None and visit.after is None:
            expect(visit.outcome not in NOT_THERE, f"an answer for {visit.name}", visit)
        expect(visit.outcome != "internal_error", f"no defect in {visit.name}", visit)

    def _deleted(self, visit: Visit) -> None:
        """A server that made it and lives has been told nothing of it by another."""
        answer = self._answers[str(visit.stream_id)]
        if answer.server == visit.server.name or not self._is_alive(answer.server):
            answer.deleted_at = self._now()
        self._count("deleted while it ran" if answer.end is None else "deleted at its end")

    # What may be expected of a visit, as things stand.

    def _expected(self, visit: Visit) -> str:
        if visit.stream_id is not None:
            if visit.what == DELETE and "stranger" not in visit.how:
                self._deleting.setdefault(visit.stream_id, self._now())
            return self._expected_by_id(visit, visit.stream_id)
        if visit.key is not None:
            return self._expected_by_key(visit, visit.key)
        return "anything"

    def _expected_by_id(self, visit: Visit, stream_id: str) -> str:
        answer, now = self._answers.get(stream_id), self._now()
        if answer is None:
            return "gone"
        if answer.deleted_at is not None:
            return "gone" if now > answer.deleted_at else "anything"
        if stream_id in self._deleting:
            return "anything"
        presence = self._presences.get((answer.server, stream_id))
        if answer.server != visit.server.name or presence is None:
            return "anything"
        since_s = now - max(presence.left_at, presence.over_at or 0.0)
        ended = self._record.ended(answer)
        if presence.readers or since_s < presence.window_s - SLACK_S:
            if answer.wish.is_background and (ended is not None or presence.over_at is not None):
                return "anything"  # it is in the store by then, if that could be written
            # Who reads it from the database does not lengthen its time there.
            is_stored = ended is not None and self._terms.is_durable(answer)
            if is_stored and now - ended.at >= presence.window_s - SLACK_S:
                return "anything"
            # What failed and is free need not be there, nor what has ended where room is short.
            is_free = ended is not None and ended.receipt is None
            was_left = answer.call is not None and answer.call.left_at is not None
            # Of one that the cache gave, and that nobody has read to its end, that is not known.
            is_over = was_left or ended is not None or presence.over_at is not None
            is_over |= not answer.calls
            may_go = is_free or (is_over and self._terms.is_tight)
            return "anything" if may_go or not presence.window_s else "found"
        if ended is None or self._terms.is_durable(answer):
            return "anything"
        gone_s = now - max(presence.left_at, ended.at) - presence.window_s
        return "gone" if gone_s > 4 * SLACK_S else "anything"

    def _expected_by_key(self, visit: Visit, key: str) -> str:
        """What is charged has the key, until it expires or is deleted."""
        now = self._now()
        for answer in self._keyed(visit.principal.account_id, key):
            ended = self._record.ended(answer)
            is_over = ended is not None and now > ended.at + self._terms.key_s - SLACK_S
            if ended is None or ended.receipt is None or not ended.is_known or is_over:
                continue
            if answer.recording_id in self._deleting:
                continue
            is_same = (
                answer.wish.body == visit.wish.body
                and answer.wish.scope == visit.wish.scope
                and answer.principal.end_user == visit.principal.end_user
            )
            if not is_same:
                return "reused"
            return "replay" if self._terms.keeps_answers else "anything"
        return "anything"

    def _keyed(self, account_id: int, key: str) -> Iterator[Answer]:
        for answer in self._answers.values():
            if answer.wish.key == key and answer.principal.account_id == account_id:
                yield answer

    # What was found, or made.

    def _judge_found(self, visit: Visit, answer: Answer, is_new: bool) -> None:
        own = visit.principal
        expect(
            answer.principal.account_id == own.account_id,
            f"nothing of others for {visit.name}",
            own,
        )
        deleted_at = answer.deleted_at
        if deleted_at is not None and deleted_at < visit.began_at:
            raise Violation(f"{visit.name} is given {answer.recording_id}, which was deleted")
        expect(visit.is_replay != is_new, f"{visit.name} told whether it is new", visit)
        if visit.what == FIND or visit.stream_id is not None:
            expect(answer.recording_id == visit.stream_id, f"what {visit.name} named", answer)
        elif not is_new:
            wish = answer.wish
            by_key = visit.key is not None and wish.key == visit.key
            by_body = (
                visit.after is not None
                and answer.principal.key_id == own.key_id
                and (self._terms.window_s(answer) > 0 or self._terms.is_durable(answer))
            )
            expect(by_key or by_body, f"something new for {visit.name}", answer)
            is_same = (wish.body, wish.scope, answer.principal.end_user) == (
                *(visit.wish.body, visit.wish.scope),
                own.end_user,
            )
            expect(is_same, f"the answer to the request of {visit.name}", answer)
            self._count("found by key" if by_key else "found by body")

    def _judge_new(self, visit: Visit, answer: Answer, recording: Recording) -> None:
        expect(visit.after is None, f"nothing new for {visit.name}, which goes on", answer)
        right_s, told_s = self._terms.window_s(answer), recording.about.window_s
        window_s = math.inf if told_s is None else told_s
        expect(window_s == right_s, f"a window of {right_s} s for {visit.name}", window_s)
        use, was_cached = self._terms.cache_use(answer), recording.about.was_cached
        expect((was_cached is None) == (use is CacheUse.OFF), f"a cache used as {use}", was_cached)
        answer.is_hit = bool(was_cached)
        if use is CacheUse.USE and not answer.is_hit:
            self._repetitions.expect_none_kept(answer, visit.began_at, visit.name)
        if use is CacheUse.ONLY:
            expect(answer.is_hit, f"an answer from the cache for {visit.name}", recording.about)
        if use is CacheUse.REFRESH:
            expect(not answer.is_hit, f"a new answer for {visit.name}", recording.about)
