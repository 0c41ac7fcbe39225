"""Answers that repeat others: which one that is, and which must have been in the cache."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tests.simulation.books_model import expect
from tests.simulation.streams.answers import Answer, are_alike
from tests.simulation.streams.draws import THE_POOR
from tests.simulation.streams.record import SLACK_S, Record
from tests.simulation.trace import Violation

from bandari.domain.ledger import Ending, Receipt
from bandari.domain.recordings import CacheUse


class Repetitions:
    def __init__(self, record: Record) -> None:
        self._record = record

    def judge_part(self, answer: Answer, frames: Sequence[bytes], first: int = 0) -> None:
        """Nobody was asked for it, and these are its frames by now, from that index on."""
        sources = self._sources(answer)
        if not any(answer.repeats_part(*source, frames, first) for source in sources):
            raise _unheard_of(answer, frames)

    def judge_all(self, answer: Answer, frames: Sequence[bytes], *, is_late: bool) -> None:
        """It repeats one whole answer to the same request, of the same account and end user."""
        for source, receipt in self._sources(answer):
            if answer.repeats_all(source, receipt, frames):
                answer.repeats = source
                answer.take_end(frames, is_late=is_late)
                self._record.trace.count("hit" if answer.is_hit else "waited for one like it")
                return
        raise _unheard_of(answer, frames)

    def expect_none_kept(self, answer: Answer, since: float, name: str) -> None:
        """It is made anew, or not at all: no answer was in the cache when it was asked for."""
        for source, _ in self._sources(answer):
            expect(not self._is_kept(source, since), f"{name} answered from the cache", source)

    def is_awaited(self, answer: Answer, is_here: Sequence[Answer]) -> bool:
        """Whether one of those may wait for it: it has begun, and has asked nobody."""
        return any(
            other is not answer
            and other.end is None
            and not other.calls
            and other.server == answer.server
            and are_alike(other, answer)
            for other in is_here
        )

    def _sources(self, answer: Answer) -> Iterator[tuple[Answer, Receipt]]:
        """The answers that it may repeat, and what they cost."""
        record = self._record
        for source in record.answers.values():
            if not source.calls or source.server != answer.server or not are_alike(source, answer):
                continue
            ended = record.ended(source)
            if ended is None or ended.receipt is None or not ended.is_known:
                continue
            is_whole = ended.receipt.ending is Ending.COMPLETED
            has_expired = answer.began_at > ended.at + record.terms.ttl_s(source) + SLACK_S
            deleted_at = source.deleted_at
            is_deleted = deleted_at is not None and deleted_at < answer.began_at
            if is_whole and not has_expired and not is_deleted:
                yield source, ended.receipt

    def _is_kept(self, source: Answer, since: float) -> bool:
        """Whether it must have been in the cache of its server from then until now."""
        record, terms = self._record, self._record.terms
        ended = record.ended(source)
        assert ended is not None
        return (
            terms.has_ample_cache
            and source.principal.account != THE_POOR
            and terms.cache_use(source) is not CacheUse.OFF
            and source.call is not None
            and source.call.is_whole
            and source.recording_id not in record.deleting
            and ended.at < since - SLACK_S
            and record.now() < ended.at + terms.ttl_s(source) - SLACK_S
            and not any(self._is_beside(other, source) for other in record.answers.values())
        )

    def _is_beside(self, other: Answer, source: Answer) -> bool:
        """Whether one like it was to be kept instead: made at the same time, or later, and deleted
        since.
        """
        if other is source or not other.calls or not are_alike(other, source):
            return False
        if other.began_at > source.began_at and other.recording_id in self._record.deleting:
            return True
        its_end, end = self._record.ended(other), self._record.ended(source)
        began_before = end is None or other.began_at <= end.at
        return began_before and (its_end is None or its_end.at >= source.began_at)


def _unheard_of(answer: Answer, frames: Sequence[bytes]) -> Violation:
    return Violation(f"{answer.recording_id} repeats what nobody has said: {frames[-3:]}")
