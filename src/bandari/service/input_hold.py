"""Money for a prompt alone: set aside whole before the upstream is asked, and never extended.

The rule of how much: the prompt's bound, or its exact count where the wallet does not cover the
bound. How a hold ends is the ``Reservation``'s.
"""

from __future__ import annotations

from msgspec import Struct

from bandari.domain.catalogue import Model
from bandari.domain.keys import Principal
from bandari.domain.ledger import Hold
from bandari.domain.outcome import Deny, Reason
from bandari.domain.pricing import RateCard, ceiling_for
from bandari.service.books import Books, CountInput, Payer, no_wallet, payer_for
from bandari.service.claims import Claim
from bandari.service.limiting import Limiter
from bandari.service.ports import Ledger
from bandari.service.reservation import Reservation
from bandari.service.wanted import Wanted


class InputHold(Struct, frozen=True):
    """All that is fixed when the hold is placed. ``tokens`` is the prompt's bound."""

    hold_id: str
    epoch: int
    now_ms: int
    principal: Principal
    model: Model
    tokens: int


async def hold_input(
    books: Books,
    ledger: Ledger,
    wanted: InputHold,
    count_input: CountInput,
    limiter: Limiter | None = None,
) -> Reservation | Deny:
    """Set aside what the prompt may cost, or say why not. A refusal costs nothing.

    ``count_input`` counts the prompt exactly where the provider can; it is asked only where the
    bound is more than is free, or than a limit leaves. Raises like the ledger and the ``limiter``.
    """
    payer = payer_for(wanted.model, wanted.principal)
    if isinstance(payer, Deny):
        return payer
    prompt = _Prompt(wanted.tokens, count_input)
    claim = None
    if limiter is not None:
        claimed = await limiter.claim(_claimed(wanted, payer.card, prompt))
        if isinstance(claimed, Deny):
            return claimed
        claim = claimed
    placed: Reservation | Deny | None = None
    try:
        placed = await _place(books, ledger, wanted, payer, prompt, claim)
    finally:
        if claim is not None and not isinstance(placed, Reservation):
            claim.release()
    return placed


class _Prompt:
    """The prompt's size: its bound, until its exact count is worth a call."""

    __slots__ = ("_count", "_counted", "is_exact", "tokens")

    def __init__(self, tokens: int, count: CountInput) -> None:
        self.tokens = tokens
        self.is_exact = False
        self._count = count
        self._counted = False

    async def make_exact(self) -> None:
        if not self._counted:
            self._counted = True
            exact = await self._count()
            if exact is not None:
                self.tokens, self.is_exact = exact, True


def _claimed(wanted: InputHold, card: RateCard, prompt: _Prompt) -> Wanted:
    return Wanted(
        principal=wanted.principal,
        model=wanted.model,
        card=card,
        prompt=prompt,
        whole=0,
        ahead=0,
        rolls=False,
        choices=1,
        is_useless=_is_whole,
    )


def _is_whole(reach: int) -> bool:
    """A prompt is not cut short: whatever it reaches is of use."""
    return reach < 0


async def _place(
    books: Books,
    ledger: Ledger,
    wanted: InputHold,
    payer: Payer,
    prompt: _Prompt,
    claim: Claim | None,
) -> Reservation | Deny:
    model, principal, card = wanted.model, wanted.principal, payer.card
    while True:
        tokens = prompt.tokens
        hold = Hold(
            id=wanted.hold_id,
            account_id=principal.account_id,
            asset=card.asset,
            amount=ceiling_for(card, tokens, 0),
            epoch=wanted.epoch,
            key_id=principal.key_id,
            model=model.id,
            rate_card_id=card.id,
            created_ms=wanted.now_ms,
            end_user=principal.end_user,
            sub_wallet=payer.sub_wallet,
            price_ratio=card.ratio,
        )
        try:
            placement = await ledger.place(hold)
        except BaseException:
            # Whatever went wrong, the hold may stand, and nobody else knows of it.
            books.abandon_hold(hold)
            raise
        if placement.wallet is None:
            return no_wallet(model, principal)
        if placement.placed:
            if claim is not None:
                claim.shrink(tokens, 0)
            reservation = Reservation(ledger, hold, card, tokens, choices=1, claim=claim)
            reservation.exact_input = tokens if prompt.is_exact else None
            return reservation
        was_exact = prompt.is_exact
        await prompt.make_exact()
        if was_exact or not prompt.is_exact:
            return Deny(
                Reason.INSUFFICIENT_BALANCE,
                f"The balance does not cover this request: {placement.wallet.free} {card.asset} "
                f"are free, and the prompt may cost {hold.amount}. Top up and try again.",
            )
