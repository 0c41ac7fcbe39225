"""An answer from the cache: what was generated before is spelled anew, and charged outright.

Nothing is generated, so nothing is held: hold and charge are one transaction. It costs what the
rate card says of repeated tokens. Limits of spending hold for it; limits of tokens do not, because
none are made.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from msgspec import Struct

from bandari.domain.ledger import Charge, Ending, Receipt
from bandari.domain.outcome import Deny, Reason
from bandari.domain.pricing import RateCard, charge_for_repeated
from bandari.service.books import HoldRequest, IdempotencyKeyTaken, Payer, hold_of, payer_for
from bandari.service.caching import CachedAnswer
from bandari.service.claims import Claim
from bandari.service.durable import DurableFrames
from bandari.service.limiting import Limiter
from bandari.service.ports import FrameEncoder, Ledger, Placement
from bandari.service.recording import Recording
from bandari.service.settlement import AnswerEnd, Keeper, keep
from bandari.service.transcript import CACHE_TARGET, NOTHING_GENERATED, told_of
from bandari.service.wanted import Wanted


class Repeated:
    """A finished answer that was not generated: to who keeps or reads it, like one that was."""

    is_free: Final = False
    is_settled: Final = True
    is_awaited: Final = False

    def __init__(self, receipt_id: str, recording: Recording) -> None:
        self.receipt_id = receipt_id
        self.recording = recording

    def stop(self, ending: Ending) -> None:
        """Harmless: it has ended."""


class Repetition(Struct, frozen=True, kw_only=True):
    """All that is fixed before it is charged."""

    cached: CachedAnswer
    wanted: HoldRequest
    encoder: FrameEncoder
    recording: Recording
    durable: DurableFrames | None = None
    keeper: Keeper | None = None


async def repeat(
    repetition: Repetition, ledger: Ledger, limiter: Limiter | None
) -> Repeated | Deny:
    """Charge it and return it, ended; or say why not.

    Raises ``IdempotencyKeyTaken``, and like the ledger, the ``limiter`` and the ``keeper``. Nothing
    is charged then, but where nobody knows whether the ledger's last commit took effect.
    """
    wanted, cached = repetition.wanted, repetition.cached
    payer = payer_for(wanted.model, wanted.principal)
    if isinstance(payer, Deny):
        return payer
    amount = charge_for_repeated(payer.card, cached.usage.total_tokens)
    claim = None
    if limiter is not None:
        claimed = await limiter.claim(_claimed(wanted, payer.card, amount))
        if isinstance(claimed, Deny):
            return claimed
        claim = claimed
    charged: Repeated | Deny | None = None
    try:
        charged = await _charged(repetition, ledger, payer, amount, claim)
    finally:
        if claim is not None and not isinstance(charged, Repeated):
            claim.release()
    return charged


async def _charged(
    repetition: Repetition, ledger: Ledger, payer: Payer, amount: int, claim: Claim | None
) -> Repeated | Deny:
    recording, wanted = repetition.recording, repetition.wanted
    cached, encoder, keeper = repetition.cached, repetition.encoder, repetition.keeper
    for events in told_of(cached):
        recording.append(encoder.events(events))
    last_frames = encoder.close(cached.usage)
    answer = Repeated(wanted.hold_id, recording)
    recording.about.receipt_id = wanted.hold_id
    recording.about.ignored = cached.ignored
    if keeper is not None:
        await keeper.open(answer)
    durable = repetition.durable
    charge = Charge(
        hold_id=wanted.hold_id,
        amount=amount,
        count=NOTHING_GENERATED,
        ending=Ending.COMPLETED,
        target=CACHE_TARGET,
        ended_ms=wanted.now_ms,
        reasoning_effort=wanted.request.reasoning_effort,
        repeated_tokens=cached.usage.total_tokens,
        recording=None if durable is None else durable.end(last_frames, wanted.now_ms),
    )
    if claim is not None:
        claim.begin_posting()
    receipt = await ledger.charge(hold_of(wanted, payer, amount), charge)
    if isinstance(receipt, Placement):
        if receipt.is_taken:
            raise IdempotencyKeyTaken
        return _refused(receipt, payer.card, amount)
    _settle(claim, receipt)
    if keeper is not None:
        await keep(keeper, AnswerEnd(Ending.COMPLETED, last_frames), wanted.hold_id)
    recording.finish(last_frames)
    return answer


def _settle(claim: Claim | None, receipt: Receipt) -> None:
    if claim is not None:
        claim.settle(0, receipt.amount)


def _refused(placement: Placement, card: RateCard, amount: int) -> Deny:
    free = 0 if placement.wallet is None else placement.wallet.free
    return Deny(
        Reason.INSUFFICIENT_BALANCE,
        f"The balance does not cover this answer from the cache: {free} {card.asset} are free, and "
        f"it costs {amount}. Top up and try again.",
    )


def _claimed(wanted: HoldRequest, card: RateCard, amount: int) -> Wanted:
    """A request and an amount, and no tokens."""
    return Wanted(
        principal=wanted.principal,
        model=wanted.model,
        card=_fixed(card.model, card.asset, amount),
        prompt=_NoPrompt(),
        whole=0,
        ahead=0,
        rolls=False,
        choices=1,
        is_useless=lambda reach: reach < 0,
    )


@lru_cache(maxsize=1_024)
def _fixed(model: str, asset: str, amount: int) -> RateCard:
    """A card by which a request costs that, whatever is in it."""
    return RateCard(model, asset, 0, 0, 0, 0, per_request=amount)


class _NoPrompt:
    """The prompt of an answer that is not generated."""

    tokens: Final = 0

    async def make_exact(self) -> None:
        """It is exact."""
