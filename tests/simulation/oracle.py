"""What each request must have cost, by ``docs/billing.md`` and decision 0008.

Rule 1: judges by what the upstream truly generated and what the client saw; it asks the service
nothing, and the database nothing.
Rule 2: what is allowed where nobody could know better is written out here, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Sequence

from tests.simulation.books_model import Ended, expect
from tests.simulation.disk import Disk
from tests.simulation.story import Call, Story
from tests.simulation.trace import Trace, Violation
from tests.simulation.upstreams import tokens_of

from bandari.domain.ledger import Count, Ending, Hold, Receipt
from bandari.domain.pricing import FULL_PRICE, token_card
from bandari.domain.usage import CountRule, Usage

EXCESS_TOKENS = 16
"""How far a choice may go beyond its limit before the answer is cut (``service.generation``)."""

RICH = "rich"
"""The account that nothing can empty."""

IMAGE_TOKENS = 1_000
LEAST_RATIO, MOST_RATIO = 20_000, 1_000_000

_WHOLE = (Ending.COMPLETED, Ending.OUT_OF_BALANCE)
_LOST = (Ending.UPSTREAM_FAILED, Ending.SERVER_STOPPED, Ending.TOO_LARGE)


class Oracle:
    """Judges stories against the model of the books."""

    def __init__(self, disk: Disk, trace: Trace, max_recording_bytes: int) -> None:
        self._disk = disk
        self._max_recording_bytes = max_recording_bytes
        self._model = disk.model
        self._trace = trace

    def saw_end(self, story: Story) -> None:
        """Called in the instant in which the final frames can be read: the charge is durable."""
        ended = self._model.ended.get(story.hold_id)
        if ended is None or ended.receipt is None:
            raise Violation(f"{story.name} was acknowledged before it was paid")
        expect(ended.is_known, f"{story.name} paid for as far as its server knows", ended)
        expect(ended.receipt.ending in _WHOLE, f"{story.name} charged as whole", ended.receipt)
        usage = ended.receipt.usage
        told = (usage.input_tokens, usage.output_tokens)
        expect(story.end_usage == told, f"{story.name} told of {told}", story.end_usage)

    def judge(self, story: Story) -> None:
        """Judge a request when all is over."""
        self._trace.count(story.outcome)
        if story.code:
            self._trace.count(f"{story.outcome}: {story.code}")
        ended = self._model.ended.get(story.hold_id)
        if ended is not None:
            self._judge_payer(story, ended.hold)
        if ended is None:
            expect(not story.calls, f"a hold for {story.name}, which was generated", story)
            expect(
                story.outcome in ("denied", "refused", "no server", "server lost"),
                f"a hold for {story.name}",
                story,
            )
        elif ended.receipt is None:
            self._judge_free(story, ended)
        else:
            self._judge_charge(story, ended, ended.receipt)
        if story.shortened_to is not None:
            self._trace.count("shortened")
        if story.outcome == "denied":
            is_rich = story.principal.account == RICH and story.principal.end_user is None
            expect(not is_rich, f"money for {story.name}", story)
        expect(story.code != "hold_already_ended", f"a refusal of {story.name}", story)
        if len({call.target for call in story.calls}) > 1:
            self._trace.count("fell back")
        if story.outcome in ("denied", "refused") and ended is not None:
            self._trace.count(f"{story.outcome}, and its hold voided")

    def _judge_payer(self, story: Story, hold: Hold) -> None:
        """Whose wallet paid, and by which ratio: as it was when the request came."""
        principal, terms = story.principal, story.principal.end_user_terms
        ratio = principal.group_terms.price_ratio
        expect(hold.price_ratio == ratio, f"the ratio {ratio} of {story.name}", hold)
        assets, sub_wallet = principal.assets, ""
        if terms is not None and terms.assets:
            assets, sub_wallet = terms.assets, principal.end_user or ""
            self._trace.count("held of a sub-wallet")
        elif principal.end_user is not None:
            policy = principal.account_policy
            expect(not policy.needs_sub_wallets, f"no hold for {story.name}", hold)
            self._trace.count("an end user whom the account pays for")
        payer = (principal.account_id, sub_wallet, principal.end_user)
        told = (hold.account_id, hold.sub_wallet, hold.end_user)
        expect(told == payer and hold.asset in assets, f"a hold of {payer}, {assets}", hold)
        if ratio != FULL_PRICE:
            self._trace.count("held at a price ratio")

    def _judge_free(self, story: Story, ended: Ended) -> None:
        """A hold that was voided."""
        self._count_end(story, ended, "voided")
        expect(story.outcome != "completed", f"a receipt of {story.name}", ended)
        if story.outcome in ("denied", "refused"):
            expect(not story.calls, f"no call for {story.name}", story)
            return
        if ended.by != story.server:
            # Another process settled for a dead one: there was no durable count of a token.
            count = ended.last_count
            if not self._lost_its_session(ended):
                expect(
                    count is None or count.usage.output_tokens == 0,
                    f"{story.name} charged by its last count",
                    ended,
                )
                _expect_dead(story)
            return
        expect(not story.saw_text, f"{story.name} charged: its client saw text", (story, ended))
        calls = _answering(story, None)
        if not any(call.deltas for call in calls) or not _is_direct(story, calls):
            return
        # Something was generated, and its own server let it go: the client got nothing of it, and
        # had no part in that.
        expect(not story.request.stream, f"{story.name}, a stream, charged", (story, ended))
        self._trace.count("free: lost before the client got it")
        if story.outcome == "left":
            lost_by_us = (
                story.was_drained
                or story.hold_id in self._disk.failed_ends
                or story.hold_id in self._disk.failed_extensions
                or calls[0].bytes > self._max_recording_bytes
            )
            expect(
                calls[0].has_failed or lost_by_us,
                f"{story.name} charged: its client left, and nothing was lost",
                (story, ended),
            )

    def _judge_charge(self, story: Story, ended: Ended, receipt: Receipt) -> None:
        self._count_end(story, ended, f"receipt {receipt.ending}")
        self._trace.count(f"rule {receipt.rule}")
        if receipt.overrun:
            self._trace.count("overrun")
            self._judge_overrun(story, ended, receipt)
        expect(story.outcome not in ("denied", "refused"), f"{story.name} free", receipt)
        expect(not story.told_free, f"{story.name} free, as its client was told", receipt)
        full_price = ended.hold.price_ratio == FULL_PRICE
        if full_price and ended.card.prices == token_card("").prices:
            total = receipt.usage.total_tokens
            expect(receipt.amount + receipt.overrun == total, f"{total} for {story.name}", receipt)
        if receipt.ending is Ending.SERVER_DIED:
            expect(receipt.target == "", "a settlement without a target", receipt)
            count = ended.last_count
            if count is None or receipt.usage.output_tokens == 0:
                raise Violation(f"{story.name} was charged without a count: {receipt}")
            expect(ended.by != story.server, f"{story.name} settled by another process", ended)
            if not self._lost_its_session(ended):
                expect(_same(receipt, count), f"{story.name} charged by {count}", receipt)
                _expect_dead(story)
            expect(story.request.stream, f"{story.name}, not streamed and lost, free", receipt)
            self._expect_generated(story, receipt, _answering(story, None))
            return
        expect(ended.by == story.server, f"{story.name} charged by its own server", ended)
        calls = _answering(story, receipt.target)
        if not calls:
            raise Violation(f"{story.name} was charged for a target that did not answer: {receipt}")
        if receipt.ending in _LOST:
            expect(story.request.stream, f"{story.name}, not streamed and lost, free", receipt)
        if receipt.ending is Ending.OUT_OF_BALANCE:
            if _is_direct(story, calls):
                expect(calls[0].finished < calls[0].choices, f"{story.name} completed", receipt)
            expect(
                story.hold_id in self._disk.denied_extensions,
                f"{story.name} not cut: no extension was denied",
                receipt,
            )
        if receipt.ending is not Ending.COMPLETED:
            expect(any(call.deltas for call in calls), f"{story.name} free", receipt)
        if story.outcome == "problem" and receipt.ending in _WHOLE:
            # The answer was whole, and then its commit broke: nobody could know that it is durable.
            expect(
                not ended.is_known and story.hold_id in self._disk.failed_ends,
                f"{story.name} not charged: its client was told of a failure",
                (story, receipt),
            )
            self._trace.count("charged, and told of a failure: unknown outcome")
        if story.outcome == "left" or receipt.ending is Ending.CLIENT_LEFT:
            expect(story.left or story.outcome == "server lost", f"{story.name} left", story)
        self._expect_generated(story, receipt, calls)
        if ended.last_count is not None and receipt.rule is not CountRule.ESTIMATED:
            least = ended.last_count
            if least.rule is receipt.rule:
                expect(
                    receipt.usage.output_tokens >= least.usage.output_tokens,
                    f"{story.name} charged {least} at least",
                    receipt,
                )

    def _judge_overrun(self, story: Story, ended: Ended, receipt: Receipt) -> None:
        """What the operator bears of an honest provider's answer: a batch beyond the hold."""
        calls = _answering(story, receipt.target or None)
        if not _is_direct(story, calls) or not calls[0].is_honest or story.prompt_is_cut:
            return
        at_most = ended.price(Usage(output_tokens=calls[0].chunk)) + 1
        expect(receipt.overrun <= at_most, f"an overrun of {at_most} at most", (story, receipt))

    def _expect_generated(self, story: Story, receipt: Receipt, calls: Sequence[Call]) -> None:
        """The numbers of the receipt, from what the upstream did."""
        usage, reported = receipt.usage, _reported(calls)
        prompt = max(call.prompt for call in calls)
        deltas = sum(call.deltas for call in calls)
        is_whole = receipt.ending is Ending.COMPLETED and all(call.is_whole for call in calls)
        if receipt.ending is Ending.COMPLETED and not is_whole:
            limit, n = calls[0].limit, story.request.sampling.n
            expect(
                limit is not None and _seen(calls) > n * (limit + EXCESS_TOKENS),
                f"{story.name} completed by its upstream, or cut beyond its limit",
                (story, receipt),
            )
            self._trace.count("cut beyond its limit")
        if reported is not None and not reported.output_tokens and deltas:
            reported = None
        tells_counts = calls[0].tells_counts and deltas > 0
        if is_whole:
            choices = sum(call.choices for call in calls)
            expect(choices == story.request.sampling.n, "all choices", (story, receipt))
        if is_whole and reported is not None:
            expect(
                (usage, receipt.rule) == (reported, CountRule.REPORTED),
                f"{story.name} charged as reported, {reported}",
                receipt,
            )
        elif tells_counts:
            told = sum(sum(call.told.values()) for call in calls)
            expect(receipt.rule is CountRule.COUNTED, f"{story.name} counted", receipt)
            expect(usage.input_tokens == prompt, f"a prompt of {prompt}", receipt)
            is_exact = _is_direct(story, calls) and receipt.ending is not Ending.SERVER_DIED
            expect(
                usage.output_tokens == told if is_exact else usage.output_tokens <= told,
                f"{story.name} charged the {told} tokens that were generated",
                receipt,
            )
        elif receipt.rule is CountRule.ESTIMATED:
            self._expect_estimate(story, receipt, calls)
        elif reported is not None and usage.output_tokens == reported.output_tokens:
            expect(usage == reported, f"{story.name} charged as reported", receipt)
        else:
            size = sum(call.bytes for call in calls)
            expect(
                usage == Usage(story.prompt_tokens, tokens_of(size)),
                f"{story.name} counted by the tokenizer, {tokens_of(size)}",
                receipt,
            )
            self._trace.count("counted by a tokenizer")

    def _expect_estimate(self, story: Story, receipt: Receipt, calls: Sequence[Call]) -> None:
        basis, usage = receipt.basis, receipt.usage
        if basis is None:
            raise Violation(f"{story.name} was estimated, and nobody can tell from what: {receipt}")
        ratios = basis.ratios
        expect(LEAST_RATIO <= ratios.input <= MOST_RATIO, "a plausible ratio", receipt)
        expect(LEAST_RATIO <= ratios.output <= MOST_RATIO, "a plausible ratio", receipt)
        request, size = story.request, sum(call.bytes for call in calls)
        expect(basis.input_bytes == request.input_bytes, "the prompt's bytes", receipt)
        is_exact = _is_direct(story, calls) and receipt.ending is not Ending.SERVER_DIED
        expect(
            basis.output_bytes == size if is_exact else basis.output_bytes <= size,
            f"{size} bytes of output",
            receipt,
        )
        prompt = -(-basis.input_bytes * ratios.input // 1_000_000) + request.images * IMAGE_TOKENS
        expect(
            usage.input_tokens in (prompt, story.prompt_tokens), f"a prompt of {prompt}", receipt
        )
        output = -(-basis.output_bytes * ratios.output // 1_000_000)
        tokens = (output, tokens_of(basis.output_bytes))
        expect(usage.output_tokens in tokens, f"an answer of {output}", receipt)

    def _lost_its_session(self, ended: Ended) -> bool:
        """Whether the server lived on while others took it for dead.

        It may then have written newer counts than the one by which others settle.
        """
        if ended.hold.epoch not in self._disk.lost_epochs:
            return False
        self._trace.count("settled for a server without a session")
        return True

    def _count_end(self, story: Story, ended: Ended, how: str) -> None:
        self._trace.count(how)
        if not ended.is_known:
            self._trace.count("ends that nobody was told of")
        if ended.by != story.server:
            same = ended.by.partition(".")[0] == story.server.partition(".")[0]
            self._trace.count("settled by its successor" if same else "settled by another server")
        elif story.hold_id in self._disk.failed_ends and ended.is_known:
            self._trace.count("settled late")


def _expect_dead(story: Story) -> None:
    """Only for a server that is gone may another settle."""
    expect(story.outcome == "server lost" or story.server_is_gone, "a dead server", story)


def _answering(story: Story, target: str | None) -> Sequence[Call]:
    """The calls that answered: those of the target that is named, or of the last one that began."""
    began = [call for call in story.calls if call.began]
    if target is None and began:
        target = began[-1].target
    return [call for call in began if call.target == target]


def _is_direct(story: Story, calls: Sequence[Call]) -> bool:
    """Whether the answer is one call's: what leaves it is seen in the same instant.

    Of calls side by side, some events may still wait to be merged when the answer ends.
    """
    return len(calls) == 1 and calls[0].choices == story.request.sampling.n


def _seen(calls: Sequence[Call]) -> int:
    return sum(call.generated for call in calls)


def _reported(calls: Sequence[Call]) -> Usage | None:
    """The upstream's own total, of all calls that an answer was made of."""
    usages = [call.reported for call in calls if call.reported is not None]
    if len(usages) < len(calls):
        return None
    return Usage(
        max(usage.input_tokens for usage in usages),
        sum(usage.output_tokens for usage in usages),
        cached_tokens=usages[0].cached_tokens,
    )


def _same(receipt: Receipt, count: Count) -> bool:
    return (receipt.usage, receipt.rule, receipt.basis) == (count.usage, count.rule, count.basis)
