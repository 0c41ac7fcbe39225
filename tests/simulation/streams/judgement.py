"""What each answer must have cost when all is over, and that each key has paid once.

What the numbers of a receipt must be is ``tests/simulation/oracle.py``'s business, but for what is
of recordings: what was stopped, when, and for whom.
"""

from __future__ import annotations

from collections import defaultdict
from itertools import pairwise

from tests.simulation.books_model import Ended, expect
from tests.simulation.streams.answers import Answer
from tests.simulation.streams.record import SLACK_S, Record
from tests.simulation.streams.upstreams import Call
from tests.simulation.trace import Violation

from bandari.domain.ledger import Ending, Receipt
from bandari.domain.recordings import PREFIX
from bandari.domain.usage import CountRule, Usage


def judge(record: Record) -> None:
    """Each answer, and each key."""
    for answer in record.answers.values():
        ended = record.ended(answer)
        if ended is None:
            expect(not answer.calls, f"a hold for {answer.recording_id}", answer)
            expect(not answer.was_read, f"a charge for {answer.recording_id}", answer)
        elif ended.receipt is None:
            _judge_free(record, answer, ended)
        else:
            _judge_charge(record, answer, ended.receipt)
    for hold_id in record.disk.model.ended:
        if PREFIX + hold_id.removeprefix("rcpt_") not in record.answers:
            raise Violation(f"the hold {hold_id} belongs to nobody")
    _judge_keys(record)


def _judge_free(record: Record, answer: Answer, ended: Ended) -> None:
    record.trace.count("voided")
    if ended.by != answer.server:
        record.trace.count("voided by another server")
        return
    has_text = answer.streams and answer.call is not None and any(answer.call.tokens)
    may_be_lost = answer.hold_id in record.disk.failed_ends
    what = f"{answer.recording_id} charged: there was text"
    expect(not has_text or may_be_lost, what, (answer, ended))


def _judge_charge(record: Record, answer: Answer, receipt: Receipt) -> None:
    record.trace.count(f"charged: {receipt.ending}")
    call = answer.call
    if receipt.repeated_tokens:
        _judge_repetition(record, answer, receipt)
        return
    if call is None or not call.batches:
        raise Violation(f"{answer.recording_id} was charged, and nobody was asked: {receipt}")
    expect(receipt.target in ("", call.target), f"a charge of {call.target}", receipt)
    said = len(call.batches)
    if receipt.ending is Ending.COMPLETED and call.is_whole:
        expect(receipt.usage == call.reported, f"the usage {call.reported}", receipt)
    elif receipt.rule is CountRule.COUNTED:
        least = 0 if receipt.ending is Ending.SERVER_DIED else max(0, said - 1)
        right = {answer.tokens_behind(batches) for batches in range(least, said + 1)}
        expect(receipt.usage.output_tokens in right, f"one of {right} tokens", receipt)
    if receipt.ending is Ending.CLIENT_LEFT:
        _judge_leaving(record, answer, call, receipt)
    if receipt.ending is Ending.CANCELLED:
        was_deleted = answer.recording_id in record.deleting
        expect(was_deleted, f"{answer.recording_id} cancelled by who deletes it", receipt)


def _judge_repetition(record: Record, answer: Answer, receipt: Receipt) -> None:
    record.trace.count("charged: a repetition")
    expect(not answer.calls, f"nobody asked for {answer.recording_id}", (answer, receipt))
    expect((receipt.usage, receipt.target) == (Usage(), "cache"), "nothing generated", receipt)
    source = None if answer.repeats is None else record.ended(answer.repeats)
    if source is not None and source.receipt is not None:
        total = source.receipt.usage.total_tokens
        expect(receipt.repeated_tokens == total, f"{total} tokens repeated", receipt)


def _judge_leaving(record: Record, answer: Answer, call: Call, receipt: Receipt) -> None:
    """It was stopped when its window had passed, and not before."""
    window_s = record.terms.window_s(answer)
    record.trace.count("window passed" if window_s else "stopped at once")
    if call.left_at is not None and answer.unread_s is not None:
        expect(
            answer.unread_s > window_s - SLACK_S,
            f"{answer.recording_id} going on for its window, {window_s} s",
            (answer.unread_s, receipt),
        )


def _judge_keys(record: Record) -> None:
    """What has an Idempotency-Key is charged once, until that expires or it is deleted."""
    by_key: dict[tuple[int, str], list[tuple[Answer, Ended]]] = defaultdict(list)
    for answer in record.answers.values():
        ended = record.ended(answer)
        if answer.wish.key is not None and ended is not None and ended.receipt is not None:
            by_key[answer.principal.account_id, answer.wish.key].append((answer, ended))
    for (_, key), charged in by_key.items():
        charged.sort(key=lambda one: one[0].began_at)
        for (former, ended), (later, _) in pairwise(charged):
            deleted_at = record.deleting.get(former.recording_id)
            is_over = later.began_at > ended.at + record.terms.key_s - SLACK_S
            is_deleted = deleted_at is not None and deleted_at <= later.began_at + SLACK_S
            ids = (former.recording_id, later.recording_id)
            expect(is_over or is_deleted, f"one charge for {key}", ids)
            record.trace.count("key used again")
